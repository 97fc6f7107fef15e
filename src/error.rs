//! Every way a request can fail: one table of stable codes with status and public text.
//!
//! The public text goes to the caller; the cause goes to the log only. When a store or a provider cannot
//! answer, the code is [`ErrorCode::TemporarilyUnavailable`] (503), which means "unknown, retry", never "invalid".
//!
//! Each text says what is wrong and, unless that is obvious, what to do.

#[cfg(test)]
mod reference;

use std::error::Error as StdError;
use std::fmt;

type Cause = Box<dyn StdError + Send + Sync>;

macro_rules! error_codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal, $status:literal, $redirect:literal, $text:literal;)*) => {
        /// A stable error code: the member `error` of OAuth error responses, `code` of problem details (RFC 9457).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $($(#[doc = $doc])+ $name,)*
        }

        impl ErrorCode {
            /// All codes, for tests and documentation.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code as text, as it appears in responses.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// The HTTP status of the response.
            pub fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// The `error` parameter of a redirect to the SPA, from the closed list of RFC 6749 section 4.1.2.1 and
            /// OpenID Connect Core section 3.1.2.6.
            pub fn redirect_code(self) -> &'static str {
                match self { $(Self::$name => $redirect,)* }
            }

            /// When the code is used, for the documentation.
            #[cfg(test)]
            fn meaning(self) -> String {
                let text = match self { $(Self::$name => concat!($($doc),+),)* };
                text.trim().to_owned()
            }

            /// The text for the caller: what is wrong, then what to do.
            pub fn public_text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

