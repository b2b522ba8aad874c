//! What a cheating host does: it has the model, the artefacts and their public proof generators,
//! everything but the verifier's key.

use std::sync::Arc;

use nomopoly_build::runtime::dynamic::Prover;
use nomopoly_build::runtime::onnx::round_to_int8;
use nomopoly_build::runtime::{CompiledModel, NamedTensor, Proof, TensorData};

use crate::failure::Failure;
use crate::inputs::largest;

/// Lifts another class over the one that the model chose, and makes the proof vectors for the
/// edited output with the public generators. Also says what was done.
///
/// # Errors
/// When the model has no f32 output of two elements or more, or cannot run.
pub fn edited_output(prover: &Prover, image: &[NamedTensor]) -> Result<(Proof, String), Failure> {
    let outputs = &prover.model().outline().outputs;
    let output = &outputs.first().ok_or_else(|| unfit("it has no output"))?.name;
    let mut what = None;
    let proof = prover.prove_edited(image, |name, data| {
        if let TensorData::F32(values) = data
            && name == output
        {
            let wide: Vec<f64> = values.iter().map(|&value| f64::from(value)).collect();
            let Some((best, top)) = largest(&wide).filter(|_| values.len() > 1) else { return };
            let other = (best + 1) % values.len();
            values[other] = top as f32 + 0.1;
            what = Some(format!(
                "`{output}` edited so that class {other} wins over {best}, its proof made anew"
            ));
        }
    })?;
    Ok((proof, what.ok_or_else(|| unfit("its output has no two f32 elements"))?))
}

/// Runs the model with the weights of one operation rounded to 8 bits and presents the result as
/// the original's. Also gives the relative deviation of the first tensor that the proof reveals.
///
/// # Errors
/// When there are no such f32 weights, or the altered model cannot run.
pub fn quantised_weights(
    compiled: &Arc<CompiledModel>,
    image: &[NamedTensor],
    honest: &Proof,
    weights: &str,
) -> Result<(Proof, f64), Failure> {
    let mut found = false;
    let altered = compiled.graph().with_altered_weights(|name, _, values| {
        if name == weights {
            found = true;
            round_to_int8(values);
        }
    })?;
    if !found {
        return Err(unfit("it has no such weights"));
    }
    let proof = Prover::running(compiled.clone(), &altered)?.prove(image)?;
    let first = |proof: &Proof| -> Vec<f64> {
        let tensor = proof.transcript.first().or_else(|| proof.outputs.first());
        let values = tensor.and_then(NamedTensor::as_f32).unwrap_or_default();
        values.iter().map(|&value| f64::from(value)).collect()
    };
    let (original, altered) = (first(honest), first(&proof));
    let norm = original.iter().map(|value| value * value).sum::<f64>().sqrt();
    let difference = original.iter().zip(&altered).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
    Ok((proof, difference.sqrt() / norm))
}

fn unfit(reason: &str) -> Failure {
    Failure::problem(format!("the demo model cannot be cheated with: {reason}"), "report this")
}
