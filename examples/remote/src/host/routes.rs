//! The routes.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http_body_util::LengthLimitError;
use nomopoly::receipt::Challenge;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::errors::{ApiError, json};
use super::{App, layers, metrics, work};
use crate::wire::{BINARY, InferRequest, JSON};

/// Everything that a host answers.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/v1/infer", post(infer))
        .route("/v1/open", post(open))
        .route("/v1/model", get(model))
        .route("/health/live", get(|| async { "alive\n" }))
        .route("/health/ready", get(ready))
        .route("/metrics", get(scrape))
        .fallback(|| async { ApiError::NoRoute })
        .method_not_allowed_fallback(|| async { ApiError::Method })
        .layer(from_fn_with_state(app.clone(), layers::around))
        .with_state(app)
}

async fn infer(
    State(app): State<App>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let encoding = Encoding::of(&headers)?;
    let request: InferRequest = encoding.read(&read(&app, &headers, body).await?)?;
    let input = work::input(request.inputs)?;
    let work = app.clone();
    let response = app.pool.run(move || work.infer(&input)).await?;
    encoding.write(&response)
}

async fn open(
    State(app): State<App>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    if Encoding::of(&headers)? != Encoding::Postcard {
        return Err(ApiError::ContentType { got: JSON.to_owned() });
    }
    let bytes = read(&app, &headers, body).await?;
    let challenge = Challenge::from_bytes(&bytes);
    let challenge = challenge.map_err(|error| ApiError::Malformed(error.to_string()))?;
    let work = app.clone();
    let opening = app.pool.run(move || work.open(&challenge)).await?;
    Ok(([(header::CONTENT_TYPE, BINARY)], opening).into_response())
}

async fn model(State(app): State<App>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, JSON)], json(&app.model))
}

/// Whether the next inference would be answered. A load balancer asks, so it is not told by way of
/// the queue, which may be what is full.
async fn ready(State(app): State<App>) -> Result<&'static str, ApiError> {
    let ready = tokio::task::spawn_blocking(move || app.ready()).await;
    ready.unwrap_or_else(|error| Err(ApiError::Internal(error.to_string())))?;
    Ok("ready\n")
}

async fn scrape(State(app): State<App>) -> impl IntoResponse {
    let text = app.metrics.text(&app.store.usage(), app.pool.depth());
    ([(header::CONTENT_TYPE, metrics::OPENMETRICS)], text)
}

/// The body, if it is small enough and arrives in time.
async fn read(app: &App, headers: &HeaderMap, body: Body) -> Result<axum::body::Bytes, ApiError> {
    let (limit, patience) = (app.config.body_limit, app.config.patience);
    // A client that says how much it will send is told before it sends it.
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if announced.and_then(|length| length.parse().ok()).is_some_and(|length: usize| length > limit)
    {
        return Err(ApiError::TooLarge { limit });
    }
    match tokio::time::timeout(patience, axum::body::to_bytes(body, limit)).await {
        Err(_) => Err(ApiError::SlowBody(patience)),
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => {
            let mut source: Option<&dyn std::error::Error> = Some(&error);
            while let Some(cause) = source {
                if cause.is::<LengthLimitError>() {
                    return Err(ApiError::TooLarge { limit });
                }
                source = cause.source();
            }
            Err(ApiError::Malformed(error.to_string()))
        }
    }
}

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Postcard,
    Json,
}

impl Encoding {
    fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let value = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("?"));
        let value = value.unwrap_or("none");
        // Parameters, as `; charset=utf-8`, change nothing.
        let essence = value.split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case(BINARY) {
            Ok(Self::Postcard)
        } else if essence.eq_ignore_ascii_case(JSON) {
            Ok(Self::Json)
        } else {
            Err(ApiError::ContentType { got: value.to_owned() })
        }
    }

    fn read<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, ApiError> {
        match self {
            Self::Json => serde_json::from_slice(bytes)
                .map_err(|error| ApiError::Malformed(error.to_string())),
            Self::Postcard => match postcard::take_from_bytes(bytes) {
                Ok((value, [])) => Ok(value),
                Ok((_, rest)) => Err(ApiError::Malformed(format!("{} bytes too many", rest.len()))),
                Err(error) => Err(ApiError::Malformed(error.to_string())),
            },
        }
    }

    fn write(self, value: &impl Serialize) -> Result<Response, ApiError> {
        Ok(match self {
            Self::Json => ([(header::CONTENT_TYPE, JSON)], json(value)).into_response(),
            Self::Postcard => {
                let bytes = postcard::to_stdvec(value);
                let bytes = bytes.map_err(|error| ApiError::Internal(error.to_string()))?;
                ([(header::CONTENT_TYPE, BINARY)], bytes).into_response()
            }
        })
    }
}
