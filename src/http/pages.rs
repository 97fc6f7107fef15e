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

/// A sentence with each `{}` replaced by a name.
pub fn sentence(message: Message, names: impl IntoIterator<Item = Markup>, language: Language) -> Markup {
    let mut names = names.into_iter();
    html! {
        @for (i, part) in message.text(language).split("{}").enumerate() {
            @if i > 0 { @if let Some(name) = names.next() { (name) } }
            (part)
        }
    }
}

/// As whom a person is signed in, and with which provider.
pub fn signed_in(person: Option<&str>, provider: Option<&str>, language: Language) -> Markup {
    let message = match (person, provider) {
        (Some(_), Some(_)) => Message::SignedInAsWith,
        (Some(_), None) => Message::SignedInAs,
        (None, Some(_)) => Message::SignedInWith,
        (None, None) => Message::SignedIn,
    };
    let person = person.map(|person| html! { strong { (person) } });
    let provider = provider.map(|provider| html! { (provider) });
    sentence(message, person.into_iter().chain(provider), language)
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
