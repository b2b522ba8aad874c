//! What is done around every request: its name, the token, the clock, the log and the counters.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tracing::Instrument as _;

use super::App;
use super::errors::ApiError;
use crate::wire::REQUEST_ID;

/// Runs one request.
pub async fn around(State(app): State<App>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let matched = request.extensions().get::<MatchedPath>();
    let route = matched.map_or("other", |path| path.as_str()).to_owned();
    let id = request_id(request.headers());
    let span = tracing::info_span!("request", %id, method = %request.method(), route);

    let work = async {
        if !route.starts_with("/health/") && !allowed(&app, request.headers()) {
            return ApiError::Unauthorized.into_response();
        }
        let limit = app.config.request_timeout;
        let answer = tokio::time::timeout(limit, next.run(request)).await;
        answer.unwrap_or_else(|_| ApiError::TooSlow(limit).into_response())
    };
    let mut response = work.instrument(span.clone()).await;

    let took = started.elapsed();
    app.metrics.answered(&route, response.status(), took);
    span.in_scope(|| {
        tracing::info!(status = response.status().as_u16(), ms = took.as_secs_f64() * 1e3);
    });
    // Letters, digits and dashes, as checked or made here.
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// The client's name for the request, if it is fit for a log; else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let fit = |id: &&str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (1..=64).contains(&id.len()) && id.bytes().all(plain)
    };
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(fit);
    given.map_or_else(fresh_id, str::to_owned)
}

/// A name that no other request has, in this process or, most likely, in another.
fn fresh_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    static PROCESS: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    let process = PROCESS.get_or_init(|| getrandom::u32().unwrap_or_else(|_| std::process::id()));
    format!("{process:08x}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Whether the request has the host's token. Hashes are compared, in constant time: how long it
/// takes says nothing about how much of a guess was right.
fn allowed(app: &App, headers: &HeaderMap) -> bool {
    let Some(expected) = &app.token else { return true };
    let given = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let token = given.and_then(|value| {
        let (scheme, token) = value.split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
    });
    token.is_some_and(|token| blake3::hash(token) == *expected)
}
