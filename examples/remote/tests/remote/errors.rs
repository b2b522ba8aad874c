//! Every way in which a request can be wrong has a status and a name.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use nomopoly::receipt::Challenge;
use nomopoly::{Digest, NamedTensor, Tensors as _};
use remote::client::{Client, ClientConfig, ClientError};
use remote::wire::{BINARY, InferRequest, InferResponse, JSON};

use crate::common::{
    Response, client, get, host, images, infer, post, raw, read_response, receipt_size,
    request_about, slow_host,
};

fn expect(response: &Response, status: u16, error: &str) {
    assert_eq!(
        (response.status, response.error().as_str()),
        (status, error),
        "{}",
        response.text()
    );
    assert_eq!(response.header("content-type"), Some(JSON));
}

fn with_inputs(inputs: Vec<NamedTensor>) -> Vec<u8> {
    postcard::to_stdvec(&InferRequest { inputs }).unwrap()
}

#[test]
fn what_is_not_a_request() {
    let host = host(|config| config.body_limit = 4096);
    let good = request_about(&images(1)[0]);
    expect(&infer(&host, b""), 400, "malformed");
    expect(&infer(&host, &good[..good.len() - 1]), 400, "malformed");
    expect(&infer(&host, &[&good[..], b"x"].concat()), 400, "malformed");
    let json = format!("\r\ncontent-type: {JSON}");
    for text in ["", "{", "[]", "{\"inputs\":1}", "{\"inputs\":[],\"more\":1}"] {
        expect(&post(&host, "/v1/infer", &json, text.as_bytes()), 400, "malformed");
    }
    expect(&post(&host, "/v1/infer", "", &good), 415, "content_type");
    expect(&post(&host, "/v1/infer", "\r\ncontent-type: text/plain", &good), 415, "content_type");
    expect(&post(&host, "/v1/open", &json, b"{}"), 415, "content_type");
    expect(&get(&host, "/v2/infer"), 404, "no_route");
    expect(&get(&host, "/v1/infer"), 405, "method_not_allowed");
    expect(&post(&host, "/v1/model", "", b""), 405, "method_not_allowed");
    // Announced, and not: the second is cut off while it arrives.
    expect(&infer(&host, &vec![0; 5000]), 413, "too_large");
    let chunked =
        format!("POST /v1/infer HTTP/1.1\r\ncontent-type: {BINARY}\r\ntransfer-encoding: chunked");
    let body = [b"1388\r\n".to_vec(), vec![0; 5000], b"\r\n0\r\n\r\n".to_vec()].concat();
    expect(&raw(&host, &chunked, &body), 413, "too_large");
    // The host is as good as before.
    assert_eq!(infer(&host, &good).status, 200);
}

#[test]
fn what_the_model_cannot_take() {
    let host = host(|_| {});
    let image = |shape: &[usize], values: Vec<f32>| NamedTensor::from_f32("image", shape, values);
    let whole = || image(&[1, 1, 8, 8], vec![0.5; 64]);
    let renamed = NamedTensor { name: "picture".into(), ..whole() };
    for inputs in [
        vec![],
        vec![whole(), whole()],
        vec![renamed],
        vec![image(&[1, 1, 8, 7], vec![0.5; 56])],
        vec![image(&[64], vec![0.5; 64])],
        vec![image(&[1, 1, 8, 8], vec![0.5; 63])],
        vec![image(&[usize::MAX, 2, 8, 8], vec![0.5; 64])],
        vec![image(&[1, 1, 8, 8], vec![f32::NAN; 64])],
        vec![image(&[1, 1, 8, 8], vec![f32::INFINITY; 64])],
        // Finite, and nothing that comes of it is.
        vec![image(&[1, 1, 8, 8], vec![f32::MAX; 64])],
        vec![NamedTensor { data: nomopoly::TensorData::I64(vec![1; 64].into()), ..whole() }],
    ] {
        let shown = format!("{inputs:?}");
        let response = infer(&host, &with_inputs(inputs));
        assert_eq!(response.status, 422, "{shown}: {}", response.text());
        expect(&response, 422, "unprocessable");
    }
    // A JSON number that no f32 holds is not a number to the model either.
    let text = serde_json::to_string(&InferRequest { inputs: vec![whole()] }).unwrap();
    let text = text.replacen("0.5", "1e300", 1);
    let response = post(&host, "/v1/infer", &format!("\r\ncontent-type: {JSON}"), text.as_bytes());
    assert!(matches!(response.status, 400 | 422), "{}", response.text());
}

