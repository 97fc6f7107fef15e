//! `[[providers]]`: the identity providers.
//!
//! The keys of a provider are those that all providers have ([`RawCommon`]) and those of its kind ([`RawKind`]), which
//! has a file here. A new kind is a new file, a variant of [`RawKind`] and an entry of [`KINDS`].
//!
//! The keys are split by hand before serde reads the two parts: serde's own `flatten` and tagged enums buffer the
//! values, and then neither unknown keys nor the path of an error nor numbers from the environment work.

mod claims;
mod dialect;
mod keys;
mod oauth2;
mod oidc;
mod presets;

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use config::{Map, Value, ValueKind};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use url::Url;

use self::keys::keys_of;
use self::oauth2::RawOAuth2;
use self::oidc::RawOidc;
use super::check::Check;
use super::clients;
use super::secret::Secret;
use super::source::{list, section};
use crate::domain::ids::ProviderId;
use crate::provider::is_own_parameter;
use crate::provider::settings::{CaCertificates, KindSettings, ProviderSettings, Timeouts};

/// A provider as written.
#[derive(Debug, Clone, Serialize)]
pub(super) struct RawProvider {
    #[serde(flatten)]
    common: RawCommon,
    #[serde(flatten)]
    kind: Option<RawKind>,
}

/// The identity providers that users sign in at. At least one. Its further keys depend on its `kind`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawCommon {
    /// Its name in paths: 1 to 32 characters of a-z, 0-9, `-` and `_`. Never change it: a new
    /// id makes every user of this provider a new user.
    /// Required.
    id: Option<String>,
    /// `oidc`, `oauth2`, or a preset that expands to one of them, as in `github` (docs/providers.md). Required.
    #[serde(skip_serializing)]
    kind: Option<String>,
    /// The name on the chooser page. Default: the id.
    display_name: Option<String>,
    /// The broker's `client_id` at the provider. Required.
    client_id: Option<String>,
    /// The broker's secret at the provider. From the environment only. Required, here or as `client_secret_file`.
    client_secret: Option<Secret>,
    /// A file that contains the secret.
    client_secret_file: Option<PathBuf>,
    /// How the secret is sent to the token endpoint: `basic` or `post`.
    client_auth: String,
    /// The path of the callback, as registered at the provider behind `public_url`: `/oauth2_callback/{id}`, or
    /// `/oauth2_callback` for at most one provider, each optionally with a trailing slash.
    callback_path: String,
    /// Only users with an email address in one of these domains may sign in. The provider must have verified the
    /// address (`email_verified`). The one exception is `oauth2` without `claims.email_verified`: there the address is
    /// trusted as it is, so use that only if users cannot set it themselves. Default: no limit.
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    allowed_email_domains: Vec<String>,
    /// Further parameters of the authorization request, as in `{ hd = "example.com" }`. `prompt` is sent unless the
    /// login asks for another one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    authorize_parameters: BTreeMap<String, String>,
    /// Further parameters of the token request.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    token_parameters: BTreeMap<String, String>,
    /// A PEM file of a private certificate authority to trust in addition to the system's.
    ca_file: Option<PathBuf>,
}

impl Default for RawCommon {
    fn default() -> Self {
        Self {
            id: None,
            kind: None,
            display_name: None,
            client_id: None,
            client_secret: None,
            client_secret_file: None,
            client_auth: "basic".to_owned(),
            callback_path: "/oauth2_callback/{id}".to_owned(),
            allowed_email_domains: Vec::new(),
            authorize_parameters: BTreeMap::new(),
            token_parameters: BTreeMap::new(),
            ca_file: None,
        }
    }
}

/// The keys that only one kind of provider has.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum RawKind {
    Oidc(Box<RawOidc>),
    OAuth2(Box<RawOAuth2>),
}

impl RawKind {
    /// The scope, and the settings of the kind.
    fn check(self, key: &str, check: &mut Check) -> Option<(String, KindSettings)> {
        match self {
            Self::Oidc(raw) => raw.check(key, check),
            Self::OAuth2(raw) => raw.check(key, check),
        }
    }
}

/// How a kind is read.
pub(super) struct Kind {
    /// As in `kind = "…"`.
    pub(super) name: &'static str,
    keys: fn() -> &'static [&'static str],
    read: fn(Value, &str, &mut Check) -> Option<RawKind>,
    #[cfg(test)]
    pub(super) schema: fn() -> schemars::Schema,
}

macro_rules! kind {
    ($name:literal, $variant:ident($raw:ty)) => {
        Kind {
            name: $name,
            keys: keys_of::<$raw>,
            read: |tree, key, check| {
                section::<$raw>(tree, key, check).map(|raw| RawKind::$variant(raw.into()))
            },
            #[cfg(test)]
            schema: || schemars::schema_for!($raw),
        }
    };
}

/// Every kind, in the order of the documentation.
pub(super) const KINDS: [Kind; 2] = [kind!("oidc", Oidc(RawOidc)), kind!("oauth2", OAuth2(RawOAuth2))];

