//! The language of the broker's pages: the one that the application asks for with `ui_locales` (OpenID Connect Core section
//! 3.1.2.1), else the one that the browser prefers.

use actix_web::HttpRequest;
use actix_web::http::header::{ACCEPT_LANGUAGE, HeaderMap};

use super::extract::parameters::{Parameters, parameters};

/// How many languages of a header are looked at.
const MOST_RANGES: usize = 20;

/// A language that the pages are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    /// English, also for everyone whose language is not here.
    #[default]
    English,
    /// Chinese in simplified characters.
    Chinese,
}

parameters! {
    /// The languages that the application asks for.
    struct LocalesParameter { ui_locales }
}

impl Language {
    /// The language of a request's pages.
    pub fn of(request: &HttpRequest) -> Self {
        Self::choose(request.headers(), request.query_string())
    }

    /// The language for these headers and this query. What is malformed in them does not count.
    pub fn choose(headers: &HeaderMap, query: &str) -> Self {
        let LocalesParameter { ui_locales } = LocalesParameter::read(query.as_bytes()).unwrap_or_default();
        let asked = ui_locales.as_deref().and_then(|tags| tags.split(' ').find_map(Self::of_tag));
        asked.or_else(|| Self::accepted(headers)).unwrap_or_default()
    }

    /// As it is written in HTML (BCP 47).
    pub fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh-Hans",
        }
    }

    /// The first of the languages with the highest weight (RFC 9110 section 12.5.4).
    fn accepted(headers: &HeaderMap) -> Option<Self> {
        let header = headers.get(ACCEPT_LANGUAGE)?.to_str().ok()?;
        let ranges = header.split(',').take(MOST_RANGES).filter_map(|range| {
            let (tag, weight) = range.split_once(';').unwrap_or((range, "q=1"));
            let weight: f32 = weight.trim().strip_prefix("q=")?.parse().ok()?;
            (weight > 0.0).then_some(weight).zip(Self::of_tag(tag.trim()))
        });
        ranges.reduce(|best, next| if next.0 > best.0 { next } else { best }).map(|(_, language)| language)
    }

    fn of_tag(tag: &str) -> Option<Self> {
        let primary = tag.split('-').next().unwrap_or_default();
        let is = |code: &str| primary.eq_ignore_ascii_case(code);
        if is("zh") { Some(Self::Chinese) } else { is("en").then_some(Self::English) }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn choose(accepted: Option<&'static str>, query: &str) -> Language {
        let mut headers = HeaderMap::new();
        if let Some(accepted) = accepted {
            headers.insert(ACCEPT_LANGUAGE, HeaderValue::from_static(accepted));
        }
        Language::choose(&headers, query)
    }

    #[test]
    fn the_browser_chooses_unless_the_application_asks() {
        for (accepted, language) in [
            ("zh-CN,zh;q=0.9,en;q=0.8", Language::Chinese),
            ("de-DE, zh;q=0.3, en;q=0.2", Language::Chinese),
            ("en-GB,zh;q=0.9", Language::English),
            ("zh;q=0.1,en", Language::English),
            ("zh;q=0,de", Language::English),
            ("ZH-tw", Language::Chinese),
            ("fr", Language::English),
            ("*", Language::English),
            (";;,q=,zh;q=x", Language::English),
            ("", Language::English),
        ] {
            assert_eq!(choose(Some(accepted), ""), language, "{accepted}");
            assert_eq!(
                choose(Some(accepted), "ui_locales=fr%20zh-Hans%20en"),
                Language::Chinese,
                "{accepted}"
            );
            assert_eq!(choose(Some(accepted), "ui_locales=en"), Language::English, "{accepted}");
            assert_eq!(choose(Some(accepted), "ui_locales=fr"), language, "{accepted}");
            assert_eq!(choose(Some(accepted), "ui_locales=zh&ui_locales=zh"), language, "{accepted}");
        }
        assert_eq!(choose(None, ""), Language::English);
    }
}
