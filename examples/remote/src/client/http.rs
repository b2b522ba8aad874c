//! HTTP to a host that may be hostile: bounded in time and in memory, whatever it answers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nomopoly::NamedTensor;
use nomopoly::receipt::Challenge;
use serde::de::DeserializeOwned;
use ureq::http::{StatusCode, header};
use ureq::{Agent, Body};

use super::error::ClientError;
use crate::wire::{BINARY, ErrorBody, InferRequest, InferResponse, ModelInfo};

/// Largest answer that is read, in bytes. Openings are the largest; one of this model has some
/// ten thousand.
const LIMIT: u64 = 4 << 20;
/// The longest that a host can make a client wait before it asks again.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Connections to one host. One serves any number of threads.
pub struct Connection {
    agent: Agent,
    base: String,
    authorization: Option<String>,
    retries: u32,
    /// Bodies, in bytes; and requests that were repeated because the host was full.
    sent: AtomicU64,
    received: AtomicU64,
    retried: AtomicU64,
}

impl Connection {
    /// `base` is `http://` and an address. `timeout` is for a whole request.
    ///
    /// # Errors
    /// [`ClientError::Setup`] when `base` is none.
    pub fn new(
        base: &str,
        token: Option<&str>,
        timeout: Duration,
        retries: u32,
    ) -> Result<Self, ClientError> {
        let base = base.trim_end_matches('/');
        if !base.starts_with("http://") {
            let reason = "this client speaks http:// only, with a proxy for TLS at its side";
            return Err(ClientError::Setup(format!("{base}: {reason}")));
        }
        let agent = Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_response_header_size(16 << 10)
            // The host closes connections that are idle for ten seconds: this side does so first,
            // and never writes to one that is being closed.
            .max_idle_age(Duration::from_secs(5))
            // The address is the host's own; what the environment says is for browsers.
            .proxy(None)
            .build()
            .into();
        Ok(Self {
            agent,
            base: base.to_owned(),
            authorization: token.map(|token| format!("Bearer {token}")),
            retries,
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            retried: AtomicU64::new(0),
        })
    }

    /// Which model the host claims to run.
    ///
    /// # Errors
    /// As [`Connection::infer`].
    pub fn model(&self) -> Result<ModelInfo, ClientError> {
        let bytes = self.ask("/v1/model", None)?;
        serde_json::from_slice(&bytes).map_err(|error| self.foreign("/v1/model", &error))
    }

    /// Sends inputs; outputs and receipt come back.
    ///
    /// # Errors
    /// [`ClientError::Http`], [`ClientError::TooLarge`], [`ClientError::Host`] with the host's words,
    /// [`ClientError::Answer`].
    pub fn infer(&self, inputs: Vec<NamedTensor>) -> Result<InferResponse, ClientError> {
        const ROUTE: &str = "/v1/infer";
        let request = postcard::to_stdvec(&InferRequest { inputs });
        let request = request.map_err(|error| ClientError::Setup(error.to_string()))?;
        let bytes = self.ask(ROUTE, Some(&request))?;
        exactly(&bytes).map_err(|error| self.foreign(ROUTE, &error))
    }

    /// Sends a challenge; the bytes of an opening come back, or what should be one.
    ///
    /// # Errors
    /// As [`Connection::infer`].
    pub fn open(&self, challenge: &Challenge) -> Result<Vec<u8>, ClientError> {
        let challenge = challenge.to_bytes().map_err(ClientError::Own)?;
        self.ask("/v1/open", Some(&challenge))
    }

    /// Bytes of bodies so far, sent and received.
    pub fn traffic(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.received.load(Ordering::Relaxed))
    }

    /// Requests so far that were repeated because the host was full.
    pub fn retried(&self) -> u64 {
        self.retried.load(Ordering::Relaxed)
    }

    /// One request, and again when the host is full and says when to come back. All of them can be
    /// repeated: an inference that was run twice costs the host, and nobody else.
    fn ask(&self, route: &str, body: Option<&[u8]>) -> Result<Vec<u8>, ClientError> {
        let mut left = self.retries;
        loop {
            match self.once(route, body) {
                Err(ClientError::Host { status: 429 | 503, retry_after: Some(wait), .. })
                    if left > 0 =>
                {
                    left -= 1;
                    self.retried.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(wait.min(LONGEST_WAIT));
                }
                outcome => return outcome,
            }
        }
    }

    fn once(&self, route: &str, body: Option<&[u8]>) -> Result<Vec<u8>, ClientError> {
        let url = format!("{}{route}", self.base);
        let authorization = self.authorization.iter().map(|value| ("authorization", value));
        let outcome = match body {
            None => authorization
                .fold(self.agent.get(&url), |request, (name, value)| request.header(name, value))
                .call(),
            Some(body) => {
                self.sent.fetch_add(body.len() as u64, Ordering::Relaxed);
                let request = self.agent.post(&url).header(header::CONTENT_TYPE, BINARY);
                authorization
                    .fold(request, |request, (name, value)| request.header(name, value))
                    .send(body)
            }
        };
        let failed = |source| http(&url, source);
        let mut response = outcome.map_err(failed)?;
        let bytes = limited(response.body_mut()).map_err(failed)?;
        self.received.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if response.status() == StatusCode::OK {
            return Ok(bytes);
        }
        let retry_after = response.headers().get(header::RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        let status = response.status().as_u16();
        match serde_json::from_slice(&bytes) {
            Ok(ErrorBody { error, message }) => Err(ClientError::Host {
                status,
                error: printable(&error, 40),
                message: printable(&message, 400),
                retry_after: retry_after.map(Duration::from_secs),
            }),
            Err(_) => {
                let text = printable(&String::from_utf8_lossy(&bytes), 80);
                Err(ClientError::Answer { url, reason: format!("status {status}, `{text}`") })
            }
        }
    }

    fn foreign(&self, route: &str, error: &dyn std::error::Error) -> ClientError {
        let url = format!("{}{route}", self.base);
        ClientError::Answer { url, reason: error.to_string() }
    }
}

fn limited(body: &mut Body) -> Result<Vec<u8>, ureq::Error> {
    body.with_config().limit(LIMIT).read_to_vec()
}

fn http(url: &str, source: ureq::Error) -> ClientError {
    let url = url.to_owned();
    match source {
        ureq::Error::BodyExceedsLimit(limit) => ClientError::TooLarge { url, limit },
        source => ClientError::Http { url, source: Box::new(source) },
    }
}

/// A value, and nothing behind it.
fn exactly<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, postcard::Error> {
    match postcard::take_from_bytes(bytes)? {
        (value, []) => Ok(value),
        _ => Err(postcard::Error::DeserializeBadEncoding),
    }
}

/// A host's words, fit for a terminal: no control characters, no novels.
fn printable(text: &str, most: usize) -> String {
    let plain = |letter: char| if letter.is_control() { ' ' } else { letter };
    text.chars().take(most).map(plain).collect::<String>().trim_end().to_owned()
}
