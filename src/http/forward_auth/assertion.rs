//! The identity headers as a signed JWT, for APIs that verify instead of trusting the network (`domain/assertion.rs`).

use tracing::warn;

use super::identity_headers::{Claim, IdentityHeaders, is_verified};
use crate::domain::assertion::{AssertedProfile, AssertionFacts};
use crate::domain::entropy;
use crate::domain::profile::{NameList, ProfileText};
use crate::domain::signing_key::JwtType;
use crate::domain::user::Permissions;
use crate::error::Result;
use crate::flow::forward_auth::Admitted;
use crate::state::Broker;

/// The longest assertion, in bytes: gateways refuse answers whose headers are too large.
const LONGEST: usize = 6 * 1024;

/// The assertion for this visitor. It tells what the headers tell; a list that makes it too long is left out.
///
/// # Errors
/// `server_error` if the cryptographic library fails: an answer without the assertion would be no answer.
pub fn assertion(broker: &Broker, headers: &IdentityHeaders, admitted: &Admitted) -> Result<String> {
    let profile = profile(headers, admitted);
    let assertion = sign(broker, admitted, &profile)?;
    if assertion.len() <= LONGEST {
        return Ok(assertion);
    }
    warn!(length = assertion.len(), "an identity assertion is too long: groups and permissions are left out");
    sign(broker, admitted, &AssertedProfile { groups: None, permissions: None, ..profile })
}

/// What the headers tell of the user. Id, client and scopes are in every assertion.
fn profile(headers: &IdentityHeaders, admitted: &Admitted) -> AssertedProfile {
    let Admitted { user, permissions, .. } = admitted;
    let told = |claim, text: Option<&ProfileText>| {
        text.filter(|_| headers.tell(claim)).map(|text| text.as_str().to_owned())
    };
    let names = |claim, of: fn(&Permissions) -> &NameList| {
        let permissions = permissions.as_ref().filter(|_| headers.tell(claim))?;
        Some(of(permissions).iter().map(str::to_owned).collect())
    };
    AssertedProfile {
        preferred_username: told(Claim::Username, user.username.as_ref()),
        name: told(Claim::DisplayName, user.display_name.as_ref()),
        email: told(Claim::Email, headers.email_of(user)),
        email_verified: headers.tell(Claim::EmailVerified).then(|| is_verified(user)),
        provider: headers.tell(Claim::Provider).then(|| user.provider.to_string()),
        groups: names(Claim::Groups, |permissions| &permissions.groups),
        permissions: names(Claim::Permissions, |permissions| &permissions.permissions),
    }
}

fn sign(broker: &Broker, admitted: &Admitted, profile: &AssertedProfile) -> Result<String> {
    let Admitted { user, token, audience, .. } = admitted;
    let facts = AssertionFacts {
        issuer: broker.issuer(),
        audience,
        user: user.id,
        client: &token.client_id,
        scopes: &token.scopes,
        issued_at: broker.clock.now(),
        id: entropy::uuid(&*broker.entropy),
        profile,
    };
    broker.keys.sign(JwtType::Assertion, &facts.claims())
}
