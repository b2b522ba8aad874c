//! Trains the digit classifier of this example and writes what the example commits: the model
//! (`models/digits.onnx`) and the held-out images (`data/test_*.npy`).
//!
//! ```text
//! scripts/fetch-digits.sh
//! cargo run --release -p digits --features train --bin train
//! ```
//!
//! Run from the root of the workspace; two optional arguments replace the path of `digits.csv`
//! and the folder of the example. The same seed on the same kind of CPU writes the same bytes.

#![forbid(unsafe_code)]

mod data;
mod network;
mod onnx;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha20Rng;

use crate::data::Digits;
use crate::network::Network;

pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const SEED: u64 = 1998;
const EPOCHS: usize = 40;
const BATCH: usize = 32;
const LEARNING_RATE: f64 = 3e-3;
const WEIGHT_DECAY: f64 = 0.01;

/// Below this held-out accuracy nothing is written.
const MIN_ACCURACY: f64 = 0.97;

/// Largest difference between a logit of candle and of tract that rounding explains: the logits
/// are of order 10 and each sums a few hundred f32 products.
const LOGIT_TOLERANCE: f32 = 1e-3;

fn main() -> ExitCode {
    let mut args = env::args_os().skip(1).map(PathBuf::from);
    let csv = args.next().unwrap_or_else(|| "target/digits-data/digits.csv".into());
    let example = args.next().unwrap_or_else(|| "examples/digits".into());
    match run(&csv, &example) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(csv: &Path, example: &Path) -> Result<()> {
    let digits = Digits::read(csv)?;
    let (training, held_out) = digits.split();
    println!("{} images to train on, {} held out", training.len(), held_out.len());

    let mut rng = ChaCha20Rng::seed_from_u64(SEED);
    let network = Network::new(&mut rng)?;
    train(&network, &training, &mut rng)?;

    let logits = network.forward(&held_out.all_images()?)?.to_vec2::<f32>()?;
    let correct = held_out.count_correct(&logits);
    let accuracy = correct as f64 / held_out.len() as f64;
    println!("held out: {correct} of {} correct ({:.2} %)", held_out.len(), 100.0 * accuracy);
    if accuracy < MIN_ACCURACY {
        return Err(format!(
            "held-out accuracy: expected at least {:.1} %, got {:.2} %; nothing written",
            100.0 * MIN_ACCURACY,
            100.0 * accuracy
        )
        .into());
    }

    let model = onnx::encode(&network.weights()?);
    check_against_tract(&model, &held_out, &logits)?;

    write(&example.join("models/digits.onnx"), &model)?;
    write(&example.join("data/test_images.npy"), &held_out.images_npy())?;
    write(&example.join("data/test_labels.npy"), &held_out.labels_npy())
}

/// Trains for a fixed number of epochs. The held-out images are not looked at in between, so that
/// their accuracy at the end is not a maximum over epochs.
fn train(network: &Network, training: &Digits, rng: &mut ChaCha20Rng) -> Result<()> {
    let params =
        ParamsAdamW { lr: LEARNING_RATE, weight_decay: WEIGHT_DECAY, ..Default::default() };
    let mut optimizer = AdamW::new(network.vars(), params)?;
    let mut order: Vec<usize> = (0..training.len()).collect();
    for epoch in 0..EPOCHS {
        // Half a cosine from the full rate towards zero.
        let progress = epoch as f64 / EPOCHS as f64;
        let rate = LEARNING_RATE * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
        optimizer.set_learning_rate(rate);

        order.shuffle(rng);
        let (mut loss_sum, mut correct) = (0.0, 0);
        for batch in order.chunks(BATCH) {
            let logits = network.forward(&training.images(batch)?)?;
            let loss = candle_nn::loss::cross_entropy(&logits, &training.labels(batch)?)?;
            optimizer.backward_step(&loss)?;
            loss_sum += f64::from(loss.to_scalar::<f32>()?) * batch.len() as f64;
            correct += training.count_correct_of(batch, &logits.to_vec2::<f32>()?);
        }
        let count = training.len();
        println!(
            "epoch {:2} of {EPOCHS}: loss {:.4}, {correct} of {count} correct",
            epoch + 1,
            loss_sum / count as f64,
        );
    }
    Ok(())
}

/// Runs the encoded model in tract, one image at a time, and compares with candle's logits: a
/// mistake in the export (a transposed weight, a forgotten pad) must not reach the committed file.
fn check_against_tract(model: &[u8], held_out: &Digits, expected: &[Vec<f32>]) -> Result<()> {
    let (expected, got) = (expected.concat(), onnx::run_one_by_one(model, held_out)?.concat());
    if got.len() != expected.len() {
        let (expected, got) = (expected.len(), got.len());
        return Err(format!("the exported model: expected {expected} logits, got {got}").into());
    }
    let differences = expected.iter().zip(&got).map(|(e, g)| (e - g).abs());
    // In this order a NaN is the largest, and `f32::max` would drop it.
    let worst = differences.max_by(f32::total_cmp).ok_or("no image is held out")?;
    println!("largest difference between candle's and tract's logits: {worst:.1e}");
    if worst <= LOGIT_TOLERANCE {
        return Ok(());
    }
    let limit = LOGIT_TOLERANCE;
    Err(format!("the exported model: logits differ by {worst:e}, expected at most {limit:e}")
        .into())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let in_context = |error| format!("cannot write {}: {error}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(in_context)?;
    }
    fs::write(path, bytes).map_err(in_context)?;
    println!("wrote {} ({} bytes)", path.display(), bytes.len());
    Ok(())
}
