//! Scopes: what a token may be used for (RFC 6749 section 3.3).

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The most characters that the text of a scope set may have.
const LONGEST_SET: usize = 1000;

/// One scope: visible ASCII without quotation mark and backslash (`scope-token` of RFC 6749 section 3.3).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(String);

/// Why a text is not a scope, or not a set of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be visible ASCII characters other than '\"' and '\\', with single spaces between scopes, at most 1000 in all"
)]
pub struct InvalidScope;

impl Scope {
    /// The scope as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
        let valid = !text.is_empty() && text.len() <= LONGEST_SET && text.bytes().all(allowed);
        if valid { Ok(Self(text.to_owned())) } else { Err(InvalidScope) }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// A set of scopes. Its text is sorted, so that one set has one text and a MAC over it is stable.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ScopeSet(BTreeSet<Scope>);

impl ScopeSet {
    /// Whether the scope named `scope` is in the set.
    pub fn contains(&self, scope: &str) -> bool {
        self.iter().any(|granted| granted.as_str() == scope)
    }

    /// Whether every scope of this set is in `other`.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    /// The scopes in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Scope> {
        self.0.iter()
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().collect())
    }
}

impl FromStr for ScopeSet {
    type Err = InvalidScope;

    /// Reads the space-separated form; the empty text is the empty set.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        if text.len() > LONGEST_SET {
            return Err(InvalidScope);
        }
        text.split(' ').map(str::parse).collect()
    }
}

impl TryFrom<String> for ScopeSet {
    type Error = InvalidScope;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ScopeSet> for String {
    fn from(scopes: ScopeSet) -> Self {
        scopes.to_string()
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, scope) in self.0.iter().enumerate() {
            if position > 0 {
                out.write_str(" ")?;
            }
            out.write_str(scope.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_scope_is_visible_ascii_without_quotation_mark_and_backslash() {
        for good in ["profile", "orders:read", "https://api.example.com/x", "!", "#", "[]", "~"] {
            assert!(good.parse::<Scope>().is_ok(), "{good}");
        }
        for bad in ["", "a b", "a\"b", "a\\b", "ü", "a\n", "a\u{7f}", &"a".repeat(1001)] {
            assert_eq!(bad.parse::<Scope>(), Err(InvalidScope), "{bad:?}");
        }
    }

    #[test]
    fn a_set_has_one_text() {
        let one: ScopeSet = "profile permissions profile".parse().unwrap();
        let other: ScopeSet = "permissions profile".parse().unwrap();
        assert_eq!(one, other);
        assert_eq!(one.to_string(), "permissions profile");
        assert!(one.contains("profile") && !one.contains("prof"));
        assert_eq!("".parse::<ScopeSet>().unwrap().to_string(), "");
        for bad in [" ", "a  b", " a", "a ", "a\tb"] {
            assert_eq!(bad.parse::<ScopeSet>(), Err(InvalidScope), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn the_text_of_a_set_reads_back(scopes in proptest::collection::vec("[!#-\\[\\]-~]{1,20}", 0..20)) {
            let set: ScopeSet = scopes.iter().map(|scope| scope.parse().unwrap()).collect();
            prop_assert_eq!(set.to_string().parse::<ScopeSet>().unwrap(), set);
        }
    }
}
