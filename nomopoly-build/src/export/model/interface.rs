//! `export.json`: what the exported files take and give, and what their verdicts are worth.

use std::collections::BTreeMap;

use nomopoly_manifest::{ARTEFACT_SCHEMA, Audit, CompileOptions};
use nomopoly_runtime::exchange::{IDENTITY, IDENTITY_LEN, proof_name};
use nomopoly_runtime::onnx::Digest;
use nomopoly_runtime::onnx::pb;
use nomopoly_runtime::{Error, typed_dtype};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::key::{self, KEY_IDENTITY, random_name, vectors_name, weights_name};
use super::verifier::{Judged, judged};
use super::{Options, Subject, declare};

/// Version of `export.json` and of the names of tensors.
pub const INTERFACE_SCHEMA: u32 = 2;

/// The contents of `export.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Interface {
    /// [`INTERFACE_SCHEMA`] of the writer.
    pub schema: u32,
    /// `ARTEFACT_SCHEMA` of the compiled operations.
    pub artefact_schema: u32,
    pub model: ModelInfo,
    /// Operator set of the default domain, that of the model.
    pub opset: i64,
    pub options: CompileOptions,
    /// Each file but this one.
    pub files: BTreeMap<String, FileInfo>,
    pub inputs: Vec<TensorInfo>,
    pub outputs: Vec<TensorInfo>,
    /// What the prover reveals beside outputs; a sketched operation that gives an output is among
    /// `outputs` alone.
    pub transcript: Vec<TensorInfo>,
    /// Proof vectors, and the identity.
    pub proofs: Vec<TensorInfo>,
    /// The key's tensors: inputs of the verifier and outputs of `key.onnx`.
    pub key: Vec<TensorInfo>,
    /// Inputs of `key.onnx`: independent standard normal numbers.
    pub random: Vec<TensorInfo>,
    /// What the verifier's scores are of, in their order.
    pub operations: Vec<OperationInfo>,
    /// Whether the verifier has a key in it and must be kept as secret as that.
    pub secret: bool,
    /// What an audit measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<Audit>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// File name.
    pub name: String,
    pub digest: Digest,
    /// Digest of the compiled operations: the second half of the identity.
    pub operations: Digest,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileInfo {
    /// 64 hexadecimal digits.
    pub sha256: String,
    pub bytes: u64,
}

