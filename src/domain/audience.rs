//! Audiences: the APIs that a token is for (RFC 8707; the claim `aud` of RFC 7662 and RFC 7519).

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::Url;

/// The longest audience, in characters.
const LONGEST: usize = 255;

/// The most audiences that one token can be for.
pub const MOST_AUDIENCES: usize = 8;

/// The name of an API: an absolute URL, or another text of visible ASCII such as `orders`.
///
/// An http or https URL is kept in canonical form, so that two spellings of one address are one audience: scheme and
/// host in lower case, no default port, and no slash after a bare origin.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Audience(String);

/// Why a text is not an audience, or not a set of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 255 visible ASCII characters without a fragment ('#'), as in https://api.example.com")]
pub struct InvalidAudience;

impl Audience {
    /// The audience as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The audience of the API at `url`; its fragment does not count.
    pub fn of_url(url: &Url) -> Self {
        let mut url = url.clone();
        url.set_fragment(None);
        Self(canonical(&url))
    }
}

/// A bare origin is written without a trailing slash.
fn canonical(url: &Url) -> String {
    let text = url.as_str();
    let is_origin = url.path() == "/" && url.query().is_none();
    if is_origin { text.trim_end_matches('/').to_owned() } else { text.to_owned() }
}

impl FromStr for Audience {
    type Err = InvalidAudience;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
        if text.is_empty() || text.len() > LONGEST || !text.bytes().all(allowed) {
            return Err(InvalidAudience);
        }
        match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => {
                let canonical = canonical(&url);
                if canonical.len() <= LONGEST { Ok(Self(canonical)) } else { Err(InvalidAudience) }
            }
            _ => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for Audience {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// The audiences of one token: one to [`MOST_AUDIENCES`]. The text is sorted and space-separated, so that one set has
/// one text and a MAC over it is stable.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AudienceSet(BTreeSet<Audience>);

impl AudienceSet {
    /// The set of these audiences.
    ///
    /// # Errors
    /// There is none, or there are more than [`MOST_AUDIENCES`].
    pub fn new(audiences: impl IntoIterator<Item = Audience>) -> Result<Self, InvalidAudience> {
        let audiences: BTreeSet<Audience> = audiences.into_iter().collect();
        if (1..=MOST_AUDIENCES).contains(&audiences.len()) {
            Ok(Self(audiences))
        } else {
            Err(InvalidAudience)
        }
    }

    /// Whether `audience` is in the set.
    pub fn contains(&self, audience: &Audience) -> bool {
        self.0.contains(audience)
    }

    /// Whether every audience of this set is in `other`.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    /// The audiences in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Audience> {
        self.0.iter()
    }
}

impl From<Audience> for AudienceSet {
    fn from(audience: Audience) -> Self {
        Self(BTreeSet::from([audience]))
    }
}

impl FromStr for AudienceSet {
    type Err = InvalidAudience;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let audiences = text.split(' ').map(str::parse).collect::<Result<Vec<_>, _>>()?;
        Self::new(audiences)
    }
}

impl TryFrom<String> for AudienceSet {
    type Error = InvalidAudience;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<AudienceSet> for String {
    fn from(audiences: AudienceSet) -> Self {
        audiences.to_string()
    }
}

impl fmt::Display for AudienceSet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, audience) in self.0.iter().enumerate() {
            if position > 0 {
                out.write_str(" ")?;
            }
            out.write_str(audience.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audiences_are_checked() {
        for good in ["https://api.example.com", "orders", "urn:example:api", &"a".repeat(255)] {
            assert_eq!(good.parse::<Audience>().unwrap().as_str(), good, "{good}");
        }
        for bad in ["", "a b", "a\n", "ü", "\u{1b}[2J", "https://api.example.com/#x", &"a".repeat(256)] {
            assert_eq!(bad.parse::<Audience>(), Err(InvalidAudience), "{bad}");
        }
    }

    #[test]
    fn two_spellings_of_one_address_are_one_audience() {
        for (written, canonical) in [
            ("https://API.example.com/", "https://api.example.com"),
            ("HTTPS://api.example.com:443", "https://api.example.com"),
            ("http://localhost:8080/", "http://localhost:8080"),
            ("https://api.example.com/orders/", "https://api.example.com/orders/"),
            ("https://api.example.com/?v=1", "https://api.example.com/?v=1"),
        ] {
            assert_eq!(written.parse::<Audience>().unwrap().as_str(), canonical, "{written}");
            assert_eq!(Audience::of_url(&written.parse().unwrap()).as_str(), canonical, "{written}");
        }
    }

    #[test]
    fn a_set_has_one_text_and_is_never_empty() {
        let set: AudienceSet = "https://b.example/ orders https://a.example".parse().unwrap();
        assert_eq!(set.to_string(), "https://a.example https://b.example orders");
        assert!(set.contains(&"https://B.example".parse().unwrap()));
        assert!("orders".parse::<AudienceSet>().unwrap().is_subset(&set));
        assert_eq!("".parse::<AudienceSet>(), Err(InvalidAudience));
        let many = (0..=MOST_AUDIENCES).map(|number| format!("a{number}").parse().unwrap());
        assert_eq!(AudienceSet::new(many), Err(InvalidAudience));
    }
}
