//! `nomopoly.lock`: which entry each node of each model uses, and the hashes of its files.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Check;

/// The registry's lock file. Every map is sorted, so that equal contents are equal bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lock {
    /// [`crate::ARTEFACT_SCHEMA`] of the writer.
    pub schema: u32,
    /// By file name of the model.
    #[serde(default)]
    pub models: BTreeMap<String, LockedModel>,
    /// By entry name, for example `conv_1x3x8x8-9c41d2e0a1b2`.
    #[serde(default)]
    pub entries: BTreeMap<String, LockedEntry>,
}

impl Lock {
    pub fn new(schema: u32) -> Self {
        Self { schema, models: BTreeMap::new(), entries: BTreeMap::new() }
    }
}

/// The nodes of one model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LockedModel {
    /// BLAKE3 of the model, 64 hexadecimal digits.
    pub digest: String,
    /// BLAKE3 of the model's file in `audits/`. Absent for models that were never audited as they
    /// are recorded now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<String>,
    /// Shapes to which symbolic model inputs were bound, by input name.
    #[serde(default)]
    pub inputs: BTreeMap<String, Vec<usize>>,
    /// Node (by name of its first output) to entry name.
    pub nodes: BTreeMap<String, String>,
}

/// One entry of the registry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LockedEntry {
    /// Full content id, 64 hexadecimal digits; the entry's name ends in the first 12.
    pub id: String,
    pub seed: u64,
    pub figures: LockedFigures,
    /// File name to BLAKE3 of its contents. `compilation.log`, which holds times, is not listed.
    pub files: BTreeMap<String, String>,
}

/// The figures that listings show without opening `compilation_metrics.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LockedFigures {
    pub check: Check,
    /// Mean over the five cases.
    pub accuracy: f64,
    /// Upper 95 % bound of the completeness error.
    pub completeness_error_upper_95: f64,
    /// Upper 95 % bound of the soundness error.
    pub soundness_error_upper_95: f64,
    /// Absent where nothing is certified (the MLP baseline) and where the certificate is not
    /// probabilistic (replay).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certified_bits: Option<f64>,
    /// Absent where nothing is certified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certified_deviation: Option<f64>,
}
