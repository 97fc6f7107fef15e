//! How routes are registered, and what the rest of the transport knows of a route before a handler runs.
//!
//! [`RouteRegistrar`] registers the routes that `routes.rs` lists. Each registration serves the route, describes it for
//! the OpenAPI document and adds a row to the [`RouteTable`]. Paths and methods come from the handlers' attributes.

use actix_cors::Cors;
use actix_web::dev::{AppService, HttpServiceFactory, ResourceDef};
use actix_web::http::Method;
use actix_web::http::header::{Allow, TryIntoHeaderPair};
use actix_web::{HttpRequest, HttpResponse};
use utoipa::openapi::path::{Operation, PathItem, Paths};
use utoipa::openapi::{RefOr, schema::Schema};
use utoipa_actix_web::OpenApiFactory;
use utoipa_actix_web::scope::scope;
use utoipa_actix_web::service_config::ServiceConfig;

use super::error_response::Shape;
use super::errors;
use super::forward_auth::{Dialect, ForwardAuth};
use crate::error::{Error, ErrorCode, Result};

/// One path with the methods that one service answers.
#[derive(Debug, Clone)]
pub struct Route {
    pattern: ResourceDef,
    /// The methods, in the order of the `Allow` header.
    methods: Vec<Method>,
    /// The format of errors.
    pub errors: Shape,
    /// Who calls it.
    pub callers: Callers,
}

/// Who a route is for: which checks of the host name and the origin make sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callers {
    /// Browsers and programs that use the broker's own address.
    Clients,
    /// Health probes, which use the machine's own address as host.
    Probes,
    /// Gateways, which pass on host, origin and method of a visitor of another site.
    Gateways,
    /// Browsers that visit another site, whose gateway passes the request on.
    Visitors,
}

/// The method of a route that answers every method.
static ANY_METHOD: [Method; 1] = [Method::GET];

/// The routes of one listener.
#[derive(Debug, Clone, Default)]
pub struct RouteTable(Vec<Route>);

impl RouteTable {
    /// The route of `request`, before routing: the one with its path and method, else another one with its path.
    /// `None` if no route has the path. Redundant slashes do not count.
    pub fn find(request: &HttpRequest) -> Option<&Route> {
        let table = request.app_data::<Self>()?;
        let path = without_redundant_slashes(request.match_info().as_str());
        let same_path = || table.at(&path);
        same_path().find(|route| route.methods.contains(request.method())).or_else(|| same_path().next())
    }

    /// Whether a route has this path and method.
    pub fn serves(&self, path: &str, method: &Method) -> bool {
        self.at(path).any(|route| route.methods.contains(method))
    }

    /// Path pattern and method of each route.
    pub fn patterns(&self) -> impl Iterator<Item = (&str, &Method)> {
        self.0.iter().flat_map(|route| {
            let methods = if route.methods.is_empty() { &ANY_METHOD[..] } else { &route.methods };
            let pattern = route.pattern.pattern().unwrap_or_default();
            methods.iter().map(move |method| (pattern, method))
        })
    }

    fn at(&self, path: &str) -> impl Iterator<Item = &Route> {
        self.0.iter().filter(move |route| route.pattern.is_match(path))
    }

    fn methods_at(&self, path: &str) -> Vec<Method> {
        let served = |method: &&Method| self.serves(path, method);
        [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE]
            .iter()
            .filter(served)
            .cloned()
            .collect()
    }
}

/// A decoded path as routing sees it: without a slash at the end and without empty segments.
pub fn without_redundant_slashes(path: &str) -> String {
    let segments = path.split('/').filter(|segment| !segment.is_empty());
    let text: String = segments.flat_map(|segment| ["/", segment]).collect();
    if text.is_empty() { "/".to_owned() } else { text }
}

/// Registers routes.
pub struct RouteRegistrar<'a, 's> {
    config: &'a mut ServiceConfig<'s>,
    table: &'a mut RouteTable,
    prefix: &'static str,
}

impl<'a, 's> RouteRegistrar<'a, 's> {
    /// A registrar that adds the routes to `config` and `table`.
    pub fn new(config: &'a mut ServiceConfig<'s>, table: &'a mut RouteTable) -> Self {
        Self { config, table, prefix: "" }
    }

