//! What happens around every request: [`admission`] before the handler, [`answer`] after it.

pub mod admission;
pub mod answer;
mod content_length;
pub mod cors;
pub mod host;
pub mod measure;
pub mod origin;
pub mod security_headers;
pub mod slashes;
pub mod url_length;
