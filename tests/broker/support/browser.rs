//! A browser for tests: it keeps cookies, does not follow redirects, and returns every response.

use std::collections::BTreeMap;
use std::sync::Mutex;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;
use url::Url;

/// It keeps cookies per host, independent of the port, like browsers.
pub struct Browser {
    http: Client,
    cookies: Mutex<BTreeMap<String, BTreeMap<String, String>>>,
    /// URLs that are sent to another server: (public prefix, real prefix).
    pub routes: Mutex<Vec<(String, String)>>,
    /// The `User-Agent` header.
    pub user_agent: String,
}

/// A complete response.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
    pub url: Url,
}

impl Default for Browser {
    fn default() -> Self {
        Self::new()
    }
}

impl Browser {
    #[expect(clippy::disallowed_methods, reason = "a browser is not the broker's HTTP client")]
    pub fn new() -> Self {
        super::install_tls_provider();
        let http = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(std::time::Duration::from_secs(60))
            .build()
            .unwrap();
        let user_agent = "Mozilla/5.0 (test)".to_owned();
        Self { http, cookies: Mutex::default(), routes: Mutex::default(), user_agent }
    }

    /// Another browser with the same cookies and routes: for an attacker who copied them, or for a concurrent request.
    pub fn copy(&self) -> Self {
        let copy = Self::new();
        *copy.cookies.lock().unwrap() = self.cookies.lock().unwrap().clone();
        *copy.routes.lock().unwrap() = self.routes.lock().unwrap().clone();
        copy
    }

    /// Sends requests whose URL starts with `public` to `real`, with the public host in the `Host` header.
    pub fn route(&self, public: &str, real: &str) {
        let mut routes = self.routes.lock().unwrap();
        routes.retain(|(known, _)| known != public);
        routes.push((public.to_owned(), real.to_owned()));
    }

    /// Sends any request; `headers` are sent unchanged, and cookies are added.
    pub async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Answer {
        let url: Url = url.parse().unwrap_or_else(|error| panic!("{url}: {error}"));
        let host = url.host_str().unwrap().to_owned();
        let mut request = self.http.request(method, self.real(&url)).header("user-agent", &self.user_agent);
        let authority = &url[url::Position::BeforeHost..url::Position::AfterPort];
        request = request.header("host", authority);
        if let Some(cookies) = self.cookie_header(&host) {
            request = request.header("cookie", cookies);
        }
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            request = request.header(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let answer = request.send().await.unwrap_or_else(|error| panic!("{url}: {error:?}"));
        let (status, headers) = (answer.status(), answer.headers().clone());
        self.keep_cookies(&host, &headers);
        let body = String::from_utf8_lossy(&answer.bytes().await.unwrap()).into_owned();
        Answer { status, headers, body, url }
    }

    /// `GET` like a navigation from the address bar.
    pub async fn navigate(&self, url: &str) -> Answer {
        let headers =
            [("sec-fetch-dest", "document"), ("sec-fetch-mode", "navigate"), ("accept", "text/html")];
        self.send(Method::GET, url, &headers, None).await
    }

    /// `GET` like a script of the page.
    pub async fn get(&self, url: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(Method::GET, url, headers, None).await
    }

    /// `POST` of a JSON body.
    pub async fn post_json(&self, url: &str, body: &Value, headers: &[(&str, &str)]) -> Answer {
        let mut all = vec![("content-type", "application/json")];
        all.extend_from_slice(headers);
        self.send(Method::POST, url, &all, Some(body.to_string())).await
    }

    /// `POST` of a form.
    pub async fn post_form(&self, url: &str, pairs: &[(&str, &str)], headers: &[(&str, &str)]) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        let mut all = vec![("content-type", "application/x-www-form-urlencoded")];
        all.extend_from_slice(headers);
        self.send(Method::POST, url, &all, Some(body)).await
    }

    /// The cookies of a host.
    pub fn cookies(&self, host: &str) -> BTreeMap<String, String> {
        self.cookies.lock().unwrap().get(host).cloned().unwrap_or_default()
    }

    /// Sets or removes a cookie.
    pub fn set_cookie(&self, host: &str, name: &str, value: Option<&str>) {
        let mut cookies = self.cookies.lock().unwrap();
        let jar = cookies.entry(host.to_owned()).or_default();
        match value {
            Some(value) => jar.insert(name.to_owned(), value.to_owned()),
            None => jar.remove(name),
        };
    }

    /// Removes the session cookies of all brokers without informing them: the next login uses the provider.
    pub fn forget_session(&self) {
        for jar in self.cookies.lock().unwrap().values_mut() {
            jar.retain(|name, _| !name.ends_with("tb_session"));
        }
    }

    /// Removes every cookie.
    pub fn forget_cookies(&self) {
        self.cookies.lock().unwrap().clear();
    }

    fn real(&self, url: &Url) -> String {
        let routes = self.routes.lock().unwrap();
        let route = routes.iter().find(|(public, _)| url.as_str().starts_with(public.as_str()));
        match route {
            Some((public, real)) => url.as_str().replacen(public, real, 1),
            None => url.as_str().to_owned(),
        }
    }

    fn cookie_header(&self, host: &str) -> Option<String> {
        let pairs: Vec<String> =
            self.cookies(host).iter().map(|(name, value)| format!("{name}={value}")).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    fn keep_cookies(&self, host: &str, headers: &HeaderMap) {
        for header in headers.get_all("set-cookie") {
            let text = header.to_str().unwrap();
            let (pair, attributes) = text.split_once(';').unwrap_or((text, ""));
            let (name, value) = pair.split_once('=').unwrap();
            let gone = value.is_empty() || attributes.to_ascii_lowercase().contains("max-age=0");
            self.set_cookie(host, name.trim(), (!gone).then_some(value));
        }
    }
}

impl Answer {
    /// The target of a redirect.
    pub fn location(&self) -> Option<Url> {
        let location = self.header("location")?;
        self.status.is_redirection().then(|| self.url.join(location).unwrap())
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The parameter of the redirect's query or fragment.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let location = self.location()?;
        let fragment = location.fragment().unwrap_or_default();
        let pairs = location.query_pairs().chain(url::form_urlencoded::parse(fragment.as_bytes()));
        pairs.into_iter().find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
    }

    /// Checks that this is the broker's error page with this status and code, without a redirect.
    #[track_caller]
    pub fn assert_own_page(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("location"), None, "{self:?}");
        assert_eq!(self.header("content-type"), Some("text/html; charset=utf-8"), "{self:?}");
        assert!(self.body.contains(&format!("<code>{code}</code>")), "{self:?}");
    }

    /// The comparable parts of a response: status, headers and body without date and request id. Lists of header names
    /// are sorted.
    pub fn normalized(&self) -> (StatusCode, BTreeMap<String, String>, String) {
        let names = self.headers.keys().map(|name| name.as_str());
        let kept = names.filter(|name| !["date", "x-request-id"].contains(name));
        let sorted = |text: &str| {
            let mut parts: Vec<_> = text.split(", ").collect();
            parts.sort_unstable();
            parts.join(", ")
        };
        let headers = kept.map(|name| (name.to_owned(), sorted(self.header(name).unwrap()))).collect();
        let request_id = self.header("x-request-id").unwrap();
        (self.status, headers, self.body.replace(request_id, "…"))
    }

    /// The stable error code, in any format.
    pub fn error_code(&self) -> Option<String> {
        let body: Value = serde_json::from_str(&self.body).ok()?;
        let code = body.get("code").or_else(|| body.get("error"))?;
        code.as_str().map(ToOwned::to_owned)
    }
}
