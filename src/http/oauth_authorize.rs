//! `GET /oauth2/authorize`: the authorization endpoint of OAuth 2 and OpenID Connect. A translation of the parameters: the
//! flow is that of `/login`.

use actix_web::{HttpRequest, HttpResponse, get, web};

use super::errors::errors;
use super::extract::attempt_cookies::AttemptCookies;
use super::extract::navigation::Navigation;
use super::extract::parameters::{self, Parameters, parameters};
use super::extract::session_cookie::{self, SessionCookie};
use super::language::Language;
use super::login::{SameLogin, answer};
use crate::domain::caller::Caller;
use crate::error::{Error, Result};
use crate::flow::authorize::AuthorizeRequest;
use crate::flow::login::{self as flow, LoginAnswer, LoginRequest};
use crate::state::Broker;

parameters! {
    /// Where the answer goes. Read first: if these are good, every other mistake is reported there.
    #[derive(utoipa::IntoParams)]
    #[into_params(parameter_in = Query)]
    struct AddressParameters {
        /// The registered client.
        #[param(example = "web")]
        client_id,
        /// One of the client's registered addresses, byte for byte. May be omitted if the client has only one.
        #[param(example = "https://app.example.com/signed-in")]
        redirect_uri,
    }
}

parameters! {
    /// Comes back in every answer, also in that to a malformed request.
    #[derive(utoipa::IntoParams)]
    #[into_params(parameter_in = Query)]
    struct StateParameter {
        /// Handed back unchanged: 1 to 512 visible ASCII characters or spaces.
        #[param(example = "af0ifjsldkj")]
        state,
    }
}

parameters! {
    /// The rest of an authorization request.
    #[derive(utoipa::IntoParams)]
    #[into_params(parameter_in = Query)]
    struct AuthorizeParameters {
        /// Always `code`.
        #[param(example = "code")]
        response_type,
        /// `query`, which is the default.
        #[param(example = "query")]
        response_mode,
        /// The scopes of the token, space-separated. Those that the client cannot have are ignored. With `openid`, the token response has an ID token. Omitted: the scopes of the client.
        #[param(example = "openid profile email")]
        scope,
        /// The S256 challenge of RFC 7636, 43 base64url characters. Required.
        #[param(example = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM")]
        code_challenge,
        /// Always `S256`.
        #[param(example = "S256")]
        code_challenge_method,
        /// Comes back in the ID token: 1 to 512 visible ASCII characters or spaces.
        #[param(example = "n-0S6_WzA2Mj")]
        nonce,
        /// As at `/login`. `none` shows no page: a live session is continued, otherwise the client gets `error=login_required`.
        #[param(example = "none")]
        prompt,
        /// As at `/login`.
        #[param(example = "alice@example.com")]
        login_hint,
        /// As at `/login`.
        #[param(example = "3600")]
        max_age,
        /// The id of a configured provider, as at `/login`. Not a standard parameter.
        #[param(example = "corp")]
        provider,
        /// As at `/login`.
        #[param(example = "zh-CN en")]
        ui_locales,
        /// As at `/login`. A client that omits it can still send a proof to the token endpoint.
        #[param(example = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I")]
        dpop_jkt,
    }
}

errors!(AuthorizeErrors, [InvalidRequest, InvalidClient, NotANavigation, RateLimited,]);

/// Authorization endpoint
///
/// The login of `/login` for client libraries of OAuth 2 and OpenID Connect (authorization code flow with PKCE). The answer
/// at the `redirect_uri` has `code`, `state` and `iss` (RFC 9207); the code is redeemed at `/oauth2/token` within 120
/// seconds. If client and `redirect_uri` are good, errors go there too, with `error`, `error_description`, `state` and
/// `iss`; otherwise they are shown on a page of the broker. A navigation of the browser window only.
#[utoipa::path(
    tag = "Standard OAuth 2 and OpenID Connect",
    params(
        AddressParameters, StateParameter, AuthorizeParameters,
        ("resource" = Option<Vec<String>>, Query, description = "RFC 8707: the APIs that the token is to be for, among the audiences of the client. May be given several times. Omitted: all of them.", example = json!(["https://orders.example.com"])),
    ),
    responses(
        (status = 200, description = "The page that lets the person choose a provider.", content_type = "text/html; charset=utf-8", body = String, example = "<!DOCTYPE html>… Sign in to Web …"),
        (status = 303, description = "On to the provider, with the cookie of this attempt; or straight back to the client.", headers(
            ("Location" = String, description = "The provider's authorization endpoint; or the `redirect_uri` with `code`, `state` and `iss` of a continued session, or with `error`, `error_description`, `state` and `iss`."),
            ("Set-Cookie" = String, description = "As at `/login`."),
        )),
        AuthorizeErrors,
    ),
)]
#[get("/oauth2/authorize")]
pub async fn authorize(
    broker: web::Data<Broker>,
    caller: Caller,
    _navigation: Navigation,
    cookies: AttemptCookies,
    session: SessionCookie,
    request: HttpRequest,
) -> Result<HttpResponse> {
    let (login, same_login) = read(request.query_string().as_bytes(), cookies, session)?;
    let LoginAnswer { step, session_cookie } = flow::login(&broker, &caller, login).await?;
    let mut response = answer(step, &same_login, Language::of(&request), broker.secure_cookies());
    session_cookie::change(&mut response, session_cookie, broker.secure_cookies())?;
    Ok(response)
}

/// Reads the query. Only what is wrong with the address is an error here; the flow reports the rest to the client.
fn read(query: &[u8], cookies: AttemptCookies, session: SessionCookie) -> Result<(LoginRequest, SameLogin)> {
    let mut malformed = None;
    let mut address = AddressParameters::read(query)?;
    let mut state: StateParameter = good_or_default(StateParameter::read(query), &mut malformed);
    let mut rest: AuthorizeParameters = good_or_default(AuthorizeParameters::read(query), &mut malformed);
    let resources = good_or_default(
        parameters::all(query, "resource", "The parameter 'resource' is not percent-encoded UTF-8."),
        &mut malformed,
    );
    let present = [address.present(), state.present(), rest.present()].concat();
    let same_login = SameLogin::new("/oauth2/authorize", present, &resources);
    let login = LoginRequest {
        client_id: address.client_id,
        redirect_uri: address.redirect_uri,
        state: state.state,
        code_challenge: rest.code_challenge,
        code_challenge_method: rest.code_challenge_method,
        provider: rest.provider,
        prompt: rest.prompt,
        login_hint: rest.login_hint,
        max_age: rest.max_age,
        resources,
        dpop_jkt: rest.dpop_jkt,
        oauth: Some(AuthorizeRequest {
            response_type: rest.response_type,
            response_mode: rest.response_mode,
            scope: rest.scope,
            nonce: rest.nonce,
            has_request: parameters::has(query, "request"),
            has_request_uri: parameters::has(query, "request_uri"),
            malformed,
        }),
        open_attempts: cookies.attempts,
        session_cookie: session.value(),
    };
    Ok((login, same_login))
}

fn good_or_default<T: Default>(read: Result<T>, malformed: &mut Option<Error>) -> T {
    read.unwrap_or_else(|error| {
        malformed.get_or_insert(error);
        T::default()
    })
}
