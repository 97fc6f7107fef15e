//! `GET /login`: the SPA sends the browser here, and the broker redirects it to the provider.

use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, get, web};
use url::form_urlencoded;

use super::errors::errors;
use super::extract::attempt_cookies::{self, AttemptCookies};
use super::extract::navigation::Navigation;
use super::extract::parameters::{self, Parameters, parameters};
use super::extract::session_cookie::{self, SessionCookie};
use super::language::Language;
use super::pages;
use crate::domain::caller::Caller;
use crate::error::Result;
use crate::flow::login as flow;
use crate::flow::login::{LoginAnswer, LoginRequest, LoginStep, ProviderChoice, ToProvider};
use crate::state::Broker;

parameters! {
    /// The query of a login.
    #[derive(utoipa::IntoParams)]
    #[into_params(parameter_in = Query)]
    struct LoginParameters {
        /// The registered client. May be omitted if there is only one.
        #[param(example = "web")]
        client_id,
        /// The registered redirect URI that receives the one-time key, byte for byte. Optional if the client has only one.
        #[param(example = "https://app.example.com/signed-in")]
        redirect_uri,
        /// Handed back unchanged: 1 to 512 visible ASCII characters or spaces.
        #[param(example = "af0ifjsldkj")]
        state,
        /// The S256 challenge of RFC 7636, 43 base64url characters. Required for every client that is not a `legacy` one.
        #[param(example = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM")]
        code_challenge,
        /// Always `S256`.
        #[param(example = "S256")]
        code_challenge_method,
        /// OpenID Connect Core section 3.1.2.1. `login`, `consent` and `select_account` are passed on to the provider, even if someone is signed in, if the client may use them. `none` shows no page: a live session is continued; without one, an OpenID provider is asked silently if the client may use it; otherwise the SPA gets `error=login_required`.
        #[param(example = "login")]
        prompt,
        /// The user who is expected to sign in, by username or email address. A session of another user is not continued, and the hint is passed on to the provider. Must be in the client's `login_parameters`.
        #[param(example = "alice@example.com")]
        login_hint,
        /// The maximum age of the authentication at the provider, in seconds; checked in the session, otherwise in the ID token. Must be in the client's `login_parameters`.
        #[param(example = "3600")]
        max_age,
        /// The id of a configured provider. If it is omitted, a live session of any provider is continued, the only provider that can do what is requested is asked, or the user chooses.
        #[param(example = "corp")]
        provider,
        /// The languages of the broker's own pages, in the order of preference: `en` and `zh` exist. Default: those that the browser prefers.
        #[param(example = "zh-CN en")]
        ui_locales,
        /// RFC 9449 section 10: the SHA-256 thumbprint (RFC 7638) of the key that the token is bound to. The token can be redeemed and used with DPoP proofs of that key only.
        #[param(example = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I")]
        dpop_jkt,
    }
}

errors!(
    LoginErrors,
    [
        InvalidRequest,
        InvalidClient,
        InvalidTarget,
        NotANavigation,
        RateLimited,
        ProviderError,
        TemporarilyUnavailable,
        ProviderTimeout,
    ]
);

/// Start a login
///
/// The SPA sends the browser's window here; it cannot be fetched, framed or prefetched. A browser with a live
/// session is sent straight back to the SPA with a one-time key for one more token of that session, unless the
/// parameters ask for the provider. Any other is sent to the provider with `state`, `nonce` and a PKCE challenge
/// of the broker's own, and keeps the login attempt in a cookie for ten minutes. With several providers and none
/// named, a page lets the user choose, or return with `error=access_denied`. `legacy` clients always go to the provider.
#[utoipa::path(
    tag = "Sign-in",
    params(
        LoginParameters,
        ("resource" = Option<Vec<String>>, Query, description = "RFC 8707: the APIs that the token is for, among the audiences of the client. May be given several times. Omitted: all of them.", example = json!(["https://orders.example.com"])),
    ),
    responses(
        (status = 200, description = "The page that lets the user choose a provider.", content_type = "text/html; charset=utf-8", body = String, example = "<!DOCTYPE html>… Sign in to Web …"),
        (status = 303, description = "Redirect to the provider, with the cookie of this attempt; or straight back to the SPA.", headers(
            ("Location" = String, description = "The provider's authorization endpoint with the authorization request; or the login's `redirect_uri` with `one_time_key` and `state` of a continued session, or with `error` (`login_required`, `temporarily_unavailable`), `error_description` and `state`."),
            ("Set-Cookie" = String, description = "The sealed attempt: `__Host-Http-tb_login_…`, ten minutes. The session of a browser that is signed in: `__Host-Http-tb_session`, re-sealed."),
        )),
        LoginErrors,
    ),
)]
#[get("/login")]
pub async fn login(
    broker: web::Data<Broker>,
    caller: Caller,
    _navigation: Navigation,
    cookies: AttemptCookies,
    session: SessionCookie,
    request: HttpRequest,
) -> Result<HttpResponse> {
    let query = request.query_string().as_bytes();
    let mut parameters = LoginParameters::read(query)?;
    let resources =
        parameters::all(query, "resource", "The parameter 'resource' is not percent-encoded UTF-8.")?;
    let same_login = SameLogin::new("/login", parameters.present(), &resources);
    let login = LoginRequest {
        client_id: parameters.client_id,
        redirect_uri: parameters.redirect_uri,
        state: parameters.state,
        code_challenge: parameters.code_challenge,
        code_challenge_method: parameters.code_challenge_method,
        provider: parameters.provider,
        prompt: parameters.prompt,
        login_hint: parameters.login_hint,
        max_age: parameters.max_age,
        resources,
        dpop_jkt: parameters.dpop_jkt,
        oauth: None,
        open_attempts: cookies.attempts,
        session_cookie: session.value(),
    };
    let LoginAnswer { step, session_cookie } = flow::login(&broker, &caller, login).await?;
    let mut response = answer(step, &same_login, Language::of(&request), broker.secure_cookies());
    session_cookie::change(&mut response, session_cookie, broker.secure_cookies())?;
    Ok(response)
}

