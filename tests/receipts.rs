//! Receipts through the public API: commit, challenge, open, check.

use std::sync::{Arc, LazyLock};

use nomopoly::candle_core::Device;
use nomopoly::dynamic::Prover;
use nomopoly::onnx::{DatumType, builder, round_to_int8};
use nomopoly::receipt::{
    Challenge, Committed, OpenedOutput, OpenedVector, Opening, Part, Receipt, ReceiptVerifier,
    Strategy,
};
use nomopoly::{CompiledModel, Digest, Error, NamedTensor, TensorData, VerifierKey};
use nomopoly_build::manifest::CompileOptions;
use nomopoly_build::prost::Message;
use nomopoly_build::registry::Registry;
use nomopoly_build::{Compiler, demo, load_compiled};

static DEMO: LazyLock<Arc<CompiledModel>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.onnx");
    std::fs::write(&path, demo::model(0)).unwrap();
    let registry = Registry::open(folder.path().join("ops"));
    let options = CompileOptions { test_samples: 100, ..CompileOptions::fast() };
    Compiler::new(registry.clone()).options(options).compile(&path).unwrap();
    Arc::new(load_compiled(&registry, &path).unwrap())
});

fn image(seed: u64) -> [NamedTensor; 1] {
    [NamedTensor::from_f32("image", &[1, 3, 8, 8], demo::image(seed))]
}

fn checker() -> ReceiptVerifier {
    ReceiptVerifier::new(&DEMO, &VerifierKey::random().unwrap(), &Device::Cpu).unwrap()
}

fn host() -> Prover {
    Prover::new(DEMO.clone()).unwrap()
}

fn committed(host: &Prover, input: &[NamedTensor]) -> Committed {
    Committed::new(input, host.prove(input).unwrap()).unwrap()
}

const STRATEGIES: [Strategy; 7] = [
    Strategy::Everything,
    Strategy::Linear,
    Strategy::Parts { draws: 1, elements: 1 },
    Strategy::Parts { draws: 5, elements: 200 },
    Strategy::Random { draws: 0 },
    Strategy::Random { draws: 1 },
    Strategy::Random { draws: 3 },
];

/// The tensor of an operation that was opened as a whole.
fn whole(output: &mut OpenedOutput) -> &mut NamedTensor {
    match output {
        OpenedOutput::Whole(tensor) => tensor,
        OpenedOutput::Parts(_) => panic!("only parts were opened"),
    }
}

#[test]
fn honest_receipts_are_accepted_whatever_is_asked() {
    let (host, checker) = (host(), checker());
    for seed in 0..10 {
        let input = image(seed);
        let committed = committed(&host, &input);
        let receipt = Receipt::from_bytes(&committed.receipt().to_bytes().unwrap()).unwrap();
        assert!(committed.receipt().to_bytes().unwrap().len() < 300);
        for strategy in STRATEGIES {
            let challenge = checker.challenge(&receipt, strategy).unwrap();
            let challenge = Challenge::from_bytes(&challenge.to_bytes().unwrap()).unwrap();
            let opening = committed.open(&challenge).unwrap();
            let opening = Opening::from_bytes(&opening.to_bytes().unwrap()).unwrap();
            let outputs = committed.outputs();
            let report = checker.verify(&input, outputs, &receipt, &challenge, &opening).unwrap();
            // What was asked for, and the answer itself.
            assert_eq!(report.operations.len(), challenge.operations.len() + 1);
        }
    }
}

#[test]
fn a_receipt_depends_on_everything_but_a_key() {
    let host = host();
    let receipt = |seed| *committed(&host, &image(seed)).receipt();
    assert_eq!(receipt(0), receipt(0));
    assert_ne!(receipt(0).root, receipt(1).root);
    let edited = |name: &str| {
        let edit = |other: &str, data: &mut TensorData| {
            if let (true, TensorData::F32(values)) = (other == name, data) {
                values[0] += 1e-3;
            }
        };
        let proof = host.prove_edited(&image(0), edit).unwrap();
        *Committed::new(&image(0), proof).unwrap().receipt()
    };
    for name in ["conv1", "fc1", "logits"] {
        assert_ne!(edited(name).root, receipt(0).root, "{name}");
    }
    assert_ne!(edited("logits").outputs, receipt(0).outputs);
    assert_eq!(edited("conv1").outputs, receipt(0).outputs);
}

