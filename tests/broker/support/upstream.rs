//! The API behind a gateway: a real server that answers with what it has received.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use actix_web::dev::ServerHandle;
use actix_web::http::KeepAlive;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::{Value, json};

/// An API that answers every request with 200 and a JSON description of it.
pub struct Upstream {
    pub addr: SocketAddr,
    requests: Arc<AtomicUsize>,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl Upstream {
    /// Starts it on a free loopback port.
    pub fn start() -> Self {
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = web::Data::from(requests.clone());
        let (sender, receiver) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let server = HttpServer::new(move || {
                    App::new().app_data(counter.clone()).default_service(web::to(echo))
                })
                .workers(1)
                .keep_alive(KeepAlive::Disabled)
                .bind(("127.0.0.1", 0))
                .unwrap();
                let addr = server.addrs()[0];
                let server = server.run();
                sender.send((addr, server.handle())).unwrap();
                server.await.unwrap();
            });
        });
        let (addr, handle) = receiver.recv().unwrap();
        Self { addr, requests, handle, thread: Some(thread) }
    }

    /// How many requests have arrived.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn echo(request: HttpRequest, body: web::Bytes, counter: web::Data<AtomicUsize>) -> HttpResponse {
    counter.fetch_add(1, Ordering::SeqCst);
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let headers: Vec<Value> = request
        .headers()
        .iter()
        .map(|(name, value)| json!([name.as_str(), text(value.as_bytes())]))
        .collect();
    HttpResponse::Ok().json(json!({
        "method": request.method().as_str(),
        "target": request.uri().to_string(),
        "headers": headers,
        "body": text(&body),
    }))
}
