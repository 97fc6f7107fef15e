//! Addresses above 8 KiB are refused before anything reads them.

use actix_web::dev::ServiceRequest;

use crate::error::{ErrorCode, Result};

const LIMIT: usize = 8 * 1024;

/// Refuses a request whose path and query are too long.
pub fn check(request: &ServiceRequest) -> Result<()> {
    let length = request.uri().path_and_query().map_or(0, |text| text.as_str().len());
    if length <= LIMIT { Ok(()) } else { Err(ErrorCode::UriTooLong.into()) }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn an_address_over_8_kib_is_refused() {
        let of_length = |length: usize| {
            let uri = format!("/{}", "a".repeat(length - 1));
            check(&TestRequest::with_uri(&uri).to_srv_request())
        };
        assert!(of_length(LIMIT).is_ok());
        assert_eq!(of_length(LIMIT + 1).unwrap_err().code(), ErrorCode::UriTooLong);
    }
}