#[test]
fn a_host_that_cheats_is_caught_when_the_operation_is_opened() {
    let checker = checker();
    let altered = DEMO
        .graph()
        .with_altered_weights(|name, _, values| {
            if name == "conv1.weight" {
                round_to_int8(values);
            }
        })
        .unwrap();
    let host = Prover::running(DEMO.clone(), &altered).unwrap();
    let (mut met, mut missed) = (0, 0);
    for seed in 0..60 {
        let input = image(seed);
        let committed = committed(&host, &input);
        let receipt = committed.receipt();
        let challenge = checker.challenge(receipt, Strategy::Random { draws: 1 }).unwrap();
        let opening = committed.open(&challenge).unwrap();
        let outputs = committed.outputs();
        let report = checker.inspect(&input, outputs, receipt, &challenge, &opening).unwrap();
        let opened = report.operations.iter().any(|operation| operation.operation == "conv1");
        // Whether it is caught is whether it was asked.
        assert_eq!(report.accepted(), !opened, "{report:?}");
        if opened {
            met += 1
        } else {
            missed += 1
        }
        let everything = checker.challenge(receipt, Strategy::Everything).unwrap();
        let opening = committed.open(&everything).unwrap();
        let error = checker.verify(&input, outputs, receipt, &everything, &opening).unwrap_err();
        assert!(error.to_string().contains("conv1"), "{error}");
    }
    assert!(met > 0 && missed > 0, "{met} {missed}");
}

#[test]
fn an_edited_answer_is_caught_by_every_challenge() {
    let (host, checker) = (host(), checker());
    let input = image(3);
    let proof = host
        .prove_edited(&input, |name, data| {
            if let ("logits", TensorData::F32(values)) = (name, data) {
                values.reverse();
            }
        })
        .unwrap();
    let committed = Committed::new(&input, proof).unwrap();
    for strategy in STRATEGIES {
        let challenge = checker.challenge(committed.receipt(), strategy).unwrap();
        let opening = committed.open(&challenge).unwrap();
        let outputs = committed.outputs();
        let verdict = checker.verify(&input, outputs, committed.receipt(), &challenge, &opening);
        assert!(matches!(verdict, Err(Error::Rejected(_))), "{strategy:?}");
    }
}

#[test]
fn openings_that_do_not_lead_to_the_receipt_are_refused() {
    let (host, checker) = (host(), checker());
    let input = image(1);
    let (mine, other) = (committed(&host, &input), committed(&host, &image(2)));
    let receipt = mine.receipt();
    let challenge = checker.challenge(receipt, Strategy::Everything).unwrap();
    let opening = mine.open(&challenge).unwrap();
    let refused =
        |outputs: &[NamedTensor], receipt: &Receipt, challenge: &Challenge, opening: &Opening| {
            checker.inspect(&input, outputs, receipt, challenge, opening).unwrap_err().to_string()
        };
    let outputs = mine.outputs();
    checker.verify(&input, outputs, receipt, &challenge, &opening).unwrap();
    // Another inference's outputs, receipt, challenge, opening.
    assert!(refused(other.outputs(), receipt, &challenge, &opening).contains("outputs"));
    assert!(refused(outputs, other.receipt(), &challenge, &opening).contains("inputs"));
    let theirs = checker.challenge(other.receipt(), Strategy::Everything).unwrap();
    assert!(mine.open(&theirs).unwrap_err().to_string().contains("another receipt"));
    let opened = other.open(&theirs).unwrap();
    assert!(refused(outputs, receipt, &challenge, &opened).contains("another receipt"));
    let disguised = Opening { root: receipt.root, ..opened };
    refused(outputs, receipt, &challenge, &disguised);
    // Operations left out, in another order, twice, of another value, without their vector.
    let change = |alter: &dyn Fn(&mut Opening)| {
        let mut altered = opening.clone();
        alter(&mut altered);
        refused(outputs, receipt, &challenge, &altered)
    };
    change(&|opening| drop(opening.operations.pop()));
    change(&|opening| opening.operations.reverse());
    change(&|opening| opening.operations.insert(0, opening.operations[0].clone()));
    change(&|opening| opening.operations.swap(0, 1));
    for index in 0..opening.operations.len() {
        let text = change(&|opening| {
            if let TensorData::F32(values) = &mut whole(&mut opening.operations[index].output).data
            {
                values[0] = values[0].next_up();
            }
        });
        assert!(text.contains("receipt") || text.contains("another one"), "{text}");
        change(&|opening| opening.operations[index].vector = OpenedVector::Shown(vec![0.; 32]));
        change(&|opening| opening.operations[index].vector = OpenedVector::Shown(vec![]));
        let hidden = OpenedVector::Hidden(Digest::from_bytes([0; 32]));
        change(&|opening| opening.operations[index].vector = hidden.clone());
        change(&|opening| opening.operations[index].artefact = Digest::from_bytes([0; 32]));
        change(&|opening| {
            whole(&mut opening.operations[index].output).data =
                TensorData::F32(vec![f32::NAN; 3].into());
        });
    }
}

