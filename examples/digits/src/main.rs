//! Classifies handwritten digits with proofs, checks every proof, and shows what happens to a host
//! that cheats.
//!
//! The prover stands for a remote host and the verifier for the application that asked it; here
//! both run in one process, and what passes between them is bytes.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nomopoly::candle_core::Device;
use nomopoly::onnx::{Graph, Model, pb};
use nomopoly::{EmbeddedModel, NamedTensor, Proof, Prover, TensorData, Verifier, VerifierKey};
use nomopoly_build::registry::Registry;
use nomopoly_build::{Calibration, Compiler, arrays, load_compiled};

#[nomopoly::model("models/digits.onnx")]
struct Digits;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = folder.join("models").join(Digits::NAME);
    let (images, labels) = test_set(&folder.join("data"))?;
    // The first half shows the compiler what real inputs look like; everything below is measured
    // on the second half.
    let half = images.len() / 2;

    let registry = Registry::open(folder.join("ops"));
    let calibration = Calibration::from_arrays(vec![NamedTensor::from_f32(
        "image",
        &[half, 1, 8, 8],
        images[..half].concat(),
    )]);
    let compilation = Compiler::new(registry.clone()).calibration(calibration).compile(&file)?;
    let trained = compilation.operations.iter().filter(|operation| !operation.cached).count();
    println!(
        "compiled {} operations ({trained} trained now, the rest from the registry) in {:.2} s",
        compilation.operations.len(),
        compilation.seconds
    );

    let model = Arc::new(load_compiled(&registry, &file)?);
    let host = Prover::new(model.clone(), &Device::Cpu)?;
    let verifier = Verifier::new(model.clone(), &VerifierKey::random()?, &Device::Cpu)?;

    let (mut right, mut accepted, mut bytes) = (0, 0, 0);
    let (mut proving, mut verifying) = (Duration::ZERO, Duration::ZERO);
    for (image, label) in images[half..].iter().zip(&labels[half..]) {
        let input = [NamedTensor::from_f32("image", &[1, 1, 8, 8], image.clone())];
        let start = Instant::now();
        let sent = host.prove(&input)?.to_bytes()?;
        proving += start.elapsed();
        bytes += sent.len();

        let start = Instant::now();
        let received = Proof::from_bytes(&sent)?;
        let report = verifier.inspect(&input, &received)?;
        verifying += start.elapsed();
        accepted += usize::from(report.accepted());
        right += usize::from(digit(&received) == Some(usize::from(*label)));
    }
    let count = images.len() - half;
    let each = |total: Duration| total.as_secs_f64() * 1e6 / count as f64;
    println!("{right} of {count} images classified rightly, {accepted} of {count} proofs accepted");
    println!(
        "per image: {:.0} µs to prove, {:.0} µs to verify, {} bytes",
        each(proving),
        each(verifying),
        bytes / count
    );

    println!("\nA host that cheats, on the same {count} images:");
    let graph = model.graph();
    let int8 = altered(graph, |weights| {
        let largest = weights.iter().fold(0f32, |largest, w| largest.max(w.abs()));
        let step = largest / 127.;
        weights.iter_mut().for_each(|w| *w = (*w / step).round() * step);
    })?;
    // Reversing a tensor keeps everything about its distribution: another model of the same kind.
    let other = altered(graph, |weights| weights.reverse())?;
    let int8 = Prover::running(model.clone(), &int8, &Device::Cpu)?;
    let other = Prover::running(model.clone(), &other, &Device::Cpu)?;
    let mut previous: Option<Proof> = None;
    let mut cheats: [(&str, usize, String); 4] = [
        ("runs int8 weights", 0, String::new()),
        ("runs other weights", 0, String::new()),
        ("edits an output", 0, String::new()),
        ("replays a proof", 0, String::new()),
    ];
    for image in &images[half..] {
        let input = [NamedTensor::from_f32("image", &[1, 1, 8, 8], image.clone())];
        let honest = host.prove(&input)?;
        let mut edited = honest.clone();
        if let Some(TensorData::F32(logits)) = edited.outputs.first_mut().map(|o| &mut o.data) {
            logits[3] += 0.01;
        }
        let replayed = previous.replace(honest.clone()).unwrap_or_else(|| edited.clone());
        let proofs = [int8.prove(&input)?, other.prove(&input)?, edited, replayed];
        for (proof, (_, refused, reason)) in proofs.iter().zip(&mut cheats) {
            let report = verifier.inspect(&input, proof)?;
            *refused += usize::from(!report.accepted());
            *reason = report.reason();
        }
    }
    for (cheat, refused, reason) in cheats {
        println!("  {cheat:<20} {refused} of {count} refused; the last: {reason}");
    }
    Ok(())
}

/// Images scaled to 0..1, 64 floats each, and their labels.
fn test_set(folder: &Path) -> Result<(Vec<Vec<f32>>, Vec<u8>), String> {
    let read = |name: &str| {
        let path = folder.join(name);
        let array = arrays::read_npy(name, &path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        match array.data {
            TensorData::U8(values) => Ok(values),
            _ => Err(format!("{} does not hold bytes", path.display())),
        }
    };
    let pixels = read("test_images.npy")?;
    let images =
        pixels.chunks_exact(64).map(|image| image.iter().map(|&p| f32::from(p) / 16.).collect());
    Ok((images.collect(), read("test_labels.npy")?))
}

/// The digit with the largest logit.
fn digit(proof: &Proof) -> Option<usize> {
    let logits = proof.outputs.first()?.as_f32()?;
    let largest = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
    Some(largest.0)
}

/// The model with its weights altered.
fn altered(graph: &Graph, alter: impl Fn(&mut [f32])) -> Result<Graph, Box<dyn Error>> {
    use nomopoly_build::prost::Message;
    let mut proto: pb::ModelProto = graph.model().proto().clone();
    for tensor in proto.graph.iter_mut().flat_map(|graph| &mut graph.initializer) {
        if tensor.dims.len() < 2 {
            continue;
        }
        let mut values: Vec<f32> = tensor
            .raw_data
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        alter(&mut values);
        tensor.raw_data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    }
    let model = Model::from_bytes(graph.model().name(), &proto.encode_to_vec())?;
    let inputs = graph.inputs().iter().map(|info| (info.name.clone(), info.shape.clone()));
    Ok(Graph::bind(Arc::new(model), &inputs.collect())?)
}
