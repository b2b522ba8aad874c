//! Tests of the exported files by topic: do they compute what the runtime computes (agreement),
//! are they what they should be as files (files). The operations are in `subjects`; what the
//! topics share is here.
//!
//! With `NOMOPOLY_EXPORT_DUMP=folder`, the files and the runtime's scores of some claims are
//! written there, laid out as a registry, for `tests/conformance/check_exports.py`.

mod agreement;
mod files;
mod subjects;

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use nomopoly_manifest::{ARTEFACT_SCHEMA, Architecture, Check, CompileOptions};
use nomopoly_runtime::artefact::{Artefact, ArtefactHeader, Network};
use nomopoly_runtime::generator::Generator;
use nomopoly_runtime::head::{Head, UNITS};
use nomopoly_runtime::mlp::{MLP_HIDDEN, Mlp};
use nomopoly_runtime::onnx::{Digest, Model, Plan};
use nomopoly_runtime::operations::Operation;
use nomopoly_runtime::residual::FEATURES;
use nomopoly_runtime::{CompiledOperation, OperationVerifier};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use rand_distr::{Distribution, StandardNormal};
use tract_onnx::prelude::Tensor as TractTensor;

use super::*;

const PROOF_DIM: usize = 16;
const SKETCHES: u32 = 6;

/// A compiled operation with made-up networks.
struct Subject {
    compiled: CompiledOperation,
    adversary: Adversary,
    exported: Exported,
}

fn normals(len: usize, seed: u8) -> Vec<f32> {
    let mut random = ChaCha20Rng::from_seed([seed; 32]);
    (0..len).map(|_| StandardNormal.sample(&mut random)).collect()
}

fn normal_tensor(shape: &[usize], seed: u8) -> Tensor {
    Tensor::from_vec(normals(shape.iter().product(), seed), shape, &Device::Cpu).unwrap()
}

/// Accepts residuals up to `threshold` units in every feature, with the given slope in ln(1 + r).
fn head(slope: f32, threshold: f32) -> Network {
    let mut head = Head { weights: [[0.; UNITS]; FEATURES], offsets: [-1e3; UNITS] };
    for feature in 0..FEATURES {
        head.weights[feature][feature] = slope;
        head.offsets[feature] = -slope * threshold.ln_1p();
    }
    // Two units that look at the maximum and the mean, and decide where the mean is not small.
    for (unit, feature) in [(5, 0), (6, 2)] {
        head.weights[feature][unit] = 0.5 * slope;
        head.weights[feature + 1][unit] = 0.4 * slope;
        head.offsets[unit] = -0.9 * slope * (threshold / 4.).ln_1p();
    }
    Network::Residual(head)
}

/// Sharp: honest claims score almost 1, whatever the last bit of a residual.
fn sharp_head() -> Network {
    head(4., 120.)
}

/// Soft: large residuals score somewhere between 0 and 1, so that scores show their size.
fn soft_head() -> Network {
    head(0.3, 5e3)
}

fn perceptron(inputs: usize) -> Network {
    let widths = [inputs, MLP_HIDDEN[0], MLP_HIDDEN[1], 1];
    let layer = |i: usize| {
        let scale = 1. / (widths[i] as f64).sqrt();
        let weights = (normal_tensor(&[widths[i], widths[i + 1]], 40 + i as u8) * scale).unwrap();
        (weights, normal_tensor(&[1, widths[i + 1]], 50 + i as u8))
    };
    Network::Mlp(Mlp { layers: (0..3).map(layer).collect(), x_scale: 2., y_scale: 3. })
}

