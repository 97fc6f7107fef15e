//! The authorization endpoint of both providers (RFC 6749 section 4.1.1, OpenID Connect Core section 3.1.2).
//!
//! One address does it all. Asked by a browser it shows the page; the page's links are the same address with
//! the person's choice appended. A script appends the choice itself and needs no page:
//!
//! | parameter | meaning |
//! |---|---|
//! | `user=alice` | sign in as alice |
//! | `deny=1` | the person says no |
//! | `fault=wrong_nonce` | make this go wrong in this login |
//! | `id_token_signed_response_alg=ES256` | sign this login's ID token so |

use actix_web::cookie::{Cookie, SameSite};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use chrono::TimeDelta;

use super::authorize_page;
use super::callback::{self, Outcome, ReturnAddress};
use super::faults::Fault;
use super::keys::SigningAlgorithm;
use super::pages;
use super::shared::{Grant, Kind, Session, Shared};
use super::users::User;
use super::web::{self, Params};
use crate::domain::clock::Timestamp;

/// How a sign-in here can be called (`acr`): the first is what a login has that asks for nothing.
pub(super) const ACR_VALUES: [&str; 2] = ["urn:dev:password", "urn:dev:two-factor"];

/// What the broker asks for, besides where to return to.
#[derive(Debug)]
pub(super) struct Asked {
    pub prompt: Prompt,
    pub max_age: Option<TimeDelta>,
    pub login_hint: Option<&'static User>,
    choice: Option<Choice>,
    fault: Option<Fault>,
    scope: String,
    challenge: Option<String>,
    nonce: Option<String>,
    acr: &'static str,
    algorithm: SigningAlgorithm,
}

/// Whether the person may, or must, be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prompt {
    /// `prompt=none`: no page.
    None,
    /// `prompt=login`: a fresh sign-in, whatever the session says.
    Login,
    /// Everything else: the page, on which a fresh session is continued.
    Page,
}