/// A challenge for `count` elements from `first` on of one operation, with its producers.
fn part(receipt: &Receipt, name: &str, first: u32, count: u32) -> Challenge {
    let checker = checker();
    let index = DEMO.proved().position(|op| op.operation.output() == name).unwrap() as u32;
    // Whatever leads to it: a draw that happens to ask for this operation names its producers.
    loop {
        let drawn = checker.challenge(receipt, Strategy::Parts { draws: 1, elements: 1 }).unwrap();
        if drawn.operations[0].index == index && !drawn.operations[0].parts.is_empty() {
            // Beside it stays what is always asked for.
            let mut operations = drawn.operations;
            operations[0].parts = vec![Part { first, count }];
            return Challenge { operations, ..drawn };
        }
    }
}

#[test]
fn a_part_is_wrong_exactly_where_it_was_altered() {
    let (host, checker) = (host(), checker());
    let input = image(5);
    let shape = host.model().transcript().find(|op| op.operation.output() == "conv1").unwrap();
    let shape = shape.operation.spec().output_shape.clone();
    let pixels = (shape[2] * shape[3]) as u32;
    // One element of channel 3, by a thousandth.
    let proof = host
        .prove_edited(&input, |name, data| {
            if let ("conv1", TensorData::F32(values)) = (name, data) {
                values[3 * pixels as usize + 7] += 1e-3;
            }
        })
        .unwrap();
    let committed = Committed::new(&input, proof).unwrap();
    let receipt = committed.receipt();
    for channel in 0..shape[1] as u32 {
        let challenge = part(receipt, "conv1", channel * pixels, pixels);
        let opening = committed.open(&challenge).unwrap();
        let report = checker.inspect(&input, committed.outputs(), receipt, &challenge, &opening);
        let report = report.unwrap();
        assert_eq!(report.operations[0].operation, "conv1");
        assert_eq!(report.operations[0].accepted, channel != 3, "{channel} {report:?}");
        assert!(report.operations[0].certified_deviation.unwrap() < 1e-2, "{report:?}");
    }
}