    /// A route whose errors have this shape.
    pub fn route<F>(&mut self, errors: Shape, service: F) -> &mut Self
    where
        F: HttpServiceFactory + OpenApiFactory + 'static,
    {
        self.add(errors, Callers::Clients, service)
    }

    /// A route for health probes, which use the machine's own address as host: it answers under any host name, so
    /// its answers must not be confidential.
    pub fn probe<F>(&mut self, service: F) -> &mut Self
    where
        F: HttpServiceFactory + OpenApiFactory + 'static,
    {
        self.add(Shape::Problem, Callers::Probes, service)
    }

    /// The addresses of gateways. They answer for every method, path below them, host name and origin, which are the
    /// visitor's; so their answers must depend on nothing but a bearer token.
    pub fn gateways(&mut self, service: ForwardAuth) -> &mut Self {
        let errors = Shape::Problem;
        for dialect in Dialect::ALL {
            let pattern = ResourceDef::new(dialect.patterns());
            self.table.0.push(Route { pattern, methods: Vec::new(), errors, callers: Callers::Gateways });
        }
        self.config.service(Described { service, errors });
        self
    }

    /// A route that a gateway passes on for its visitors: it answers under any host name, which is the visited site's.
    pub fn visited<F>(&mut self, errors: Shape, service: F) -> &mut Self
    where
        F: HttpServiceFactory + OpenApiFactory + 'static,
    {
        self.add(errors, Callers::Visitors, service)
    }

    /// Routes below `prefix` that SPAs call: `cors` lets registered origins read the answers.
    pub fn cross_origin(
        &mut self,
        prefix: &'static str,
        cors: Cors,
        routes: impl FnOnce(&mut RouteRegistrar<'_, '_>),
    ) -> &mut Self {
        let table = &mut *self.table;
        let scope = scope(prefix).wrap(cors);
        self.config.service(scope.configure(|config| routes(&mut RouteRegistrar { config, table, prefix })));
        self
    }

    fn add<F>(&mut self, errors: Shape, callers: Callers, service: F) -> &mut Self
    where
        F: HttpServiceFactory + OpenApiFactory + 'static,
    {
        for (path, item) in service.paths().paths {
            let pattern = ResourceDef::new(format!("{}{path}", self.prefix));
            self.table.0.push(Route { pattern, methods: methods(&item), errors, callers });
        }
        self.config.service(Described { service, errors });
        self
    }
}

fn methods(item: &PathItem) -> Vec<Method> {
    let methods = [
        (Method::GET, &item.get),
        (Method::HEAD, &item.head),
        (Method::POST, &item.post),
        (Method::PUT, &item.put),
        (Method::PATCH, &item.patch),
        (Method::DELETE, &item.delete),
    ];
    methods.into_iter().filter(|(_, served)| served.is_some()).map(|(method, _)| method).collect()
}

/// A service whose errors are described in the shape of its route.
struct Described<F> {
    service: F,
    errors: Shape,
}

impl<F: HttpServiceFactory> HttpServiceFactory for Described<F> {
    fn register(self, config: &mut AppService) {
        self.service.register(config);
    }
}

impl<F: OpenApiFactory> OpenApiFactory for Described<F> {
    fn paths(&self) -> Paths {
        let mut paths = self.service.paths();
        for operation in paths.paths.values_mut().flat_map(operations) {
            errors::describe(operation, self.errors);
        }
        paths
    }

    fn schemas(&self, schemas: &mut Vec<(String, RefOr<Schema>)>) {
        self.service.schemas(schemas);
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, head, post, put, patch, delete, .. } = item;
    [get, head, post, put, patch, delete].into_iter().flatten()
}

/// Answers what no route matched: 405 if the path exists, otherwise 404.
pub async fn no_route(request: HttpRequest) -> Result<HttpResponse> {
    let path = request.match_info().as_str();
    let allowed = request.app_data::<RouteTable>().map(|table| table.methods_at(path)).unwrap_or_default();
    if allowed.is_empty() { Err(ErrorCode::NotFound.into()) } else { Ok(method_not_allowed(allowed)) }
}

/// 405 with the `Allow` header that RFC 9110 section 15.5.6 requires.
fn method_not_allowed(allowed: Vec<Method>) -> HttpResponse {
    let mut response = HttpResponse::from_error(Error::new(ErrorCode::MethodNotAllowed));
    if let Ok((name, value)) = Allow(allowed).try_into_pair() {
        response.headers_mut().insert(name, value);
    }
    response
}
