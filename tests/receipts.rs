//! Receipts through the public API: commit, challenge, open, check.

use std::sync::{Arc, LazyLock};

use nomopoly::candle_core::Device;
use nomopoly::dynamic::Prover;
use nomopoly::onnx::round_to_int8;
use nomopoly::receipt::{
    Challenge, Committed, OpenedVector, Opening, Receipt, ReceiptVerifier, Strategy,
};
use nomopoly::{CompiledModel, Digest, Error, NamedTensor, TensorData, VerifierKey};
use nomopoly_build::manifest::CompileOptions;
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
    Prover::new(DEMO.clone(), &Device::Cpu).unwrap()
}

fn committed(host: &Prover, input: &[NamedTensor]) -> Committed {
    Committed::new(input, host.prove(input).unwrap()).unwrap()
}

const STRATEGIES: [Strategy; 4] = [
    Strategy::Everything,
    Strategy::Random { draws: 0 },
    Strategy::Random { draws: 1 },
    Strategy::Random { draws: 3 },
];

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
    let host = Prover::running(DEMO.clone(), &altered, &Device::Cpu).unwrap();
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
            if let TensorData::F32(values) = &mut opening.operations[index].output.data {
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
            opening.operations[index].output.data = TensorData::F32(vec![f32::NAN; 3]);
        });
    }
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
    let detection = checker.detection(Strategy::Random { draws: 4 });
    assert!(detection.over(100, 0.1) > detection.over(10, 0.1));
}
