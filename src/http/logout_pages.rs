//! The pages of a logout in the browser.

use maud::{Markup, html};

use super::pages::{self, layout};
use crate::flow::browser_logout::Question;

/// The question, with a form that repeats the request.
pub fn ask(question: &Question, fields: &[(&str, &str)]) -> Markup {
    let title = match &question.client {
        Some(client) => format!("Sign out of {client}?"),
        None => "Sign out?".to_owned(),
    };
    layout(
        &title,
        // No one can name every host that a provider's logout leads through, so the answer to the form is a page.
        pages::own_form_head(),
        html! {
            main {
                h1 { (title) }
                @match (&question.person, &question.provider) {
                    (Some(person), Some(provider)) => p { "You are signed in as " strong { (person) } " with " (provider) "." },
                    (Some(person), None) => p { "You are signed in as " strong { (person) } "." },
                    (None, Some(provider)) => p { "You are signed in with " (provider) "." },
                    (None, None) => p { "You are signed in." },
                }
                form.actions method="post" action="/logout" {
                    @for (name, value) in fields { input type="hidden" name=(name) value=(value); }
                    button.button type="submit" { "Sign out" }
                    @if let Some(stay) = &question.stay { a.quiet href=(stay) { "Stay signed in" } }
                }
            }
        },
    )
}

/// The end: nothing leads on by itself.
pub fn signed_out(unreachable: Option<&str>, back: Option<&str>) -> Markup {
    layout(
        "You are signed out",
        html! {},
        html! {
            main {
                h1 { "You are signed out" }
                @match unreachable {
                    Some(provider) => p role="alert" {
                        (provider) " could not be reached: you may still be signed in there. On a shared computer, sign out there as well."
                    },
                    None => p { "You can close this page." },
                }
                @if let Some(back) = back { p { a.button href=(back) { "Continue" } } }
            }
        },
    )
}

/// Signed out here; the browser continues by itself, or by a link if it does not.
pub fn going_on(location: &str, provider: Option<&str>) -> Markup {
    layout(
        "You are signed out",
        html! { meta http-equiv="refresh" content=(format!("0;url={location}")); },
        html! {
            main {
                h1 { "You are signed out" }
                @if let Some(provider) = provider { p { "Now signing out at " (provider) "." } }
                p { a.button href=(location) { "Continue" } }
            }
        },
    )
}
