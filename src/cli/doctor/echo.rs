//! The service behind the gateway for the time of a check: answers every request with what has arrived.

use std::io::Write;
use std::net::SocketAddr;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::{Value, json};

use crate::cli::Failure;

/// Serves until a signal ends the process.
///
/// # Errors
/// The address cannot be used.
pub(super) async fn serve(address: SocketAddr, out: &mut dyn Write) -> Result<(), Failure> {
    let server = HttpServer::new(|| App::new().default_service(web::to(echo))).workers(1).bind(address);
    let server = server.map_err(|error| Failure::Runtime(format!("cannot listen on {address}: {error}")))?;
    for address in server.addrs() {
        writeln!(out, "answers with what arrives on http://{address}; end it with Ctrl-C")?;
    }
    out.flush()?;
    Ok(server.run().await?)
}

async fn echo(request: HttpRequest) -> HttpResponse {
    let pair =
        |(name, value): (&actix_web::http::header::HeaderName, &actix_web::http::header::HeaderValue)| {
            json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())])
        };
    let headers: Vec<Value> = request.headers().iter().map(pair).collect();
    HttpResponse::Ok().insert_header(("cache-control", "no-store")).json(json!({
        "method": request.method().as_str(),
        "target": request.uri().to_string(),
        "headers": headers,
    }))
}
