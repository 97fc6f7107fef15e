//! Counting requests, refusals and the time that answers took, with a closed set of labels.

use std::time::Duration;

use actix_web::http::Method;

use crate::domain::metric;
use crate::error::ErrorCode;
use crate::http::route_table::RouteTable;

/// Which listener a request came to: traffic of users and APIs, or of operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// `server.listen`.
    Public,
    /// `server.gateway_listen`.
    Gateways,
    /// `server.admin_listen`.
    Admin,
}

impl Listener {
    fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Gateways => "gateways",
            Self::Admin => "admin",
        }
    }
}

/// The route of requests that none matches.
pub const NO_ROUTE: &str = "unmatched";

/// The classes of statuses. The code of an error says more.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Makes `/metrics` report every route and error code of a listener from the start.
pub fn register(listener: Listener, routes: &RouteTable) {
    for (pattern, method) in routes.patterns() {
        let method = method_name(method);
        for class in CLASSES.into_iter().skip(1) {
            let _ = requests(listener, method, pattern, class);
        }
        let _ = duration(listener, method, pattern);
    }
    for code in ErrorCode::ALL {
        let _ = refusals(listener, code.as_str());
    }
}

/// Records an answer.
pub fn record(
    listener: Listener,
    (method, route): (&'static str, &str),
    status: u16,
    code: Option<&'static str>,
    elapsed: Duration,
) {
    let class = CLASSES.get(usize::from(status / 100).saturating_sub(1)).copied().unwrap_or(CLASSES[4]);
    requests(listener, method, route, class).increment(1);
    duration(listener, method, route).record(elapsed.as_secs_f64());
    if let Some(code) = code {
        refusals(listener, code).increment(1);
    }
}

fn requests(listener: Listener, method: &'static str, route: &str, class: &'static str) -> metrics::Counter {
    metrics::counter!(
        metric::HTTP_REQUESTS.name,
        "listener" => listener.as_str(), "method" => method, "route" => route.to_owned(), "status" => class
    )
}

fn duration(listener: Listener, method: &'static str, route: &str) -> metrics::Histogram {
    metrics::histogram!(
        metric::HTTP_REQUEST_DURATION.name,
        "listener" => listener.as_str(), "method" => method, "route" => route.to_owned()
    )
}

fn refusals(listener: Listener, code: &'static str) -> metrics::Counter {
    metrics::counter!(metric::REFUSALS.name, "listener" => listener.as_str(), "code" => code)
}

/// The method, from a closed list: invented methods must not grow logs and metrics.
pub fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