/// What the person chose, or the script for them.
#[derive(Debug, Clone, Copy)]
enum Choice {
    SignIn(&'static User),
    Deny,
}

/// Why a request is refused.
enum Refusal {
    /// A mistake in the script: reported on a page, since a redirect would blame the login.
    Script(&'static str),
    /// An error of RFC 6749 section 4.1.2.1, told to the broker.
    Broker(&'static str),
}

/// `/authorize`.
pub(super) async fn oidc(request: HttpRequest, body: Bytes, shared: Data<Shared>) -> HttpResponse {
    authorize(Kind::Oidc, &request, &body, &shared)
}

/// `/o/authorize/`.
pub(super) async fn plain(request: HttpRequest, body: Bytes, shared: Data<Shared>) -> HttpResponse {
    authorize(Kind::PlainOAuth2, &request, &body, &shared)
}

fn authorize(kind: Kind, request: &HttpRequest, body: &[u8], shared: &Shared) -> HttpResponse {
    let Some(params) = web::query_or_form(request, body) else {
        return pages::refusal("A parameter is given twice.");
    };
    let back = match ReturnAddress::read(kind, &params, shared) {
        Ok(back) => back,
        Err(why) => return pages::refusal(why),
    };
    let asked = match Asked::read(kind, &params) {
        Ok(asked) => asked,
        Err(Refusal::Script(why)) => return pages::refusal(why),
        Err(Refusal::Broker(error)) => return callback::redirect(shared, &back, Outcome::Error(error), None),
    };
    let known = shared.session(request);
    let fresh = known.clone().filter(|session| asked.is_satisfied_by(session, shared.now()));
    let session = match (asked.prompt, asked.choice) {
        (Prompt::None, _) => match fresh {
            Some(session) => session,
            None => return callback::redirect(shared, &back, Outcome::Error("login_required"), None),
        },
        (_, None) => {
            let known = known.map(|session| session.user);
            return authorize_page::show(kind, request.path(), &params, asked.login_hint, known);
        }
        (_, Some(Choice::Deny)) => {
            return callback::redirect(shared, &back, Outcome::Error("access_denied"), asked.fault);
        }
        (_, Some(Choice::SignIn(user))) => {
            fresh.filter(|session| session.user == user).unwrap_or_else(|| sign_in(shared, user))
        }
    };
    grant(shared, back, asked, session)
}

fn sign_in(shared: &Shared, user: &'static User) -> Session {
    let session = Session { cookie: shared.random_name(), user, auth_time: shared.now() };
    shared.sessions.insert(shared.now(), &session.cookie, session.clone());
    session
}

fn grant(shared: &Shared, back: ReturnAddress, asked: Asked, session: Session) -> HttpResponse {
    let cookie = Cookie::build(shared.cookie_name().to_owned(), session.cookie.clone())
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .finish();
    let grant = Grant {
        kind: back.kind,
        client_id: back.client_id.clone(),
        redirect_uri: back.redirect_uri.to_string(),
        scope: asked.scope,
        challenge: asked.challenge,
        nonce: asked.nonce,
        acr: asked.acr,
        algorithm: asked.algorithm,
        session,
        fault: asked.fault,
    };
    let code = shared.random_name();
    shared.codes.insert(shared.now(), &code, grant);
    let mut answer = callback::redirect(shared, &back, Outcome::Code(code), asked.fault);
    // A name and base64url characters always make a cookie.
    let _ = answer.add_cookie(&cookie);
    answer
}

impl Asked {
    fn read(kind: Kind, params: &Params) -> Result<Self, Refusal> {
        let param = |name: &str| params.get(name).map(String::as_str).filter(|text| !text.is_empty());
        let fault = match param("fault") {
            Some(name) => Some(Fault::named(name).ok_or(Refusal::Script("There is no fault of that name."))?),
            None => None,
        };
        let choice = match (param("user"), param("deny")) {
            (None, None) => None,
            (Some(name), None) => Some(Choice::SignIn(
                User::named(name).ok_or(Refusal::Script("There is no user of that name."))?,
            )),
            (None, Some(_)) => Some(Choice::Deny),
            (Some(_), Some(_)) => return Err(Refusal::Script("Choose a user or deny, not both.")),
        };
        let algorithm = match param("id_token_signed_response_alg") {
            Some(name) => SigningAlgorithm::named(name)
                .ok_or(Refusal::Script("id_token_signed_response_alg is RS256, ES256 or EdDSA."))?,
            None => SigningAlgorithm::default(),
        };
        if param("response_type") != Some("code") {
            return Err(Refusal::Broker("unsupported_response_type"));
        }
        let oidc = kind == Kind::Oidc;
        Ok(Self {
            prompt: if oidc { Prompt::read(param("prompt"))? } else { Prompt::Page },
            max_age: if oidc { max_age(param("max_age"))? } else { None },
            login_hint: param("login_hint").and_then(|hint| User::named(hint.split('@').next()?)),
            choice,
            fault,
            scope: param("scope").unwrap_or_default().to_owned(),
            challenge: challenge(oidc, param("code_challenge"), param("code_challenge_method"))?,
            nonce: param("nonce").map(str::to_owned),
            acr: acr(param("acr_values")),
            algorithm,
        })
    }

    /// Whether the session is good enough for this request.
    fn is_satisfied_by(&self, session: &Session, now: Timestamp) -> bool {
        let fresh = self.max_age.is_none_or(|limit| now - session.auth_time <= limit);
        fresh && self.prompt != Prompt::Login
    }
}

impl Prompt {
    fn read(text: Option<&str>) -> Result<Self, Refusal> {
        let values: Vec<_> = text.unwrap_or_default().split(' ').collect();
        match values.as_slice() {
            ["none"] => Ok(Self::None),
            values if values.contains(&"none") => Err(Refusal::Broker("invalid_request")),
            values if values.contains(&"login") => Ok(Self::Login),
            _ => Ok(Self::Page),
        }
    }
}

fn max_age(text: Option<&str>) -> Result<Option<TimeDelta>, Refusal> {
    let seconds = text.map(str::parse::<u32>).transpose().map_err(|_| Refusal::Broker("invalid_request"))?;
    Ok(seconds.map(|seconds| TimeDelta::seconds(seconds.into())))
}

/// The OpenID provider insists on PKCE with S256; the plain one checks what it is given.
fn challenge(
    required: bool,
    challenge: Option<&str>,
    method: Option<&str>,
) -> Result<Option<String>, Refusal> {
    match (challenge, method) {
        (Some(challenge), Some("S256")) if challenge.len() == 43 => Ok(Some(challenge.to_owned())),
        (None, None) if !required => Ok(None),
        _ => Err(Refusal::Broker("invalid_request")),
    }
}

/// The first of the wanted values that this provider knows (OpenID Connect Core section 3.1.2.1).
fn acr(wanted: Option<&str>) -> &'static str {
    let mut wanted = wanted.unwrap_or_default().split(' ');
    let known = wanted.find_map(|name| ACR_VALUES.into_iter().find(|acr| *acr == name));
    known.unwrap_or(ACR_VALUES[0])
}