#[test]
fn tokens() {
    let host = host(|config| config.token = Some("right".into()));
    let with = |path: &str, value: &str| {
        raw(&host, &format!("GET {path} HTTP/1.1\r\nauthorization: {value}"), b"")
    };
    for path in ["/v1/model", "/metrics", "/v1/nothing"] {
        let response = get(&host, path);
        expect(&response, 401, "unauthorized");
        assert_eq!(response.header("www-authenticate"), Some("Bearer"));
        for wrong in ["Bearer wrong", "Bearer right2", "Bearer ", "Basic right", "right", ""] {
            expect(&with(path, wrong), 401, "unauthorized");
        }
    }
    expect(&infer(&host, &request_about(&images(1)[0])), 401, "unauthorized");
    assert_eq!(with("/v1/model", "Bearer right").status, 200);
    assert_eq!(with("/metrics", "bearer right").status, 200);
    assert_eq!(get(&host, "/health/live").text(), "alive\n");
    assert_eq!(get(&host, "/health/ready").text(), "ready\n");
    // The same by a client: the host's words come through.
    let error = client(&host.url()).ask(&images(1)[0]).unwrap_err();
    assert!(matches!(error, ClientError::Host { status: 401, .. }), "{error:?}");
    assert!(error.to_string().contains("Authorization: Bearer"), "{error}");
    let config = ClientConfig { token: Some("right".into()), ..ClientConfig::new(host.url()) };
    Client::new(config).unwrap().run(&images(2), false, |_, _| {}).unwrap();
}

#[test]
fn a_token_that_is_empty_or_missing_closes_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let start = || {
        remote::host::Host::start(crate::common::config(|config| {
            config.token_file = Some(path.clone());
        }))
    };
    assert!(start().is_err());
    std::fs::write(&path, " \n").unwrap();
    assert!(start().is_err());
    std::fs::write(&path, "secret\n").unwrap();
    let host = start().unwrap();
    assert_eq!(get(&host, "/v1/model").status, 401);
    let right = raw(&host, "GET /v1/model HTTP/1.1\r\nauthorization: Bearer secret", b"");
    assert_eq!(right.status, 200);
}

#[test]
fn receipts_that_cannot_be_opened() {
    let host = host(|config| config.keep_for = Duration::from_millis(300));
    let open =
        |bytes: &[u8]| post(&host, "/v1/open", &format!("\r\ncontent-type: {BINARY}"), bytes);
    expect(&open(b"no challenge"), 400, "malformed");
    let image = &images(1)[0];
    let mut client = client(&host.url());
    let answer = client.ask(image).unwrap();
    let root = Digest::from_bytes([7; 32]);
    let unknown = Challenge { root, operations: vec![], producers: vec![0] };
    expect(&open(&unknown.to_bytes().unwrap()), 404, "unknown_receipt");
    let root = answer.response.receipt.root;
    let beyond = Challenge { root, operations: vec![], producers: vec![99] };
    expect(&open(&beyond.to_bytes().unwrap()), 422, "unprocessable");
    std::thread::sleep(Duration::from_millis(400));
    let late = Challenge { root, operations: vec![], producers: vec![0] };
    expect(&open(&late.to_bytes().unwrap()), 410, "expired_receipt");
    // The client was too late: that is nobody's lie.
    let error = client.check(image, &answer).unwrap_err();
    assert!(matches!(error, ClientError::Host { status: 410, .. }), "{error:?}");
    assert_eq!(client.rotations(), 0);
}

#[test]
fn a_full_store_refuses_before_it_computes() {
    let images = images(40);
    let size = receipt_size();
    let host = host(|config| {
        // What is reserved may be a little more than what is kept.
        config.memory = 8 * size;
        config.keep_for = Duration::from_millis(1500);
    });
    let began = Instant::now();
    let answers: Vec<_> = images.iter().map(|image| infer(&host, &request_about(image))).collect();
    assert!(began.elapsed() < Duration::from_millis(1400), "too slow a machine for this test");
    let kept = answers.iter().filter(|answer| answer.status == 200).count();
    assert!((4..=8).contains(&kept), "{kept}");
    for refused in &answers[kept..] {
        expect(refused, 503, "store_full");
        assert!(refused.header("retry-after").is_some());
    }
    expect(&get(&host, "/health/ready"), 503, "store_full");
    assert_eq!(get(&host, "/health/live").status, 200);
    let inferences = format!("remote_inferences_total {kept}\n");
    assert!(get(&host, "/metrics").text().contains(&inferences));
    // What was given out is kept until its time; then there is room again.
    let mut client = client(&host.url());
    for (image, answer) in images.iter().zip(&answers[..kept]).take(2) {
        let response: InferResponse = postcard::from_bytes(&answer.body).unwrap();
        let output = remote::model::DigitsOutput {
            logits: nomopoly::Tensor::from_named(response.outputs[0].clone()).unwrap(),
        };
        let answer = remote::client::Answer { output, response, took: Duration::ZERO };
        client.check(image, &answer).unwrap();
    }
    std::thread::sleep(Duration::from_millis(1600));
    assert_eq!(get(&host, "/health/ready").status, 200);
    assert_eq!(infer(&host, &request_about(&images[0])).status, 200);
}