pub(super) fn answer(
    step: LoginStep,
    same_login: &SameLogin,
    language: Language,
    secure: bool,
) -> HttpResponse {
    match step {
        LoginStep::Back { location } => HttpResponse::SeeOther().insert_header((LOCATION, location)).finish(),
        LoginStep::Redirect(to_provider) => redirect(to_provider, secure),
        LoginStep::Choose { client_name, back, providers } => {
            let with_link = |provider: ProviderChoice| {
                let link = same_login.at(provider.id.as_str());
                (provider, link)
            };
            let choices: Vec<_> = providers.into_iter().map(with_link).collect();
            pages::answer(pages::choose(&client_name, &choices, &back, language), &pages::NO_SCRIPT)
        }
    }
}

/// Sends the browser to the provider, with the cookie of its attempt.
pub(super) fn redirect(to_provider: ToProvider, secure: bool) -> HttpResponse {
    let ToProvider { location, attempt, forget } = to_provider;
    let mut response = HttpResponse::SeeOther();
    response.insert_header((LOCATION, location.as_str()));
    response.cookie(attempt_cookies::keep(attempt, secure));
    for id in &forget {
        response.cookie(attempt_cookies::forget(id, secure));
    }
    response.finish()
}

/// The request of a login without its provider, which each link of the chooser repeats.
pub(super) struct SameLogin {
    path: &'static str,
    query: String,
}

impl SameLogin {
    /// The request for `path` with these parameters.
    pub(super) fn new(path: &'static str, parameters: Vec<(&str, &str)>, resources: &[String]) -> Self {
        let repeated = parameters.into_iter().filter(|(name, _)| *name != "provider");
        let resources = resources.iter().map(|resource| ("resource", resource.as_str()));
        let mut query = form_urlencoded::Serializer::new(String::new());
        Self { path, query: query.extend_pairs(repeated.chain(resources)).finish() }
    }

    fn at(&self, provider: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(self.query.clone());
        format!("{}?{}", self.path, query.append_pair("provider", provider).finish())
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::StatusCode;

    use super::*;
    use crate::flow::AttemptCookie;

    #[test]
    fn a_login_goes_on_with_303_and_keeps_its_attempt() {
        let response = answer(
            LoginStep::Redirect(ToProvider {
                location: "https://login.example.com/authorize?state=a".parse().unwrap(),
                attempt: AttemptCookie { id: "AAAAAAAAAAAA".parse().unwrap(), value: "v".into() },
                forget: vec!["BBBBBBBBBBBB".parse().unwrap()],
            }),
            &SameLogin::new("/login", vec![], &[]),
            Language::English,
            true,
        );
        assert_eq!(response.status(), StatusCode::SEE_OTHER);
        assert_eq!(response.headers().get(LOCATION).unwrap(), "https://login.example.com/authorize?state=a");
        let cookies: Vec<_> =
            response.cookies().map(|c| (c.name().to_owned(), c.value().to_owned())).collect();
        assert_eq!(
            cookies,
            [
                ("__Host-Http-tb_login_AAAAAAAAAAAA".to_owned(), "v".to_owned()),
                ("__Host-Http-tb_login_BBBBBBBBBBBB".to_owned(), String::new()),
            ]
        );
    }

    #[test]
    fn the_chooser_repeats_the_login() {
        let query = b"client_id=web&state=a-b&provider=old&login_hint=a%26b%22";
        let mut parameters = LoginParameters::read(query).unwrap();
        let same_login = SameLogin::new("/login", parameters.present(), &["https://a.example".to_owned()]);
        assert_eq!(
            same_login.at("corp"),
            "/login?client_id=web&state=a-b&login_hint=a%26b%22&resource=https%3A%2F%2Fa.example&provider=corp"
        );
        assert_eq!(SameLogin::new("/login", vec![], &[]).at("corp"), "/login?provider=corp");
    }
}
