//! The way back to the broker (RFC 6749 section 4.1.2, RFC 9207) and everything that can be wrong with it.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header;
use url::Url;

use super::faults::{Fault, FaultSwitch};
use super::person::HOSTILE;
use super::shared::{Kind, Shared};
use super::web::{self, Params};

/// Where the answer to an authorization request goes; once it is known, errors also go there.
#[derive(Debug)]
pub(super) struct ReturnAddress {
    pub kind: Kind,
    pub client_id: String,
    /// As it was given: the token request must repeat it exactly.
    pub redirect_uri: String,
    target: Url,
    state: Option<String>,
}

/// How the request ended.
pub(super) enum Outcome {
    Code(String),
    Error(&'static str),
}

impl ReturnAddress {
    /// Checks client and address; nothing may be redirected before that (RFC 6749 section 4.1.2.1).
    pub(super) fn read(kind: Kind, params: &Params, shared: &Shared) -> Result<Self, &'static str> {
        let client_id = params.get("client_id").ok_or("client_id is missing.")?;
        let redirect_uri = params.get("redirect_uri").ok_or("redirect_uri is missing.")?;
        if !shared.may_redirect(client_id, redirect_uri) {
            return Err("The client is unknown, or redirect_uri is not registered for it.");
        }
        Ok(Self {
            kind,
            client_id: client_id.clone(),
            redirect_uri: redirect_uri.clone(),
            target: Url::parse(redirect_uri).map_err(|_| "redirect_uri is not a URL.")?,
            state: params.get("state").cloned(),
        })
    }
}

/// Sends the browser back.
pub(super) fn redirect(
    shared: &Shared,
    back: &ReturnAddress,
    outcome: Outcome,
    fault: Option<Fault>,
) -> HttpResponse {
    let mut answer = match outcome {
        Outcome::Code(code) => vec![("code", code)],
        Outcome::Error(error) => vec![("error", error.to_owned())],
    };
    answer.extend(back.state.clone().map(|state| ("state", state)));
    if back.kind == Kind::Oidc && !shared.is_on(FaultSwitch::DiscoveryNoIssParameter) {
        answer.push(("iss", shared.url.clone()));
    }
    if let Some(fault) = fault {
        spoil(shared, fault, &mut answer);
    }
    let mut target = back.target.clone();
    target.query_pairs_mut().extend_pairs(answer);
    web::uncached(StatusCode::SEE_OTHER)
        .insert_header((header::LOCATION, target.to_string()))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .finish()
}

fn spoil(shared: &Shared, fault: Fault, answer: &mut Vec<(&'static str, String)>) {
    let without = |name: &str, answer: &mut Vec<(&'static str, String)>| answer.retain(|(n, _)| *n != name);
    match fault {
        Fault::CallbackErrorServerError => {
            without("code", answer);
            answer.push(("error", "server_error".into()));
        }
        Fault::CallbackErrorTemporarilyUnavailable => {
            without("code", answer);
            answer.push(("error", "temporarily_unavailable".into()));
        }
        Fault::CallbackErrorUnknown => {
            without("code", answer);
            answer.push(("error", format!("made_up_error{HOSTILE}")));
            answer.push(("error_description", HOSTILE.into()));
            answer.push(("error_uri", "javascript:alert(1)".into()));
        }
        Fault::CallbackErrorAndCode => answer.push(("error", "access_denied".into())),
        Fault::CallbackNeither => without("code", answer),
        Fault::CallbackDuplicateState => answer.push(("state", shared.random_name())),
        Fault::CallbackDuplicateCode => answer.push(("code", shared.random_name())),
        Fault::CallbackDuplicateIss => {
            let iss = answer.iter().find(|(name, _)| *name == "iss").cloned();
            answer.extend(iss);
        }
        Fault::CallbackWrongState => {
            without("state", answer);
            answer.push(("state", shared.random_name()));
        }
        Fault::CallbackMissingState => without("state", answer),
        Fault::CallbackLongCode => {
            without("code", answer);
            answer.push(("code", "c".repeat(2049)));
        }
        Fault::CallbackControlCode => {
            without("code", answer);
            answer.push(("code", "code\r\nSet-Cookie: hostile=1".into()));
        }
        Fault::CallbackUnknownParameter => {
            answer.push(("session_state", shared.random_name()));
            answer.push(("scope", "openid".into()));
        }
        Fault::CallbackWrongIss => {
            without("iss", answer);
            answer.push(("iss", "https://attacker.example".into()));
        }
        Fault::CallbackMissingIss => without("iss", answer),
        _ => {}
    }
}
