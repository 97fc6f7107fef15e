//! The frame of every page, and the pages that are not the authorization page. No script, no form target but
//! this server, the one style sheet allowed by its hash.

use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::faults::FaultSwitch;
use super::shared::Shared;
use super::users::USERS;
use super::web;

const STYLE: &str = include_str!("page.css");

static CONTENT_SECURITY_POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; form-action 'self'; base-uri 'none'; \
         frame-ancestors 'none'"
    )
});

/// A page around `content`.
pub(super) fn page(status: StatusCode, title: &str, content: &Markup) -> HttpResponse {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · development provider" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    p.note { "Development provider: anyone can sign in as anyone. Never use it in production." }
                    h1 { (title) }
                    (content)
                }
            }
        }
    };
    web::uncached(status)
        .insert_header((header::CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY.as_str()))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .body(page.into_string())
}

/// 400: something that must not lead to a redirect.
pub(super) fn refusal(why: &str) -> HttpResponse {
    let content = html! {
        p role="alert" { (why) }
        p.quiet { "Nothing was sent to the application. Fix the request and start again there." }
    };
    page(StatusCode::BAD_REQUEST, "This request cannot be answered", &content)
}

/// After a logout that leads nowhere.
pub(super) fn signed_out() -> HttpResponse {
    page(StatusCode::OK, "You are signed out", &html! { p { "You can close this page." } })
}

/// `/` and `GET /dev/faults`: what this server is, and its switches.
pub(super) fn overview(shared: &Shared) -> HttpResponse {
    let content = html! {
        p { "Two sign-in providers on one address, for development and tests." }
        ul {
            li { "OpenID Connect: issuer " code { (shared.url) } ", "
                a href="/.well-known/openid-configuration" { "discovery" } }
            li { "Plain OAuth 2: " code { "/o/authorize/" } ", " code { "/o/token/" } ", "
                code { "/public-api/current_user/…" } }
            li { "People: " @for (place, user) in USERS.iter().enumerate() {
                @if place > 0 { ", " } (user.name) " (" (user.full_name) ")"
            } }
        }
        h2 { "Make something go wrong for every login" }
        p.quiet { "A switch stays on until it is switched off. A single login is made to fail on its own page." }
        form method="post" action="/dev/faults" {
            ul {
                @for switch in FaultSwitch::ALL {
                    @let on = shared.is_on(*switch);
                    li {
                        button.choice.first[on] type="submit" name=(switch.name())
                            value=(if on { "off" } else { "on" }) aria-pressed=(on) {
                            span { (switch.label()) }
                            span { (if on { "on" } else { "off" }) }
                        }
                    }
                }
            }
        }
    };
    page(StatusCode::OK, "What runs here", &content)
}
