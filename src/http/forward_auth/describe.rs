//! The description of the addresses for the OpenAPI document.

use serde_json::json;
use utoipa::openapi::path::{
    HttpMethod, Operation, Parameter, ParameterBuilder, ParameterIn, PathItem, Paths, PathsBuilder,
};
use utoipa::openapi::schema::{Object, Type};
use utoipa::openapi::{RefOr, Required, Schema};
use utoipa_actix_web::OpenApiFactory;

use super::{Dialect, ForwardAuth};

const DESCRIPTION: &str = "A gateway asks here before each request whether it may pass it on. Answers for every method. \
    Nothing of the visitor's request decides but the token in the `Authorization` header; the policy is the one that the \
    operator has written into the gateway. The names of the identity headers are those of `[forward_auth]` in the \
    configuration.";

impl Dialect {
    /// The word in ids and summaries.
    fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Traefik => "Traefik",
            Self::Caddy => "Caddy",
            Self::Envoy => "Envoy",
            Self::Generic => "any gateway",
        }
    }

    fn particularity(self) -> &'static str {
        match self {
            Self::Nginx => "For `auth_request`.",
            Self::Traefik => "For the middleware `forwardAuth`.",
            Self::Caddy => "For `forward_auth`.",
            Self::Envoy => {
                "For `ext_authz` with an `http_service` whose `path_prefix` is `/authz/envoy:{policy}`: Envoy appends the \
                 visitor's path and query, which are ignored. The policy is always named, `default` included, and joined \
                 with a colon, so that no visitor can name it."
            }
            Self::Generic => "For a gateway that calls the address exactly as it is written.",
        }
    }

    /// The paths of the document, each with its parameters.
    fn described(self) -> Vec<(String, Vec<Parameter>)> {
        let policy = || parameter("policy", "The id of a configured policy.", "orders");
        match self {
            Self::Envoy => vec![(
                format!("{}/{{path}}", self.with_policy()),
                vec![policy(), parameter("path", "The visitor's path; ignored.", "api/orders/1")],
            )],
            _ => vec![(self.base().to_owned(), vec![]), (self.with_policy(), vec![policy()])],
        }
    }

    fn operation(self, path: &str, parameters: Vec<Parameter>) -> Operation {
        let mut operation = <super::__path_forward_auth as utoipa::Path>::operation();
        let with = if parameters.is_empty() { "" } else { ", by policy" };
        let id = self.base().trim_start_matches('/').replace('/', "_");
        operation.operation_id = Some(if path.contains('{') { format!("{id}_by_policy") } else { id });
        operation.summary = Some(format!("Forward-auth for {}{with}", self.name()));
        operation.description = Some(format!("{} {DESCRIPTION}", self.particularity()));
        operation.parameters =
            (!parameters.is_empty()).then(|| parameters.into_iter().map(RefOr::T).collect());
        operation
    }
}

fn parameter(name: &str, description: &str, example: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some(description))
        .schema(Some(Object::with_type(Type::String)))
        .example(Some(json!(example)))
        .build()
}

impl OpenApiFactory for ForwardAuth {
    fn paths(&self) -> Paths {
        let described = Dialect::ALL.into_iter().flat_map(|dialect| {
            let paths = dialect.described().into_iter();
            paths.map(move |(path, parameters)| {
                let operation = dialect.operation(&path, parameters);
                (path, PathItem::new(HttpMethod::Get, operation))
            })
        });
        described.fold(PathsBuilder::new(), |paths, (path, item)| paths.path(path, item)).build()
    }

    fn schemas(&self, _: &mut Vec<(String, RefOr<Schema>)>) {}
}
