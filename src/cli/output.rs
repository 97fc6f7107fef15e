//! The output of commands: tables and sentences for people, JSON for scripts, and confirmation prompts.
//!
//! Text from the database never reaches the terminal unescaped: control characters, and characters that change the
//! direction of text, are written as escapes.

use std::fmt::Write as _;
use std::io::{self, BufRead, IsTerminal, Write};

use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};
use serde::Serialize;

use super::Failure;
use crate::domain::clock::Timestamp;
use crate::domain::display::is_unsafe;

/// The maximum width of tables in characters, on a terminal and in a file.
const WIDTH: u16 = 100;

/// Where a command writes, and the terminal on which it can ask for confirmation.
pub(super) struct Console<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    /// The input of the terminal, if there is one.
    terminal: Option<Box<dyn BufRead>>,
}

impl<'a> Console<'a> {
    /// A console on these outputs. It asks for confirmation only if standard input and standard error are a terminal.
    pub(super) fn new(out: &'a mut dyn Write, err: &'a mut dyn Write) -> Self {
        let is_terminal = io::stdin().is_terminal() && io::stderr().is_terminal();
        let terminal = is_terminal.then(|| Box::new(io::stdin().lock()) as Box<dyn BufRead>);
        Self { out, err, terminal }
    }

    /// Standard output.
    pub(super) fn out(&mut self) -> &mut dyn Write {
        self.out
    }

    /// Writes a sentence to standard output.
    pub(super) fn print(&mut self, text: &str) -> Result<(), Failure> {
        Ok(writeln!(self.out, "{}", clean(text))?)
    }

    /// Writes a notice, which is not part of the result, to standard error.
    pub(super) fn notice(&mut self, text: &str) -> Result<(), Failure> {
        Ok(writeln!(self.err, "{}", clean(text))?)
    }

    /// Writes the result: JSON for scripts, otherwise a sentence for people.
    pub(super) fn result(
        &mut self,
        json: bool,
        value: &impl Serialize,
        sentence: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        if json { self.json(value) } else { self.print(&sentence()) }
    }

    /// Writes one JSON value to standard output.
    pub(super) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value).map_err(io::Error::other)?;
        Ok(writeln!(self.out, "{}", clean_json(&text))?)
    }

    /// Writes one JSON value as one line.
    pub(super) fn json_line(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value).map_err(io::Error::other)?;
        Ok(writeln!(self.out, "{}", clean_json(&text))?)
    }

    /// Writes a list: JSON for scripts, otherwise a table for people.
    pub(super) fn list<T: Serialize>(
        &mut self,
        json: bool,
        found: &[T],
        titles: &[&str],
        row: impl Fn(&T) -> Vec<String>,
    ) -> Result<(), Failure> {
        if json { self.json(&found) } else { self.table(titles, found.iter().map(row).collect()) }
    }

    /// Writes aligned columns. The first column, and columns whose title starts with `!`, are never wrapped.
    /// Without rows, it writes only a notice.
    pub(super) fn table(&mut self, titles: &[&str], rows: Vec<Vec<String>>) -> Result<(), Failure> {
        if rows.is_empty() {
            return self.notice("No results.");
        }
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(WIDTH);
        table.set_header(titles.iter().map(|title| title.trim_start_matches('!')));
        table.add_rows(rows.iter().map(|row| row.iter().map(|cell| clean(cell))));
        for (index, (column, title)) in table.column_iter_mut().zip(titles).enumerate() {
            column.set_padding((0, if index + 1 < titles.len() { 2 } else { 0 }));
            if index == 0 || title.starts_with('!') {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        for line in table.lines() {
            writeln!(self.out, "{}", line.trim_end())?;
        }
        Ok(())
    }

    /// Writes one line per name and value; entries without a value are left out.
    pub(super) fn facts(&mut self, facts: &[(&str, Option<String>)]) -> Result<(), Failure> {
        let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        for (name, value) in facts {
            if let Some(value) = value {
                writeln!(self.out, "{name:width$}  {}", clean(value))?;
            }
        }
        Ok(())
    }

    /// Asks for confirmation, unless `--yes` was given. Fails if the user does not type "yes" or there is no terminal.
    pub(super) fn confirm(&mut self, yes: bool, question: &str) -> Result<(), Failure> {
        if yes {
            return Ok(());
        }
        let refused = |text: &str| Err(Failure::Configuration(text.to_owned()));
        let Some(terminal) = &mut self.terminal else {
            return refused(
                "confirmation required but standard input is not a terminal; pass --yes. No changes made.",
            );
        };
        write!(self.err, "{} Type \"yes\" to continue: ", clean(question))?;
        self.err.flush()?;
        let mut answer = String::new();
        terminal.read_line(&mut answer)?;
        if answer.trim() == "yes" { Ok(()) } else { refused("not confirmed. No changes made.") }
    }
}

/// A time to the minute, in UTC, for tables.
pub(super) fn minute(time: Timestamp) -> String {
    time.format("%Y-%m-%d %H:%M").to_string()
}

/// A time to the second, in UTC, for sentences and details.
pub(super) fn second(time: Timestamp) -> String {
    time.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A number with its noun, in the plural if needed: `1 session`, `2 sessions`.
pub(super) fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Escapes control characters, which a terminal interprets, and invisible characters, which hide or reorder the text
/// beside them.
pub(super) fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_unsafe(letter) { cleaned.extend(letter.escape_unicode()) } else { cleaned.push(letter) }
    }
    cleaned
}

