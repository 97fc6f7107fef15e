//! `[[clients]]`: the registered SPAs, and the addresses that one-time keys may be delivered to.

use std::collections::HashSet;
use std::str::FromStr;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use url::Url;

use super::check::Check;
use super::source::list;
use super::tokens::seconds;
use crate::domain::audience::{Audience, AudienceSet, MOST_AUDIENCES};
use crate::domain::client::{Client, Origin, RedirectUri};
use crate::domain::dpop::ClientDpop;
use crate::domain::ids::ClientId;
use crate::domain::lifetimes;
use crate::domain::scope::{Scope, ScopeSet};

/// The registered SPAs and other public clients. At least one.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawClient {
    /// The `client_id`: 1 to 32 characters of a-z, 0-9, `-` and `_`. Required.
    id: Option<String>,
    /// The name on the broker's pages. Default: the id.
    display_name: Option<String>,
    /// The addresses that one-time keys may be delivered to, compared byte for byte; one without a path gets `/`. Required,
    /// https; a client with `device` needs none.
    #[serde(deserialize_with = "list")]
    redirect_uris: Vec<String>,
    /// The addresses that the browser may return to after `/logout`, compared byte for byte, https.
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    post_logout_redirect_uris: Vec<String>,
    /// The address of the application itself, for the broker's pages that lead back to it, https. Default: the root of
    /// the first of `redirect_uris`, as in `https://app.example.com/`; none for a native app.
    #[serde(skip_serializing_if = "Option::is_none")]
    home_uri: Option<String>,
    /// The origins that may call the API from a browser. Default: those of `redirect_uris`.
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    origins: Vec<String>,
    /// Where the redirect carries the one-time key: `query` or `fragment`.
    key_delivery: String,
    /// The name of the parameter that carries the one-time key: `one_time_key` or `code`.
    key_parameter: String,
    /// An app on the person's own device (RFC 8252): `redirect_uris` may also be `http://127.0.0.1/…` and `http://[::1]/…`,
    /// which match with any port, and addresses of a private-use scheme, as in `com.example.app:/signed-in`.
    native: bool,
    /// Whether `/oauth2/token` also gives it refresh tokens. An SPA needs none: it gets a new token with
    /// `POST /api/token/rotate`, or with `prompt=none`.
    refresh_tokens: bool,
    /// A command-line tool, a TV or another device whose user signs in at `/device` in a browser elsewhere (RFC 8628).
    device: bool,
    /// For an SPA that was written for an older token service: no PKCE, one token per user, returned at every login for
    /// seven days, no browser session. Less secure: use it only while an old SPA still needs it.
    legacy: bool,
    /// A disabled client is treated as unknown: no logins, and its tokens are refused. Enabling it makes unexpired
    /// tokens valid again.
    enabled: bool,
    /// The APIs that its tokens are for, as in `https://orders.example.com`: an API must refuse a token whose audience
    /// does not name it. At most eight. `resource` at `/login` chooses among them. A change takes effect at the next
    /// `/login`; rotated tokens keep theirs until their session ends. Default: the broker itself.
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    audiences: Vec<String>,
    /// The scopes of its tokens: `profile` allows `/api/me`, `permissions` allows `/api/permissions`; others are for
    /// the APIs behind the broker. A change takes effect as for `audiences`.
    #[serde(deserialize_with = "list")]
    scopes: Vec<String>,
    /// Which optional parameters of `/login` it may use: `prompt`, `login_hint`, `max_age`. `prompt=none` needs no
    /// permission as long as the provider is not involved.
    #[serde(deserialize_with = "list")]
    login_parameters: Vec<String>,
    /// Seconds without a call after which its tokens are refused and the user must sign in again, 600 (ten minutes) to
    /// 2592000 (thirty days). Takes effect up to five minutes late, never early, because the last call is recorded only
    /// that often. Cannot be combined with `legacy`. Default: no limit.
    inactivity_seconds: Option<u32>,
    /// Whether its tokens are bound to a key of the app (DPoP, RFC 9449), so that a stolen token is useless: `optional`, if
    /// the app names a key at its login; `required`, always. A token that was issued before stays valid until it expires,
    /// but is not renewed. `required` cannot be combined with `legacy`.
    dpop: String,
}

