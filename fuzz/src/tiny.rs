//! A small compiled model with an honest inference of it, made in memory: nothing is trained, the
//! heads are fixed thresholds. What is read from untrusted bytes is tried against it.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use nomopoly::artefact::{Artefact, ArtefactHeader, Network};
use nomopoly::bundle::Bundle;
use nomopoly::candle_core::Device;
use nomopoly::dynamic::{Prover, Verifier};
use nomopoly::generator::Generator;
use nomopoly::head::{Head, UNITS};
use nomopoly::onnx::{DatumType, Graph, Model, builder};
use nomopoly::operations::Operation;
use nomopoly::receipt::{Asked, Challenge, Committed, Opening, Part, ReceiptVerifier, Strategy};
use nomopoly::residual::FEATURES;
use nomopoly::{CompiledModel, Digest, ExpandedKey, NamedTensor, Proof, VerifierKey};
use nomopoly_build::manifest::{ARTEFACT_SCHEMA, Check, CompileOptions};
use nomopoly_build::prost::Message;

/// Sketched operations and how many secret vectors each has; 0 is replayed.
const COMPILED: [(&str, u32); 3] = [("conv", 8), ("fc1", 8), ("logits", 0)];
/// Rounding units that are accepted: honest runs stay within 8.
const THRESHOLD: f64 = 10.;
const PROOF_DIM: usize = 16;

/// The model and everything that two parties exchange about one inference of it.
pub struct Tiny {
    pub onnx: Vec<u8>,
    pub model: Arc<CompiledModel>,
    pub bundle: Bundle,
    pub prover: Prover,
    pub verifier: Verifier,
    pub receipts: ReceiptVerifier,
    pub expanded: ExpandedKey,
    pub input: [NamedTensor; 1],
    pub proof: Proof,
    pub committed: Committed,
    /// Everything as a whole.
    pub whole: (Challenge, Opening),
    /// Two channels of the convolution, in two of its three chunks.
    pub parts: (Challenge, Opening),
}

pub static TINY: LazyLock<Tiny> = LazyLock::new(Tiny::new);

/// Numbers that look random, between -0.5 and 0.5, the same on every machine.
pub fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        })
        .collect()
}

/// Conv 2-16 3x3, Relu, MaxPool, Flatten, Gemm 64-32, Relu, Gemm 32-10 for a 1x2x24x24 input. The
/// convolution's output has three chunks.
pub fn onnx() -> Vec<u8> {
    let weights = |name: &str, dims: &[usize], seed| {
        builder::tensor_f32(name, dims, &numbers(dims.iter().product(), seed))
    };
    let pads = vec![
        builder::ints_attribute("kernel_shape", &[3, 3]),
        builder::ints_attribute("pads", &[1, 1, 1, 1]),
    ];
    let pool = vec![
        builder::ints_attribute("kernel_shape", &[12, 12]),
        builder::ints_attribute("strides", &[12, 12]),
    ];
    let transposed = || vec![builder::int_attribute("transB", 1)];
    let nodes = vec![
        builder::node("Conv", &["x", "conv.w", "conv.b"], &["conv"], pads),
        builder::node("Relu", &["conv"], &["relu1"], vec![]),
        builder::node("MaxPool", &["relu1"], &["pool"], pool),
        builder::node("Flatten", &["pool"], &["flat"], vec![]),
        builder::node("Gemm", &["flat", "fc1.w", "fc1.b"], &["fc1"], transposed()),
        builder::node("Relu", &["fc1"], &["relu2"], vec![]),
        builder::node("Gemm", &["relu2", "fc2.w", "fc2.b"], &["logits"], transposed()),
    ];
    let initialisers = vec![
        weights("conv.w", &[16, 2, 3, 3], 1),
        weights("conv.b", &[16], 2),
        weights("fc1.w", &[32, 64], 3),
        weights("fc1.b", &[32], 4),
        weights("fc2.w", &[10, 32], 5),
        weights("fc2.b", &[10], 6),
    ];
    let graph = builder::graph(
        "tiny",
        nodes,
        initialisers,
        vec![builder::value_info("x", DatumType::F32, &[1, 2, 24, 24])],
        vec![builder::value_info("logits", DatumType::F32, &[1, 10])],
    );
    builder::model(graph, 17).encode_to_vec()
}

