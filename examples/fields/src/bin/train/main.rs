//! Trains the field classifier of this example and writes what the example commits: the model
//! (`models/fields.onnx`) and the held-out fields (`data/test_fields.tsv`).
//!
//! ```text
//! cargo run -p fields --features fields/train,nomopoly-build/cli --bin train
//! ```
//!
//! Run from the root of the workspace; an optional argument replaces the folder of the example.
//! The same seeds on the same kind of CPU write the same bytes.

#![forbid(unsafe_code)]

mod data;
mod generator;
mod network;
mod onnx;
#[path = "../../text.rs"]
mod text;
mod words;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha20Rng;

use crate::data::Fields;
use crate::network::{Network, Outputs};

pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Draws the fields to train on, the initial weights and the order of training.
const SEED: u64 = 822;
/// Draws the held-out fields and nothing else.
const HELD_OUT_SEED: u64 = 2606;
const TRAINING_PER_KIND: usize = 2000;
const HELD_OUT_PER_KIND: usize = 50;

const EPOCHS: usize = 15;
const BATCH: usize = 64;
const LEARNING_RATE: f64 = 4e-3;
const WEIGHT_DECAY: f64 = 0.01;

/// Below this held-out accuracy nothing is written.
const MIN_ACCURACY: f64 = 0.97;

/// Largest difference between an output of candle and of tract that rounding explains: the outputs
/// are of order 10 and each sums a few hundred f32 products.
const OUTPUT_TOLERANCE: f32 = 1e-3;

fn main() -> ExitCode {
    let example = env::args_os().nth(1).map_or_else(|| "examples/fields".into(), PathBuf::from);
    match run(&example) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(example: &Path) -> Result<()> {
    let mut rng = ChaCha20Rng::seed_from_u64(SEED);
    let training = Fields::training(TRAINING_PER_KIND, &mut rng);
    let mut held_out_rng = ChaCha20Rng::seed_from_u64(HELD_OUT_SEED);
    let held_out = Fields::held_out(HELD_OUT_PER_KIND, &training, &mut held_out_rng);
    println!("{} fields to train on, {} held out", training.len(), held_out.len());

    let network = Network::new(&mut rng)?;
    train(&network, &training, &mut rng)?;

    let all = Vec::from_iter(0..held_out.len());
    let outputs = network.forward(&held_out.characters(&all)?, &held_out.layouts(&all)?)?;
    let kinds = outputs.kind.to_vec2::<f32>()?;
    let correct = held_out.count_correct(&all, &kinds);
    let accuracy = correct as f64 / held_out.len() as f64;
    println!("held out: {correct} of {} correct ({:.2} %)", held_out.len(), 100.0 * accuracy);
    held_out.mistakes(&kinds).for_each(|mistake| println!("  {mistake}"));
    if accuracy < MIN_ACCURACY {
        return Err(format!(
            "held-out accuracy: expected at least {:.1} %, got {:.2} %; nothing written",
            100.0 * MIN_ACCURACY,
            100.0 * accuracy
        )
        .into());
    }

    let model = onnx::encode(&network.weights()?);
    check_against_tract(&model, &held_out, &outputs)?;

    write(&example.join("models/fields.onnx"), &model)?;
    write(&example.join("data/test_fields.tsv"), held_out.tsv().as_bytes())
}

/// Trains for a fixed number of epochs. The held-out fields are not looked at in between, so that
/// their accuracy at the end is not a maximum over epochs.
fn train(network: &Network, training: &Fields, rng: &mut ChaCha20Rng) -> Result<()> {
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
            let outputs =
                network.forward(&training.characters(batch)?, &training.layouts(batch)?)?;
            let loss = candle_nn::loss::cross_entropy(&outputs.kind, &training.kinds(batch)?)?;
            optimizer.backward_step(&loss)?;
            loss_sum += f64::from(loss.to_scalar::<f32>()?) * batch.len() as f64;
            correct += training.count_correct(batch, &outputs.kind.to_vec2::<f32>()?);
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

/// Runs the encoded model in tract, one field at a time, and compares with candle's outputs: a
/// mistake in the export (a transposed weight, a forgotten pad) must not reach the committed file.
fn check_against_tract(model: &[u8], held_out: &Fields, expected: &Outputs) -> Result<()> {
    let (kinds, embeddings) = onnx::run_one_by_one(model, held_out)?;
    let pairs = [("kind", &expected.kind, kinds), ("embedding", &expected.embedding, embeddings)];
    for (name, expected, got) in pairs {
        let expected = expected.flatten_all()?.to_vec1::<f32>()?;
        if got.len() != expected.len() {
            let (expected, got) = (expected.len(), got.len());
            return Err(format!("output `{name}`: expected {expected} values, got {got}").into());
        }
        let differences = expected.iter().zip(&got).map(|(e, g)| (e - g).abs());
        // In this order a NaN is the largest, and `f32::max` would drop it.
        let worst = differences.max_by(f32::total_cmp).ok_or("no field is held out")?;
        println!("output `{name}`: largest difference between candle and tract {worst:.1e}");
        if worst.is_nan() || worst > OUTPUT_TOLERANCE {
            let limit = OUTPUT_TOLERANCE;
            return Err(format!(
                "the exported model: `{name}` differs by {worst:e}, expected at most {limit:e}"
            )
            .into());
        }
    }
    Ok(())
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
