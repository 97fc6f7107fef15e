//! The broker's own pages: errors in plain words, the choice of a provider, the front page.
//!
//! The template escapes everything. No page has an inline script; the inline style sheet is allowed by its hash in
//! the Content-Security-Policy.

use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::header::{CONTENT_SECURITY_POLICY, ContentType, HeaderMap, HeaderName, HeaderValue};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::extract::parameters::{Parameters, parameters};
use crate::error::ErrorCode;
use crate::flow::login::ProviderChoice;
use crate::state::Broker;

const STYLE: &str = include_str!("assets/page.css");

/// The policy of a page without scripts.
pub static NO_SCRIPT: LazyLock<HeaderValue> = LazyLock::new(|| policy_with_form("'none'"));

/// The policy of a page without scripts whose form goes to this origin. What follows the form is a page again, not a
/// redirect to another origin, because browsers hold redirects of a form to the same list.
pub static OWN_FORM: LazyLock<HeaderValue> = LazyLock::new(|| policy_with_form("'self'"));

/// For the head of a page with [`OWN_FORM`]: otherwise the form would be sent with the origin `null` (Fetch, "append a
/// request Origin header").
pub fn own_form_head() -> Markup {
    html! { meta name="referrer" content="same-origin"; }
}

/// The policy of a page without scripts whose form goes to `form_action`.
#[expect(clippy::expect_used, reason = "constants and base64 always make a header")]
pub fn policy_with_form(form_action: &str) -> HeaderValue {
    let hash = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; \
         frame-ancestors 'none'; base-uri 'none'; form-action {form_action}"
    );
    HeaderValue::from_str(&policy).expect("a policy is visible ASCII")
}

/// The headers that a page has beyond every answer's.
pub fn add_headers(headers: &mut HeaderMap, policy: &HeaderValue) {
    headers.insert(CONTENT_SECURITY_POLICY, policy.clone());
    headers.insert(
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    );
}

/// The answer that shows `page`.
pub fn answer(page: Markup, policy: &HeaderValue) -> HttpResponse {
    let mut response = HttpResponse::Ok().content_type(ContentType::html()).body(page.into_string());
    add_headers(response.headers_mut(), policy);
    response
}

/// The frame of every page.
pub fn layout(title: &str, head: Markup, body: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
                (head)
            }
            body { (body) }
        }
    }
}

/// What the person was doing: as a name, and as what to do again.
pub type Doing = [&'static str; 2];

/// Signing in.
pub const SIGN_IN: Doing = ["Sign-in", "sign in"];

/// Signing out.
pub const SIGN_OUT: Doing = ["Sign-out", "sign out"];

/// Connecting a device.
pub const CONNECT: Doing = ["The connection of the device", "connect the device"];

/// The page that says what went wrong with what the person did, and how to begin anew: by a link to the
/// application where that is known.
pub fn error(
    [what, act]: Doing,
    code: ErrorCode,
    text: &str,
    request_id: &str,
    start_again: Option<&str>,
) -> Markup {
    let failed = if code.status() >= 500 { "is not possible right now" } else { "failed" };
    let title = format!("{what} {failed}");
    layout(
        &title,
        html! {},
        html! {
            main {
                div role="alert" {
                    h1 { (title) }
                    p { (text) }
                }
                @match start_again {
                    Some(address) => p { a.button href=(address) { "Start again" } },
                    None => p { "Go back to the application and " (act) " again." },
                }
                p.small {
                    "If this happens again, tell the people who run this service: "
                    code { (code) } " · request " code { (request_id) }
                }
            }
        },
    )
}

/// The page that lets the person choose a provider, or go back. Each choice repeats the login's own parameters.
pub fn choose(client_name: &str, choices: &[(ProviderChoice, String)], back: &str) -> Markup {
    layout(
        "Sign in",
        html! {},
        html! {
            main {
                h1 { "Sign in to " (client_name) }
                p { "Choose how you want to sign in." }
                ul.choices {
                    @for (provider, link) in choices {
                        li { a.choice href=(link) { "Continue with " (provider.display_name) } }
                    }
                }
                p.back { a.quiet href=(back) { "Back to " (client_name) } }
            }
        },
    )
}

/// The front page of a production broker.
pub fn front() -> Markup {
    layout(
        "Sign-in service",
        html! {},
        html! {
            main {
                h1 { "Sign-in service" }
                p { "This address signs people in to other applications. Open the application you want to use; it will bring you here when needed." }
            }
        },
    )
}

parameters! {
    /// The client that a query names.
    struct ClientParameter { client_id }
}

/// The target of "Start again": the application that the query names, or the only one. The address is the
/// registered one, never one from the request.
pub fn start_again(broker: &Broker, query: &str) -> Option<String> {
    let ClientParameter { client_id } = ClientParameter::read(query.as_bytes()).unwrap_or_default();
    let named = client_id.and_then(|id| broker.clients.find(&id));
    let client = named.or_else(|| broker.clients.only())?;
    Some(format!("{}/", client.redirect_uris.first()?.origin()))
}
