//! The OpenAPI 3.1 document, made from the same list as the routes.

mod examples;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use actix_cors::Cors;
use actix_web::{App, web};
use serde_json::{Value, json};
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::schema::{Object, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Ref, RefOr, Response, ResponseBuilder};
use utoipa::{Modify, OpenApi};
use utoipa_actix_web::AppExt;

use super::error_response::{OAuthError, Problem, Shape};
use super::routes::{self, Offered};
use crate::error::ErrorCode;

/// What every operation can answer, whatever it does.
const COMMON: &[ErrorCode] = &[ErrorCode::UriTooLong, ErrorCode::MisdirectedRequest, ErrorCode::ServerError];

const EXAMPLE_REQUEST_ID: &str = "5f0c8a52d7e14f8b9b4f3f8a6f1d2c3b";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "token-broker",
        description = "Signs single-page apps in through OAuth 2 and OpenID Connect providers and hands them \
            bearer tokens over a one-time key.\n\n\
            1. The SPA sends the browser to `GET /login` with a PKCE challenge.\n\
            2. The provider sends it back to `GET /oauth2_callback`; the broker sends it on to the SPA with a one-time key.\n\
            3. The SPA exchanges the key, once and within 120 seconds, at `POST /api/get_token` for its bearer token.\n\
            4. The token opens `/api/*` for seven days and is renewed at `POST /api/token/rotate`.\n\n\
            A trailing slash is accepted everywhere, but never stands for an id that was left out. Every answer carries `X-Request-Id`.",
    ),
    tags(
        (name = "Sign-in", description = "Navigations of the browser; errors are pages for people."),
        (name = "Tokens", description = "The one-time key and the bearer token."),
        (name = "Sessions", description = "Where the person is signed in."),
        (name = "Sign-out", description = "The end of a session: here, at the provider, or by the provider's word."),
        (name = "Profile", description = "The signed-in person."),
        (name = "Service", description = "Health, and this description."),
    ),
    components(schemas(OAuthError, Problem)),
    modifiers(&BearerScheme),
)]
struct Base;

struct BearerScheme;

impl Modify for BearerScheme {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "The `access_token` of `POST /api/get_token` (RFC 6750): `tbk_` and 72 letters and digits.",
            ))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    }
}

/// The document describes what a production broker offers at most.
const DESCRIBED: Offered = Offered { legacy: true, docs: true, sample: true };

/// The document of the public listener: the contract, without the pages that people look at.
pub fn document() -> utoipa::openapi::OpenApi {
    let app = App::new().into_utoipa_app().openapi(Base::openapi());
    let (_, mut document) =
        app.configure(|config| routes::contract(config, Cors::default(), DESCRIBED)).split_for_parts();
    // HEAD is GET without the body (RFC 9110 section 9.3.2): there is no more to say about it.
    document.paths.paths.values_mut().for_each(|item| item.head = None);
    examples::complete(&mut document);
    document
}

