//! A loopback HTTP server in a few lines: it says exactly what the test tells it to, also what no HTTP library
//! would let it say.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;
use url::Url;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in small letters.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The value of a form parameter; panics if it appears twice.
    pub fn form(&self, name: &str) -> Option<String> {
        let pairs = url::form_urlencoded::parse(self.body.as_bytes());
        let values: Vec<_> = pairs.filter(|(known, _)| known == name).collect();
        assert!(values.len() < 2, "{name} is repeated");
        values.into_iter().next().map(|(_, value)| value.into_owned())
    }
}

/// What the server does with a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Sends these bytes and closes the connection.
    Raw(Vec<u8>),
    /// Sends these bytes and then nothing, until the client gives up.
    Hang(Vec<u8>),
    /// Sends these bytes again and again, until the client gives up.
    Flood(Vec<u8>, Vec<u8>),
}

impl Reply {
    pub fn new(status: u16, headers: &str, body: &str) -> Self {
        let length = body.len();
        let head = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\nconnection: close");
        Self::Raw(format!("{head}\r\n\r\n{body}").into_bytes())
    }

    /// A JSON answer of status 200.
    pub fn json(body: &Value) -> Self {
        Self::text(&body.to_string())
    }

    /// An answer of status 200 that says it is JSON.
    pub fn text(body: &str) -> Self {
        Self::new(200, "content-type: application/json;charset=UTF-8\r\n", body)
    }

    /// An answer with this status and nothing else.
    pub fn status(status: u16) -> Self {
        Self::new(status, "", "")
    }
}

/// The server; it ends with the test process.
pub struct Server {
    base: String,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Server {
    /// Answers every request by `script`, each connection on a thread of its own.
    pub fn start(script: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let received = Arc::new(Mutex::new(Vec::new()));
        let (log, script) = (Arc::clone(&received), Arc::new(script));
        thread::spawn(move || {
            for connection in listener.incoming() {
                let (log, script) = (Arc::clone(&log), Arc::clone(&script));
                thread::spawn(move || serve(connection.unwrap(), &log, &*script));
            }
        });
        Self { base, received }
    }

    /// `http://127.0.0.1:port`.
    pub fn base(&self) -> &str {
        &self.base
    }

    pub fn url(&self, path: &str) -> Url {
        format!("{}{path}", self.base).parse().unwrap()
    }

    /// What has arrived so far.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// How often this path was asked for.
    pub fn count(&self, path: &str) -> usize {
        self.received().iter().filter(|request| request.target == path).count()
    }
}

fn serve(mut connection: TcpStream, log: &Mutex<Vec<Received>>, script: &dyn Fn(&Received) -> Reply) {
    let Some(request) = read(&mut connection) else { return };
    log.lock().unwrap().push(request.clone());
    // A client that has heard enough closes the connection: writing to it then fails, as it should.
    match script(&request) {
        Reply::Raw(bytes) => drop(connection.write_all(&bytes)),
        Reply::Hang(bytes) => {
            let _ = connection.write_all(&bytes);
            let _ = connection.read(&mut [0]);
        }
        Reply::Flood(head, chunk) => {
            let _ = connection.write_all(&head);
            while connection.write_all(&chunk).is_ok() {}
        }
    }
}

/// Reads one request from any stream.
pub fn read(stream: impl Read) -> Option<Received> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.map_or(0, |(_, length)| length.parse().unwrap())];
    reader.read_exact(&mut body).ok()?;
    Some(Received { method, target, headers, body: String::from_utf8(body).unwrap() })
}
