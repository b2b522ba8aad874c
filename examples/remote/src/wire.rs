//! What travels between host and client.
//!
//! | route | request | answer |
//! | --- | --- | --- |
//! | `POST /v1/infer` | [`InferRequest`] | [`InferResponse`] |
//! | `POST /v1/open` | bytes of a `Challenge` | bytes of an `Opening` |
//! | `GET /v1/model` | | [`ModelInfo`] as JSON |
//! | anything that fails | | [`ErrorBody`] as JSON |
//!
//! The two of `/v1/infer` are postcard, or JSON where the request is: programs take the first, people
//! with curl the second. Challenges and openings have a format of their own, with version and
//! checksum.

use std::time::{Duration, SystemTime};

use nomopoly::receipt::Receipt;
use nomopoly::{Digest, NamedTensor};
use serde::{Deserialize, Serialize};

/// Content type of postcard, and of challenges and openings.
pub const BINARY: &str = "application/octet-stream";
/// Content type of everything that people may read.
pub const JSON: &str = "application/json";
/// Names a request in the host's log. A client may choose it; every answer has it.
pub const REQUEST_ID: &str = "x-request-id";

/// The inputs of one inference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InferRequest {
    /// By their names in the model, in any order.
    pub inputs: Vec<NamedTensor>,
}

/// What the host says that the model gave, and its commitment to how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InferResponse {
    /// In the model's order.
    pub outputs: Vec<NamedTensor>,
    pub receipt: Receipt,
    /// Until when the host promises to open the receipt: milliseconds since 1970.
    pub until: u64,
    /// Whether it promises so even if it is killed in the meantime.
    pub survives_restart: bool,
}

impl InferResponse {
    /// [`InferResponse::until`] as a time.
    pub fn until(&self) -> SystemTime {
        // What no clock can show is as good as now: nothing is promised.
        let until = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(self.until));
        until.unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

/// Milliseconds since 1970.
pub fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Which model a host claims to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// File name.
    pub name: String,
    pub digest: Digest,
    /// Version of receipts, challenges and openings.
    pub receipt_schema: u32,
    pub inputs: Vec<TensorInfo>,
    pub outputs: Vec<TensorInfo>,
}

/// Name, element type and shape of a tensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorInfo {
    pub name: String,
    pub dtype: String,
    pub shape: Vec<usize>,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// For programs: one word that stays the same.
    pub error: String,
    /// For people.
    pub message: String,
}
