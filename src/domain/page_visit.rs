//! The request of a browser to a page behind a gateway, and what the browser says about how it came to be.
//!
//! The judgement rests on Fetch Metadata and `Origin` (RFC 10017 section 6.1), which scripts cannot set. A cookie alone
//! proves nothing about who caused a request.

use std::collections::BTreeSet;

use super::client::Origin;

/// The longest path and query to which a sign-in leads back, in bytes: they travel in a cookie, which with them stays below
/// 1 KiB.
pub const LONGEST_TARGET: usize = 512;

/// A request to a page behind a gateway. Header fields that were sent several times are one list, which equals no value
/// that is expected.
#[derive(Debug, Clone, Default)]
pub struct PageVisit {
    /// The origin of the visited site, as a trusted gateway says; `None` if no trusted gateway says so.
    pub origin: Option<Origin>,
    /// Path and query, as a trusted gateway says.
    pub target: Option<String>,
    /// The visitor's method, as a trusted gateway says.
    pub method: Option<String>,
    /// `Origin`: of the page that caused the request.
    pub caused_by: Option<String>,
    /// `Sec-Fetch-Site`.
    pub fetch_site: Option<String>,
    /// `Sec-Fetch-Mode`.
    pub fetch_mode: Option<String>,
    /// `Sec-Fetch-Dest`.
    pub fetch_dest: Option<String>,
    /// Whether the browser only prepares for a visit (`Sec-Purpose`).
    pub speculative: bool,
    /// Whether `Accept` names HTML.
    pub accepts_html: bool,
}

