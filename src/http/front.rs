//! `GET /`: in production a plain page; in development a page that tries the whole flow in this browser.

use actix_web::{HttpResponse, get, web};
use maud::html;

use super::openapi::errors;
use super::pages;
use crate::domain::client::Client;
use crate::state::Broker;

const SCRIPT: &str = include_str!("assets/try.js");

errors!(FrontErrors, Problem, []);

/// The front page
///
/// In production a plain page. In development a page that signs in and shows the person.
#[utoipa::path(
    tag = "Service",
    responses((status = 200, description = "The page.", content_type = "text/html; charset=utf-8", body = String), FrontErrors),
)]
#[get("/")]
pub async fn front_page(broker: web::Data<Broker>) -> HttpResponse {
    if !broker.development {
        return pages::answer(pages::front(), &pages::NO_SCRIPT);
    }
    let address = broker.public_url.as_str();
    let client = broker.clients.iter().find(|client| client.redirect_uri(address).is_some());
    let page = pages::layout(
        "Try token-broker",
        html! { script src="/try.js" defer {} },
        html! {
            main {
                h1 { "Try token-broker" }
                @match client {
                    Some(client) => (signing_in(client, address)),
                    None => p { "Register a client with the redirect address " code { (address) } " to sign in from this page." },
                }
            }
        },
    );
    pages::answer(page, &pages::OWN_SCRIPT)
}

fn signing_in(client: &Client, address: &str) -> maud::Markup {
    html! {
        p { "Signs in as the client " code { (client.id) } ", with PKCE, and asks " code { "/api/me" } "." }
        p { button.button #sign-in data-client-id=(client.id) data-redirect-uri=(address) data-key-parameter=(client.key_parameter.as_str()) { "Sign in" } }
        p role="status" #status {}
        pre #answer tabindex="0" hidden {}
    }
}

/// The script of the front page
///
/// In development only.
#[utoipa::path(
    tag = "Service",
    responses((status = 200, description = "The script.", content_type = "text/javascript", body = String), FrontErrors),
)]
#[get("/try.js")]
pub async fn front_script() -> HttpResponse {
    HttpResponse::Ok().content_type("text/javascript").body(SCRIPT)
}
