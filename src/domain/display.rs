//! Text of foreign origin that people will look at: in a terminal, in a log, on a page.

/// Whether a character must not be displayed as it is: terminals obey it, or it hides or reorders the text around it.
///
/// Control characters, soft hyphen, bidirectional marks, line and paragraph separators, zero-width and other invisible
/// format characters, and the tag characters.
pub fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{AD}' | '\u{61C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{E0000}'..='\u{E007F}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_or_hides_text_is_unsafe() {
        for character in
            "\0\u{1b}\n\u{7f}\u{9b}\u{ad}\u{200b}\u{202e}\u{2028}\u{2066}\u{feff}\u{e0041}".chars()
        {
            assert!(is_unsafe(character), "{character:?}");
        }
        for character in "aÄ李 -🙂".chars() {
            assert!(!is_unsafe(character), "{character:?}");
        }
    }
}
