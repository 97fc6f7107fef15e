//! The pages that connect a device.

use maud::{Markup, html};
use url::form_urlencoded;

use super::pages::{layout, own_form_head};
use crate::domain::device_code::UserCode;
use crate::flow::device_page::{Account, CodeProblem, DevicePage, Question};
use crate::flow::device_sign_in::SignInChoice;

/// The page for this state of the connection.
pub fn page(page: &DevicePage) -> Markup {
    match page {
        DevicePage::SignIn(choice) => sign_in(choice),
        DevicePage::Enter { account, code, problem } => enter(account, code.as_ref(), *problem),
        DevicePage::Ask(question) => ask(question),
        DevicePage::Connected { client } => end(
            "Your device is connected",
            html! { (client) " is signed in with your account now. You can close this page and go back to your device." },
        ),
        DevicePage::Refused => end(
            "The device was not connected",
            html! { "It has no access to your account. You can close this page." },
        ),
    }
}

fn sign_in(choice: &SignInChoice) -> Markup {
    layout(
        "Connect a device",
        html! {},
        html! {
            main {
                h1 { "Connect a device" }
                @if let Some(failure) = choice.failure {
                    p.problem role="alert" { (failure.public_text()) }
                }
                p { "Sign in first. Then you enter the code that your device shows, and decide whether it may use your account." }
                (advice())
                ul.choices {
                    @for provider in &choice.providers {
                        li {
                            a.choice href=(sign_in_link(choice, provider.id.as_str())) {
                                "Continue with " (provider.display_name)
                            }
                        }
                    }
                }
            }
        },
    )
}

fn sign_in_link(choice: &SignInChoice, provider: &str) -> String {
    let prompt = choice.other_account.then_some(("prompt", "select_account"));
    link(choice.code.as_ref(), &[Some(("provider", provider)), prompt])
}

fn link(code: Option<&UserCode>, rest: &[Option<(&str, &str)>]) -> String {
    let code = code.map(UserCode::to_string);
    let code = code.as_deref().map(|code| ("user_code", code));
    let pairs = code.into_iter().chain(rest.iter().copied().flatten());
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    format!("/device/sign_in?{query}")
}

fn enter(account: &Account, code: Option<&UserCode>, problem: Option<CodeProblem>) -> Markup {
    layout(
        "Connect a device",
        own_form_head(),
        html! {
            main {
                h1 { "Connect a device" }
                @if let Some(problem) = problem { p.problem role="alert" { (text(problem)) } }
                @match code {
                    Some(_) => p { "Compare this code with the one that your device shows." },
                    None => p { "Enter the code that your device shows." },
                }
                form method="post" action="/device" {
                    label.field {
                        "Code"
                        input name="user_code" required value=[code.map(UserCode::to_string)] placeholder="XXXX-XXXX"
                            maxlength="32" autocomplete="off" autocapitalize="characters" spellcheck="false";
                    }
                    p.actions {
                        button.button type="submit" { "Continue" }
                    }
                }
                (advice())
                (signed_in_as(account, code))
            }
        },
    )
}

fn text(problem: CodeProblem) -> &'static str {
    match problem {
        CodeProblem::Malformed => "That is not a code: it has eight letters, as in WDJB-MJHT.",
        CodeProblem::Unknown => {
            "No device is waiting with this code. Check it, or start again on your device: a code is valid for ten minutes."
        }
        CodeProblem::Answered => "This code was already used. Start again on your device.",
    }
}

fn ask(question: &Question) -> Markup {
    let title = format!("Connect {} to your account?", question.client);
    layout(
        &title,
        own_form_head(),
        html! {
            main {
                h1 { (title) }
                p { "Your device must show this code:" }
                code.user-code { (question.code) }
                p {
                    @match &question.device {
                        Some(device) => { "The request came from " strong { (device) } ", in the network " },
                        None => { "The request came from the network " },
                    }
                    (question.address_prefix) ". "
                    (question.client) " will be able to act for you"
                    @if question.scopes.is_empty() { "." } @else { ": " (question.scopes.join(", ")) "." }
                }
                (advice())
                form.actions method="post" action="/device" {
                    input type="hidden" name="user_code" value=(question.code);
                    input type="hidden" name="question" value=(question.sealed);
                    button.button type="submit" name="answer" value="connect" { "Connect" }
                    button.button.plain type="submit" name="answer" value="refuse" { "Do not connect" }
                }
                (signed_in_as(&question.account, Some(&question.code)))
            }
        },
    )
}

/// What protects people from those who send them a code.
fn advice() -> Markup {
    html! {
        p {
            strong { "Only continue if you started this on your own device, just now." }
            " If someone sent you the code or a link, or asked you to come here, do not continue: they would be signed in as you."
        }
    }
}

fn signed_in_as(account: &Account, code: Option<&UserCode>) -> Markup {
    html! {
        p.small {
            @match (&account.person, &account.provider) {
                (Some(person), Some(provider)) => { "You are signed in as " strong { (person) } " with " (provider) ". " },
                (Some(person), None) => { "You are signed in as " strong { (person) } ". " },
                (None, Some(provider)) => { "You are signed in with " (provider) ". " },
                (None, None) => { "You are signed in. " },
            }
            a.quiet href=(link(code, &[Some(("prompt", "select_account"))])) { "Use another account" }
        }
    }
}

fn end(title: &str, text: Markup) -> Markup {
    layout(
        title,
        html! {},
        html! {
            main {
                h1 { (title) }
                p role="status" { (text) }
            }
        },
    )
}
