//! `/oauth2/authorize`: the parameters that it has beside those of [`login`](super::login), whose flow it is (RFC 6749
//! section 4.1.1, OpenID Connect Core section 3.1.2.1).

use crate::domain::client::Client;
use crate::domain::oauth_request::OAuthRequest;
use crate::domain::scope::ScopeSet;
use crate::error::{Error, ErrorCode, Result};

/// The parameters of an authorization request, each at most once, as they were sent.
#[derive(Default)]
pub struct AuthorizeRequest {
    /// `code`.
    pub response_type: Option<String>,
    /// `query`, which is the default.
    pub response_mode: Option<String>,
    /// The scopes of the token; without it, those of the client.
    pub scope: Option<String>,
    /// Comes back in the ID token.
    pub nonce: Option<String>,
    /// Whether there is a request object.
    pub has_request: bool,
    /// Whether there is a reference to a request object.
    pub has_request_uri: bool,
    /// What is wrong with the query, if it could not be read completely.
    pub malformed: Option<Error>,
}

impl AuthorizeRequest {
    /// Validates the parameters that `/login` does not have.
    pub(super) fn validate(&self, client: &Client, named_redirect_uri: bool) -> Result<OAuthRequest> {
        if let Some(malformed) = &self.malformed {
            return Err(Error::new(malformed.code()).detail(malformed.public_text()));
        }
        if client.legacy {
            return Err(Error::new(ErrorCode::UnauthorizedClient)
                .detail("A legacy client signs in at /login. Remove the setting legacy of the client."));
        }
        if self.has_request {
            return Err(ErrorCode::RequestNotSupported.into());
        }
        if self.has_request_uri {
            return Err(ErrorCode::RequestUriNotSupported.into());
        }
        match self.response_type.as_deref() {
            Some("code") => {}
            Some(_) => return Err(ErrorCode::UnsupportedResponseType.into()),
            None => return Err(Error::invalid_request("The parameter 'response_type' is missing.")),
        }
        if self.response_mode.as_deref().is_some_and(|mode| mode != "query") {
            return Err(Error::invalid_request("The parameter 'response_mode' must be query."));
        }
        let nonce = self.nonce.as_deref().map(str::parse).transpose().map_err(|_| {
            Error::invalid_request(
                "The parameter 'nonce' must be 1 to 512 visible ASCII characters or spaces.",
            )
        })?;
        Ok(OAuthRequest { named_redirect_uri, scopes: scopes(client, self.scope.as_deref())?, nonce })
    }
}

/// What the client can have of what it asks for; unknown scopes are ignored, and the token response says what remains
/// (RFC 6749 section 3.3). Without `scope`, everything that the client has.
pub(super) fn scopes(client: &Client, scope: Option<&str>) -> Result<ScopeSet> {
    let Some(text) = scope else { return Ok(client.scopes.clone()) };
    let requested: ScopeSet = text.parse().map_err(|_| Error::new(ErrorCode::InvalidScope))?;
    let granted = client.grantable(&requested);
    if granted == ScopeSet::default() { Err(ErrorCode::InvalidScope.into()) } else { Ok(granted) }
}