pub fn input(seed: u32) -> [NamedTensor; 1] {
    [NamedTensor::from_f32("x", &[1, 2, 24, 24], numbers(2 * 24 * 24, seed))]
}

/// A head that accepts residuals up to [`THRESHOLD`] units in every feature.
fn head() -> Head {
    let mut head = Head { weights: [[0.; UNITS]; FEATURES], offsets: [-1e3; UNITS] };
    for feature in 0..FEATURES {
        head.weights[feature][feature] = 4.;
        head.offsets[feature] = -4. * THRESHOLD.ln_1p() as f32;
    }
    head
}

fn artefact(operation: &Operation, sketches: u32) -> Artefact {
    let options = CompileOptions { proof_dim: PROOF_DIM as u32, seed: 3, ..CompileOptions::fast() };
    let id = Digest::from_bytes(operation.id(&options).expect("weights are on the CPU"));
    let spec = operation.spec().clone();
    let generator = Generator::from_seed([9; 32], &spec.output_shape, PROOF_DIM, &Device::Cpu);
    let certificate = (sketches > 0).then(|| head().certify(sketches, 1e-6, 1e-6, 40., 1e-3));
    let header = ArtefactHeader {
        schema: ARTEFACT_SCHEMA,
        entry: format!("{}-{}", spec.stem(), &id.to_string()[..12]),
        id: id.to_string(),
        operation: spec,
        options,
        check: if sketches > 0 { Check::Sketch } else { Check::Replay },
        sketches,
        generator_seed: Digest::from_bytes([9; 32]).to_string(),
        certificate,
    };
    let generator = generator.expect("the CPU holds a few numbers");
    Artefact { id, header, generator, network: Network::Residual(head()) }
}

fn bundle(onnx: &[u8]) -> Bundle {
    let model = Model::from_bytes("tiny.onnx", onnx).expect("it is a model");
    let digest = model.digest();
    let graph = Graph::bind(Arc::new(model), &BTreeMap::new()).expect("its shapes are fixed");
    let (mut artefacts, mut operations) = (BTreeMap::new(), BTreeMap::new());
    for (name, sketches) in COMPILED {
        let node = graph.nodes().iter().find(|node| node.output[0] == name);
        let node = node.expect("the graph has it");
        let operation = Operation::from_node(&graph, node, &Device::Cpu);
        let operation = operation.expect("it computes").expect("its kind has artefacts");
        let artefact = artefact(&operation, sketches);
        operations.insert(name.to_owned(), artefact.header.entry.clone());
        let bytes = artefact.to_bytes().expect("plain data");
        artefacts.insert(artefact.header.entry, bytes);
    }
    let inputs = BTreeMap::from([("x".to_owned(), vec![1, 2, 24, 24])]);
    Bundle { model: digest, inputs, artefacts, operations }
}

impl Tiny {
    fn new() -> Self {
        let onnx = onnx();
        let bundle = bundle(&onnx);
        let model = Model::from_bytes("tiny.onnx", &onnx).expect("it is a model");
        let model = Arc::new(bundle.load(model, &Device::Cpu).expect("it fits its model"));
        let key = VerifierKey::from_bytes([7; 32]);
        let prover = Prover::new(model.clone()).expect("tract runs it");
        let receipts = ReceiptVerifier::new(&model, &key, &Device::Cpu).expect("tract runs it");
        let input = input(11);
        let proof = prover.prove(&input).expect("it is an inference");
        let committed = Committed::new(&input, proof.clone()).expect("it is whole");
        let receipt = *committed.receipt();
        let whole = receipts.challenge(&receipt, Strategy::Everything).expect("its own receipt");
        let two = vec![Part { first: 576, count: 576 }, Part { first: 8640, count: 576 }];
        let parts = Challenge {
            root: receipt.root,
            operations: vec![Asked { index: 0, parts: two }],
            producers: vec![1],
        };
        let answered = |challenge: Challenge| {
            let opening = committed.open(&challenge).expect("the challenge fits");
            (challenge, opening)
        };
        let (whole, parts) = (answered(whole), answered(parts));
        Self {
            verifier: Verifier::new(&model, &key, &Device::Cpu).expect("tract runs it"),
            expanded: ExpandedKey::new(&model, &key).expect("no baseline is in it"),
            onnx,
            model,
            bundle,
            prover,
            receipts,
            input,
            proof,
            committed,
            whole,
            parts,
        }
    }
}
