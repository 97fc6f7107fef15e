//! The token endpoint of both providers (RFC 6749 section 4.1.3, RFC 7636 section 4.6).

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::broken::{self, Broken};
use super::faults::Fault;
use super::id_token;
use super::request_log::{ClientAuthSeen, TokenRequestSeen};
use super::shared::{ACCESS_TOKEN_SECONDS, Grant, Kind, Shared};
use super::web::{self, Params};

/// `POST /token`.
pub(super) async fn oidc(request: HttpRequest, body: Bytes, shared: Data<Shared>) -> HttpResponse {
    token(Kind::Oidc, &request, &body, &shared).await
}

/// `POST /o/token/`.
pub(super) async fn plain(request: HttpRequest, body: Bytes, shared: Data<Shared>) -> HttpResponse {
    token(Kind::PlainOAuth2, &request, &body, &shared).await
}

/// Why no token is issued: the error of RFC 6749 section 5.2, and a sentence.
struct Refusal(&'static str, &'static str);

const ASKED_FOR: &str = "This fault was asked for.";

impl Refusal {
    fn answer(&self) -> HttpResponse {
        let Self(error, why) = *self;
        if error != "invalid_client" {
            return web::oauth_error(StatusCode::BAD_REQUEST, error, why);
        }
        let mut answer = web::oauth_error(StatusCode::UNAUTHORIZED, error, why);
        let challenge = HeaderValue::from_static(r#"Basic realm="dev-provider""#);
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        answer
    }
}

async fn token(kind: Kind, request: &HttpRequest, body: &[u8], shared: &Shared) -> HttpResponse {
    let grant = match redeem(kind, request, body, shared) {
        Ok(grant) => grant,
        Err(refusal) => return refusal.answer(),
    };
    let access_token = shared.random_name();
    let broken = grant.fault.and_then(Broken::token_answer);
    let Ok(document) = answer(shared, &grant, &access_token) else {
        return web::oauth_error(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "Signing failed.");
    };
    shared.tokens.insert(shared.now(), &access_token, grant);
    broken::answer(shared, broken, &document).await
}

/// The checks, in the order of RFC 6749: request, client, code.
fn redeem(kind: Kind, request: &HttpRequest, body: &[u8], shared: &Shared) -> Result<Grant, Refusal> {
    let params = web::parse(body);
    let seen = look(request, params.as_ref());
    let had_both = seen.client_auth == ClientAuthSeen::Both;
    let is_form = seen.content_type == "application/x-www-form-urlencoded";
    shared.log().last_token_request = Some(seen);
    let Some(params) = params.filter(|_| is_form) else {
        return Err(Refusal("invalid_request", "Send a form, each parameter once."));
    };
    if had_both {
        return Err(Refusal("invalid_request", "Send the secret in the header or in the body, not in both."));
    }
    let param = |name: &str| params.get(name).map(String::as_str).unwrap_or_default();
    let (client_id, secret) = web::basic(request)
        .unwrap_or_else(|| (param("client_id").to_owned(), param("client_secret").to_owned()));
    if !shared.authenticate(&client_id, &secret) {
        return Err(Refusal("invalid_client", "The client is unknown, or its secret is wrong."));
    }
    if param("grant_type") != "authorization_code" {
        return Err(Refusal("unsupported_grant_type", "Only authorization_code is granted here."));
    }
    let grant = shared.codes.take(shared.now(), param("code"));
    let grant = grant.filter(|grant| grant.kind == kind && grant.client_id == client_id);
    let Some(grant) = grant else {
        return Err(Refusal("invalid_grant", "The code is unknown, used, expired or another client's."));
    };
    let matched = grant.challenge.as_ref().map(|challenge| *challenge == s256(param("code_verifier")));
    if let Some(seen) = &mut shared.log().last_token_request {
        seen.verifier_matched = matched;
    }
    if matched == Some(false) {
        return Err(Refusal("invalid_grant", "code_verifier does not match code_challenge."));
    }
    if param("redirect_uri") != grant.redirect_uri {
        return Err(Refusal("invalid_grant", "redirect_uri is not that of the authorization request."));
    }
    match grant.fault {
        Some(Fault::TokenErrorInvalidGrant) => Err(Refusal("invalid_grant", ASKED_FOR)),
        Some(Fault::TokenErrorInvalidClient) => Err(Refusal("invalid_client", ASKED_FOR)),
        _ => Ok(grant),
    }
}

/// What may be told of the request.
fn look(request: &HttpRequest, params: Option<&Params>) -> TokenRequestSeen {
    let param = |name: &str| params.and_then(|params| params.get(name));
    let basic = web::basic(request);
    let in_header = request.headers().contains_key(header::AUTHORIZATION);
    let client_auth = match (in_header, param("client_secret").is_some()) {
        (true, true) => ClientAuthSeen::Both,
        (true, false) => ClientAuthSeen::Basic,
        (false, true) => ClientAuthSeen::Post,
        (false, false) => ClientAuthSeen::None,
    };
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    TokenRequestSeen {
        client_auth,
        client_id: basic.map(|(client, _)| client).or_else(|| param("client_id").cloned()),
        verifier_matched: None,
        had_query: !request.query_string().is_empty(),
        content_type: content_type
            .and_then(|text| text.split(';').next())
            .unwrap_or_default()
            .trim()
            .to_owned(),
    }
}

fn answer(
    shared: &Shared,
    grant: &Grant,
    access_token: &str,
) -> Result<Value, aws_lc_rs::error::Unspecified> {
    let mut document = json!({
        "access_token": access_token,
        "token_type": "Bearer",
        "expires_in": ACCESS_TOKEN_SECONDS,
        "scope": grant.scope,
    });
    if grant.kind == Kind::Oidc
        && grant.has_scope("openid")
        && let Some(token) = id_token::issue(shared, grant, access_token)?
    {
        document["id_token"] = token;
    }
    if let Some(members) = document.as_object_mut() {
        match grant.fault {
            Some(Fault::TokenNoAccessToken) => drop(members.remove("access_token")),
            Some(Fault::TokenEmptyAccessToken) => drop(members.insert("access_token".into(), "".into())),
            Some(Fault::TokenWrongType) => drop(members.insert("token_type".into(), "mac".into())),
            Some(Fault::TokenMissingType) => drop(members.remove("token_type")),
            Some(Fault::TokenLowercaseType) => drop(members.insert("token_type".into(), "bearer".into())),
            _ => {}
        }
    }
    Ok(document)
}

/// `BASE64URL(SHA-256(verifier))`, written out here so that the broker's own is checked against another.
fn s256(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()))
}