error_codes! {
    /// A parameter is missing, repeated, malformed or not allowed.
    InvalidRequest = "invalid_request", 400, "invalid_request", "The request is malformed. Check its parameters.";
    /// The client is unknown, disabled or failed to authenticate.
    InvalidClient = "invalid_client", 400, "unauthorized_client", "This application is not registered with the sign-in service. Check the client_id.";
    /// The client may not use this endpoint or grant (RFC 6749 sections 4.1.2.1 and 5.2).
    UnauthorizedClient = "unauthorized_client", 400, "unauthorized_client", "This application may not do that. Check the settings of the client.";
    /// `response_type` is not `code` (RFC 6749 section 4.1.2.1).
    UnsupportedResponseType = "unsupported_response_type", 400, "unsupported_response_type", "This response_type is not supported. Use code.";
    /// `grant_type` is not one of those that the token endpoint knows (RFC 6749 section 5.2).
    UnsupportedGrantType = "unsupported_grant_type", 400, "unsupported_response_type", "This grant_type is not supported. Use one of those in the metadata.";
    /// No requested scope can be granted, or one exceeds what was granted (RFC 6749 sections 4.1.2.1, 5.2 and 6).
    InvalidScope = "invalid_scope", 400, "invalid_scope", "The scope is malformed, or the application cannot have it. Check the parameter scope.";
    /// The parameters came as a request object (OpenID Connect Core section 6.1).
    RequestNotSupported = "request_not_supported", 400, "request_not_supported", "The parameter request is not supported. Send the parameters in the query.";
    /// The parameters came by reference (OpenID Connect Core section 6.2).
    RequestUriNotSupported = "request_uri_not_supported", 400, "request_uri_not_supported", "The parameter request_uri is not supported. Send the parameters in the query.";
    /// The one-time key is unknown, used or expired, or the proof does not match; the text deliberately does not say
    /// which.
    InvalidGrant = "invalid_grant", 400, "invalid_request", "The one-time key is unknown, used or expired, or the code_verifier or the DPoP proof does not match. Sign in again.";
    /// The person has not answered yet whether the device may be connected (RFC 8628 section 3.5).
    AuthorizationPending = "authorization_pending", 400, "invalid_request", "The user has not answered yet. Ask again after the interval.";
    /// The device polls faster than its interval allows (RFC 8628 section 3.5).
    SlowDown = "slow_down", 400, "invalid_request", "The device asks too often. Wait five seconds longer between two requests from now on.";
    /// The device code has expired before anyone answered (RFC 8628 section 3.5).
    ExpiredToken = "expired_token", 400, "invalid_request", "The device code has expired. Start again.";
    /// The person refused to connect the device (RFC 8628 section 3.5).
    DeviceDenied = "access_denied", 400, "access_denied", "The user refused to connect the device. Start again only if the user wants to.";
    /// `resource` names an API that is not among the client's audiences (RFC 8707 section 2).
    InvalidTarget = "invalid_target", 400, "invalid_target", "This API is not registered for the application. Check the parameter 'resource'.";
    /// The bearer token is unknown, expired or revoked; the text deliberately does not say which.
    InvalidToken = "invalid_token", 401, "access_denied", "The access token is unknown, expired or revoked. Sign in again.";
    /// The DPoP proof of a call with a bound token is invalid (RFC 9449 section 7.1).
    InvalidDpopProof = "invalid_dpop_proof", 401, "invalid_request", "The DPoP proof is invalid. Make a new one for each request.";
    /// The DPoP proof of a request for tokens is invalid or missing (RFC 9449 section 5).
    InvalidDpopProofForGrant = "invalid_dpop_proof", 400, "invalid_request", "The DPoP proof is invalid. Make a new one for each request.";
    /// The DPoP proof of a call has no nonce, or one that is no longer valid (RFC 9449 section 9).
    UseDpopNonce = "use_dpop_nonce", 401, "invalid_request", "The DPoP proof needs a nonce. Make a new one with that of the header DPoP-Nonce.";
    /// The same at a token endpoint (RFC 9449 section 8).
    UseDpopNonceForGrant = "use_dpop_nonce", 400, "invalid_request", "The DPoP proof needs a nonce. Make a new one with that of the header DPoP-Nonce.";
    /// No bearer token was presented (RFC 6750 section 3.1: a challenge without an error code).
    MissingToken = "missing_token", 401, "access_denied", "A bearer token is required. Send it in the Authorization header.";
    /// A resource server did not authenticate, or failed to (RFC 6749 section 5.2).
    UnauthenticatedClient = "invalid_client", 401, "unauthorized_client", "Client authentication failed. Check the client_id and the client_secret.";
    /// The callback does not belong to a login that this browser started.
    InvalidState = "invalid_state", 400, "invalid_request", "This sign-in has expired, was already completed, or was started in another browser. Sign in again.";
    /// The callback came from a different provider than the one the login was sent to (RFC 9207).
    IssuerMismatch = "issuer_mismatch", 400, "invalid_request", "The response came from a different provider than the one this sign-in was sent to. Sign in again.";
    /// The user cancelled the sign-in, or the provider or the broker refused the account.
    AccessDenied = "access_denied", 403, "access_denied", "The sign-in was cancelled, or this account is not allowed to sign in. Try another account, or ask an administrator.";
    /// `prompt=none` was requested, but the user is not signed in at the provider.
    LoginRequired = "login_required", 403, "login_required", "The user is not signed in and prompt=none forbids showing a page. Sign in without prompt=none.";
    /// `prompt=none` was requested, but the provider needs input from the user.
    InteractionRequired = "interaction_required", 403, "interaction_required", "The provider needs input from the user and prompt=none forbids showing a page. Sign in without prompt=none.";
    /// `prompt=none` was requested, but the provider needs the consent of the user.
    ConsentRequired = "consent_required", 403, "consent_required", "The provider needs the consent of the user and prompt=none forbids showing a page. Sign in without prompt=none.";
    /// `prompt=none` was requested, but the user has to choose an account at the provider.
    AccountSelectionRequired = "account_selection_required", 403, "account_selection_required", "The user has to choose an account and prompt=none forbids showing a page. Sign in without prompt=none.";
    /// The sign-in was weaker or older than requested (RFC 9470).
    InsufficientUserAuthentication = "insufficient_user_authentication", 401, "unmet_authentication_requirements", "The sign-in is too old or not strong enough. Sign in again.";
    /// The token lacks a scope (RFC 6750 section 3.1).
    InsufficientScope = "insufficient_scope", 403, "invalid_scope", "The access token does not have the required scope. Use a token with that scope.";
    /// The token is live, but its user or client may not use the API behind the gateway.
    Forbidden = "forbidden", 403, "access_denied", "The access token is valid, but its user or application may not use this API.";
    /// A gateway names a policy that is not configured, or calls an address that names none.
    UnknownPolicy = "unknown_policy", 403, "access_denied", "The gateway asks for a policy that is not configured at the broker. The log of the broker says what its operator has to change.";
    /// A login was not started by a navigation of the browser window.
    NotANavigation = "not_a_navigation", 403, "invalid_request", "This address cannot be fetched, framed or prefetched. Open it in the browser window.";
    /// The `Origin` is not one of the client's.
    OriginNotAllowed = "origin_not_allowed", 403, "invalid_request", "This origin is not registered for the client. Add it to the origins of the client.";
    /// This address does not exist, or what it names does not belong to the caller.
    NotFound = "not_found", 404, "invalid_request", "Not found. Check the path and the id.";
    /// The address exists, the method does not.
    MethodNotAllowed = "method_not_allowed", 405, "invalid_request", "This method is not allowed here. Use one of the methods in the Allow header.";
    /// The user has as many live personal tokens as one user may have.
    TooManyPersonalTokens = "too_many_personal_tokens", 409, "invalid_request", "There are too many personal tokens. Revoke one that is no longer used.";
    /// The request did not arrive in time.
    RequestTimeout = "request_timeout", 408, "temporarily_unavailable", "The request did not arrive in time. Try again.";
    /// The body is too large.
    ContentTooLarge = "content_too_large", 413, "invalid_request", "The request body is too large. Send a smaller one.";
    /// The address is too long.
    UriTooLong = "uri_too_long", 414, "invalid_request", "The address is too long. Use a shorter one.";
    /// Request line and header fields are too large.
    HeadTooLarge = "head_too_large", 431, "invalid_request", "The header fields of the request are too large. Send fewer or shorter ones, and fewer cookies.";
    /// The body has an unsupported media type.
    UnsupportedMediaType = "unsupported_media_type", 415, "invalid_request", "This media type is not supported. Send application/json or application/x-www-form-urlencoded.";
    /// The request was sent to a host name that is not the broker's.
    MisdirectedRequest = "misdirected_request", 421, "invalid_request", "This server does not accept that host name. Use its public URL.";
    /// Too many requests from this address.
    RateLimited = "rate_limited", 429, "temporarily_unavailable", "Too many requests. Wait and try again.";
    /// A bug, or an unexpected answer of a dependency.
    ServerError = "server_error", 500, "server_error", "An internal error occurred. Report the request id; the details are logged under it.";
    /// The provider's response is not what the standards or the configuration require.
    ProviderError = "provider_error", 502, "temporarily_unavailable", "The sign-in provider sent an unusable response. Try again later.";
    /// The provider's ID token failed verification.
    InvalidIdToken = "invalid_id_token", 502, "temporarily_unavailable", "The sign-in provider's ID token failed verification. Sign in again.";
    /// A store or the provider is unavailable.
    TemporarilyUnavailable = "temporarily_unavailable", 503, "temporarily_unavailable", "The service is temporarily unavailable. Try again shortly.";
    /// The provider did not answer in time.
    ProviderTimeout = "provider_timeout", 504, "temporarily_unavailable", "The sign-in provider did not respond in time. Try again shortly.";
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// A failed request: a code and a fixed text for the caller, and the cause for the log.
#[derive(Debug)]
pub struct Error {
    code: ErrorCode,
    detail: Option<&'static str>,
    scope: Option<&'static str>,
    max_age: Option<i64>,
    retry_after: Option<u32>,
    asks_for_dpop: bool,
    cause: Option<Cause>,
}

/// The result of an operation that can fail a request.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error with this code and its text from the table.
    pub fn new(code: ErrorCode) -> Self {
        let is_temporary = matches!(code, ErrorCode::TemporarilyUnavailable | ErrorCode::ProviderTimeout);
        let retry_after = is_temporary.then_some(2);
        let asks_for_dpop = false;
        Self { code, detail: None, scope: None, max_age: None, retry_after, asks_for_dpop, cause: None }
    }

    /// Replaces the text for the caller: which parameter is wrong, and how to fix it. The text is fixed, so that it
    /// never repeats any part of the request.
    pub fn detail(mut self, detail: &'static str) -> Self {
        self.detail = Some(detail);
        self
    }

    /// Adds the cause, for the log only.
    pub fn caused_by(mut self, cause: impl Into<Cause>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Sets the number of seconds after which a retry makes sense.
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Asks for a DPoP proof in the challenge, although the token was presented as a bearer token (RFC 9449 section 7.2).
    pub fn asks_for_dpop(self) -> Self {
        Self { asks_for_dpop: true, ..self }
    }

    /// Shorthand: `invalid_request` with a text that names the parameter.
    pub fn invalid_request(detail: &'static str) -> Self {
        Self::new(ErrorCode::InvalidRequest).detail(detail)
    }

    /// Shorthand: `insufficient_scope` with the missing scope.
    pub fn insufficient_scope(scope: &'static str) -> Self {
        Self { scope: Some(scope), ..Self::new(ErrorCode::InsufficientScope) }
    }

    /// Shorthand: `insufficient_user_authentication` for a sign-in that is more than `max_age` seconds ago (RFC 9470
    /// section 3).
    pub fn sign_in_too_old(max_age: i64) -> Self {
        Self { max_age: Some(max_age), ..Self::new(ErrorCode::InsufficientUserAuthentication) }
    }

    /// The error code.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// The text for the caller.
    pub fn public_text(&self) -> &'static str {
        self.detail.unwrap_or_else(|| self.code.public_text())
    }

    /// The scope that the token lacks (RFC 6750 section 3).
    pub fn missing_scope(&self) -> Option<&'static str> {
        self.scope
    }

    /// How many seconds ago the sign-in may be (RFC 9470 section 3).
    pub fn max_age(&self) -> Option<i64> {
        self.max_age
    }

    /// Whether the challenge asks for a DPoP proof.
    pub fn dpop_is_asked_for(&self) -> bool {
        self.asks_for_dpop
    }

    /// Seconds for `Retry-After`, if a retry makes sense.
    pub fn retry_after_seconds(&self) -> Option<u32> {
        self.retry_after
    }

    /// The chain of causes in one line, for the log.
    pub fn cause_chain(&self) -> Option<String> {
        let mut text = self.cause.as_ref()?.to_string();
        let mut next = self.cause.as_ref().and_then(|cause| cause.source());
        while let Some(cause) = next {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            next = cause.source();
        }
        Some(text)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.code, self.public_text())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause.as_ref().map(|cause| &**cause as &(dyn StdError + 'static))
    }
}

impl From<ErrorCode> for Error {
    fn from(code: ErrorCode) -> Self {
        Self::new(code)
    }
}