/// The document as it is served and committed: pretty JSON with a line feed at the end.
pub fn document_json() -> String {
    let mut text = document().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// The bytes of [`document_json`], made once.
pub(super) fn served() -> web::Bytes {
    static SERVED: LazyLock<web::Bytes> = LazyLock::new(|| document_json().into());
    SERVED.clone()
}

/// The error responses of one operation, by status: for `#[utoipa::path(responses(..))]`.
macro_rules! errors {
    ($name:ident, $shape:ident, [$($code:ident),* $(,)?]) => {
        /// The errors of the operation below, for its description.
        struct $name;

        impl utoipa::IntoResponses for $name {
            fn responses() -> std::collections::BTreeMap<
                String,
                utoipa::openapi::RefOr<utoipa::openapi::Response>,
            > {
                $crate::http::openapi::error_responses(
                    $crate::http::error_response::Shape::$shape,
                    &[$($crate::error::ErrorCode::$code),*],
                )
            }
        }
    };
}
pub(super) use errors;

/// Describes `codes` and those that every operation has, a response for each status.
pub(super) fn error_responses(shape: Shape, codes: &[ErrorCode]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status = BTreeMap::<u16, Vec<ErrorCode>>::new();
    for code in codes.iter().chain(COMMON) {
        by_status.entry(code.status()).or_default().push(*code);
    }
    by_status
        .into_iter()
        .map(|(status, codes)| (status.to_string(), RefOr::T(error_response(shape, &codes))))
        .collect()
}

fn error_response(shape: Shape, codes: &[ErrorCode]) -> Response {
    let lines: Vec<_> = codes.iter().map(|code| format!("`{code}`: {}", code.public_text())).collect();
    let mut content = ContentBuilder::new();
    content = match shape {
        Shape::Page | Shape::SignOutPage => content.schema(Some(Object::with_type(Type::String))),
        Shape::OAuth => content.schema(Some(Ref::from_schema_name("OAuthError"))),
        Shape::Problem => content.schema(Some(Ref::from_schema_name("Problem"))),
    };
    content = content.examples_from_iter(codes.iter().map(|code| {
        let example = ExampleBuilder::new().summary(code.public_text()).value(Some(example(shape, *code)));
        (code.as_str(), example.build())
    }));
    let mut response =
        ResponseBuilder::new().description(lines.join("\n\n")).content(shape.media_type(), content.build());
    for (name, description) in error_headers(codes) {
        let text = Object::with_type(Type::String);
        let header = HeaderBuilder::new().schema(Some(text)).description(Some(description)).build();
        response = response.header(name, header);
    }
    response.build()
}

fn example(shape: Shape, code: ErrorCode) -> Value {
    let text = code.public_text();
    match shape {
        Shape::Page | Shape::SignOutPage => Value::String(format!("<!DOCTYPE html>… {text} …")),
        Shape::OAuth => json!(OAuthError::new(code, text, EXAMPLE_REQUEST_ID)),
        Shape::Problem => json!(Problem::new(code, text, EXAMPLE_REQUEST_ID)),
    }
}

fn error_headers(codes: &[ErrorCode]) -> Vec<(&'static str, &'static str)> {
    match codes.first() {
        Some(ErrorCode::InvalidToken | ErrorCode::MissingToken | ErrorCode::InsufficientScope) => {
            vec![("WWW-Authenticate", "The challenge of RFC 6750 section 3.")]
        }
        Some(ErrorCode::RateLimited | ErrorCode::TemporarilyUnavailable | ErrorCode::ProviderTimeout) => {
            vec![("Retry-After", "Seconds after which another try makes sense.")]
        }
        _ => vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi/token-broker.json");

    fn operations_of(document: &Value) -> Vec<(String, Value)> {
        let paths = document["paths"].as_object().unwrap().clone();
        let of_path = |(path, item): (String, Value)| {
            let item = item.as_object().unwrap().clone();
            item.into_iter().map(move |(method, operation)| (format!("{method} {path}"), operation))
        };
        paths.into_iter().flat_map(of_path).collect()
    }

    fn operations() -> Vec<(String, Value)> {
        operations_of(&serde_json::from_str(&document_json()).unwrap())
    }

    #[test]
    fn ad_10_the_committed_document_is_current() {
        if std::env::var_os("UPDATE_OPENAPI").is_some() {
            std::fs::write(COMMITTED, document_json()).unwrap();
        }
        assert!(
            std::fs::read_to_string(COMMITTED).is_ok_and(|committed| committed == document_json()),
            "openapi/token-broker.json is not current; run: UPDATE_OPENAPI=1 cargo test --lib http::openapi"
        );
    }

    #[test]
    fn ad_10_the_document_has_every_operation_of_the_contract() {
        let mut names: Vec<_> = operations().into_iter().map(|(name, _)| name).collect();
        names.sort();
        assert_eq!(
            names,
            [
                "delete /api/sessions",
                "delete /api/sessions/{id}",
                "get /api/get_token",
                "get /api/me",
                "get /api/permissions",
                "get /api/sessions",
                "get /healthz",
                "get /login",
                "get /logout",
                "get /logout/callback",
                "get /oauth2_callback",
                "get /oauth2_callback/{provider}",
                "get /openapi.json",
                "get /readyz",
                "post /api/get_token",
                "post /api/logout",
                "post /api/token/rotate",
                "post /logout",
                "post /oauth2/backchannel_logout",
            ]
        );
    }

    #[test]
    fn every_operation_is_described_with_its_parameters_and_errors() {
        let mut ids = std::collections::HashSet::new();
        for (name, operation) in operations() {
            let text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
            assert!(text(&operation["summary"]) && text(&operation["description"]), "{name}");
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{name}");
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                assert!(text(&parameter["description"]), "{name}: {parameter}");
            }
            let responses = operation["responses"].as_object().unwrap();
            for (status, response) in responses {
                assert!(text(&response["description"]), "{name}: {status}");
                let written_by_handler = name == "get /readyz" && status == "503";
                if status.as_str() >= "400" && !written_by_handler {
                    let (_, content) = response["content"].as_object().unwrap().iter().next().unwrap();
                    assert!(!content["examples"].as_object().unwrap().is_empty(), "{name}: {status}");
                }
            }
            for common in ["414", "421", "500"] {
                assert!(responses.contains_key(common), "{name}: {common}");
            }
        }
    }

    /// The schema itself, where another place is named.
    fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str() {
            Some(name) => document.pointer(name.trim_start_matches('#')).unwrap(),
            None => schema,
        }
    }

    /// Checks an example against what the document uses of JSON Schema.
    fn assert_conforms(document: &Value, schema: &Value, example: &Value, what: &str) {
        let schema = resolved(document, schema);
        if let Some(choices) = schema["oneOf"].as_array() {
            let schema = choices.iter().find(|choice| choice["type"] != "null").unwrap();
            return assert_conforms(document, schema, example, what);
        }
        let kind = match example {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let types = &schema["type"];
        assert!(
            types == kind || types.as_array().is_some_and(|all| all.contains(&kind.into())),
            "{what}: {kind}"
        );
        if let Some(known) = schema["enum"].as_array() {
            assert!(known.contains(example), "{what}: {example}");
        }
        let text = example.as_str().unwrap_or_default();
        let formed = match schema["format"].as_str() {
            Some("date-time") => text.parse::<chrono::DateTime<chrono::Utc>>().is_ok(),
            Some("uuid") => text.parse::<uuid::Uuid>().is_ok(),
            _ => true,
        };
        assert!(formed, "{what}: {example}");
        for item in example.as_array().into_iter().flatten() {
            assert_conforms(document, &schema["items"], item, what);
        }
        for (name, member) in schema["properties"].as_object().into_iter().flatten() {
            let given = example.get(name).unwrap_or_else(|| panic!("{what}: {name} has no example"));
            assert_conforms(document, member, given, &format!("{what}.{name}"));
        }
    }

    #[test]
    fn ad_10_every_parameter_and_every_body_of_the_committed_document_has_an_example_that_conforms() {
        let document: Value = serde_json::from_str(&std::fs::read_to_string(COMMITTED).unwrap()).unwrap();
        let mut bodies = 0;
        for (name, operation) in operations_of(&document) {
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let what = format!("{name}: {}", parameter["name"]);
                assert_conforms(&document, &parameter["schema"], &parameter["example"], &what);
            }
            let successes = operation["responses"].as_object().unwrap().iter();
            let successes = successes.filter(|(status, _)| status.starts_with('2')).map(|(_, answer)| answer);
            for body in successes.chain([&operation["requestBody"]]) {
                for (kind, content) in body["content"].as_object().into_iter().flatten() {
                    bodies += 1;
                    assert_conforms(
                        &document,
                        &content["schema"],
                        &content["example"],
                        &format!("{name}: {kind}"),
                    );
                }
            }
        }
        assert!(bodies > 15, "{bodies}");
    }

    #[test]
    fn bearer_endpoints_say_so() {
        for (name, operation) in operations() {
            let bearer = operation["security"][0]["bearer"].is_array();
            let expected = name.contains(" /api/") && !name.ends_with("/get_token");
            assert_eq!(bearer, expected, "{name}");
            assert_eq!(operation["responses"]["401"].is_object(), expected, "{name}");
        }
    }

    #[test]
    fn every_schema_that_is_named_is_there() {
        let text = document_json();
        let document: Value = serde_json::from_str(&text).unwrap();
        let named = text.split("\"#/components/schemas/").skip(1).map(|rest| rest.split('"').next().unwrap());
        for name in named {
            assert!(document["components"]["schemas"][name].is_object(), "{name}");
        }
    }
}
