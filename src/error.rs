//! Every way a request can fail: one table of stable codes with status and public text.
//!
//! The public text goes to the caller; the cause goes to the log only. Three-valued answers: when a store or a
//! provider cannot answer, the code is [`ErrorCode::TemporarilyUnavailable`] (503), never one that says
//! "invalid".

use std::error::Error as StdError;
use std::fmt;

type Cause = Box<dyn StdError + Send + Sync>;

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $status:literal, $redirect:literal, $text:literal;)*) => {
        /// A stable error code: the member `error` of OAuth-shaped answers, `code` of problem details.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
        }

        impl ErrorCode {
            /// Every code, for tests and documentation.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code as it is sent.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// The HTTP status it is sent with.
            pub fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// The `error` of a redirect to the SPA: from the closed list of RFC 6749 section 4.1.2.1 and
            /// OpenID Connect Core section 3.1.2.6.
            pub fn redirect_code(self) -> &'static str {
                match self { $(Self::$name => $redirect,)* }
            }

            /// One sentence for whoever must act.
            pub fn public_text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

error_codes! {
    /// A parameter is missing, repeated, malformed or not allowed.
    InvalidRequest = "invalid_request", 400, "invalid_request", "The request is malformed.";
    /// The client is unknown, disabled or failed to authenticate.
    InvalidClient = "invalid_client", 400, "unauthorized_client", "This application is not registered with the sign-in service.";
    /// The one-time key is unknown, used, expired or not proven; deliberately not said which.
    InvalidGrant = "invalid_grant", 400, "invalid_request", "The one-time key is unknown, used or expired, or the proof does not match. Sign in again.";
    /// `resource` names an API that is not among the client's audiences (RFC 8707 section 2).
    InvalidTarget = "invalid_target", 400, "invalid_target", "This API is not registered for the application.";
    /// The bearer token is unknown, expired or revoked; deliberately not said which.
    InvalidToken = "invalid_token", 401, "access_denied", "The access token is unknown, expired or revoked. Sign in again.";
    /// No bearer token was presented (RFC 6750 section 3.1: a challenge without an error code).
    MissingToken = "missing_token", 401, "access_denied", "This address needs a bearer token in the Authorization header.";
    /// The callback does not belong to a login that this browser began.
    InvalidState = "invalid_state", 400, "invalid_request", "This sign-in has expired, was already completed, or was begun in another browser.";
    /// The callback came from another provider than the login went to (RFC 9207).
    IssuerMismatch = "issuer_mismatch", 400, "invalid_request", "The answer came from another provider than the one this sign-in was sent to.";
    /// The person, or the provider on their behalf, said no.
    AccessDenied = "access_denied", 403, "access_denied", "The sign-in was cancelled or this account may not sign in.";
    /// `prompt=none` was asked for and the person would have to sign in.
    LoginRequired = "login_required", 403, "login_required", "Nobody is signed in, and no page may be shown.";
    /// `prompt=none` was asked for and the person would have to answer something.
    InteractionRequired = "interaction_required", 403, "interaction_required", "The provider asks the person to answer a question.";
    /// `prompt=none` was asked for and the person would have to consent.
    ConsentRequired = "consent_required", 403, "consent_required", "The provider asks the person for consent.";
    /// `prompt=none` was asked for and the person would have to choose an account.
    AccountSelectionRequired = "account_selection_required", 403, "account_selection_required", "The provider asks the person to choose an account.";
    /// The sign-in was weaker or older than asked for (RFC 9470).
    InsufficientUserAuthentication = "insufficient_user_authentication", 403, "unmet_authentication_requirements", "A fresher or stronger sign-in is needed.";
    /// The token lacks a scope (RFC 6750 section 3.1).
    InsufficientScope = "insufficient_scope", 403, "invalid_scope", "The access token does not have the needed scope.";
    /// A login was started by something else than a navigation of the browser's window.
    NotANavigation = "not_a_navigation", 403, "invalid_request", "Open this address in the browser's window; it cannot be fetched, framed or prefetched.";
    /// The `Origin` is not one of the client's.
    OriginNotAllowed = "origin_not_allowed", 403, "invalid_request", "This origin is not registered for the client.";
    /// There is nothing at this address, or nothing of the caller's.
    NotFound = "not_found", 404, "invalid_request", "There is nothing here.";
    /// The address exists, the method does not.
    MethodNotAllowed = "method_not_allowed", 405, "invalid_request", "This method is not allowed here; see the Allow header.";
    /// The request did not arrive in time.
    RequestTimeout = "request_timeout", 408, "temporarily_unavailable", "The request did not arrive in time.";
    /// The body is too large.
    ContentTooLarge = "content_too_large", 413, "invalid_request", "The request body is too large.";
    /// The address is too long.
    UriTooLong = "uri_too_long", 414, "invalid_request", "The address is too long.";
    /// The body is of another media type.
    UnsupportedMediaType = "unsupported_media_type", 415, "invalid_request", "Send application/json or application/x-www-form-urlencoded.";
    /// The request was meant for another host.
    MisdirectedRequest = "misdirected_request", 421, "invalid_request", "This server does not answer for that host name.";
    /// Too many requests from here.
    RateLimited = "rate_limited", 429, "temporarily_unavailable", "Too many requests; wait and try again.";
    /// A bug, or an answer that nobody foresaw.
    ServerError = "server_error", 500, "server_error", "Something went wrong here. The request id leads to the details in the log.";
    /// The provider answered what it must not answer.
    ProviderError = "provider_error", 502, "temporarily_unavailable", "The sign-in provider gave an unusable answer.";
    /// The provider's ID token was refused.
    InvalidIdToken = "invalid_id_token", 502, "temporarily_unavailable", "The sign-in provider's ID token was refused.";
    /// A store or the provider cannot be reached.
    TemporarilyUnavailable = "temporarily_unavailable", 503, "temporarily_unavailable", "A part of the service cannot be reached at the moment; try again shortly.";
    /// The provider did not answer in time.
    ProviderTimeout = "provider_timeout", 504, "temporarily_unavailable", "The sign-in provider did not answer in time.";
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// A failed request: a code and a fixed public text outside, the cause inside.
#[derive(Debug)]
pub struct Error {
    code: ErrorCode,
    detail: Option<&'static str>,
    scope: Option<&'static str>,
    retry_after: Option<u32>,
    cause: Option<Cause>,
}

/// The result of everything that can fail a request.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The failure that `code` names, with its text from the table.
    pub fn new(code: ErrorCode) -> Self {
        let passes = matches!(code, ErrorCode::TemporarilyUnavailable | ErrorCode::ProviderTimeout);
        let retry_after = passes.then_some(2);
        Self { code, detail: None, scope: None, retry_after, cause: None }
    }

    /// Adds which parameter, and what to mend: a fixed text that holds nothing of the request.
    pub fn detail(mut self, detail: &'static str) -> Self {
        self.detail = Some(detail);
        self
    }

    /// Adds the cause, for the log only.
    pub fn caused_by(mut self, cause: impl Into<Cause>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Adds after how many seconds another try makes sense.
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Shorthand: `invalid_request` with a text that names the parameter.
    pub fn invalid_request(detail: &'static str) -> Self {
        Self::new(ErrorCode::InvalidRequest).detail(detail)
    }

    /// Shorthand: `insufficient_scope`, with the scope that is missing.
    pub fn insufficient_scope(scope: &'static str) -> Self {
        Self { scope: Some(scope), ..Self::new(ErrorCode::InsufficientScope) }
    }

    /// The code.
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

    /// Seconds for `Retry-After`, where another try makes sense.
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
