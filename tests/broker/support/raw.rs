//! Requests that no HTTP library would send, written to the socket byte by byte.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::wait::PATIENCE;

/// The raw response: everything until the server closed the connection.
#[derive(Debug)]
pub struct RawAnswer(pub String);

impl RawAnswer {
    /// The status, or `None` if the server closed the connection without a response.
    pub fn status(&self) -> Option<u16> {
        self.0.split(' ').nth(1)?.parse().ok()
    }

    /// The lines of the head after the first.
    pub fn headers(&self) -> impl Iterator<Item = (String, &str)> {
        let head = self.0.split("\r\n\r\n").next().unwrap_or_default();
        let lines = head.split("\r\n").skip(1);
        lines
            .map(|line| line.split_once(':').unwrap_or((line, "")))
            .map(|(n, v)| (n.to_lowercase(), v.trim()))
    }

    /// The header with this lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// The body.
    pub fn body(&self) -> &str {
        self.0.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }
}

/// Writes `request` to the server at `url` and reads until it closes.
pub async fn send(url: &str, request: impl Into<Vec<u8>>) -> RawAnswer {
    let address = url.trim_start_matches("http://").to_owned();
    let request = request.into();
    let exchange = move || {
        let mut connection = TcpStream::connect(address).unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        // The server may refuse and close before it has read everything.
        let _ = connection.write_all(&request);
        let mut answer = Vec::new();
        let _ = connection.read_to_end(&mut answer);
        RawAnswer(String::from_utf8_lossy(&answer).into_owned())
    };
    tokio::task::spawn_blocking(exchange).await.unwrap()
}

/// `method path` with `headers`, for [`send`]; asks the server to close afterwards.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.into_bytes()
}