#[test]
fn parts_that_are_none_are_refused_by_host_and_verifier() {
    let (host, checker) = (host(), checker());
    let input = image(5);
    let committed = committed(&host, &input);
    let receipt = committed.receipt();
    let pixels = {
        let conv = host.model().transcript().find(|op| op.operation.output() == "conv1").unwrap();
        conv.operation.spec().output_shape[2..].iter().product::<usize>() as u32
    };
    let good = part(receipt, "conv1", pixels, pixels);
    let opening = committed.open(&good).unwrap();
    let inspect = |challenge: &Challenge, opening: &Opening| {
        checker.inspect(&input, committed.outputs(), receipt, challenge, opening)
    };
    assert!(inspect(&good, &opening).unwrap().accepted());
    // Beyond the end, empty, not there.
    for (first, count) in [(0, u32::MAX), (u32::MAX, 1), (0, 0)] {
        let challenge = part(receipt, "conv1", first, count);
        assert!(matches!(committed.open(&challenge), Err(Error::Challenge(_))));
    }
    let mut nowhere = good.clone();
    nowhere.operations[0].index = 1000;
    assert!(matches!(committed.open(&nowhere), Err(Error::Challenge(_))));
    // Half a channel can be opened, not checked.
    let half = part(receipt, "conv1", pixels / 2, pixels);
    let error = inspect(&half, &committed.open(&half).unwrap()).unwrap_err().to_string();
    assert!(error.contains("whole output channels"), "{error}");
    // The whole where a part was asked for, and the other way round, and another part.
    let mut everything = good.clone();
    everything.operations[0].parts.clear();
    let whole = committed.open(&everything).unwrap();
    assert!(matches!(inspect(&good, &whole), Err(Error::Opening(_))));
    assert!(matches!(inspect(&everything, &opening), Err(Error::Opening(_))));
    let mut other = opening.clone();
    let OpenedOutput::Parts(parts) = &mut other.operations[0].output else { panic!() };
    parts.chunks[0].place += 1;
    assert!(matches!(inspect(&good, &other), Err(Error::Opening(_))));
    let mut infinite = opening.clone();
    let OpenedOutput::Parts(parts) = &mut infinite.operations[0].output else { panic!() };
    let TensorData::F32(values) = &mut parts.chunks[0].data else { panic!() };
    values[0] = f32::INFINITY;
    assert!(matches!(inspect(&good, &infinite), Err(Error::NonFinite { .. })));
}

/// Two linear nodes with a Relu behind each: parts of the first can be asked for.
fn two_nodes(op: &str, x: &[usize], weights: [&[usize]; 2], y: &[usize]) -> Vec<u8> {
    let f32 = DatumType::F32;
    let pads = || match op {
        "Conv" => vec![builder::ints_attribute("pads", &[1, 1, 1, 1])],
        _ => vec![],
    };
    let weight = |name: &str, shape: &[usize]| {
        let values = (0..shape.iter().product()).map(|i: usize| (i as f32).sin());
        builder::tensor_f32(name, shape, &values.collect::<Vec<_>>())
    };
    let graph = builder::graph(
        "two",
        vec![
            builder::node(op, &["x", "w"], &["linear"], pads()),
            builder::node("Relu", &["linear"], &["relu"], vec![]),
            builder::node(op, &["relu", "v"], &["last"], pads()),
            builder::node("Relu", &["last"], &["y"], vec![]),
        ],
        vec![weight("w", weights[0]), weight("v", weights[1])],
        vec![builder::value_info("x", f32, x)],
        vec![builder::value_info("y", f32, y)],
    );
    builder::model(graph, 17).encode_to_vec()
}

