//! Whatever answers, a client ends in time, in bounded memory, and with an error that says what.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use remote::client::{Client, ClientConfig, ClientError};

use crate::common::images;

/// A listener that does this to every connection, after it has read something.
fn hostile(act: impl Fn(&mut TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // It ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            act(&mut stream);
        }
    });
    url
}

fn ask(url: &str) -> ClientError {
    let config = ClientConfig { timeout: 1, retries: 0, ..ClientConfig::new(url) };
    let client = Client::new(config).unwrap();
    let start = Instant::now();
    let error = client.ask(&images(1)[0]).unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(4), "{error} after {:?}", start.elapsed());
    assert!(error.caught().is_none(), "{error:?}");
    assert!(error.to_string().len() < 600, "{error}");
    error
}

fn answers(bytes: &'static [u8]) -> ClientError {
    ask(&hostile(move |stream| {
        let _ = stream.write_all(bytes);
    }))
}

#[test]
fn what_is_not_http() {
    for bytes in [
        &b""[..],
        b"\x00\x01\x02\xff garbage \r\n\r\n",
        b"HTTP/1.1 two hundred\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-le",
        b"HTTP/1.1 200 OK\r\ncontent-length: minus one\r\n\r\n",
    ] {
        let error = answers(bytes);
        assert!(matches!(error, ClientError::Http { .. }), "{bytes:?}: {error:?}");
    }
}

#[test]
fn what_is_not_of_this_protocol() {
    let nothing = answers(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    assert!(matches!(nothing, ClientError::Answer { .. }), "{nothing:?}");
    let page = answers(b"HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n<html>hi</html>");
    assert!(matches!(page, ClientError::Answer { .. }), "{page:?}");
    let elsewhere = answers(
        b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
    );
    assert!(matches!(elsewhere, ClientError::Answer { .. }), "{elsewhere:?}");
    let broken = answers(b"HTTP/1.1 500 Oh\r\ncontent-length: 8\r\n\r\n\x1b[31mred");
    assert!(broken.to_string().contains("500") && !broken.to_string().contains('\x1b'), "{broken}");
    // A length that says that four billion tensors follow.
    let many = answers(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n\xff\xff\xff\xff\x0f\x01");
    assert!(matches!(many, ClientError::Answer { .. }), "{many:?}");
}

#[test]
fn lengths_that_are_wrong() {
    let short = answers(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nfew");
    assert!(matches!(short, ClientError::Http { .. }), "{short:?}");
    let chunk = answers(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffff\r\nfew");
    assert!(matches!(chunk, ClientError::Http { .. }), "{chunk:?}");
    let huge = answers(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999\r\n\r\nfew");
    assert!(matches!(huge, ClientError::Http { .. } | ClientError::TooLarge { .. }), "{huge:?}");
}

#[test]
fn answers_without_end() {
    let flood = |head: &'static [u8], part: &'static [u8]| {
        ask(&hostile(move |stream| {
            let mut go_on = stream.write_all(head).is_ok();
            let many = part.repeat(1 << 10);
            while go_on {
                go_on = stream.write_all(&many).is_ok();
            }
        }))
    };
    let body = flood(b"HTTP/1.1 200 OK\r\n\r\n", b"more and more and more ");
    assert!(matches!(body, ClientError::TooLarge { .. }), "{body:?}");
    let chunks = flood(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"4\r\nmore\r\n");
    assert!(matches!(chunks, ClientError::TooLarge { .. }), "{chunks:?}");
    let header = flood(b"HTTP/1.1 200 OK\r\n", b"x-more: and more\r\n");
    assert!(matches!(header, ClientError::Http { .. }), "{header:?}");
}

#[test]
fn hosts_that_hang() {
    let silent = ask(&hostile(|_| std::thread::sleep(Duration::from_secs(8))));
    assert!(silent.to_string().contains("timeout"), "{silent}");
    // A byte now and then is no progress.
    let dripping = ask(&hostile(|stream| {
        let mut go_on =
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").is_ok();
        while go_on {
            std::thread::sleep(Duration::from_millis(100));
            go_on = stream.write_all(b"x").is_ok();
        }
    }));
    assert!(matches!(dripping, ClientError::Http { .. }), "{dripping:?}");
}

#[test]
fn nobody_there() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    assert!(matches!(ask(&url), ClientError::Http { .. }));
    for url in ["ftp://127.0.0.1", "127.0.0.1:80", "https://127.0.0.1:1"] {
        assert!(matches!(Client::new(ClientConfig::new(url)), Err(ClientError::Setup(_))), "{url}");
    }
    // The command says so and ends with two.
    let command = std::process::Command::new(env!("CARGO_BIN_EXE_remote"))
        .args(["client", "--host", &url])
        .output()
        .unwrap();
    assert_eq!(command.status.code(), Some(2));
    assert!(String::from_utf8(command.stderr).unwrap().contains(&url));
}
