//! The checks of a gateway, in the order of the report.

use chrono::{DateTime, TimeDelta};
use reqwest::Method;
use url::Url;

use super::findings::{Finding, Hole};
use super::probe::{Answer, Probe, Request, as_read, spellings};
use crate::domain::clock::Clock;
use crate::domain::pages::CALLBACK_PATH;
use crate::http::forward_auth::identity_headers::{Claim, Preset};

/// What is checked, and with what.
pub(super) struct Target<'a> {
    /// The gateway, with a protected path.
    pub(super) url: Url,
    /// A valid token.
    pub(super) token: String,
    /// The API's own address.
    pub(super) upstream: Option<Url>,
    /// The names of the identity headers.
    pub(super) headers: Preset,
    /// Whether the policy has pages.
    pub(super) pages: bool,
    /// This machine's clock.
    pub(super) clock: &'a dyn Clock,
}

impl Target<'_> {
    fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }
}

/// The value of headers and cookies that must not arrive.
const SPOOFED: &str = "spoofed-by-token-broker-doctor";

/// The form of a token with a wrong checksum: the broker never issued it.
const MADE_UP: &str = "Bearer tbk_000000000000000000000000000000000000000000000000000000000000000000000000";

/// An origin that no app can have.
const FOREIGN_ORIGIN: &str = "https://doctor.invalid";

/// Further paths, which are often left open.
const PATHS: &[&str] = &[
    "/",
    "/favicon.ico",
    "/robots.txt",
    "/.well-known/security.txt",
    "/health",
    "/healthz",
    "/metrics",
    "/status",
    "/login",
    "/public/doctor",
    "/static/doctor.js",
    "/assets/doctor.css",
    "/docs",
    "/openapi.json",
];

/// Headers that must not say which path, method or address counts.
const FORWARDED: &[(&str, &str)] = &[
    ("x-original-url", "/public"),
    ("x-rewrite-url", "/public"),
    ("x-forwarded-uri", "/favicon.ico"),
    ("x-forwarded-method", "OPTIONS"),
    ("x-http-method-override", "OPTIONS"),
    ("x-forwarded-for", "127.0.0.1"),
    ("x-real-ip", "127.0.0.1"),
    ("forwarded", "for=127.0.0.1"),
];

/// What a script of a page sends.
const SCRIPT: [(&str, &str); 4] = [
    ("accept", "application/json"),
    ("sec-fetch-mode", "cors"),
    ("sec-fetch-dest", "empty"),
    ("sec-fetch-site", "same-origin"),
];

