//! The pages of a logout in the browser.

use std::sync::LazyLock;

use actix_web::http::header::HeaderValue;
use maud::{Markup, html};

use super::language::Language;
use super::messages::Message;
use super::pages::{self, layout};
use crate::flow::browser_logout::Question;

/// The policy of the page that asks: its form goes to this origin. What follows the form is a page again, not a
/// redirect, because browsers hold redirects of a form to the same list, and no one can name every host that a
/// provider's logout leads through.
pub static OWN_FORM: LazyLock<HeaderValue> = LazyLock::new(|| pages::policy_with_form("'self'"));

/// The question, with a form that repeats the request.
pub fn ask(question: &Question, fields: &[(&str, &str)], language: Language) -> Markup {
    let title = match &question.client {
        Some(client) => Message::SignOutOf.with(language, client),
        None => Message::SignOutQuestion.text(language).to_owned(),
    };
    layout(
        language,
        &title,
        // Otherwise the form would be sent with the origin `null` (Fetch, "append a request Origin header").
        html! { meta name="referrer" content="same-origin"; },
        html! {
            main {
                h1 { (title) }
                p { (signed_in(question, language)) }
                form.actions method="post" action="/logout" {
                    @for (name, value) in fields { input type="hidden" name=(name) value=(value); }
                    button.button type="submit" { (Message::SignOut.text(language)) }
                    @if let Some(stay) = &question.stay {
                        a.quiet href=(stay) { (Message::StaySignedIn.text(language)) }
                    }
                }
            }
        },
    )
}

/// As whom, and with which provider.
fn signed_in(question: &Question, language: Language) -> Markup {
    let (message, names) = match (&question.person, &question.provider) {
        (Some(person), Some(provider)) => {
            (Message::SignedInAsWith, vec![html! { strong { (person) } }, html! { (provider) }])
        }
        (Some(person), None) => (Message::SignedInAs, vec![html! { strong { (person) } }]),
        (None, Some(provider)) => (Message::SignedInWith, vec![html! { (provider) }]),
        (None, None) => (Message::SignedIn, Vec::new()),
    };
    let mut names = names.into_iter();
    html! {
        @for (i, part) in message.text(language).split("{}").enumerate() {
            @if i > 0 { @if let Some(name) = names.next() { (name) } }
            (part)
        }
    }
}

/// The end: nothing leads on by itself.
pub fn signed_out(unreachable: Option<&str>, back: Option<&str>, language: Language) -> Markup {
    layout(
        language,
        Message::SignedOut.text(language),
        html! {},
        html! {
            main {
                h1 { (Message::SignedOut.text(language)) }
                @match unreachable {
                    Some(provider) => { p role="alert" { (Message::ProviderUnreachable.with(language, provider)) } }
                    None => { p { (Message::CanClose.text(language)) } }
                }
                @if let Some(back) = back { p { a.button href=(back) { (Message::Continue.text(language)) } } }
            }
        },
    )
}

/// Signed out here; the browser continues by itself, or by a link if it does not.
pub fn going_on(location: &str, provider: Option<&str>, language: Language) -> Markup {
    layout(
        language,
        Message::SignedOut.text(language),
        html! { meta http-equiv="refresh" content=(format!("0;url={location}")); },
        html! {
            main {
                h1 { (Message::SignedOut.text(language)) }
                @if let Some(provider) = provider { p { (Message::SigningOutAt.with(language, provider)) } }
                p { a.button href=(location) { (Message::Continue.text(language)) } }
            }
        },
    )
}
