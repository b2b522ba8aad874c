//! Shutting down: what is running is finished, what is new is refused, and it ends.

use std::io::Write as _;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use remote::client::ClientError;

use crate::common::{child, client, get, images, infer, request_about, slow_host};

#[test]
fn running_requests_are_finished() {
    let host = slow_host(Duration::from_millis(600), |_| {});
    let (address, url) = (host.address(), host.url());
    let image = images(1).remove(0);
    let farewell = std::thread::scope(|scope| {
        let asked = scope.spawn(|| client(&url).ask(&image));
        std::thread::sleep(Duration::from_millis(200));
        let farewell = host.stop();
        assert!(asked.join().unwrap().is_ok());
        farewell
    });
    assert!(farewell.finished, "{farewell}");
    // The receipt that was given out last counts as well.
    assert_eq!((farewell.kept, farewell.lost), (0, 1), "{farewell}");
    assert!(TcpStream::connect(address).is_err());
    assert!(matches!(client(&url).ask(&image), Err(ClientError::Http { .. })));
}

#[test]
fn a_shutdown_does_not_wait_for_ever() {
    let host = slow_host(Duration::from_secs(3), |config| {
        config.grace = Duration::from_millis(300);
    });
    let (url, image) = (host.url(), images(1).remove(0));
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| client(&url).ask(&image));
        std::thread::sleep(Duration::from_millis(200));
        let start = Instant::now();
        let farewell = host.stop();
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        assert!(!farewell.finished, "{farewell}");
        let error = asked.join().unwrap().unwrap_err();
        assert!(matches!(error, ClientError::Http { .. }), "{error:?}");
    });
}

#[test]
fn idle_connections_do_not_hold_it_up() {
    let host = slow_host(Duration::ZERO, |_| {});
    let idle: Vec<_> = (0..3).map(|_| TcpStream::connect(host.address()).unwrap()).collect();
    let mut half = TcpStream::connect(host.address()).unwrap();
    half.write_all(b"GET /health/live HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let start = Instant::now();
    assert!(host.stop().finished);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    drop(idle);
}

#[test]
fn it_goes_on_while_load_balancers_notice() {
    let host = slow_host(Duration::ZERO, |config| config.drain = Duration::from_millis(700));
    let url = host.url();
    let image = images(1).remove(0);
    assert_eq!(get(&host, "/health/ready").status, 200);
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| host.stop());
        std::thread::sleep(Duration::from_millis(250));
        let ready = ureq::get(format!("{url}/health/ready")).call();
        assert!(matches!(ready, Err(ureq::Error::StatusCode(503))), "{ready:?}");
        assert!(client(&url).ask(&image).is_ok());
        assert!(stopping.join().unwrap().finished);
    });
}

#[cfg(unix)]
#[test]
fn signals_shut_it_down() {
    for signal in ["-TERM", "-INT"] {
        let host = child(&[]);
        client(host.url()).ask(&images(1)[0]).unwrap();
        let sent = Command::new("kill").args([signal, &host.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let words = host.last_words().unwrap();
        assert_eq!(words, "requests finished; receipts: 0 kept on disk, 1 in memory lost");
    }
}

#[test]
fn a_host_does_not_outlive_its_parent() {
    let host = child(&[]);
    assert!(host.stop().unwrap().contains("requests finished"));
}

#[test]
fn hosts_that_cannot_start_say_why() {
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_remote"))
            .args(["host", "--log", "off", "--with-parent", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for (arguments, why) in [
        (&["--memory", "10"][..], "one receipt takes"),
        (&["--token-file", "/no/such/file"], "/no/such/file"),
        (&["--folder", "/proc/no"], "/proc/no"),
        (&["--durability", "disk-first"], "--folder"),
    ] {
        let (code, text) = run(arguments);
        assert!(code == Some(2) && text.contains(why), "{arguments:?} {code:?} {text}");
    }
    let (code, text) = run(&["--cheat", "honestly"]);
    assert!(code == Some(2) && text.contains("int8-weights"), "{text}");
}

#[test]
fn many_connections_wait_for_a_place() {
    let host = slow_host(Duration::from_millis(50), |config| config.connections = 2);
    let images = images(8);
    std::thread::scope(|scope| {
        for image in &images {
            let host = &host;
            scope.spawn(move || {
                assert_eq!(infer(host, &request_about(image)).status, 200);
            });
        }
    });
}
