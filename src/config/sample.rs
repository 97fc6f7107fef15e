//! `[sample]`: whether the sample app is served at `/`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use url::Url;

use super::check::Check;
use crate::domain::client::Client;
use crate::domain::ids::ClientId;

/// The sample app.
#[derive(Debug, Clone, Default)]
pub struct SampleSettings {
    /// The client that the sample signs in as; `None` if there is no sample.
    pub client_id: Option<ClientId>,
    /// The folder to read its files from instead of from the program; only `demo --sample-from` sets it.
    pub folder: Option<PathBuf>,
}

/// The sample app, which shows what the broker can do. `demo` serves it at `/`.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawSample {
    /// The client that the sample signs in as; its `redirect_uris` must contain the `public_url` with a `/` at the end.
    /// If it is not set, `/` is a plain page.
    client_id: Option<String>,
}

impl RawSample {
    /// Checks it against the registered clients.
    pub(super) fn check(
        self,
        public_url: Option<&Url>,
        clients: &[Client],
        check: &mut Check,
    ) -> SampleSettings {
        let key = "sample.client_id";
        let Some(id) = self.client_id else { return SampleSettings::default() };
        let client =
            clients.iter().find(|client| client.id.as_str() == id && client.enabled && !client.legacy);
        match (client, public_url) {
            (None, _) => check.problem(key, "must be the id of an enabled client that is not a legacy one"),
            (Some(client), Some(url)) if client.redirect_uri(url.as_str()).is_none() => {
                check.problem(
                    key,
                    "needs the public_url with a / at its end among that client's redirect_uris",
                );
            }
            _ if check.production() => {
                check.warn(key, "serves the sample app at /, which is meant for trials")
            }
            _ => {}
        }
        SampleSettings { client_id: client.map(|client| client.id.clone()), folder: None }
    }
}
