//! Identity headers that the visitor makes up.

use super::*;
use crate::support::raw;

/// Every spelling that a server, a CGI program or a framework may read as one of the identity headers.
fn spellings() -> Vec<String> {
    let mut spellings = Vec::new();
    for name in [
        "User",
        "Username",
        "Name",
        "Email",
        "Email-Verified",
        "Provider",
        "Groups",
        "Permissions",
        "Assertion",
        "Client",
        "Scope",
    ] {
        for first in ["-", "_", "."] {
            for second in ["-", "_", "."] {
                let text = format!("X{first}Auth{second}{name}");
                spellings.extend([text.to_lowercase(), text.to_uppercase(), text]);
            }
        }
    }
    spellings
}

pub(super) async fn spoofed_headers_never_arrive(kind: Kind) {
    let installation = Installation::new(kind, Setup::default()).await;
    let token = installation.sign_in("alice").await;
    let expected = alice(&installation, &token).await;
    let bearer = format!("Bearer {token}");
    for spelling in spellings().chunks(27) {
        let spoofed = spelling.iter().map(|name| (name.as_str(), "admin"));
        let headers: Vec<_> = [("Authorization", &*bearer)].into_iter().chain(spoofed).collect();
        let answer = raw::send(&installation.gateway.url, raw::request("GET", "/", &headers)).await;
        assert_eq!(answer.status(), Some(200), "{kind:?}: {answer:?} {}", installation.gateway.log());
        let body = &answer.body()[answer.body().find('{').unwrap()..=answer.body().rfind('}').unwrap()];
        let arrived = Arrived(serde_json::from_str(body).unwrap());
        assert_eq!(arrived.headers("x-auth"), expected, "{kind:?}: {spelling:?}");
    }
}