impl Default for RawClient {
    fn default() -> Self {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Self {
            id: None,
            display_name: None,
            redirect_uris: Vec::new(),
            post_logout_redirect_uris: Vec::new(),
            home_uri: None,
            origins: Vec::new(),
            key_delivery: "query".to_owned(),
            key_parameter: "one_time_key".to_owned(),
            native: false,
            refresh_tokens: false,
            device: false,
            legacy: false,
            enabled: true,
            audiences: Vec::new(),
            scopes: texts(&["profile", "permissions"]),
            login_parameters: texts(&["prompt", "login_hint", "max_age"]),
            inactivity_seconds: None,
            dpop: "optional".to_owned(),
        }
    }
}

/// The registered clients.
pub(super) fn check(raw: Vec<RawClient>, public_url: Option<&Url>, check: &mut Check) -> Vec<Client> {
    let mut ids = HashSet::new();
    let mut checked = Vec::new();
    let count = raw.len();
    for (i, raw) in raw.into_iter().enumerate() {
        let key = format!("clients[{i}]");
        let Some(client) = raw.check(&key, public_url, check) else { continue };
        if !ids.insert(client.id.clone()) {
            check.problem(format!("{key}.id"), "is not unique: each client needs its own id");
        }
        checked.push(client);
    }
    if checked.len() == count && !checked.iter().any(|client| client.enabled) {
        check.problem("clients", "has no enabled client: add a [[clients]] section with redirect_uris");
    }
    checked
}

impl RawClient {
    /// Fills in what follows from other settings.
    pub(super) fn resolve(&mut self, checked: &Client) {
        self.display_name = Some(checked.display_name.clone());
        self.home_uri = checked.home();
        self.audiences = checked.audiences.iter().map(|audience| audience.as_str().to_owned()).collect();
        self.origins = checked.origins.iter().map(|origin| origin.as_str().to_owned()).collect();
    }

    /// Checks the client at `key`.
    fn check(self, key: &str, public_url: Option<&Url>, check: &mut Check) -> Option<Client> {
        let id_key = format!("{key}.id");
        let id = check.required(&id_key, self.id, "name the client");
        let id: Option<ClientId> = id.and_then(|id| check.parse(&id_key, &id));
        let uris_key = format!("{key}.redirect_uris");
        if self.redirect_uris.is_empty() && !self.device {
            let text = "is missing: name at least one address of the SPA, as in https://app.example.com/";
            check.problem(&uris_key, text);
        }
        let redirect_uris = addresses(&uris_key, &self.redirect_uris, self.native, check);
        let logout_key = format!("{key}.post_logout_redirect_uris");
        let post_logout_redirect_uris =
            addresses(&logout_key, &self.post_logout_redirect_uris, self.native, check);
        let home_key = format!("{key}.home_uri");
        let home_uri = self.home_uri.and_then(|text| address(&home_key, &text, self.native, check));
        let origins = {
            // The pages of a native app are not shown by a browser: they have no origin.
            let pages = redirect_uris.iter().filter(|uri| !self.native || uri.is_https());
            let pages: Vec<Origin> = pages.map(RedirectUri::origin).collect();
            origins(&format!("{key}.origins"), &self.origins, pages, check)
        };
        let key_delivery = check.choice(&format!("{key}.key_delivery"), &self.key_delivery);
        let key_parameter = check.choice(&format!("{key}.key_parameter"), &self.key_parameter);
        let audiences = audiences(&format!("{key}.audiences"), &self.audiences, public_url, check);
        let scopes = scopes(&format!("{key}.scopes"), &self.scopes, check);
        let parameters = self.login_parameters.iter().enumerate();
        let login_parameters = parameters
            .filter_map(|(i, name)| check.choice(&format!("{key}.login_parameters[{i}]"), name))
            .collect();
        let inactivity = self.inactivity_seconds.and_then(|limit| {
            let range = seconds(lifetimes::INACTIVITY_MIN)..=seconds(lifetimes::SESSION);
            check.within(&format!("{key}.inactivity_seconds"), limit, range)
        });
        let dpop = dpop(&format!("{key}.dpop"), &self.dpop, self.legacy, check);
        if self.legacy {
            check_legacy(key, self.native || self.refresh_tokens || self.device, inactivity.is_some(), check);
        }
        let id = id?;
        Some(Client {
            display_name: self.display_name.unwrap_or_else(|| id.to_string()),
            id,
            redirect_uris,
            post_logout_redirect_uris,
            home_uri,
            origins,
            key_delivery: key_delivery?,
            key_parameter: key_parameter?,
            native: self.native,
            refresh_tokens: self.refresh_tokens,
            device: self.device,
            legacy: self.legacy,
            enabled: self.enabled,
            audiences: audiences?,
            scopes: scopes?,
            login_parameters,
            inactivity: inactivity.map(|limit| TimeDelta::seconds(limit.into())),
            pages_of: None,
            dpop: dpop?,
        })
    }
}