/// The kinds for which `fits` is true, as in `"oidc" or "oauth2"`.
fn names(fits: impl Fn(&Kind) -> bool) -> String {
    let names: Vec<_> =
        KINDS.iter().filter(|kind| fits(kind)).map(|kind| format!("\"{}\"", kind.name)).collect();
    names.join(" or ")
}

/// Takes the providers out of a tree of settings. Values that do not fit are reported in `check` and left out.
pub(super) fn take(tree: &mut Value, check: &mut Check) -> Vec<RawProvider> {
    let ValueKind::Table(settings) = &mut tree.kind else { return Vec::new() };
    let Some(list) = settings.remove("providers") else { return Vec::new() };
    let ValueKind::Array(entries) = list.kind else {
        check.unreadable("providers", "must be a list of tables: write [[providers]]");
        return Vec::new();
    };
    let entries = entries.into_iter().enumerate();
    let read = entries.map(|(i, entry)| RawProvider::read(entry, &format!("providers[{i}]"), check));
    read.collect::<Option<_>>().unwrap_or_default()
}

/// The settings of all providers.
pub(super) fn check(
    raw: Vec<RawProvider>,
    public_url: Option<&Url>,
    check: &mut Check,
) -> Vec<ProviderSettings> {
    if raw.is_empty() {
        check.problem("providers", "is empty: add a [[providers]] section, without one no user can sign in");
    }
    let mut ids = HashSet::new();
    let mut paths = HashSet::new();
    let mut checked = Vec::new();
    for (i, raw) in raw.into_iter().enumerate() {
        let key = format!("providers[{i}]");
        let Some(provider) = raw.check(&key, public_url, check) else { continue };
        if !ids.insert(provider.id.clone()) {
            check.problem(format!("{key}.id"), "is not unique: each provider needs its own id");
        } else if !paths.insert(provider.redirect_uri.path().trim_end_matches('/').to_owned()) {
            let text = "is also the path of another provider: use /oauth2_callback/{id}";
            check.problem(format!("{key}.callback_path"), text);
        }
        checked.push(provider);
    }
    checked
}

impl RawProvider {
    fn read(entry: Value, key: &str, check: &mut Check) -> Option<Self> {
        let ValueKind::Table(table) = entry.kind else {
            check.unreadable(key, "must be a table: write [[providers]]");
            return None;
        };
        let table = presets::expand(table);
        let common_keys = keys_of::<RawCommon>();
        let (common, own): (Map<_, _>, Map<_, _>) =
            table.into_iter().partition(|(name, _)| common_keys.contains(&name.as_str()));
        let common: RawCommon = section(Value::new(None, ValueKind::Table(common)), key, check)?;
        let kind_key = format!("{key}.kind");
        let choices = format!("{} or a preset: {}", names(|_| true), presets::names());
        let text = format!("write {choices}");
        let name = check.required(&kind_key, common.kind.as_deref(), &text);
        let kind = name.and_then(|name| KINDS.iter().find(|kind| kind.name == name));
        if name.is_some() && kind.is_none() {
            check.problem(kind_key, format_args!("must be {choices}"));
        }
        let own = without_unknown(own, kind, key, check);
        let kind = match kind {
            Some(kind) => Some((kind.read)(Value::new(None, ValueKind::Table(own)), key, check)?),
            None => None,
        };
        Some(Self { common, kind })
    }

    /// Fills in what follows from other settings, the path of the callback among it.
    pub(super) fn resolve(&mut self, checked: &ProviderSettings) {
        self.common.display_name = Some(checked.display_name.clone());
        self.common.callback_path = checked.redirect_uri.path().to_owned();
    }

    /// Checks the provider at `key`.
    fn check(self, key: &str, public_url: Option<&Url>, check: &mut Check) -> Option<ProviderSettings> {
        let common = self.common;
        let id = check.required(&format!("{key}.id"), common.id, "name the provider");
        let id: Option<ProviderId> = id.and_then(|id| check.parse(&format!("{key}.id"), &id));
        let client_id = common.client_id.filter(|id| !id.is_empty());
        let client_id = check.required(&format!("{key}.client_id"), client_id, "the provider issues it");
        let secret_key = format!("{key}.client_secret");
        let client_secret =
            check.secret(&secret_key, common.client_secret, common.client_secret_file.as_deref());
        let client_auth = check.choice(&format!("{key}.client_auth"), &common.client_auth);
        let path = id.as_ref().and_then(|id| callback_path(key, &common.callback_path, id, check));
        let ca_certificates = match common.ca_file {
            Some(file) => {
                let key = format!("{key}.ca_file");
                check.file(&key, &file, false).and_then(|pem| check.parse(&key, pem.expose_secret()))
            }
            None => Some(CaCertificates::default()),
        };
        check_email_domains(key, &common.allowed_email_domains, check);
        check_parameters(&format!("{key}.authorize_parameters"), &common.authorize_parameters, check);
        check_parameters(&format!("{key}.token_parameters"), &common.token_parameters, check);
        let (scope, kind) = self.kind?.check(key, check)?;
        warn_of_unverified_addresses(key, &kind, &common.allowed_email_domains, check);
        let id = id?;
        Some(ProviderSettings {
            display_name: common.display_name.unwrap_or_else(|| id.to_string()),
            id,
            client_id: client_id?,
            client_secret: client_secret?,
            client_auth: client_auth?,
            redirect_uri: public_url?.join(&path?).ok()?,
            scope,
            authorize_parameters: common.authorize_parameters.into_iter().collect(),
            token_parameters: common.token_parameters.into_iter().collect(),
            allowed_email_domains: common.allowed_email_domains,
            kind,
            timeouts: Timeouts::default(),
            ca_certificates: ca_certificates?,
        })
    }
}

