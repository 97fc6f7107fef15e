//! Which of two media types a caller wants (RFC 9110 section 12.5.1).

use actix_web::http::header::{ACCEPT, HeaderMap};

/// Whether the caller wants `other` rather than `usual`: it gives it a greater weight, or the same one and names it while it
/// does not name `usual`, as in `Accept: other, */*`.
///
/// Without the header, and if neither is acceptable, the answer is the usual one: the standard lets a server disregard the
/// header instead of answering 406, and so no API breaks whose HTTP library sends an odd one.
pub fn prefers(headers: &HeaderMap, other: &str, usual: &str) -> bool {
    let ranges: Vec<Range<'_>> = headers
        .get_all(ACCEPT)
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(Range::parse)
        .collect();
    let [other, usual] = [other, usual].map(|media_type| wanted(&ranges, media_type));
    other.0 > 0 && other > usual
}

/// How specific a media range is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Specificity {
    /// `*/*`
    Anything,
    /// As in `application/*`
    Type,
    /// A media type.
    Named,
}

struct Range<'a> {
    text: &'a str,
    specificity: Specificity,
    /// Thousandths.
    weight: u16,
}

impl<'a> Range<'a> {
    /// `None` for what is no media range; it is as if it were not there.
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(|part| part.trim_matches([' ', '\t']));
        let text = parts.next()?;
        let (kind, subtype) = text.split_once('/')?;
        let specificity = match (kind, subtype) {
            ("", _) | (_, "") => return None,
            ("*", "*") => Specificity::Anything,
            ("*", _) => return None,
            (_, "*") => Specificity::Type,
            _ => Specificity::Named,
        };
        let mut weight = 1000;
        for parameter in parts {
            if let Some(("q" | "Q", value)) = parameter.split_once('=') {
                weight = thousandths(value)?;
            }
        }
        Some(Self { text, specificity, weight })
    }

    fn includes(&self, media_type: &str) -> bool {
        let of_kind = |text: &str| text.split_once('/').map(|(kind, _)| kind.to_ascii_lowercase());
        match self.specificity {
            Specificity::Anything => true,
            Specificity::Type => of_kind(self.text) == of_kind(media_type),
            Specificity::Named => self.text.eq_ignore_ascii_case(media_type),
        }
    }
}

/// A weight: 0 to 1 with at most three digits after the point (RFC 9110 section 12.4.2).
fn thousandths(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_valid = ["0", "1"].contains(&whole) && fraction.len() <= 3;
    let fraction: u16 = format!("{fraction:0<3}").parse().ok().filter(|_| is_valid)?;
    let weight = if whole == "1" { 1000 + fraction } else { fraction };
    (weight <= 1000).then_some(weight)
}

/// The weight of a media type, 0 if it is not acceptable, and how specific the range is that gives it: the most specific one
/// counts.
fn wanted(ranges: &[Range<'_>], media_type: &str) -> (u16, Specificity) {
    let including = ranges.iter().filter(|range| range.includes(media_type));
    let most_specific = including.max_by_key(|range| (range.specificity, range.weight));
    most_specific.map_or((0, Specificity::Anything), |range| (range.weight, range.specificity))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const JWT: &str = "application/token-introspection+jwt";

    fn wants_jwt(lines: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        lines.iter().for_each(|line| headers.append(ACCEPT, HeaderValue::from_str(line).unwrap()));
        prefers(&headers, JWT, "application/json")
    }

    #[test]
    fn the_other_type_is_used_only_if_it_is_asked_for() {
        for line in [
            JWT,
            "Application/Token-Introspection+JWT",
            "application/token-introspection+jwt;q=0.001",
            "application/token-introspection+jwt, */*",
            "application/json;q=0.9, application/token-introspection+jwt",
            "application/token-introspection+jwt;q=0.5 , application/json;q=0.4",
            "application/json;q=0, application/*;q=0.1",
            "text/html, application/token-introspection+jwt;charset=utf-8;q=0.2",
            "application/token-introspection+jwt; Q=1.000, application/*",
        ] {
            assert!(wants_jwt(&[line]), "{line}");
        }
        assert!(wants_jwt(&["application/json;q=0.1", JWT]));
    }

    #[test]
    fn anything_else_is_answered_as_usual() {
        for line in [
            "",
            "*/*",
            "application/*",
            "application/json",
            "application/json, application/token-introspection+jwt",
            "application/token-introspection+jwt;q=0.9, application/json",
            "application/token-introspection+jwt;q=0",
            "application/token-introspection+jwt;q=0, application/*",
            "application/jwt",
            "text/html",
            "application/token-introspection+jwt;q=2",
            "application/token-introspection+jwt;q=x",
            "application/token-introspection+jwt;q=0.1234",
            "*/token-introspection+jwt",
            "token-introspection+jwt",
        ] {
            assert!(!wants_jwt(&[line]), "{line}");
        }
        assert!(!wants_jwt(&[]));
    }

    proptest! {
        #[test]
        fn no_header_panics(line in "[ -~]{0,60}") {
            let _ = wants_jwt(&[&line]);
        }
    }
}