impl Subject {
    fn new(operation: &Arc<Operation>, check: Check, network: Network) -> Self {
        let spec = operation.spec().clone();
        let architecture = match network {
            Network::Residual(_) => Architecture::Residual,
            Network::Mlp(_) => Architecture::Mlp,
        };
        let options =
            CompileOptions { proof_dim: PROOF_DIM as u32, architecture, ..Default::default() };
        let id = Digest::from_bytes(operation.id(&options).unwrap());
        let device = Device::Cpu;
        let shape = spec.output_shape.clone();
        let header = ArtefactHeader {
            schema: ARTEFACT_SCHEMA,
            entry: format!("{}-{}", spec.stem(), &id.to_string()[..12]),
            id: id.to_string(),
            operation: spec,
            options,
            check,
            sketches: if check == Check::Sketch { SKETCHES } else { 0 },
            generator_seed: Digest::from_bytes([9; 32]).to_string(),
            certificate: None,
        };
        let generator = Generator::from_seed([9; 32], &shape, PROOF_DIM, &device).unwrap();
        let mut random = ChaCha20Rng::from_seed([3; 32]);
        let (adversary, _) =
            Adversary::new(operation, operation, PROOF_DIM as u32, &mut random, &device).unwrap();
        let artefact = Arc::new(Artefact { id, header, generator, network });
        let compiled = CompiledOperation::new(operation.clone(), artefact).unwrap();
        let exported = export(&compiled, &adversary).unwrap();
        Self { compiled, adversary, exported }
    }

    /// Inputs `[1, ...]` of a scale.
    fn inputs(&self, scale: f64, seed: u8) -> Vec<Tensor> {
        let shapes = &self.compiled.operation.spec().input_shapes;
        let sample = |(index, shape): (usize, &Vec<usize>)| {
            let tensor = normal_tensor(shape, seed + index as u8).unsqueeze(0).unwrap();
            (tensor * scale).unwrap()
        };
        shapes.iter().enumerate().map(sample).collect()
    }

    fn verifier(&self) -> OperationVerifier {
        let key = export_key(&self.compiled.artefact.id);
        OperationVerifier::new(self.compiled.clone(), &key, &Device::Cpu).unwrap()
    }

    fn dump(&self, name: &str, claims: &[serde_json::Value]) {
        let Some(root) = std::env::var_os("NOMOPOLY_EXPORT_DUMP") else { return };
        let header = &self.compiled.artefact.header;
        let folder = std::path::Path::new(&root).join(format!("{}-{name}", header.entry));
        std::fs::create_dir_all(&folder).unwrap();
        for (role, bytes) in self.exported.files() {
            let file = format!("{}_{role}.onnx", header.operation.stem());
            std::fs::write(folder.join(file), bytes).unwrap();
        }
        std::fs::write(folder.join("claims.json"), serde_json::to_vec(claims).unwrap()).unwrap();
    }
}

impl Exported {
    fn files(&self) -> [(&'static str, &[u8]); 3] {
        [("prover", &self.prover), ("verifier", &self.verifier), ("adversary", &self.adversary)]
    }
}

fn plan(name: &str, bytes: &[u8]) -> Plan {
    let model = Model::from_bytes(name, bytes).unwrap();
    Plan::new(name, model.proto()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Runs a file on samples `[1, ...]`; proofs keep their leading 1, which is their batch.
fn run(plan: &Plan, inputs: &[Tensor]) -> Vec<Vec<f32>> {
    let inputs = plan
        .inputs()
        .iter()
        .zip(inputs)
        .map(|(info, tensor)| TractTensor::from_shape(&info.shape, &values(tensor)).unwrap());
    let outputs = plan.run(inputs.collect::<Vec<_>>()).unwrap();
    let view = |tensor: &Arc<TractTensor>| {
        tensor.to_plain_array_view::<f32>().unwrap().iter().copied().collect()
    };
    outputs.iter().map(view).collect()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// Largest difference over the largest magnitude.
fn difference(got: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(got.len(), expected.len());
    let largest = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
    let worst = got.iter().zip(expected).fold(0f64, |worst, (a, b)| {
        assert!(a.is_finite() && b.is_finite(), "{a} {b}");
        worst.max(f64::from(a - b).abs())
    });
    worst / f64::from(largest + f32::MIN_POSITIVE)
}
