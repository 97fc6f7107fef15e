//! A server that answers as a test says: the stand-in for a provider that has no development edition.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::Value;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub query: BTreeMap<String, String>,
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Asked {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The parameters of a form.
    pub fn form(&self) -> BTreeMap<String, String> {
        assert_eq!(self.header("content-type"), Some("application/x-www-form-urlencoded"));
        pairs(&self.body)
    }

    /// The members of a JSON object, all of them texts.
    pub fn json(&self) -> BTreeMap<String, String> {
        assert_eq!(self.header("content-type"), Some("application/json"));
        serde_json::from_str(&self.body).unwrap()
    }
}

fn pairs(encoded: &str) -> BTreeMap<String, String> {
    let mut pairs = BTreeMap::new();
    for (name, value) in url::form_urlencoded::parse(encoded.as_bytes()) {
        assert!(pairs.insert(name.to_string(), value.into_owned()).is_none(), "{name} is repeated");
    }
    pairs
}

/// What it answers: media type and body, with status 200. `None` is 404.
pub type Reply = Option<(&'static str, String)>;

/// A JSON answer.
pub fn json_reply(body: &Value) -> Reply {
    Some(("application/json; charset=utf-8", body.to_string()))
}

/// The server. It stops when it is dropped.
pub struct Stub {
    pub addr: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl Stub {
    /// Starts it on a free loopback port.
    pub fn start(answer: fn(&Asked) -> Reply) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let shared = web::Data::from(asked.clone());
        let (sender, receiver) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let server = HttpServer::new(move || {
                    let handler = move |request: HttpRequest, body: String, asked: web::Data<_>| async move {
                        respond(answer, &request, body, &asked)
                    };
                    App::new().app_data(shared.clone()).default_service(web::to(handler))
                });
                let server = server.workers(1).bind(("127.0.0.1", 0)).unwrap();
                let addr = server.addrs()[0];
                let server = server.run();
                sender.send((addr, server.handle())).unwrap();
                server.await.unwrap();
            });
        });
        let (addr, handle) = receiver.recv().unwrap();
        Self { addr, asked, handle, thread: Some(thread) }
    }

    /// What has been asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn respond(
    answer: fn(&Asked) -> Reply,
    request: &HttpRequest,
    body: String,
    asked: &Mutex<Vec<Asked>>,
) -> HttpResponse {
    let headers = request.headers().iter();
    let request = Asked {
        method: request.method().to_string(),
        path: request.path().to_owned(),
        query: pairs(request.query_string()),
        headers: headers
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
            .collect(),
        body,
    };
    let reply = answer(&request);
    asked.lock().unwrap().push(request);
    match reply {
        Some((media_type, body)) => HttpResponse::Ok().content_type(media_type).body(body),
        None => HttpResponse::NotFound().finish(),
    }
}
