//! `[docs]`: who may read the API documents.

use serde::{Deserialize, Serialize};

/// Who may read the API documents.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct DocsConfig {
    /// Whether `/docs` and `/openapi.json` are on the public listener too; on the admin listener they always are.
    pub public: bool,
}
