//! Adversarial training of one operation: the prover's frozen generator, the verifier's network
//! and the adversary.

pub mod adversary;
mod evaluate;
mod fakes;
mod judge;
mod network;
mod session;
mod threshold;

pub(crate) use evaluate::SCALES;
pub(crate) use fakes::{deviate, norms, relative_deviations};
pub(crate) use judge::elements;

use std::sync::Arc;

use candle_core::Device;
use nomopoly_manifest::{Architecture, Check, CompileOptions, Epoch, Metrics};
use nomopoly_runtime::CompiledOperation;
use nomopoly_runtime::artefact::MAX_SKETCHES;
use nomopoly_runtime::certificate;
use nomopoly_runtime::generator::Generator;
use nomopoly_runtime::onnx::Digest;
use nomopoly_runtime::operations::Operation;
use nomopoly_runtime::residual::is_worth_a_sketch;
use rand_chacha::ChaCha20Rng;

use crate::error::Result;
use crate::random;
use crate::samples::{Samples, Splits};
use adversary::Adversary;
use judge::Judge;
use session::Session;

/// The worst spread of held-out inputs may be this much larger than that of the inputs on which
/// the number of sketches is chosen.
const SPREAD_RESERVE: f64 = 1.25;

/// A trained operation with everything that is written to the registry.
pub struct Trained {
    pub compiled: CompiledOperation,
    pub adversary: Adversary,
    pub metrics: Metrics,
}

/// Trains one operation.
///
/// `on_epoch` is told of every epoch and may stop the training by returning `false`.
///
/// # Errors
/// [`Error::Interrupted`] when stopped, and when the operation cannot be trained as asked.
pub fn train(
    operation: &Arc<Operation>,
    entry: &str,
    options: &CompileOptions,
    splits: &Splits,
    device: &Device,
    on_epoch: &mut dyn FnMut(&Epoch) -> bool,
) -> Result<Trained> {
    let id = Digest::from_bytes(operation.id(options)?).to_string();
    let generator_seed = random::seed_bytes(options.seed, &id, "generator");
    train_with(generator_seed, operation, entry, options, splits, device, on_epoch)
}

/// As [`train`], for proofs by the generator of this seed.
///
/// # Errors
/// As [`train`].
pub fn train_with(
    generator_seed: [u8; 32],
    operation: &Arc<Operation>,
    entry: &str,
    options: &CompileOptions,
    splits: &Splits,
    device: &Device,
    on_epoch: &mut dyn FnMut(&Epoch) -> bool,
) -> Result<Trained> {
    let id = Digest::from_bytes(operation.id(options)?);
    let hex = id.to_string();
    let spec = operation.spec();
    let generator = Generator::from_seed(
        generator_seed,
        &spec.output_shape,
        options.proof_dim as usize,
        device,
    )?;
    let mut random = random::stream(options.seed, &hex, "training");
    let whole = splits.trial.as_ref().map_or(&splits.threshold, |trial| &trial.threshold);
    let judge = choose_check(operation, generator, options, whole, device, &mut random)?;
    let mut session = Session::new(judge, entry, options, splits, random)?;
    let history = session.run(on_epoch)?;
    session.finish(history, id, Digest::from_bytes(generator_seed))
}

/// Sketch or replay, and how many sketches: as few as certify the asked bits on [`SPREAD_RESERVE`]
/// times the worst spread seen, replay where that many cost more than recomputing or nothing certifies.
fn choose_check(
    operation: &Arc<Operation>,
    generator: Generator,
    options: &CompileOptions,
    samples: &Samples,
    device: &Device,
    random: &mut ChaCha20Rng,
) -> Result<Judge> {
    let baseline = options.architecture == Architecture::Mlp;
    let mut judge = Judge {
        operation: operation.clone(),
        generator,
        check: Check::Replay,
        sketches: 0,
        baseline,
        device: device.clone(),
    };
    if baseline || operation.linear().is_none() {
        return Ok(judge);
    }
    (judge.check, judge.sketches) = (Check::Sketch, 1);
    let mut worst = 0f64;
    evaluate::for_chunks(&judge, samples, 1, |turn, inputs| {
        let batch = judge.batch(inputs, turn, random)?;
        worst = judge.spreads(&batch)?.into_iter().fold(worst, f64::max);
        Ok(())
    })?;
    let sketches = certificate::sketches_for(
        options.envelope * 1.05,
        worst * SPREAD_RESERVE,
        options.min_deviation,
        f64::from(options.soundness_bits),
        MAX_SKETCHES,
    );
    match sketches {
        Some(k) if is_worth_a_sketch(operation, k) => judge.sketches = k,
        _ => (judge.check, judge.sketches) = (Check::Replay, 0),
    }
    Ok(judge)
}
