//! What a browser and its machine are called, so that people recognise their own sessions.
//!
//! A `User-Agent` header is whatever the sender likes: good for recognising, never for deciding. What cannot be
//! told stays unknown. A table of today's browsers is enough for that; a database of all of them is not needed.

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

/// What each browser writes into its header. Most also write the names of others, so the order matters.
const BROWSERS: [(&str, &str); 16] = [
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Vivaldi/", "Vivaldi"),
    ("YaBrowser/", "Yandex Browser"),
    ("DuckDuckGo/", "DuckDuckGo"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("MSIE ", "Internet Explorer"),
    ("Trident/", "Internet Explorer"),
    ("Version/", "Safari"),
    ("Safari/", "Safari"),
];

/// What each system writes, in the order in which they are told apart: Android also writes "Linux", and an iPhone "like Mac
/// OS X". Browsers have frozen the system's version in the header: Windows 11 says 10. So it is left out.
const SYSTEMS: [(&str, &str, DeviceKind); 15] = [
    ("PlayStation", "PlayStation", DeviceKind::Other),
    ("Nintendo", "Nintendo", DeviceKind::Other),
    ("Xbox", "Xbox", DeviceKind::Other),
    ("SmartTV", "TV", DeviceKind::Other),
    ("SMART-TV", "TV", DeviceKind::Other),
    ("iPhone", "iPhone", DeviceKind::Mobile),
    ("iPad", "iPad", DeviceKind::Mobile),
    ("CFNetwork/", "iOS", DeviceKind::Mobile),
    ("Android", "Android", DeviceKind::Mobile),
    ("Windows NT", "Windows", DeviceKind::Computer),
    ("CrOS", "ChromeOS", DeviceKind::Computer),
    ("Macintosh", "macOS", DeviceKind::Computer),
    ("FreeBSD", "FreeBSD", DeviceKind::Computer),
    ("OpenBSD", "OpenBSD", DeviceKind::Computer),
    ("Linux", "Linux", DeviceKind::Computer),
];

/// What programs without a window begin with.
const PROGRAMS: [&str; 7] =
    ["curl/", "Wget/", "HTTPie/", "python-requests/", "Python-urllib/", "Go-http-client/", "okhttp/"];

impl Device {
    /// What a `User-Agent` header says.
    pub fn of(user_agent: Option<&str>) -> Self {
        let text = user_agent.unwrap_or_default();
        if PROGRAMS.iter().any(|program| text.starts_with(program)) {
            return Self { name: None, kind: DeviceKind::Other };
        }
        let browser = BROWSERS.iter().find(|(mark, _)| text.contains(mark)).map(|(_, name)| name);
        let system = SYSTEMS.iter().find(|(mark, ..)| text.contains(mark));
        let name = match (browser, system) {
            (Some(browser), Some((_, system, _))) => Some(format!("{browser} on {system}")),
            (Some(one), None) | (None, Some((_, one, _))) => Some((*one).to_owned()),
            (None, None) => None,
        };
        Self { name, kind: system.map_or(DeviceKind::Unknown, |(_, _, kind)| *kind) }
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
