//! The pages of a logout in the browser.

use maud::{Markup, html};

use super::language::Language;
use super::messages::Message;
use super::pages::{self, layout};
use crate::flow::browser_logout::Question;

/// The question, with a form that repeats the request.
pub fn ask(question: &Question, fields: &[(&str, &str)], language: Language) -> Markup {
    let title = match &question.client {
        Some(client) => Message::SignOutOf.with(language, client),
        None => Message::SignOutQuestion.text(language).to_owned(),
    };
    layout(
        language,
        &title,
        // No one can name every host that a provider's logout leads through, so the answer to the form is a page.
        pages::own_form_head(),
        html! {
            main {
                h1 { (title) }
                p { (pages::signed_in(question.person.as_deref(), question.provider.as_deref(), language)) }
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