/// Whether a text is a path with or without a query that can follow an origin in a `Location` header.
pub fn is_target(text: &str) -> bool {
    text.starts_with('/') && text.len() <= LONGEST_TARGET && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Where a sign-in for this address leads back to: to the address itself or, if that is too long, to its path or to the front
/// page. `None` if it is no address.
pub fn way_back(address: &str) -> Option<&str> {
    let path = address.split('?').next().unwrap_or_default();
    let tries = [address, path, "/"].into_iter().filter(|_| address.starts_with('/'));
    tries.into_iter().find(|text| is_target(text))
}

impl PageVisit {
    /// Whether a sign-in may begin: a navigation of the browser's own window that changes nothing. Everything else gets an
    /// answer that a program can read.
    pub fn may_sign_in(&self) -> bool {
        let says_nothing =
            [&self.fetch_site, &self.fetch_mode, &self.fetch_dest].iter().all(|said| said.is_none());
        let navigates = self.is_top_level_navigation() || (says_nothing && self.accepts_html);
        self.is("GET") && navigates && !self.speculative
    }

    /// Whether the cookie of the page counts for this request. A request that is no navigation of the browser's own window
    /// must come from the same origin, one that can change something from one of `pages`, as must any that names its origin.
    pub fn may_use_cookie(&self, pages: &BTreeSet<Origin>) -> bool {
        let is_safe = self.is("GET") || self.is("HEAD");
        let from_here = match self.caused_by.as_deref() {
            None => is_safe,
            Some(origin) => pages.iter().any(|page| page.as_str() == origin),
        };
        let same_origin = self.fetch_site.as_deref() == Some("same-origin");
        self.method.is_some() && from_here && (same_origin || self.is_top_level_navigation())
    }

    /// Whether it is a navigation of the browser's own window.
    pub fn is_top_level_navigation(&self) -> bool {
        self.fetch_mode.as_deref() == Some("navigate") && self.fetch_dest.as_deref() == Some("document")
    }

    fn is(&self, method: &str) -> bool {
        self.method.as_deref() == Some(method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "https://tools.example.com";

    /// `method | Sec-Fetch-Site | Sec-Fetch-Mode | Sec-Fetch-Dest | Origin`; a hyphen for an absent one.
    fn visit(text: &str) -> PageVisit {
        let mut parts = text.split('|').map(str::trim).map(|part| (part != "-").then(|| part.to_owned()));
        let mut next = || parts.next().unwrap();
        PageVisit {
            method: next(),
            fetch_site: next(),
            fetch_mode: next(),
            fetch_dest: next(),
            caused_by: next(),
            ..PageVisit::default()
        }
    }

    fn may_use_cookie(text: &str) -> bool {
        visit(text).may_use_cookie(&[PAGE.parse().unwrap()].into())
    }

    #[test]
    fn the_cookie_counts_for_navigations_and_requests_of_the_page_itself() {
        for good in [
            "GET|none|navigate|document|-",
            "GET|cross-site|navigate|document|-",
            "GET|same-origin|cors|empty|-",
            "GET|same-origin|no-cors|image|-",
            "HEAD|same-origin|cors|empty|-",
            "GET|same-origin|navigate|iframe|-",
            "GET|same-origin|websocket|websocket|https://tools.example.com",
            "POST|same-origin|cors|empty|https://tools.example.com",
            "POST|same-origin|navigate|document|https://tools.example.com",
            "DELETE|same-origin|cors|empty|https://tools.example.com",
        ] {
            assert!(may_use_cookie(good), "{good}");
        }
        for bad in [
            "GET|cross-site|no-cors|image|-",
            "GET|same-site|cors|empty|-",
            "GET|none|cors|empty|-",
            "GET|cross-site|navigate|iframe|-",
            "GET|same-site|navigate|object|-",
            "GET|-|-|-|-",
            "GET|same-origin, same-origin|cors|empty|-",
            "GET|cross-site|navigate, navigate|document|-",
            "GET|cross-site|websocket|websocket|https://evil.example",
            "GET|same-origin|cors|empty|https://evil.example",
            "POST|same-origin|cors|empty|-",
            "POST|cross-site|navigate|document|-",
            "POST|cross-site|navigate|document|https://evil.example",
            "POST|cross-site|navigate|document|null",
            "POST|same-site|cors|empty|https://tools.example.com",
            "POST|same-origin|cors|empty|https://tools.example.com.evil.example",
            "POST|same-origin|cors|empty|http://tools.example.com",
            "POST|same-origin|cors|empty|https://tools.example.com, https://evil.example",
            "OPTIONS|same-origin|cors|empty|-",
            "get|same-origin|cors|empty|-",
            "-|same-origin|cors|empty|-",
            "-|none|navigate|document|-",
        ] {
            assert!(!may_use_cookie(bad), "{bad}");
        }
    }

    #[test]
    fn only_a_navigation_of_the_window_begins_a_sign_in() {
        assert!(visit("GET|none|navigate|document|-").may_sign_in());
        let old_browser = PageVisit { accepts_html: true, ..visit("GET|-|-|-|-") };
        assert!(old_browser.may_sign_in());
        for no in [
            visit("GET|-|-|-|-"),
            visit("HEAD|none|navigate|document|-"),
            visit("POST|same-origin|navigate|document|https://tools.example.com"),
            visit("-|none|navigate|document|-"),
            visit("GET|same-origin|cors|empty|-"),
            visit("GET|same-origin|navigate|iframe|-"),
            PageVisit { accepts_html: true, ..visit("GET|same-origin|cors|empty|-") },
            PageVisit { speculative: true, ..visit("GET|none|navigate|document|-") },
        ] {
            assert!(!no.may_sign_in(), "{no:?}");
        }
    }

    #[test]
    fn an_address_that_is_too_long_leads_back_to_its_path_or_to_the_front_page() {
        let long = "a".repeat(LONGEST_TARGET);
        assert_eq!(way_back("/a?b=c"), Some("/a?b=c"));
        assert_eq!(way_back(&format!("/a?{long}")), Some("/a"));
        assert_eq!(way_back(&format!("/{long}?b")), Some("/"));
        assert_eq!(way_back("/ü"), Some("/"));
        for bad in ["", "a", "https://evil.example/", "@evil.example"] {
            assert_eq!(way_back(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_target_is_a_path() {
        for good in ["/", "/a/b?c=d&e=%20", "//double", "/a?next=https://evil.example"] {
            assert!(is_target(good), "{good}");
        }
        let long = format!("/{}", "a".repeat(LONGEST_TARGET));
        for bad in [
            "",
            "a",
            "https://evil.example/",
            "@evil.example",
            ".evil.example",
            ":80/",
            "/a b",
            "/a\r\nX: y",
            "/ü",
            &long,
        ] {
            assert!(!is_target(bad), "{bad}");
        }
    }
}
