//! The people who can sign in here.

/// A person of the development provider.
#[derive(Debug, PartialEq, Eq)]
pub struct User {
    /// The login name; the plain provider's documents call it `name`.
    pub name: &'static str,
    /// The OpenID Connect subject: opaque, as real providers have it.
    pub sub: &'static str,
    /// The full name; the plain provider's documents call it `name_cn`.
    pub full_name: &'static str,
    /// The email address; verified.
    pub email: &'static str,
    /// The groups.
    pub groups: &'static [&'static str],
    /// The permissions.
    pub permissions: &'static [&'static str],
}

/// All users.
pub static USERS: [User; 2] = [
    User {
        name: "alice",
        sub: "8d1f0c52-alice",
        full_name: "Alice Example",
        email: "alice@example.com",
        groups: &["staff", "admins"],
        permissions: &["report.read", "report.write", "user.manage"],
    },
    User {
        name: "bob",
        sub: "c3a97e10-bob",
        full_name: "Bob 鲍勃",
        email: "bob@example.com",
        groups: &["staff"],
        permissions: &["report.read"],
    },
];

impl User {
    /// The person of that login name.
    pub fn named(name: &str) -> Option<&'static Self> {
        USERS.iter().find(|user| user.name == name)
    }
}
