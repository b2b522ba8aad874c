//! One artefact for every shape: proofs at other shapes than the model was compiled at.

use std::time::Instant;

use nomopoly::VerifierKey;
use nomopoly::candle_core::Device;
use nomopoly::dynamic::{Prover, Verifier};

use super::audit::{Altered, altered};
use super::catalogue::Real;
use super::results::{Shaped, save};

/// Inferences at each set of shapes.
const INFERENCES: usize = 20;

pub fn run(model: &Real) {
    let compiled = model.compiled();
    let data = model.data();
    let prover = Prover::new(compiled.clone()).expect("tract runs it");
    let key = VerifierKey::random().expect("the system has random bytes");
    let verifier = Verifier::new(&compiled, &key, &Device::Cpu).expect("it expands");
    let host = altered(&compiled, Altered::Int8)
        .map(|graph| Prover::running(compiled.clone(), &graph).expect("tract runs it"));
    let mut shapes = vec![];
    for other in model.others {
        let (mut rejected, mut forged) = (0, 0);
        let mut times = vec![];
        for number in 0..INFERENCES {
            let one = model.input(compiled.graph(), &data, number);
            let inputs = model.resized(&one, other);
            let start = Instant::now();
            let proof = prover.prove(&inputs).expect("it proves");
            let report = verifier.inspect(&inputs, &proof).expect("the proof is whole");
            times.push(start.elapsed().as_secs_f64());
            if !report.accepted() {
                println!("{} at {other:?}: REJECTED: {}", model.name, report.reason());
                rejected += 1;
            }
            if let Some(host) = &host {
                let proof = host.prove(&inputs).expect("it proves");
                let report = verifier.inspect(&inputs, &proof).expect("the proof is whole");
                forged += usize::from(report.accepted());
            }
        }
        let later = times[1..].iter().sum::<f64>() / (times.len() - 1) as f64;
        let name = other
            .iter()
            .map(|(_, shape)| shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x"))
            .next()
            .unwrap_or_default();
        shapes.push((name, INFERENCES, rejected, forged, times[0], later));
    }
    save(model, "shapes", &Shaped { shapes });
}
