//! Identifiers. Each kind has its own type, so that ids of different tables cannot be confused.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::entropy::{self, Entropy};

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Generates a random id.
            pub fn random(entropy: &dyn Entropy) -> Self {
                Self(entropy::uuid(entropy))
            }

            /// The id as a UUID.
            pub fn as_uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(out)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::try_parse(text).map(Self)
            }
        }
    };
}

uuid_id!(
    /// The stable local id of a user, which resource servers see as `sub`.
    UserId
);
uuid_id!(
    /// The id of an identity: a (provider, subject) pair that belongs to a user.
    IdentityId
);
uuid_id!(
    /// The id of a session: one sign-in in one browser.
    SessionId
);
uuid_id!(
    /// The id of an API token's row. The token cannot be computed from it.
    TokenId
);

/// The text is not a valid name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 32 characters of a-z, 0-9, '-' and '_' and start with a letter or digit")]
pub struct InvalidName;

fn check_name(text: &str) -> Result<(), InvalidName> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    let starts_well = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    if starts_well && text.len() <= 32 && text.chars().all(allowed) { Ok(()) } else { Err(InvalidName) }
}

macro_rules! name_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// 1 to 32 characters of `a-z`, `0-9`, `-` and `_`, which are safe in a path, a header and a cookie.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                check_name(text).map(|()| Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                check_name(&text).map(|()| Self(text))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }
    };
}

name_id!(
    /// The id of a configured client (RFC 6749 section 2.2).
    ClientId
);
name_id!(
    /// The id of a configured identity provider.
    ProviderId
);
name_id!(
    /// The id of a registered resource server: an API that verifies tokens at the broker.
    ResourceServerId
);
name_id!(
    /// The id of a configured policy, as it is written into a gateway's configuration.
    PolicyId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in ["web", "a", "ops-2", "corp_login", "0x"] {
            assert!(good.parse::<ClientId>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "_a", "Web", "a b", "a/b", "ü", "a.b", "https://x", &"a".repeat(33)] {
            assert_eq!(bad.parse::<ProviderId>(), Err(InvalidName), "{bad}");
        }
    }
}
