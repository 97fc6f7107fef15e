//! The errors of an operation in the OpenAPI document.
//!
//! A handler lists its codes with [`errors!`]; the route table knows the [`Shape`] they are sent in and describes
//! them with [`describe`].

use std::collections::BTreeMap;

use serde_json::{Value, json};
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{Object, Type};
use utoipa::openapi::{Ref, RefOr, Response, ResponseBuilder};

use super::error_response::{OAuthError, Problem, Shape};
use crate::error::ErrorCode;

/// What every operation can answer.
const COMMON: &[ErrorCode] = &[ErrorCode::UriTooLong, ErrorCode::MisdirectedRequest, ErrorCode::ServerError];

/// The place of the declared codes among the responses, until [`describe`] replaces them.
const DECLARED: &str = "x-error-codes";

const EXAMPLE_REQUEST_ID: &str = "5f0c8a52d7e14f8b9b4f3f8a6f1d2c3b";

/// Declares the error codes of one operation, for `#[utoipa::path(responses(..))]`. The codes that every operation
/// can answer are added by the route table.
macro_rules! errors {
    ($name:ident, [$($code:ident),* $(,)?]) => {
        /// The errors of the operation below, for its description.
        struct $name;

        impl utoipa::IntoResponses for $name {
            fn responses() -> std::collections::BTreeMap<
                String,
                utoipa::openapi::RefOr<utoipa::openapi::Response>,
            > {
                $crate::http::errors::declare(&[$($crate::error::ErrorCode::$code),*])
            }
        }
    };
}
pub(super) use errors;

/// A response that only carries the codes to [`describe`].
pub(super) fn declare(codes: &[ErrorCode]) -> BTreeMap<String, RefOr<Response>> {
    // By name, because two codes of different status have the same text.
    let codes: Vec<_> = codes.iter().map(|code| format!("{code:?}")).collect();
    let extensions = Extensions::from_iter([(DECLARED, json!(codes))]);
    let response = ResponseBuilder::new().extensions(Some(extensions)).build();
    BTreeMap::from([(DECLARED.to_owned(), RefOr::T(response))])
}

/// Describes the declared errors of an operation, and those that every operation has, with one response for each
/// status. A response that the handler describes itself stays.
pub(super) fn describe(operation: &mut Operation, shape: Shape) {
    let responses = &mut operation.responses.responses;
    let declared = responses.remove(DECLARED);
    let mut by_status = BTreeMap::<u16, Vec<ErrorCode>>::new();
    let mut codes: Vec<_> = declared.iter().flat_map(codes_of).collect();
    // Every token can be bound to a key.
    if codes.contains(&ErrorCode::InvalidToken) {
        codes.extend([ErrorCode::InvalidDpopProof, ErrorCode::UseDpopNonce]);
    }
    for code in codes.into_iter().chain(COMMON.iter().copied()) {
        by_status.entry(code.status()).or_default().push(code);
    }
    for (status, codes) in by_status {
        responses.entry(status.to_string()).or_insert_with(|| RefOr::T(response(shape, &codes)));
    }
}

fn codes_of(declared: &RefOr<Response>) -> Vec<ErrorCode> {
    let RefOr::T(response) = declared else { return Vec::new() };
    let extensions = response.extensions.as_ref();
    let names = extensions.and_then(|extensions| extensions.get(DECLARED)?.as_array());
    let code = |name: &Value| ErrorCode::ALL.iter().copied().find(|code| *name == format!("{code:?}"));
    names.into_iter().flatten().filter_map(code).collect()
}

fn response(shape: Shape, codes: &[ErrorCode]) -> Response {
    let lines: Vec<_> = codes.iter().map(|code| format!("`{code}`: {}", code.public_text())).collect();
    let mut content = ContentBuilder::new();
    content = match shape {
        Shape::Page | Shape::SignOutPage | Shape::DevicePage | Shape::NotFoundPage | Shape::VisitedPage => {
            content.schema(Some(Object::with_type(Type::String)))
        }
        Shape::OAuth => content.schema(Some(Ref::from_schema_name("OAuthError"))),
        Shape::Problem => content.schema(Some(Ref::from_schema_name("Problem"))),
    };
    content = content.examples_from_iter(codes.iter().map(|code| {
        let example = ExampleBuilder::new().summary(code.public_text()).value(Some(example(shape, *code)));
        (code.as_str(), example.build())
    }));
    let mut response =
        ResponseBuilder::new().description(lines.join("\n\n")).content(shape.media_type(), content.build());
    for (name, description) in headers(codes) {
        let text = Object::with_type(Type::String);
        let header = HeaderBuilder::new().schema(Some(text)).description(Some(description)).build();
        response = response.header(name, header);
    }
    response.build()
}

fn example(shape: Shape, code: ErrorCode) -> Value {
    let text = code.public_text();
    match shape {
        Shape::Page | Shape::SignOutPage | Shape::DevicePage | Shape::NotFoundPage | Shape::VisitedPage => {
            Value::String(format!("<!DOCTYPE html>… {text} …"))
        }
        Shape::OAuth => json!(OAuthError::new(code, text, EXAMPLE_REQUEST_ID)),
        Shape::Problem => json!(Problem::new(code, text, EXAMPLE_REQUEST_ID)),
    }
}

fn headers(codes: &[ErrorCode]) -> Vec<(&'static str, &'static str)> {
    match codes.first() {
        Some(ErrorCode::InvalidToken | ErrorCode::MissingToken | ErrorCode::InsufficientScope) => {
            vec![("WWW-Authenticate", "The challenge of RFC 6750 section 3 or RFC 9449 section 7.1.")]
        }
        Some(ErrorCode::UnauthenticatedClient) => {
            vec![("WWW-Authenticate", "The challenge of RFC 7617 section 2.")]
        }
        Some(ErrorCode::RateLimited | ErrorCode::TemporarilyUnavailable | ErrorCode::ProviderTimeout) => {
            vec![("Retry-After", "The number of seconds to wait before a retry.")]
        }
        _ => vec![],
    }
}
