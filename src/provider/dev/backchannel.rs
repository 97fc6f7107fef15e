//! Tells clients that a person has signed out (OpenID Connect Back-Channel Logout 1.0 section 2.5).

use std::time::Duration;

use reqwest::Client;
use serde_json::json;

use super::id_token;
use super::shared::{Session, Shared};

/// How long the browser waits for one client.
const PATIENCE: Duration = Duration::from_secs(2);

/// Tells every client that wants to know, one after the other. One that does not answer changes nothing: a
/// provider cannot do more than try.
pub(super) async fn tell_clients(shared: &Shared, session: &Session) {
    for (client_id, address) in shared.logout_addresses() {
        let now = shared.now().timestamp();
        let claims = json!({
            "iss": shared.url, "aud": client_id, "iat": now, "exp": now + 120, "jti": shared.random_name(),
            "sub": session.user.sub, "sid": session.sid(),
            "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
        });
        let Ok(token) = id_token::sign(shared, "logout+jwt", &claims) else { continue };
        let told = match client() {
            Some(client) => client.post(&address).form(&[("logout_token", token)]).send().await.ok(),
            None => None,
        };
        let status = told.map(|answer| answer.status().as_u16());
        tracing::debug!(client_id, status, "a client was told of a logout");
    }
}

/// A plain client: whom it calls is on this machine.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the provider's side, which shares nothing with the broker's"
)]
fn client() -> Option<Client> {
    let builder = Client::builder().no_proxy().timeout(PATIENCE).redirect(reqwest::redirect::Policy::none());
    builder.tls_certs_only([]).build().ok()
}
