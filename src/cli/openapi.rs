//! `openapi`: prints the OpenAPI document of the HTTP API.

use std::io::Write;

use clap::Args;

use super::Failure;
use crate::http::openapi::document_json;

/// Print the OpenAPI document of the public API (JSON)
#[derive(Debug, Args)]
pub(super) struct OpenApi {}

impl OpenApi {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        write!(out, "{}", document_json())?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::run;

    #[test]
    fn the_document_is_printed() {
        let (code, out, err) = run(&["openapi"]);
        assert_eq!((code, err.as_str()), (0, ""));
        assert_eq!(out, crate::http::openapi::document_json());
        let document: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert!(document["paths"]["/api/get_token"].is_object(), "{out}");
    }
}
