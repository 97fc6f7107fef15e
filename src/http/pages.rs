//! The broker's own pages: their frame, the choice of a provider, the front page.
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

use super::language::Language;
use super::messages::Message;
use crate::flow::login::ProviderChoice;

const STYLE: &str = include_str!("assets/page.css");

/// The policy of a page without scripts.
pub static NO_SCRIPT: LazyLock<HeaderValue> = LazyLock::new(|| policy_with_form("'none'"));

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
pub fn layout(language: Language, title: &str, head: Markup, body: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang=(language.tag()) {
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

/// The page that lets the person choose a provider, or go back. Each choice repeats the login's own parameters.
pub fn choose(
    client_name: &str,
    choices: &[(ProviderChoice, String)],
    back: &str,
    language: Language,
) -> Markup {
    layout(
        language,
        Message::SignIn.text(language),
        html! {},
        html! {
            main {
                h1 { (Message::SignInTo.with(language, client_name)) }
                p { (Message::ChooseHow.text(language)) }
                ul.choices {
                    @for (provider, link) in choices {
                        li { a.choice href=(link) { (Message::ContinueWith.with(language, &provider.display_name)) } }
                    }
                }
                p.back { a.quiet href=(back) { (Message::BackTo.with(language, client_name)) } }
            }
        },
    )
}

/// The front page of a production broker.
pub fn front(language: Language) -> Markup {
    layout(
        language,
        Message::Service.text(language),
        html! {},
        html! {
            main {
                h1 { (Message::Service.text(language)) }
                p { (Message::ServiceText.text(language)) }
            }
        },
    )
}