#[test]
fn a_full_queue_refuses_at_once() {
    let host = slow_host(Duration::from_millis(700), |config| {
        config.workers = 1;
        config.queue = 1;
    });
    let images = images(6);
    let answers: Vec<(Response, Duration)> = std::thread::scope(|scope| {
        let ask = |image| {
            let host = &host;
            move || {
                let start = Instant::now();
                (infer(host, &request_about(image)), start.elapsed())
            }
        };
        let asked: Vec<_> = images.iter().map(|image| scope.spawn(ask(image))).collect();
        std::thread::sleep(Duration::from_millis(300));
        expect(&get(&host, "/health/ready"), 503, "queue_full");
        let text = get(&host, "/metrics").text().to_owned();
        assert!(text.contains("remote_queue_depth 1\n"), "{text}");
        assert!(text.contains("remote_working 1\n"), "{text}");
        asked.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let (answered, refused): (Vec<_>, Vec<_>) =
        answers.iter().partition(|(answer, _)| answer.status == 200);
    assert_eq!((answered.len(), refused.len()), (2, 4));
    for (answer, took) in refused {
        expect(answer, 503, "queue_full");
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert!(*took < Duration::from_millis(500), "{took:?}");
    }
    // A client that comes back is served.
    let mut client =
        Client::new(ClientConfig { count: 1, ..ClientConfig::new(host.url()) }).unwrap();
    std::thread::scope(|scope| {
        for image in &images[..2] {
            scope.spawn(|| infer(&host, &request_about(image)));
        }
        std::thread::sleep(Duration::from_millis(200));
        let summary = client.run(&images, false, |_, _| {}).unwrap();
        assert!(summary.retried > 0 && summary.accepted == 1, "{summary}");
    });
}

#[test]
fn work_for_a_client_that_is_gone_still_counts() {
    let host = slow_host(Duration::from_millis(800), |config| {
        config.workers = 1;
        config.queue = 0;
    });
    let body = request_about(&images(1)[0]);
    let mut stream = TcpStream::connect(host.address()).unwrap();
    let head = format!(
        "POST /v1/infer HTTP/1.1\r\nhost: test\r\ncontent-type: {BINARY}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), &body].concat()).unwrap();
    std::thread::sleep(Duration::from_millis(150));
    drop(stream);
    std::thread::sleep(Duration::from_millis(150));
    expect(&infer(&host, &body), 503, "queue_full");
    std::thread::sleep(Duration::from_millis(800));
    assert_eq!(infer(&host, &body).status, 200);
}

#[test]
fn slow_clients_and_slow_work_end() {
    let host = slow_host(Duration::from_millis(1500), |config| {
        config.patience = Duration::from_millis(300);
        config.request_timeout = Duration::from_millis(800);
    });
    // A header that never ends, and a connection that never says anything.
    for beginning in ["GET /health/live HTTP/1.1\r\nx-slow: ", ""] {
        let mut stream = TcpStream::connect(host.address()).unwrap();
        stream.write_all(beginning.as_bytes()).unwrap();
        let start = Instant::now();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let ended = std::io::copy(&mut stream, &mut std::io::sink());
        assert!(start.elapsed() < Duration::from_secs(2), "{ended:?}");
    }
    // A body that never comes.
    let mut stream = TcpStream::connect(host.address()).unwrap();
    let head = format!(
        "POST /v1/infer HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-type: {BINARY}\r\n\
         content-length: 100\r\n\r\nbegin"
    );
    stream.write_all(head.as_bytes()).unwrap();
    expect(&read_response(&mut stream), 408, "slow_body");
    let start = Instant::now();
    expect(&infer(&host, &request_about(&images(1)[0])), 503, "too_slow");
    assert!(start.elapsed() < Duration::from_millis(1400));
    assert_eq!(get(&host, "/health/live").status, 200);
}

#[test]
fn what_a_client_is_told_is_what_the_host_said() {
    let host = host(|_| {});
    let twice = [images(1)[0].to_named(), images(1)[0].to_named()].concat();
    let error = client(&host.url()).connection().infer(twice).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, ClientError::Host { status: 422, .. }), "{error:?}");
    assert!(text.contains("no input `image`") && text.contains("unprocessable"), "{text}");
}