/// Escapes the same characters in JSON, as `\u` escapes, so that the value stays the same. Outside of strings, JSON
/// contains only one of them, the line feed, which is kept.
pub(super) fn clean_json(json: &str) -> String {
    let mut cleaned = String::with_capacity(json.len());
    for letter in json.chars() {
        if is_unsafe(letter) && letter != '\n' {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(cleaned, "\\u{unit:04x}");
            }
        } else {
            cleaned.push(letter);
        }
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `work` with a console. With `typed`, the console has a terminal on which that text is typed.
    fn console(
        typed: Option<&'static str>,
        work: impl FnOnce(&mut Console<'_>) -> Result<(), Failure>,
    ) -> (Result<(), Failure>, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let terminal = typed.map(|text| Box::new(text.as_bytes()) as Box<dyn BufRead>);
        let done = work(&mut Console { out: &mut out, err: &mut err, terminal });
        (done, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn confirmation_is_asked_for_on_a_terminal_and_refused_without_one() {
        for (yes, typed, confirmed) in [
            (true, None, true),
            (false, Some("yes\n"), true),
            (false, Some("y\n"), false),
            (false, Some("\n"), false),
            (false, Some(""), false),
            (false, None, false),
        ] {
            let (done, out, err) = console(typed, |console| console.confirm(yes, "Delete \u{1b}[2Jalice?"));
            assert_eq!(done.is_ok(), confirmed, "{yes} {typed:?}");
            assert_eq!(
                done.map_or_else(|failure| failure.exit_code(), |()| 0),
                if confirmed { 0 } else { 2 }
            );
            assert_eq!(err.contains("Delete \\u{1b}[2Jalice?"), !yes && typed.is_some(), "{err}");
            assert_eq!(out, "");
        }
    }

    #[test]
    fn control_characters_are_never_written() {
        let hostile = "a\u{1b}[2J\u{7}\r\n\u{9b}31m\u{7f}\u{202e}b\u{2066}\u{e0041}ü漢";
        let (done, out, _) = console(None, |console| {
            console.table(&["NAME"], vec![vec![hostile.to_owned()]])?;
            console.facts(&[("name", Some(hostile.to_owned())), ("none", None)])?;
            console.print(hostile)?;
            console.json(&serde_json::json!({ "name": hostile }))
        });
        done.unwrap();
        assert!(!out.chars().any(|letter| is_unsafe(letter) && letter != '\n'), "{out:?}");
        assert!(out.contains("\\u{1b}[2J") && out.contains("ü漢"), "{out}");
        let json: serde_json::Value = serde_json::from_str(&out[out.find("{\n").unwrap()..]).unwrap();
        assert_eq!(json["name"], hostile, "the value is the same");
    }

    #[test]
    fn tables_are_aligned_and_fit_100_columns() {
        let id = "0b5bbd2e-28c3-4f20-9a0e-1f1f0ffb5f6a".to_owned();
        let rows = vec![
            vec![id.clone(), "a long name ".repeat(20), "2026-06-01 12:00".to_owned()],
            vec![id.clone(), "漢字".to_owned(), "2026-06-01 12:00".to_owned()],
        ];
        let (_, out, _) = console(None, |console| console.table(&["USER", "NAME", "!CREATED (UTC)"], rows));
        assert!(out.starts_with("USER  "), "{out}");
        assert_eq!(out.matches(&id).count(), 2, "{out}");
        assert_eq!(out.matches("2026-06-01 12:00").count(), 2, "{out}");
        assert!(out.lines().all(|line| line.chars().count() <= 100 && line == line.trim_end()), "{out}");
    }
}
