//! What a browser and its machine are called, so that people recognise their own sessions.
//!
//! A `User-Agent` header is whatever the sender likes: good for recognising, never for deciding. What cannot be
//! told stays unknown.

use woothee::parser::Parser;

/// A browser and its machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// As in "Firefox on Linux"; nothing where neither is known.
    pub name: Option<String>,
    /// What kind of machine it is.
    pub kind: DeviceKind,
}

/// A kind of machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// A desktop or a laptop.
    Computer,
    /// A phone or a tablet.
    Mobile,
    /// A console, a television, a program without a window.
    Other,
    /// The header does not say.
    Unknown,
}

impl Device {
    /// What a `User-Agent` header says.
    pub fn of(user_agent: Option<&str>) -> Self {
        let Some(parsed) = user_agent.and_then(|text| Parser::new().parse(text)) else {
            return Self { name: None, kind: DeviceKind::Unknown };
        };
        let kind = match parsed.category {
            "pc" => DeviceKind::Computer,
            "smartphone" | "mobilephone" => DeviceKind::Mobile,
            "appliance" | "crawler" | "misc" => DeviceKind::Other,
            _ => DeviceKind::Unknown,
        };
        let name = match (browser(parsed.name), system(parsed.os)) {
            (Some(browser), Some(system)) => Some(format!("{browser} on {system}")),
            (Some(one), None) | (None, Some(one)) => Some(one.to_owned()),
            (None, None) => None,
        };
        Self { name, kind }
    }
}

/// Of the parser's names those that name a browser.
fn browser(name: &str) -> Option<&str> {
    match name {
        "UNKNOWN" | "HTTP Library" | "misc crawler" => None,
        "SamsungBrowser" => Some("Samsung Internet"),
        name => Some(name),
    }
}

/// Browsers have frozen the version of their system in the header: Windows 11 says 10. So it is left out.
fn system(name: &str) -> Option<&str> {
    match name {
        "UNKNOWN" => None,
        name if name.starts_with("Windows Phone") => Some("Windows Phone"),
        name if name.starts_with("Windows") => Some("Windows"),
        "Mac OSX" => Some("macOS"),
        "ChromeOS" => Some("ChromeOS"),
        name => Some(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPUTERS: [(&str, &str); 5] = [
        ("(X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
        (
            "(Windows NT 10.0; Win64; x64) {webkit} Chrome/139.0.0.0 Safari/537.36 Edg/139.0.0.0",
            "Edge on Windows",
        ),
        (
            "(Windows NT 10.0; Win64; x64) {webkit} Chrome/139.0.0.0 Safari/537.36 OPR/120.0.0.0",
            "Opera on Windows",
        ),
        ("(Macintosh; Intel Mac OS X 10_15_7) {webkit} Version/18.5 Safari/605.1.15", "Safari on macOS"),
        ("(X11; CrOS x86_64 14541.0.0) {webkit} Chrome/139.0.0.0 Safari/537.36", "Chrome on ChromeOS"),
    ];

    const MOBILES: [(&str, &str); 4] = [
        (
            "(iPhone; CPU iPhone OS 18_5 like Mac OS X) {webkit} Version/18.5 Mobile/15E148 Safari/604.1",
            "Safari on iPhone",
        ),
        (
            "(iPad; CPU OS 18_5 like Mac OS X) {webkit} FxiOS/140.0 Mobile/15E148 Safari/605.1.15",
            "Firefox on iPad",
        ),
        ("(Linux; Android 10; K) {webkit} Chrome/139.0.0.0 Mobile Safari/537.36", "Chrome on Android"),
        (
            "(Linux; Android 10; K) {webkit} SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36",
            "Samsung Internet on Android",
        ),
    ];

    #[test]
    fn browsers_of_today_are_recognised() {
        let webkit = "AppleWebKit/537.36 (KHTML, like Gecko)";
        for (headers, kind) in [(&COMPUTERS[..], DeviceKind::Computer), (&MOBILES, DeviceKind::Mobile)] {
            for (header, name) in headers {
                let header = format!("Mozilla/5.0 {}", header.replace("{webkit}", webkit));
                let expected = Device { name: Some((*name).to_owned()), kind };
                assert_eq!(Device::of(Some(&header)), expected, "{header}");
            }
        }
    }

    #[test]
    fn what_is_not_known_is_not_invented() {
        for header in [None, Some(""), Some("-"), Some("x"), Some("Mozilla/5.0 (test)"), Some("<script>")] {
            assert_eq!(Device::of(header), Device { name: None, kind: DeviceKind::Unknown }, "{header:?}");
        }
        assert_eq!(Device::of(Some("curl/8.5.0")), Device { name: None, kind: DeviceKind::Other });
        let app = Device::of(Some("App/7 CFNetwork/1 Darwin/24"));
        assert_eq!(app, Device { name: Some("iOS".to_owned()), kind: DeviceKind::Mobile });
    }
}
