//! Honest hosts are accepted, and say what they do.

use nomopoly::Tensors as _;
use remote::client::{Client, ClientConfig};
use remote::wire::{InferRequest, InferResponse, JSON, ModelInfo, REQUEST_ID};

use crate::common::{client, get, host, images, infer, post, request_about};

#[test]
fn every_strategy_accepts_an_honest_host() {
    let host = host(|_| {});
    for strategy in ["random:1", "random:3", "parts:2:256", "linear", "everything"] {
        let strategy = strategy.parse().unwrap();
        let config = ClientConfig { strategy, count: 10, ..ClientConfig::new(host.url()) };
        let summary = Client::new(config).unwrap().run(&images(10), false, |_, _| {}).unwrap();
        assert!(summary.caught.is_empty(), "{summary}");
        assert_eq!((summary.calls, summary.accepted), (10, 10), "{summary}");
        assert!(summary.opened() > 0., "{summary}");
    }
    let farewell = host.stop();
    assert!(farewell.finished && farewell.kept == 0 && farewell.lost == 10, "{farewell}");
}

#[test]
fn a_share_of_the_calls_is_challenged() {
    let host = host(|_| {});
    for (share, count, accepted) in [(0., 20, 0..=0), (0.5, 60, 5..=55), (1., 20, 20..=20)] {
        let config = ClientConfig { share, count, ..ClientConfig::new(host.url()) };
        let summary = Client::new(config).unwrap().run(&images(20), false, |_, _| {}).unwrap();
        assert!(accepted.contains(&summary.accepted), "{share}: {summary}");
    }
}

#[test]
fn clients_at_once_do_not_disturb_each_other() {
    let host = host(|_| {});
    std::thread::scope(|scope| {
        for offset in 0..2 {
            let url = host.url();
            scope.spawn(move || {
                let config = ClientConfig { count: 30, ..ClientConfig::new(url) };
                let mut client = Client::new(config).unwrap();
                let images: Vec<_> = images(60).into_iter().skip(offset * 15).collect();
                let summary = client.run(&images, false, |_, _| {}).unwrap();
                assert_eq!((summary.accepted, summary.caught.len()), (30, 0), "{summary}");
            });
        }
    });
}

#[test]
fn a_receipt_can_be_challenged_again_and_later() {
    let host = host(|_| {});
    let images = images(5);
    let mut client = client(&host.url());
    let answers: Vec<_> = images.iter().map(|image| client.ask(image).unwrap()).collect();
    for _ in 0..2 {
        for (image, answer) in images.iter().zip(&answers) {
            client.check(image, answer).unwrap();
        }
    }
    assert_eq!(client.rotations(), 0);
}

#[test]
fn json_is_for_people() {
    let host = host(|_| {});
    let image = &images(1)[0];
    let request = InferRequest { inputs: image.to_named() };
    let body = serde_json::to_vec(&request).unwrap();
    for kind in [JSON, "Application/JSON; charset=utf-8"] {
        let response = post(&host, "/v1/infer", &format!("\r\ncontent-type: {kind}"), &body);
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.header("content-type"), Some(JSON));
        let json: InferResponse = serde_json::from_slice(&response.body).unwrap();
        let binary = infer(&host, &request_about(image));
        let binary: InferResponse = postcard::from_bytes(&binary.body).unwrap();
        assert_eq!((json.outputs, json.receipt), (binary.outputs, binary.receipt));
        assert!(json.until > 0 && !json.survives_restart);
    }
}

#[test]
fn the_model_is_described() {
    let host = host(|_| {});
    let response = get(&host, "/v1/model");
    let info: ModelInfo = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(info.digest, remote::model::Digits::DIGEST);
    assert_eq!(
        (info.inputs[0].name.as_str(), &info.inputs[0].shape[..]),
        ("image", &[1, 1, 8, 8][..])
    );
    assert_eq!((info.outputs[0].name.as_str(), info.outputs[0].dtype.as_str()), ("logits", "f32"));
    assert_eq!(client(&host.url()).connection().model().unwrap(), info);
}

#[test]
fn metrics_count_what_happened() {
    let host = host(|_| {});
    client(&host.url()).run(&images(3), false, |_, _| {}).unwrap();
    infer(&host, b"nothing");
    get(&host, "/made/up/by/a/client");
    let metrics = get(&host, "/metrics");
    let text = metrics.text();
    for line in [
        "remote_requests_total{route=\"/v1/infer\",status=\"200\"} 20\n",
        "remote_requests_total{route=\"/v1/infer\",status=\"400\"} 1\n",
        "remote_requests_total{route=\"/v1/open\",status=\"200\"} 20\n",
        "remote_requests_total{route=\"other\",status=\"404\"} 1\n",
        "remote_inferences_total 20\n",
        "remote_receipts_kept_total 20\n",
        "remote_receipts_answered_total 20\n",
        "remote_receipts_refused_total 0\n",
        "remote_receipts_disk_bytes 0\n",
        "remote_queue_depth 0\n",
        "remote_request_duration_seconds_count{route=\"/v1/infer\"} 21\n",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("made"), "{text}");
    let memory = text.lines().find_map(|line| line.strip_prefix("remote_receipts_memory_bytes "));
    assert!(memory.unwrap().parse::<u64>().unwrap() > 1000, "{text}");
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn requests_have_names() {
    let host = host(|_| {});
    let named = |name: &str| {
        let response = raw_named(&host, name);
        response.header(REQUEST_ID).unwrap().to_owned()
    };
    assert_eq!(named("a-name-of-mine"), "a-name-of-mine");
    for unfit in ["", "with space", &"x".repeat(65), "{\"log\":1}"] {
        let name = named(unfit);
        assert!(name != unfit && name.len() > 8, "{unfit:?} {name}");
    }
    assert_ne!(named(""), named(""));
}

fn raw_named(host: &remote::host::Host, name: &str) -> crate::common::Response {
    crate::common::raw(host, &format!("GET /health/live HTTP/1.1\r\n{REQUEST_ID}: {name}"), b"")
}
