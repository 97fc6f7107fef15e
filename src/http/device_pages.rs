//! The pages that connect a device.

use maud::{Markup, html};
use url::form_urlencoded;

use super::language::Language;
use super::messages::{self, Message};
use super::pages::{layout, own_form_head, sentence, signed_in};
use crate::domain::device_code::UserCode;
use crate::flow::device_page::{Account, CodeProblem, DevicePage, Question};
use crate::flow::device_sign_in::SignInChoice;

/// The page for this state of the connection.
pub fn page(page: &DevicePage, language: Language) -> Markup {
    match page {
        DevicePage::SignIn(choice) => sign_in(choice, language),
        DevicePage::Enter { account, code, problem } => enter(account, code.as_ref(), *problem, language),
        DevicePage::Ask(question) => ask(question, language),
        DevicePage::Connected { client } => {
            let text = Message::DeviceConnectedText.with(language, client);
            end(Message::DeviceConnected, &text, language)
        }
        DevicePage::Refused => {
            end(Message::DeviceRefused, Message::DeviceRefusedText.text(language), language)
        }
    }
}

fn sign_in(choice: &SignInChoice, language: Language) -> Markup {
    let title = Message::ConnectDevice.text(language);
    let failure = choice.failure.map(|code| messages::of_error(code, code.public_text(), language));
    layout(
        language,
        title,
        html! {},
        html! {
            main {
                h1 { (title) }
                @if let Some(failure) = failure { p.problem role="alert" { (failure) } }
                p { (Message::SignInForDevice.text(language)) }
                (advice(language))
                ul.choices {
                    @for provider in &choice.providers {
                        li {
                            a.choice href=(sign_in_link(choice, provider.id.as_str())) {
                                (Message::ContinueWith.with(language, &provider.display_name))
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

fn enter(
    account: &Account,
    code: Option<&UserCode>,
    problem: Option<CodeProblem>,
    language: Language,
) -> Markup {
    let title = Message::ConnectDevice.text(language);
    let what_to_do = if code.is_some() { Message::CompareCode } else { Message::EnterCode };
    layout(
        language,
        title,
        own_form_head(),
        html! {
            main {
                h1 { (title) }
                @if let Some(problem) = problem { p.problem role="alert" { (text(problem).text(language)) } }
                p { (what_to_do.text(language)) }
                form method="post" action="/device" {
                    label.field {
                        (Message::Code.text(language))
                        input name="user_code" required value=[code.map(UserCode::to_string)] placeholder="XXXX-XXXX"
                            maxlength="32" autocomplete="off" autocapitalize="characters" spellcheck="false";
                    }
                    p.actions {
                        button.button type="submit" { (Message::Continue.text(language)) }
                    }
                }
                (advice(language))
                (signed_in_as(account, code, language))
            }
        },
    )
}

fn text(problem: CodeProblem) -> Message {
    match problem {
        CodeProblem::Malformed => Message::CodeMalformed,
        CodeProblem::Unknown => Message::CodeUnknown,
        CodeProblem::Answered => Message::CodeAnswered,
    }
}

fn ask(question: &Question, language: Language) -> Markup {
    let title = Message::ConnectToAccount.with(language, &question.client);
    layout(
        language,
        &title,
        own_form_head(),
        html! {
            main {
                h1 { (title) }
                p { (Message::DeviceShowsCode.text(language)) }
                code.user-code { (question.code) }
                p { (came_from(question, language)) " " (may_act(question, language)) }
                (advice(language))
                form.actions method="post" action="/device" {
                    input type="hidden" name="user_code" value=(question.code);
                    input type="hidden" name="question" value=(question.sealed);
                    button.button type="submit" name="answer" value="connect" {
                        (Message::Connect.text(language))
                    }
                    button.button.plain type="submit" name="answer" value="refuse" {
                        (Message::DoNotConnect.text(language))
                    }
                }
                (signed_in_as(&question.account, Some(&question.code), language))
            }
        },
    )
}

/// Where the request came from.
fn came_from(question: &Question, language: Language) -> Markup {
    let network = html! { (question.address_prefix) };
    match &question.device {
        Some(device) => sentence(Message::CameFromDevice, [html! { strong { (device) } }, network], language),
        None => sentence(Message::CameFromNetwork, [network], language),
    }
}

/// What the client will be able to do.
fn may_act(question: &Question, language: Language) -> Markup {
    let client = html! { (question.client) };
    if question.scopes.is_empty() {
        return sentence(Message::MayAct, [client], language);
    }
    sentence(Message::MayActWithin, [client, html! { (question.scopes.join(", ")) }], language)
}

/// What protects people from those who send them a code.
fn advice(language: Language) -> Markup {
    html! {
        p {
            strong { (Message::OnlyYourOwnDevice.text(language)) }
            " " (Message::SentByOthers.text(language))
        }
    }
}

fn signed_in_as(account: &Account, code: Option<&UserCode>, language: Language) -> Markup {
    html! {
        p.small {
            (signed_in(account.person.as_deref(), account.provider.as_deref(), language)) " "
            a.quiet href=(link(code, &[Some(("prompt", "select_account"))])) {
                (Message::UseAnotherAccount.text(language))
            }
        }
    }
}

fn end(title: Message, text: &str, language: Language) -> Markup {
    let title = title.text(language);
    layout(
        language,
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