/// Whether its tokens have to be bound to a key.
fn dpop(key: &str, text: &str, legacy: bool, check: &mut Check) -> Option<ClientDpop> {
    let dpop = check.choice(key, text);
    if legacy && dpop == Some(ClientDpop::Required) {
        check.problem(
            key,
            "cannot be required together with legacy, which gives all browsers of a user one token",
        );
    }
    dpop
}

/// What does not go together with the contract of the replaced service.
fn check_legacy(key: &str, has_oauth_settings: bool, has_inactivity: bool, check: &mut Check) {
    if has_oauth_settings {
        let text =
            "cannot be used together with native, refresh_tokens or device, which belong to standard OAuth 2";
        check.problem(format!("{key}.legacy"), text);
    }
    let text =
        "is on: no PKCE, and one token for all browsers of a user; turn it off as soon as the SPA allows";
    check.warn(format!("{key}.legacy"), text);
    if has_inactivity {
        let text =
            "cannot be used together with legacy, which hands out the same token even after a long pause";
        check.problem(format!("{key}.inactivity_seconds"), text);
    }
}

/// Addresses of the SPA or native app that browsers are redirected to.
fn addresses(key: &str, texts: &[String], native: bool, check: &mut Check) -> Vec<RedirectUri> {
    let mut uris: Vec<RedirectUri> = Vec::new();
    for (i, text) in texts.iter().enumerate() {
        let key = format!("{key}[{i}]");
        let Some(uri) = address(&key, text, native, check) else { continue };
        if uris.contains(&uri) {
            check.problem(key, "appears twice: remove one");
        } else {
            uris.push(uri);
        }
    }
    uris
}

/// An address that browsers are sent to.
fn address(key: &str, text: &str, native: bool, check: &mut Check) -> Option<RedirectUri> {
    let parsed = if native { RedirectUri::native(text) } else { text.parse() };
    match parsed {
        Ok(uri) if uri.is_plain_http() && !native && check.production() => {
            check.problem(key, "must be https in production");
            None
        }
        Ok(uri) => Some(uri),
        Err(why) => {
            check.problem(key, why.to_string());
            None
        }
    }
}

fn origins(key: &str, texts: &[String], default: Vec<Origin>, check: &mut Check) -> Vec<Origin> {
    let mut origins: Vec<Origin> = if texts.is_empty() {
        default
    } else {
        let texts = texts.iter().enumerate();
        texts.filter_map(|(i, text)| origin(&format!("{key}[{i}]"), text, check)).collect()
    };
    origins.sort();
    origins.dedup();
    origins
}

/// An origin as a browser writes it.
pub(super) fn origin(key: &str, text: &str, check: &mut Check) -> Option<Origin> {
    let origin: Origin = check.parse(key, text)?;
    if origin.as_str().starts_with("http:") && check.production() {
        check.problem(key, "must be https in production");
        return None;
    }
    Some(origin)
}

/// The audiences of a client's tokens; the broker itself if none is written.
fn audiences(
    key: &str,
    texts: &[String],
    public_url: Option<&Url>,
    check: &mut Check,
) -> Option<AudienceSet> {
    if texts.is_empty() {
        return public_url.map(|url| Audience::of_url(url).into());
    }
    let named: Vec<Audience> = parse_each(key, texts, check)?;
    let set = AudienceSet::new(named);
    if set.is_err() {
        check.problem(key, format!("has more than {MOST_AUDIENCES} audiences"));
    }
    set.ok()
}

/// The scopes of a provider, in the order in which they are written.
pub(super) fn scope(key: &str, texts: &[String], check: &mut Check) -> String {
    let _: Option<Vec<Scope>> = parse_each(key, texts, check);
    texts.join(" ")
}

/// Scopes (RFC 6749 section 3.3).
pub(super) fn scopes(key: &str, texts: &[String], check: &mut Check) -> Option<ScopeSet> {
    let scopes: Vec<Scope> = parse_each(key, texts, check)?;
    Some(scopes.into_iter().collect())
}

/// Parses every text, so that one run finds every problem.
fn parse_each<T: FromStr<Err: std::fmt::Display>>(
    key: &str,
    texts: &[String],
    check: &mut Check,
) -> Option<Vec<T>> {
    let parsed: Vec<Option<T>> =
        texts.iter().enumerate().map(|(i, text)| check.parse(&format!("{key}[{i}]"), text)).collect();
    parsed.into_iter().collect()
}
