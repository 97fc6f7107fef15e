//! What may be asked of a new personal token.

use chrono::{SubsecRound, TimeDelta};

use super::Wanted;
use crate::domain::audience::AudienceSet;
use crate::domain::client::Client;
use crate::domain::clock::Timestamp;
use crate::domain::profile::ProfileText;
use crate::domain::scope::ScopeSet;
use crate::domain::token::TokenFacts;
use crate::error::{Error, ErrorCode, Result};
use crate::state::Broker;

/// The longest name, in characters.
const LONGEST_NAME: usize = 100;

/// The shortest lifetime: less is a mistake, such as minutes written for seconds.
const SHORTEST: TimeDelta = TimeDelta::seconds(60);

/// What a person asks for, unchecked.
#[derive(Debug)]
pub struct MakeRequest {
    /// What the person calls the token.
    pub name: String,
    /// Its scopes, space-separated.
    pub scope: String,
    /// The APIs it is for (RFC 8707); empty for those of the maker's token.
    pub resource: Vec<String>,
    /// When it expires.
    pub expiry: Expiry,
}

/// When a token expires.
#[derive(Debug, Clone, Copy)]
pub enum Expiry {
    /// In so many seconds.
    In(u64),
    /// At this time.
    At(Timestamp),
}

impl MakeRequest {
    /// Checks the request against the settings and against the token it is made with, and that token's client: neither
    /// may be exceeded.
    pub(super) fn validate(
        &self,
        broker: &Broker,
        maker: &TokenFacts,
        client: &Client,
        now: Timestamp,
    ) -> Result<Wanted> {
        let name = ProfileText::chosen(&self.name, LONGEST_NAME).ok_or_else(|| {
            Error::invalid_request(
                "The member 'name' must be 1 to 100 characters, without control or invisible characters.",
            )
        })?;
        Ok(Wanted {
            name,
            scopes: self.scopes(maker, client)?,
            audiences: self.audiences(maker, client)?,
            expires_at: self.expires_at(broker.personal_tokens.max_lifetime, now)?,
        })
    }

    fn scopes(&self, maker: &TokenFacts, client: &Client) -> Result<ScopeSet> {
        let scopes: ScopeSet = self.scope.parse().map_err(|_| {
            Error::invalid_request("The member 'scope' must be scopes with single spaces between them.")
        })?;
        if scopes.is_subset(&maker.scopes) && scopes.is_subset(&client.scopes) {
            return Ok(scopes);
        }
        Err(Error::new(ErrorCode::InsufficientScope)
            .detail("The member 'scope' names a scope that the access token does not have."))
    }

    fn audiences(&self, maker: &TokenFacts, client: &Client) -> Result<AudienceSet> {
        let invalid = || {
            Error::new(ErrorCode::InvalidTarget)
                .detail("The member 'resource' names an API that the access token is not for.")
        };
        let wanted = if self.resource.is_empty() {
            maker.audiences.clone()
        } else {
            let named = self.resource.iter().map(|resource| resource.parse()).collect::<Result<Vec<_>, _>>();
            named.ok().and_then(|named| AudienceSet::new(named).ok()).ok_or_else(invalid)?
        };
        let allowed = wanted.is_subset(&maker.audiences) && wanted.is_subset(&client.audiences);
        if allowed { Ok(wanted) } else { Err(invalid()) }
    }

    fn expires_at(&self, longest: TimeDelta, now: Timestamp) -> Result<Timestamp> {
        let lifetime = match self.expiry {
            Expiry::In(seconds) => i64::try_from(seconds).ok().and_then(TimeDelta::try_seconds),
            // Databases keep whole microseconds, and the row's MAC is over what they keep.
            Expiry::At(time) => Some(time.trunc_subsecs(6) - now),
        };
        match lifetime {
            Some(lifetime) if lifetime < SHORTEST => Err(Error::invalid_request(
                "The personal token must be valid for a minute at least. Check the member expires_in or expires_at.",
            )),
            Some(lifetime) if lifetime <= longest => Ok(now + lifetime),
            _ => Err(Error::invalid_request(
                "The personal token must expire within the number of days that max_days of the list says.",
            )),
        }
    }
}