/// What a navigation of the window sends.
const NAVIGATION: [(&str, &str); 4] = [
    ("accept", "text/html"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
    ("sec-fetch-site", "none"),
];

fn seen(hole: Hole, seen: impl Into<String>) -> Finding {
    Finding { hole, seen: seen.into() }
}

/// All checks but those of a stopped broker.
///
/// # Errors
/// The gateway cannot be reached.
pub(super) async fn all(probe: &Probe, target: &Target<'_>) -> reqwest::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    without_credential(probe, target, &mut findings).await?;
    other_credentials(probe, target, &mut findings).await?;
    what_arrives(probe, target, &mut findings).await?;
    if let Some(upstream) = &target.upstream
        && let Ok(answer) = probe.send(Request::get(upstream, &[])).await
    {
        findings.push(seen(Hole::DirectAccess, format!("{upstream} answers {}", answer.status)));
    }
    if target.pages {
        pages(probe, target, &mut findings).await?;
    }
    Ok(findings)
}

/// What the gateway does while the broker cannot answer.
///
/// # Errors
/// The gateway cannot be reached.
pub(super) async fn while_stopped(probe: &Probe, target: &Target<'_>) -> reqwest::Result<Vec<Finding>> {
    let bearer = target.bearer();
    let mut findings = Vec::new();
    for (what, headers) in [
        ("a valid token", &[("authorization", &*bearer)][..]),
        ("a made-up token", &[("authorization", MADE_UP)]),
        ("no token", &[]),
    ] {
        let answer = probe.send(Request::get(&target.url, headers)).await?;
        let said = format!("a request with {what} is answered {}", answer.status);
        match answer.status {
            200..=399 => findings.push(seen(Hole::AllowsWhileUnknown, said)),
            401 | 403 if what == "a valid token" => findings.push(seen(Hole::OutageCalledInvalid, said)),
            _ => {}
        }
    }
    Ok(findings)
}

async fn without_credential(
    probe: &Probe,
    target: &Target<'_>,
    findings: &mut Vec<Finding>,
) -> reqwest::Result<()> {
    let answer = probe.send(Request::get(&target.url, &SCRIPT)).await?;
    findings.extend(clock_skew(&answer, target.clock));
    let status = answer.status;
    if answer.is_success() {
        findings.push(seen(Hole::OpenWithoutCredential, format!("{} answers {status}", target.url)));
        // Whatever else is asked without a credential is let in as well.
        return Ok(());
    }
    if (300..400).contains(&status) {
        findings.push(seen(Hole::RedirectForApiCalls, format!("a script's call is answered {status}")));
    } else if status != 401 || answer.header("www-authenticate").is_none() {
        let challenge = answer.header("www-authenticate").map_or("without", |_| "with");
        findings.push(seen(Hole::NoChallenge, format!("answered {status} {challenge} WWW-Authenticate")));
    }
    let mut open = Vec::new();
    for (method, url) in further(&target.url) {
        let mut request = Request::get(&url, &[]);
        request.method = method.clone();
        // A gateway may have paths of its own, and answer OPTIONS itself: only what reaches the API counts.
        if probe.send(request).await?.arrived().is_some() {
            open.push(format!("{method} {}", url.path()));
        }
    }
    if !open.is_empty() {
        findings.push(seen(Hole::OpenPath, open.join(", ")));
    }
    Ok(())
}

/// Other requests to the same site.
fn further(url: &Url) -> Vec<(Method, Url)> {
    let with_path = |path: &str| {
        let mut url = url.clone();
        url.set_path(path);
        url.set_query(None);
        url
    };
    let path = url.path();
    let variants = [format!("/{path}"), format!("{path}/doctor.js"), format!("{path};.css")];
    let paths = PATHS.iter().copied().chain(variants.iter().map(String::as_str));
    let gets = paths.filter(|other| *other != path).map(|path| (Method::GET, with_path(path)));
    let methods = [Method::OPTIONS, Method::from_bytes(b"PROPFIND").unwrap_or(Method::TRACE)];
    gets.chain(methods.into_iter().map(|method| (method, url.clone()))).collect()
}

async fn other_credentials(
    probe: &Probe,
    target: &Target<'_>,
    findings: &mut Vec<Finding>,
) -> reqwest::Result<()> {
    let is_open = |hole: Hole| findings.iter().any(|finding| finding.hole == hole);
    if is_open(Hole::OpenWithoutCredential) {
        return Ok(());
    }
    for made_up in [MADE_UP, "Bearer x", "Basic YTpi"] {
        let answer = probe.send(Request::get(&target.url, &[("authorization", made_up)])).await?;
        if answer.is_success() {
            let scheme = made_up.split(' ').next().unwrap_or_default();
            let said = format!("a made-up {scheme} credential is answered {}", answer.status);
            findings.push(seen(Hole::MadeUpTokenAccepted, said));
            break;
        }
    }
    let mut with_query = target.url.clone();
    with_query.query_pairs_mut().append_pair("access_token", &target.token);
    let answer = probe.send(Request::get(&with_query, &[])).await?;
    if answer.is_success() {
        let said = format!("?access_token=… is answered {}", answer.status);
        findings.push(seen(Hole::TokenInQueryAccepted, said));
    }
    let mut trusted = Vec::new();
    for (name, value) in FORWARDED {
        if probe.send(Request::get(&target.url, &[(name, value)])).await?.is_success() {
            trusted.push(format!("{name}: {value}"));
        }
    }
    if !trusted.is_empty() {
        findings.push(seen(Hole::ForwardedHeadersTrusted, trusted.join(", ")));
    }
    Ok(())
}

/// What the API gets to see of a request with the valid token, and what a foreign page of the answer.
async fn what_arrives(
    probe: &Probe,
    target: &Target<'_>,
    findings: &mut Vec<Finding>,
) -> reqwest::Result<()> {
    let bearer = target.bearer();
    let credential = ("authorization", &*bearer);
    let answer = probe.send(Request::get(&target.url, &[credential, ("origin", FOREIGN_ORIGIN)])).await?;
    findings.extend(cors(&answer));
    if !answer.is_success() {
        let code = if answer.body.contains("unknown_policy") { " unknown_policy" } else { "" };
        findings.push(seen(Hole::ValidTokenRefused, format!("answered {}{code}", answer.status)));
        return Ok(());
    }
    let Some(arrived) = answer.arrived() else {
        findings.push(seen(Hole::NotAnEcho, format!("{} answers {}", target.url, answer.status)));
        return Ok(());
    };
    findings.extend(missing(target.headers, &arrived));
    let names: Vec<String> = target.headers.names().iter().flat_map(|(_, name)| spellings(name)).collect();
    let mut spoofed = Vec::new();
    for (names, title_case) in names.chunks(18).flat_map(|chunk| [(chunk, false), (chunk, true)]) {
        let headers = names.iter().map(|name| (name.as_str(), SPOOFED)).chain([credential]);
        let request = Request { title_case, ..Request::get(&target.url, &headers.collect::<Vec<_>>()) };
        let answer = probe.send(request).await?;
        let arrived = answer.arrived().unwrap_or_default().into_iter();
        spoofed.extend(arrived.filter(|(_, value)| value.contains(SPOOFED)).map(|(name, _)| name));
    }
    spoofed.sort();
    spoofed.dedup();
    if !spoofed.is_empty() {
        findings.push(seen(Hole::SpoofedIdentityHeaders, spoofed.join(", ")));
    }
    Ok(())
}

/// Headers that are never empty and have not arrived.
fn missing(preset: Preset, arrived: &[(String, String)]) -> Option<Finding> {
    let never_empty = |claim: &Claim| matches!(claim, Claim::User | Claim::ClientId);
    let has = |name: &str| arrived.iter().any(|(known, value)| as_read(known) == name && !value.is_empty());
    let expected = preset.names().iter().filter(|(claim, _)| never_empty(claim));
    let missing: Vec<&str> = expected.map(|(_, name)| *name).filter(|name| !has(name)).collect();
    (!missing.is_empty()).then(|| seen(Hole::MissingIdentityHeaders, missing.join(", ")))
}

fn cors(answer: &Answer) -> Option<Finding> {
    let allowed = answer.header("access-control-allow-origin")?;
    let with_cookies = answer.header("access-control-allow-credentials") == Some("true");
    let any = allowed == FOREIGN_ORIGIN || allowed == "null" || (allowed == "*" && with_cookies);
    any.then(|| {
        seen(
            Hole::CorsForAnyOrigin,
            format!("Origin: {FOREIGN_ORIGIN} is answered Access-Control-Allow-Origin: {allowed}"),
        )
    })
}

fn clock_skew(answer: &Answer, clock: &dyn Clock) -> Option<Finding> {
    let date = DateTime::parse_from_rfc2822(answer.header("date")?).ok()?;
    let skew = date.to_utc() - clock.now();
    (skew.abs() > TimeDelta::minutes(1))
        .then(|| seen(Hole::ClockSkew, format!("{} seconds", skew.num_seconds())))
}

async fn pages(probe: &Probe, target: &Target<'_>, findings: &mut Vec<Finding>) -> reqwest::Result<()> {
    let answer = probe.send(Request::get(&target.url, &NAVIGATION)).await?;
    let here = target.url.origin().ascii_serialization();
    let callback = format!("{here}{CALLBACK_PATH}");
    let location = answer.header("location").and_then(|text| text.parse::<Url>().ok());
    let leads_back = location.is_some_and(|login| {
        login.path() == "/login"
            && login.query_pairs().any(|(name, value)| name == "redirect_uri" && value == callback)
    });
    if !leads_back || !(300..400).contains(&answer.status) {
        findings.push(seen(Hole::NoSignIn, format!("a navigation is answered {}", answer.status)));
    }
    let mut address = target.url.clone();
    address.set_path(CALLBACK_PATH);
    address.set_query(Some("state=x"));
    let answer = probe.send(Request::get(&address, &NAVIGATION)).await?;
    if !answer.body.contains("<code>invalid_state</code>") {
        findings
            .push(seen(Hole::CallbackNotRouted, format!("{CALLBACK_PATH} is answered {}", answer.status)));
    }
    let (bearer, cookies) = (
        target.bearer(),
        format!("kept=1; __Host-Http-tb_page_doctor={SPOOFED}; __Host-Http-tb_session={SPOOFED}"),
    );
    let headers = [("authorization", &*bearer), ("cookie", &*cookies)];
    let arrived = probe.send(Request::get(&target.url, &headers)).await?.arrived().unwrap_or_default();
    let is_passed =
        |(name, value): &(String, String)| name.eq_ignore_ascii_case("cookie") && value.contains(SPOOFED);
    if arrived.iter().any(is_passed) {
        findings.push(seen(Hole::BrokerCookiesPassedOn, "a cookie named __Host-Http-tb_page_… arrives"));
    }
    Ok(())
}
