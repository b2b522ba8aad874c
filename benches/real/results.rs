//! What the stages measured, one JSON file each.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::catalogue::Real;

#[derive(Serialize, Deserialize)]
pub struct Compiled {
    pub nodes: usize,
    pub sketched: usize,
    pub replayed: usize,
    /// Nodes that are recomputed without an artefact.
    pub recomputed: usize,
    pub cold_seconds: f64,
    pub again_seconds: f64,
    pub peak_mb: f64,
    pub model_bytes: u64,
    pub loaded_bytes: u64,
    pub registry_bytes: u64,
    pub parameters: u64,
    pub multiply_accumulates: u64,
    /// Elements that a proof reveals.
    pub transcript: u64,
}

#[derive(Serialize, Deserialize)]
pub struct Speed {
    pub threads: usize,
    pub tract: f64,
    pub onnxruntime: Option<f64>,
    /// Ratios round by round, medians.
    pub prove_over_tract: f64,
    pub prove_over_tract_low: f64,
    pub prove_over_tract_high: f64,
    pub tract_over_onnxruntime: Option<f64>,
    pub verify_over_onnxruntime: Option<f64>,
    pub verify_over_onnxruntime_low: Option<f64>,
    pub verify_over_onnxruntime_high: Option<f64>,
    /// The same of the first calls, right after those of other programs.
    pub first_prove_over_tract: f64,
    pub first_verify_over_onnxruntime: Option<f64>,
    pub verify_over_tract: f64,
    pub verify: f64,
    /// Processor seconds of one call.
    pub prove_cpu: f64,
    pub verify_cpu: f64,
    /// Joules of one call, where the machine says.
    pub prove_joules: Option<f64>,
    pub verify_joules: Option<f64>,
    pub start_verifier: f64,
    pub proof_bytes: usize,
    pub peak_mb: f64,
}

#[derive(Serialize, Deserialize)]
pub struct Audited {
    pub runtime: String,
    pub honest: usize,
    pub honest_rejected: usize,
    pub largest_residual: f64,
    /// Where the largest residual was.
    pub where_largest: String,
    /// Name, tried, accepted; tried 0 where nothing differs.
    pub attacks: Vec<(String, usize, usize)>,
    pub seconds: f64,
}

#[derive(Serialize, Deserialize)]
pub struct Shaped {
    /// Shapes, inferences, honest rejected, inferences with other weights accepted, seconds of the
    /// first proof and check of these shapes, and seconds of later ones.
    pub shapes: Vec<(String, usize, usize, usize, f64, f64)>,
}

pub fn save<T: Serialize>(model: &Real, stage: &str, results: &T) {
    let json = serde_json::to_vec_pretty(results).expect("plain data");
    std::fs::write(model.folder().join(format!("{stage}.json")), json).expect("it can be written");
}

pub fn load<T: DeserializeOwned>(model: &Real, stage: &str) -> Option<T> {
    let bytes = std::fs::read(model.folder().join(format!("{stage}.json"))).ok()?;
    serde_json::from_slice(&bytes).ok()
}