#[test]
fn parts_are_channels_of_one_image_or_rows() {
    let kernels: [&[usize]; 2] = [&[64, 4, 3, 3], &[64, 64, 3, 3]];
    let conv = two_nodes("Conv", &[2, 4, 6, 6], kernels, &[2, 64, 6, 6]);
    let matmul = two_nodes("MatMul", &[3, 5, 40], [&[40, 64], &[64, 64]], &[3, 5, 64]);
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::open(folder.path().join("ops"));
    // Elements of a channel or row, how many there are.
    let cases =
        [("conv", conv, [2, 4, 6, 6].to_vec(), 36, 128), ("rows", matmul, vec![3, 5, 40], 64, 15)];
    for (name, bytes, shape, each, count) in cases {
        let path = folder.path().join(format!("{name}.onnx"));
        std::fs::write(&path, bytes).unwrap();
        let options = CompileOptions { test_samples: 100, ..CompileOptions::fast() };
        Compiler::new(registry.clone()).options(options).compile(&path).unwrap();
        let model = Arc::new(load_compiled(&registry, &path).unwrap());
        assert_eq!(model.transcript().count(), 2, "{name} is checked by sketch");
        let key = VerifierKey::random().unwrap();
        let checker = ReceiptVerifier::new(&model, &key, &Device::Cpu).unwrap();
        let host = Prover::new(model).unwrap();
        let values = (0..shape.iter().product()).map(|i: usize| (i as f32).cos()).collect();
        let input = [NamedTensor::from_f32("x", &shape, values)];
        let wrong = count - 2;
        let proof = host.prove_edited(&input, |name, data| {
            if let ("linear", TensorData::F32(values)) = (name, data) {
                values[wrong * each + 5] += 0.01;
            }
        });
        let committed = Committed::new(&input, proof.unwrap()).unwrap();
        let receipt = committed.receipt();
        let (mut met, mut missed) = (0, 0);
        while met < 3 || missed < 10 {
            let strategy = Strategy::Parts { draws: 2, elements: 3 * each as u32 };
            let challenge = checker.challenge(receipt, strategy).unwrap();
            let opening = committed.open(&challenge).unwrap();
            let report =
                checker.inspect(&input, committed.outputs(), receipt, &challenge, &opening);
            let report = report.unwrap();
            let Some(asked) = challenge.operations.iter().find(|asked| asked.index == 0) else {
                // The second operation alone, which was not computed from the edited first one.
                continue;
            };
            if asked.parts.is_empty() {
                assert!(!report.accepted(), "{name} {report:?}");
                continue;
            }
            let element = (wrong * each + 5) as u32;
            let holds = |part: &Part| (part.first..part.first + part.count).contains(&element);
            let asked = asked.parts.iter().any(holds);
            assert_eq!(report.accepted(), !asked, "{name} {challenge:?} {report:?}");
            if asked { met += 1 } else { missed += 1 }
        }
    }
}

#[test]
fn what_a_host_stores_opens_as_before() {
    let host = host();
    let committed = committed(&host, &image(4));
    let bytes = committed.to_bytes().unwrap();
    let again = Committed::from_bytes(&bytes).unwrap();
    assert_eq!(again.receipt(), committed.receipt());
    let challenge = checker().challenge(again.receipt(), Strategy::Everything).unwrap();
    assert_eq!(again.open(&challenge).unwrap(), committed.open(&challenge).unwrap());
    for bit in (0..bytes.len() * 8).step_by(977) {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(Committed::from_bytes(&flipped), Err(Error::Stored { .. })));
    }
    assert!(Committed::from_bytes(&bytes[..bytes.len() - 1]).is_err());
}

#[test]
fn any_flipped_bit_on_the_wire_is_refused() {
    let (host, checker) = (host(), checker());
    let committed = committed(&host, &image(1));
    let challenge = checker.challenge(committed.receipt(), Strategy::Random { draws: 2 }).unwrap();
    let receipt = committed.receipt().to_bytes().unwrap();
    let asked = challenge.to_bytes().unwrap();
    let opened = committed.open(&challenge).unwrap().to_bytes().unwrap();
    for (bytes, stride) in [(&receipt, 1), (&asked, 1), (&opened, 131)] {
        for bit in (0..bytes.len() * 8).step_by(stride) {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Receipt::from_bytes(&flipped).is_err());
            assert!(Challenge::from_bytes(&flipped).is_err());
            assert!(Opening::from_bytes(&flipped).is_err());
        }
        for end in 0..bytes.len().min(200) {
            assert!(Receipt::from_bytes(&bytes[..end]).is_err());
            assert!(Challenge::from_bytes(&bytes[..end]).is_err());
            assert!(Opening::from_bytes(&bytes[..end]).is_err());
        }
    }
}

#[test]
fn detection_grows_with_draws_and_calls() {
    let checker = checker();
    let least = |draws| checker.detection(Strategy::Random { draws }).least;
    assert!(least(1) > 0. && least(1) < least(4) && least(4) < 1.);
    assert_eq!(checker.detection(Strategy::Everything).least, 1.);
    assert_eq!(checker.detection(Strategy::Linear).least, 1.);
    let parts = checker.detection(Strategy::Parts { draws: 4, elements: 64 }).least;
    assert!(parts > 0. && parts < least(4));
    let detection = checker.detection(Strategy::Random { draws: 4 });
    assert!(detection.over(100, 0.1) > detection.over(10, 0.1));
}
