//! `[docs]`: whether the API documents are public. [`super::server`] turns it into a setting of the listeners.

use serde::{Deserialize, Serialize};

/// Access to the API documents.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawDocs {
    /// Whether the public listener also serves `/docs` and `/openapi.json`; the admin listener always does.
    pub(super) public: bool,
}
