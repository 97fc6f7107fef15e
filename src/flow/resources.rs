//! `resource` in a token request: the APIs that the token is to be for (RFC 8707 section 2.2).

use crate::domain::audience::AudienceSet;
use crate::error::{Error, ErrorCode, Result};

/// The APIs that a token request names; `None` if it names none.
///
/// # Errors
/// `invalid_target`: one of them cannot be the name of an API, or there are too many.
pub(super) fn resources(texts: &[String]) -> Result<Option<AudienceSet>> {
    if texts.is_empty() {
        return Ok(None);
    }
    let named = texts.iter().map(|text| text.parse()).collect::<Result<Vec<_>, _>>();
    let set = named.ok().and_then(|named| AudienceSet::new(named).ok());
    set.map(Some).ok_or_else(|| ErrorCode::InvalidTarget.into())
}

/// The authorization request decided which APIs the token is for. A token request may repeat them; it neither widens nor,
/// because the token exists already, narrows them.
///
/// # Errors
/// `invalid_target`
pub(super) fn is_for(resources: Option<&AudienceSet>, audiences: &AudienceSet) -> Result<()> {
    if resources.is_none_or(|resources| resources == audiences) {
        return Ok(());
    }
    Err(Error::new(ErrorCode::InvalidTarget)
        .detail("The parameter 'resource' must be the same as in the authorization request, or be omitted."))
}
