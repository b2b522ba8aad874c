//! Everything that a request can end in, with its status and its name.

use std::time::{Duration, SystemTime};

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use nomopoly::Digest;
use nomopoly_host::StoreError;

use crate::wire::{BINARY, ErrorBody, JSON};

/// Why a request was not answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiError {
    #[error("the body is not what this route reads: {0}")]
    Malformed(String),
    #[error("this host wants the header `Authorization: Bearer TOKEN`, with its token")]
    Unauthorized,
    #[error("there is no such route; there are /v1/infer, /v1/open and /v1/model")]
    NoRoute,
    #[error("this route does not take that method")]
    Method,
    #[error("the body did not arrive within {} s", .0.as_secs_f64())]
    SlowBody(Duration),
    #[error("no receipt with root {root} was given by this host, or it was lost in a restart")]
    Unknown { root: Digest },
    #[error("the receipt with root {root} was kept until {} s ago", ago(*since))]
    Expired { root: Digest, since: SystemTime },
    #[error("a body has at most {limit} bytes here")]
    TooLarge { limit: usize },
    #[error("content type `{got}`; this route reads {BINARY}, and /v1/infer {JSON} as well")]
    ContentType { got: String },
    /// The request is well-formed, and nothing that the model or the receipt could answer.
    #[error("{0}")]
    Unprocessable(nomopoly::Error),
    #[error("every worker is busy and the queue is full")]
    QueueFull,
    /// A receipt is a promise: what cannot be kept is not computed.
    #[error("there is no room to keep another receipt until some expire")]
    StoreFull { retry_after: Option<Duration> },
    #[error("the host is shutting down")]
    ShuttingDown,
    #[error("the request took longer than {} s", .0.as_secs_f64())]
    TooSlow(Duration),
    /// For the log; the client is not told what.
    #[error("{0}")]
    Internal(String),
}

fn ago(since: SystemTime) -> u64 {
    since.elapsed().unwrap_or_default().as_secs()
}

impl ApiError {
    /// Status and name: the part of an answer that programs depend on.
    pub fn kind(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Malformed(_) => (StatusCode::BAD_REQUEST, "malformed"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized"),
            Self::NoRoute => (StatusCode::NOT_FOUND, "no_route"),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::SlowBody(_) => (StatusCode::REQUEST_TIMEOUT, "slow_body"),
            Self::Unknown { .. } => (StatusCode::NOT_FOUND, "unknown_receipt"),
            Self::Expired { .. } => (StatusCode::GONE, "expired_receipt"),
            Self::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Self::ContentType { .. } => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_type"),
            Self::Unprocessable(_) => (StatusCode::UNPROCESSABLE_ENTITY, "unprocessable"),
            Self::QueueFull => (StatusCode::SERVICE_UNAVAILABLE, "queue_full"),
            Self::StoreFull { .. } => (StatusCode::SERVICE_UNAVAILABLE, "store_full"),
            Self::ShuttingDown => (StatusCode::SERVICE_UNAVAILABLE, "shutting_down"),
            Self::TooSlow(_) => (StatusCode::SERVICE_UNAVAILABLE, "too_slow"),
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }

    /// When it is worth trying again, in seconds. Queues empty at once, stores as receipts expire.
    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::QueueFull => Some(1),
            Self::StoreFull { retry_after: Some(wait) } => Some(wait.as_secs() + 1),
            Self::StoreFull { retry_after: None } | Self::ShuttingDown | Self::TooSlow(_) => {
                Some(5)
            }
            _ => None,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, error) = self.kind();
        let message = match &self {
            Self::Internal(reason) => {
                tracing::error!(reason, "internal error");
                format!("an error of the host; its log says more, under this answer's {ID}")
            }
            other => other.to_string(),
        };
        let body = json(&ErrorBody { error: error.to_owned(), message });
        let mut response = (status, [(header::CONTENT_TYPE, JSON)], body).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

const ID: &str = crate::wire::REQUEST_ID;

/// Plain data as JSON, with a line break for people at terminals.
pub(super) fn json(value: &impl serde::Serialize) -> String {
    // Structs with names as keys, and no floats that JSON lacks: outputs were checked.
    serde_json::to_string(value).unwrap_or_default() + "\n"
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full { retry_after, .. } => Self::StoreFull { retry_after },
            StoreError::Expired { root, since } => Self::Expired { root, since },
            StoreError::Unknown { root } => Self::Unknown { root },
            StoreError::Proof(error @ nomopoly::Error::Challenge(_)) => Self::Unprocessable(error),
            other => Self::Internal(other.to_string()),
        }
    }
}

impl From<nomopoly::Error> for ApiError {
    /// Of an inference: what is wrong with the inputs is for the client to know.
    fn from(error: nomopoly::Error) -> Self {
        use nomopoly::Error::{DType, MissingInput, NonFinite, Shape, UnknownInput};
        match error {
            DType { .. }
            | MissingInput { .. }
            | NonFinite { .. }
            | Shape { .. }
            | UnknownInput { .. } => Self::Unprocessable(error),
            other => Self::Internal(other.to_string()),
        }
    }
}
