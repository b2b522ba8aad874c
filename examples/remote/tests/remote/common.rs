//! Hosts in this process or as children, requests as plain bytes, and an engine that takes its time.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use nomopoly::Tensors as _;
use nomopoly::receipt::{Committed, Strategy};
use remote::child::Child;
use remote::client::{Client, ClientConfig};
use remote::host::{Engine, Honest, Host, HostConfig};
use remote::model::{DigitsInput, test_images};
use remote::wire::{BINARY, InferRequest};

/// A host on a free port, with what `change` makes of the defaults.
pub fn host(change: impl FnOnce(&mut HostConfig)) -> Host {
    Host::start(config(change)).unwrap()
}

pub fn config(change: impl FnOnce(&mut HostConfig)) -> HostConfig {
    let mut config = HostConfig::default();
    config.listen.set_port(0);
    change(&mut config);
    config
}

/// An honest host that takes so long for every inference but its first, which is its own.
pub fn slow_host(takes: Duration, change: impl FnOnce(&mut HostConfig)) -> Host {
    Host::with_engine(config(change), Box::new(Slow(Honest::new().unwrap(), takes))).unwrap()
}

struct Slow(Honest, Duration);

impl Engine for Slow {
    fn infer(&self, input: &DigitsInput) -> nomopoly::Result<Committed> {
        if input.image.as_slice().iter().any(|pixel| *pixel != 0.) {
            std::thread::sleep(self.1);
        }
        self.0.infer(input)
    }
}

pub fn child(arguments: &[&str]) -> Child {
    let program = Path::new(env!("CARGO_BIN_EXE_remote"));
    Child::start(program, arguments.iter().copied()).unwrap()
}

/// A client that challenges everything, and does not come back to a host that is full.
pub fn client(url: &str) -> Client {
    let strategy = Strategy::Everything;
    Client::new(ClientConfig { strategy, retries: 0, ..ClientConfig::new(url) }).unwrap()
}

pub fn images(count: usize) -> Vec<DigitsInput> {
    test_images().unwrap().into_iter().take(count).collect()
}

/// The body of a request about one image.
pub fn request_about(image: &DigitsInput) -> Vec<u8> {
    postcard::to_stdvec(&InferRequest { inputs: image.to_named() }).unwrap()
}

pub struct Response {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Response {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        let mut found = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.trim())
    }

    /// The name of an error.
    pub fn error(&self) -> String {
        let body: remote::wire::ErrorBody = serde_json::from_slice(&self.body).unwrap();
        assert!(!body.message.is_empty());
        body.error
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// One request on a connection of its own, its header written as it is given.
pub fn raw(host: &Host, head: &str, body: &[u8]) -> Response {
    let mut stream = TcpStream::connect(host.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let head = format!("{head}\r\nhost: test\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    read_response(&mut stream)
}

pub fn read_response(stream: &mut TcpStream) -> Response {
    let mut bytes = vec![];
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("no header");
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Response { status, head, body: bytes[end + 4..].to_vec() }
}

pub fn get(host: &Host, path: &str) -> Response {
    raw(host, &format!("GET {path} HTTP/1.1"), b"")
}

pub fn post(host: &Host, path: &str, headers: &str, body: &[u8]) -> Response {
    raw(host, &format!("POST {path} HTTP/1.1\r\ncontent-length: {}{headers}", body.len()), body)
}

/// A request for an inference, in postcard.
pub fn infer(host: &Host, body: &[u8]) -> Response {
    post(host, "/v1/infer", &format!("\r\ncontent-type: {BINARY}"), body)
}

/// Bytes that one receipt takes in memory.
pub fn receipt_size() -> u64 {
    let host = host(|_| {});
    infer(&host, &request_about(&images(1)[0]));
    let metrics = get(&host, "/metrics");
    let mut lines = metrics.text().lines();
    let size = lines.find_map(|line| line.strip_prefix("remote_receipts_memory_bytes "));
    size.unwrap().parse().unwrap()
}