impl FileInfo {
    pub fn of(bytes: &[u8]) -> Self {
        let digest: [u8; 32] = Sha256::digest(bytes).into();
        Self { sha256: Digest::from_bytes(digest).to_string(), bytes: bytes.len() as u64 }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorInfo {
    pub name: String,
    /// `f32`, `i64`, `u8`, ...
    pub dtype: String,
    /// Extents, null where they are open; null in all where the rank is open too.
    pub shape: Option<Vec<Option<usize>>>,
}

/// One thing that the verifier judges.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperationInfo {
    /// Name of its output in the model.
    pub name: String,
    /// ONNX `op_type`.
    pub kind: String,
    /// `sketch`; `replay`: recomputed, in rounding units; `compared`: recomputed, within a tolerance.
    pub checked_by: String,
    /// Number of secret vectors.
    pub sketches: u32,
    /// Smallest relative deviation that is refused with probability 1 - 2^-`soundness_bits` over the
    /// key, for the worst of the inputs that were held out; absent for what is recomputed.
    pub certified_deviation: Option<f64>,
}

impl Interface {
    pub(super) fn new(subject: &Subject, options: &Options) -> Result<Self, Error> {
        let model = subject.model;
        let loaded = model.graph().model();
        let own = |dtype: &str, name: String, shape: &[usize]| TensorInfo {
            name,
            dtype: dtype.into(),
            shape: Some(shape.iter().map(|d| Some(*d)).collect()),
        };
        let described = |declared: &pb::ValueInfoProto| -> Result<TensorInfo, Error> {
            let info = model.graph().info(&declared.name)?;
            Ok(TensorInfo {
                name: info.name,
                dtype: typed_dtype(info.dtype).unwrap_or_default().to_owned(),
                shape: declare::extents(declared),
            })
        };
        let inputs = declare::inputs(model);
        let inputs = inputs.iter().map(described);
        let outputs = declare::outputs(model, subject.size);
        let outputs = outputs.iter().map(described);
        let transcript =
            model.transcript().filter(|c| !declare::is_output(model, c.operation.output()));
        let transcript =
            transcript.map(|compiled| described(&declare::transcript(compiled, subject.size)));
        let proofs = subject.proved.iter().map(|compiled| {
            let dim = compiled.artefact.generator.proof_dim();
            own("f32", proof_name(compiled.operation.output()), &[dim])
        });
        let (mut key, mut random) = (vec![own("u8", KEY_IDENTITY.into(), &[IDENTITY_LEN])], vec![]);
        for (compiled, linear) in key::sketched(subject) {
            let name = compiled.operation.output();
            let [vectors, weights] = key::shapes(subject, compiled, linear)?;
            key.push(own("f32", vectors_name(name), &vectors));
            key.push(own("f32", weights_name(name), &weights));
            let k = compiled.artefact.header.sketches as usize;
            random.push(own("f32", random_name(name), &[linear.features(), k]));
        }
        let operations = judged(subject).into_iter().map(|judged| match judged {
            Judged::Operation(compiled) => {
                let header = &compiled.artefact.header;
                let sketched = compiled.in_transcript();
                let certificate = header.certificate.as_ref().filter(|_| sketched);
                OperationInfo {
                    name: compiled.operation.output().to_owned(),
                    kind: header.operation.kind.op_type().to_owned(),
                    checked_by: if sketched { "sketch" } else { "replay" }.to_owned(),
                    sketches: header.sketches,
                    certified_deviation: certificate.map(|c| c.deviation_at_soundness_bits),
                }
            }
            Judged::Output(name, kind) => OperationInfo {
                name: name.to_owned(),
                kind: kind.to_owned(),
                checked_by: "compared".to_owned(),
                sketches: 0,
                certified_deviation: None,
            },
        });
        let (digest, rest) = super::digests(model);
        Ok(Self {
            schema: INTERFACE_SCHEMA,
            artefact_schema: ARTEFACT_SCHEMA,
            model: ModelInfo { name: loaded.name().to_owned(), digest, operations: rest },
            opset: loaded.opset(),
            options: subject
                .proved
                .first()
                .map(|compiled| compiled.artefact.header.options.clone())
                .unwrap_or_default(),
            files: BTreeMap::new(),
            inputs: inputs.collect::<Result<_, _>>()?,
            outputs: outputs.collect::<Result<_, _>>()?,
            transcript: transcript.collect::<Result<_, _>>()?,
            proofs: proofs.chain([own("u8", IDENTITY.into(), &[IDENTITY_LEN])]).collect(),
            key,
            random,
            operations: operations.collect(),
            secret: options.bake.is_some(),
            audit: options.audit.cloned(),
        })
    }

    /// What each file says of itself.
    pub(super) fn metadata(&self, role: &str, secret: bool) -> Vec<(&'static str, String)> {
        let mut metadata = vec![
            ("nomopoly.role", role.to_owned()),
            ("nomopoly.schema", self.schema.to_string()),
            ("nomopoly.artefact_schema", self.artefact_schema.to_string()),
            ("nomopoly.model", self.model.name.clone()),
            ("nomopoly.model_digest", self.model.digest.to_string()),
            ("nomopoly.operations_digest", self.model.operations.to_string()),
            ("nomopoly.options", json(&self.options)),
            ("nomopoly.guarantee", json(&self.operations)),
            ("nomopoly.secret", secret.to_string()),
        ];
        if let Some(audit) = &self.audit {
            metadata.push(("nomopoly.audit", json(audit)));
        }
        metadata
    }
}

/// Plain data without maps of odd keys: it has a text.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
