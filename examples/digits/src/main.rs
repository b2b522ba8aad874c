//! Classifies handwritten digits with proofs, checks every proof, and shows what happens to a host
//! that cheats.
//!
//! The prover stands for a remote host and the verifier for the application that asked it; here
//! both run in one process, and what passes between them is bytes.

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use nomopoly::onnx::round_to_int8;
use nomopoly::{Proven, Prover, TensorData, VerifierKey};

/// A small convolutional classifier of 8x8 images.
#[nomopoly::model("models/digits.onnx")]
struct Digits;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let (inputs, labels) = test_set()?;
    let count = inputs.len();

    let (host, host_ready) = timed(Digits::prover)?;
    let (verifier, verifier_ready) = timed(|| Digits::verifier(VerifierKey::random()?))?;
    println!(
        "{} operations; prover ready in {host_ready:.1?}, verifier with a fresh key in {verifier_ready:.1?}",
        Digits::OPERATIONS.len()
    );

    let (mut right, mut accepted, mut bytes) = (0, 0, 0);
    let (mut proving, mut verifying) = (Duration::ZERO, Duration::ZERO);
    for (input, label) in inputs.iter().zip(&labels) {
        let (sent, took) = timed(|| host.prove(input)?.to_bytes())?;
        proving += took;
        bytes += sent.len();

        let (report, took) =
            timed(|| verifier.inspect(input, &Proven::<Digits>::from_bytes(&sent)?))?;
        verifying += took;
        accepted += usize::from(report.accepted());
        let logits = &Proven::<Digits>::from_bytes(&sent)?.into_output().logits;
        right += usize::from(logits.argmax() == Some(usize::from(*label)));
    }
    let each = |total: Duration| total.as_secs_f64() * 1e6 / count as f64;
    println!("{right} of {count} images classified rightly, {accepted} of {count} proofs accepted");
    println!(
        "per image: {:.0} µs to prove, {:.0} µs to verify, {} bytes",
        each(proving),
        each(verifying),
        bytes / count
    );

    println!("\nA host that cheats, on the same {count} images:");
    let matrices = |alter: fn(&mut [f32])| {
        move |_: &str, shape: &[usize], weights: &mut [f32]| {
            if shape.len() > 1 {
                alter(weights);
            }
        }
    };
    // Reversing a tensor keeps everything about its distribution: another model of the same kind.
    let other = Prover::<Digits>::with_altered_weights(matrices(<[f32]>::reverse))?;
    let int8 = Prover::<Digits>::with_altered_weights(matrices(round_to_int8))?;
    let mut replay = host.prove(&inputs[count - 1])?;
    let mut cheats =
        ["runs other weights", "runs int8 weights", "edits an output", "replays a proof"]
            .map(|cheat| (cheat, 0, String::new()));
    for input in &inputs {
        let honest = host.prove(input)?;
        let mut edited = honest.clone().into_proof();
        if let TensorData::F32(logits) = &mut edited.outputs[0].data {
            logits[3] += 0.01;
        }
        let replayed = std::mem::replace(&mut replay, honest);
        let proofs =
            [other.prove(input)?, int8.prove(input)?, Proven::from_proof(edited)?, replayed];
        for (proof, (_, refused, reason)) in proofs.iter().zip(&mut cheats) {
            let report = verifier.inspect(input, proof)?;
            *refused += usize::from(!report.accepted());
            *reason = report.reason();
        }
    }
    for (cheat, refused, reason) in cheats {
        println!("  {cheat:<20} {refused} of {count} refused; the last: {reason}");
    }
    Ok(())
}

/// The committed test set: images scaled to 0..1, and their labels.
fn test_set() -> Result<(Vec<DigitsInput>, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    let read = |name: &str| -> Result<Vec<u8>> {
        let path = folder.join(name);
        let bytes = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(npyz::NpyFile::new(bytes.as_slice())?.into_vec()?)
    };
    let pixels = read("test_images.npy")?;
    let images = pixels.chunks_exact(64).map(|image| {
        let image: Vec<f32> = image.iter().map(|&pixel| f32::from(pixel) / 16.).collect();
        Ok(DigitsInput { image: image.try_into()? })
    });
    Ok((images.collect::<Result<_>>()?, read("test_labels.npy")?))
}

fn timed<T>(work: impl FnOnce() -> nomopoly::Result<T>) -> nomopoly::Result<(T, Duration)> {
    let start = Instant::now();
    let value = work()?;
    Ok((value, start.elapsed()))
}