/// The entries whose key belongs to `kind`; the others are reported in `check`. Without a kind, only keys that no kind
/// has are reported.
fn without_unknown(
    own: Map<String, Value>,
    kind: Option<&Kind>,
    key: &str,
    check: &mut Check,
) -> Map<String, Value> {
    let mut known = Map::new();
    let mut entries: Vec<_> = own.into_iter().collect();
    entries.sort_by(|one, other| one.0.cmp(&other.0));
    for (name, value) in entries {
        let has = |kind: &Kind| (kind.keys)().contains(&name.as_str());
        let owners = names(has);
        match kind {
            Some(kind) if has(kind) => drop(known.insert(name, value)),
            None if !owners.is_empty() => {}
            Some(kind) if !owners.is_empty() => {
                let text = format!("is a key of kind = {owners}, not of \"{}\": remove it", kind.name);
                check.unreadable(format!("{key}.{name}"), text);
            }
            _ => {
                let kinds = kind.map_or(&[][..], |kind| (kind.keys)());
                let keys: Vec<_> =
                    keys_of::<RawCommon>().iter().chain(kinds).map(|name| format!("`{name}`")).collect();
                let text = format!("is not a setting; the settings here are {}", keys.join(", "));
                check.unreadable(format!("{key}.{name}"), text);
            }
        }
    }
    known
}

fn check_email_domains(key: &str, domains: &[String], check: &mut Check) {
    for (i, domain) in domains.iter().enumerate() {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
        if domain.is_empty() || !domain.bytes().all(allowed) {
            let text = "must be a domain in lower-case ASCII, as in example.com";
            check.problem(format!("{key}.allowed_email_domains[{i}]"), text);
        }
    }
}

/// Parameters that the broker sets itself would be sent twice. Only `prompt` gives way to the configured one.
fn check_parameters(key: &str, parameters: &BTreeMap<String, String>, check: &mut Check) {
    const OF_THE_TOKEN_REQUEST: [&str; 4] = ["grant_type", "code", "code_verifier", "client_secret"];
    for name in parameters.keys() {
        let own = is_own_parameter(name) || OF_THE_TOKEN_REQUEST.contains(&name.as_str());
        if own && name != "prompt" {
            check.problem(format!("{key}.{name}"), "is a parameter that the broker sets itself: remove it");
        }
    }
}

/// A preset may say nothing about whether its provider verifies addresses, and the operator need not know.
fn warn_of_unverified_addresses(key: &str, kind: &KindSettings, domains: &[String], check: &mut Check) {
    if let KindSettings::OAuth2(oauth2) = kind
        && oauth2.claims.email_verified.is_none()
        && !domains.is_empty()
    {
        let text = "trusts addresses as they are, because claims.email_verified is not set: make sure that people cannot \
                    set their address at this provider";
        check.warn(format!("{key}.allowed_email_domains"), text);
    }
}

/// Space-separated scopes, each checked.
fn scope(key: &str, text: &str, check: &mut Check) -> String {
    let names: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    clients::scope(key, &names, check)
}

/// An issuer is a URL without query and fragment (OpenID Connect Discovery section 4.1).
fn issuer(key: &str, text: String, check: &mut Check) -> Option<String> {
    let url = check.url(key, &text)?;
    if url.query().is_some() {
        check.problem(key, "must not contain a query ('?')");
        return None;
    }
    Some(text)
}

/// The path of a provider's callback: one of four forms, so that it always belongs to this provider.
fn callback_path(key: &str, text: &str, id: &ProviderId, check: &mut Check) -> Option<String> {
    let path = text.replace("{id}", id.as_str());
    let bare = path.strip_suffix('/').unwrap_or(&path);
    if bare == "/oauth2_callback" || bare.strip_prefix("/oauth2_callback/") == Some(id.as_str()) {
        return Some(path);
    }
    let text = "must be /oauth2_callback/{id} or /oauth2_callback, each also with a slash at the end";
    check.problem(format!("{key}.callback_path"), text);
    None
}
