//! The OpenAPI 3.1 document, generated from the list of routes.

mod examples;

use std::sync::LazyLock;

use actix_cors::Cors;
use actix_web::{App, web};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_actix_web::AppExt;

use super::docs::ServedDocument;
use super::error_response::{OAuthError, Problem};
use super::route_table::{RouteRegistrar, RouteTable};
use super::routes::{self, Offered};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "token-broker",
        description = "Signs users in to single-page apps through OAuth 2 and OpenID Connect providers and gives \
            the apps bearer tokens.\n\n\
            1. The SPA sends the browser to `GET /login` with a PKCE challenge.\n\
            2. The provider sends it back to `GET /oauth2_callback`; the broker redirects it to the SPA with a one-time key.\n\
            3. The SPA exchanges the key, once and within 120 seconds, at `POST /api/get_token` for its bearer token.\n\
            4. The token is accepted at `/api/*` for seven days and is rotated at `POST /api/token/rotate`.\n\n\
            A trailing slash is accepted everywhere, but is not taken for an empty id. Every answer carries `X-Request-Id`.",
    ),
    tags(
        (name = "Sign-in", description = "Navigations of the browser; errors are pages for people."),
        (name = "Standard OAuth 2 and OpenID Connect", description = "The same sign-in for client libraries: authorization code flow with PKCE for public clients."),
        (name = "Devices", description = "Sign-in of a command-line tool or TV, approved in a browser elsewhere (RFC 8628)."),
        (name = "Tokens", description = "The one-time key and the bearer token."),
        (name = "Sessions", description = "Where the user is signed in."),
        (name = "Personal tokens", description = "Tokens that the user makes for scripts."),
        (name = "Sign-out", description = "The end of a session: here, at the provider, or by back-channel logout."),
        (name = "Profile", description = "The signed-in user."),
        (name = "Gateways", description = "Forward-auth: may a gateway pass a visitor's request on?"),
        (name = "For APIs", description = "Questions of the APIs behind the broker about the tokens that they are given."),
        (name = "Service", description = "Health, and this description."),
    ),
    components(schemas(OAuthError, Problem)),
    modifiers(&SecuritySchemes),
)]
struct Base;

struct SecuritySchemes;

impl Modify for SecuritySchemes {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "The `access_token` of `POST /api/get_token` (RFC 6750): `tbk_` and 72 letters and digits. \
                 Or a personal token, `tbp_` and as many; calls about sessions and tokens refuse it with 403. \
                 A token with the `token_type` `DPoP` is sent with that scheme instead, with a proof in the header `DPoP` \
                 (RFC 9449).",
            ))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
        let basic = HttpBuilder::new()
            .scheme(HttpAuthScheme::Basic)
            .description(Some(
                "The id and the secret of a resource server (RFC 6749 section 2.3.1): `tbs_` and 50 letters and digits.",
            ))
            .build();
        components.add_security_scheme("resource_server", SecurityScheme::Http(basic));
    }
}

/// The document describes everything that a production broker can offer.
const DESCRIBED: Offered =
    Offered { legacy: true, gateways: true, personal_tokens: true, devices: true, docs: true, sample: true };

/// The document of the public listener: the contract, without the pages for people.
pub fn document() -> utoipa::openapi::OpenApi {
    let app = App::new().into_utoipa_app().openapi(Base::openapi());
    let mut table = RouteTable::default();
    let (_, mut document) = app
        .configure(|config| {
            routes::contract(&mut RouteRegistrar::new(config, &mut table), Cors::default, DESCRIBED);
        })
        .split_for_parts();
    // HEAD is GET without the body (RFC 9110 section 9.3.2): it needs no description of its own.
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

/// [`document_json`], generated once.
pub(super) fn served() -> web::Data<ServedDocument> {
    static SERVED: LazyLock<ServedDocument> = LazyLock::new(|| ServedDocument(document_json().into()));
    web::Data::new(SERVED.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

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
    fn the_committed_document_is_current() {
        if std::env::var_os("UPDATE_OPENAPI").is_some() {
            std::fs::write(COMMITTED, document_json()).unwrap();
        }
        assert!(
            std::fs::read_to_string(COMMITTED).is_ok_and(|committed| committed == document_json()),
            "openapi/token-broker.json is not current; run: UPDATE_OPENAPI=1 cargo test --lib http::openapi"
        );
    }

    #[test]
    fn the_document_has_every_operation_of_the_contract() {
        let mut names: Vec<_> = operations().into_iter().map(|(name, _)| name).collect();
        names.sort();
        assert_eq!(
            names,
            [
                "delete /api/personal_tokens/{id}",
                "delete /api/sessions",
                "delete /api/sessions/{id}",
                "get /.well-known/jwks.json",
                "get /.well-known/oauth-authorization-server",
                "get /.well-known/openid-configuration",
                "get /_token-broker/callback",
                "get /api/get_token",
                "get /api/me",
                "get /api/permissions",
                "get /api/personal_tokens",
                "get /api/sessions",
                "get /authz",
                "get /authz/caddy",
                "get /authz/caddy/{policy}",
                "get /authz/envoy:{policy}/{path}",
                "get /authz/nginx",
                "get /authz/nginx/{policy}",
                "get /authz/traefik",
                "get /authz/traefik/{policy}",
                "get /authz/{policy}",
                "get /device",
                "get /device/sign_in",
                "get /healthz",
                "get /login",
                "get /logout",
                "get /logout/callback",
                "get /oauth2/authorize",
                "get /oauth2/userinfo",
                "get /oauth2_callback",
                "get /oauth2_callback/{provider}",
                "get /openapi.json",
                "get /readyz",
                "post /api/get_token",
                "post /api/logout",
                "post /api/personal_tokens",
                "post /api/token/rotate",
                "post /device",
                "post /logout",
                "post /oauth2/backchannel_logout",
                "post /oauth2/device_authorization",
                "post /oauth2/introspect",
                "post /oauth2/revoke",
                "post /oauth2/token",
            ]
        );
    }

    #[test]
    fn the_paths_for_the_metadata_are_served() {
        let names: Vec<_> = operations().into_iter().map(|(name, _)| name).collect();
        for path in [crate::http::introspect::PATH, crate::http::revoke::PATH] {
            assert!(names.contains(&format!("post {path}")), "{path}");
        }
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
    fn every_parameter_and_every_body_of_the_committed_document_has_an_example_that_conforms() {
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
            let of_api = name.contains(" /api/") && !name.ends_with("/get_token");
            let expected = of_api || name.contains(" /authz") || name == "get /oauth2/userinfo";
            assert_eq!(bearer, expected, "{name}");
            let authenticated =
                expected || ["post /oauth2/introspect", "post /oauth2/revoke"].contains(&&*name);
            assert_eq!(operation["responses"]["401"].is_object(), authenticated, "{name}");
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
