//! The page on which a person chooses who to be, to say no, or to make this login fail.
//!
//! Its choices are links, not form fields: a policy on form targets would also cover where the broker sends
//! the browser afterwards.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use maud::{Markup, html};

use super::faults::{Fault, FaultGroup};
use super::pages;
use super::shared::Kind;
use super::users::{USERS, User};
use super::web::Params;

/// Shows it. `login_hint` is the user whom the request expects, `known` the one who signed in before with this browser.
pub(super) fn show(
    kind: Kind,
    path: &str,
    params: &Params,
    login_hint: Option<&'static User>,
    known: Option<&'static User>,
) -> HttpResponse {
    let client = params.get("client_id").map(String::as_str).unwrap_or_default();
    let suggested = login_hint.or(known).unwrap_or(&USERS[0]);
    let link = |choice: &[(&str, &str)]| link(path, params, choice);
    let mut people: Vec<_> = USERS.iter().collect();
    people.sort_by_key(|user| *user != suggested);
    let content = html! {
        p { "The application " strong { (client) } " asks who you are." }
        ul {
            @for user in people {
                li {
                    a.choice.first[user == suggested] href=(link(&[("user", user.name)])) {
                        span { "Continue as " (user.full_name) }
                        span { (user.name) @if known == Some(user) { ", signed in" } }
                    }
                }
            }
            li { a.choice.deny href=(link(&[("deny", "1")])) { "Deny" } }
        }
        details {
            summary { "Make something go wrong" }
            p.quiet { "Each link signs in as " (suggested.name) " and spoils this one login." }
            (faults(kind, |fault| link(&[("user", suggested.name), ("fault", fault.name())])))
        }
    };
    pages::page(StatusCode::OK, "Sign in", &content)
}

fn faults(kind: Kind, link: impl Fn(Fault) -> String) -> Markup {
    let concerns = move |fault: Fault| kind == Kind::Oidc || fault.concerns_plain_oauth2();
    let of = |group| {
        let all = Fault::ALL.iter().copied().filter(move |fault| fault.group() == group);
        all.filter(move |fault| concerns(*fault))
    };
    let item = |fault: Fault, label: &str| {
        html! { li.fault { a href=(link(fault)) { span { (label) } " " code { (fault.name()) } } } }
    };
    html! {
        h2 { "Most used" }
        ul {
            @for (fault, label) in Fault::MOST_USED.into_iter().filter(|(fault, _)| concerns(*fault)) {
                (item(fault, label))
            }
        }
        h2 { "All of them" }
        @for group in FaultGroup::ALL.into_iter().filter(|group| of(*group).count() > 0) {
            details.group {
                summary { (group.label()) " " span.quiet { (of(group).count()) } }
                ul {
                    @for fault in of(group) { (item(fault, fault.label())) }
                }
            }
        }
    }
}

/// The same request with the choice appended.
fn link(path: &str, params: &Params, choice: &[(&str, &str)]) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    let kept = |name: &str| choice.iter().all(|(chosen, _)| *chosen != name);
    query.extend_pairs(params.iter().filter(|(name, _)| kept(name)));
    query.extend_pairs(choice);
    format!("{path}?{}", query.finish())
}
