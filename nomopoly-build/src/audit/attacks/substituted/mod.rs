//! Substituted models: the operation with other weights, each with the public generator's proof of
//! what they give. On a whole model, every linear operation is substituted at once.

mod bf16;
mod fine_tuned;
mod fp16;
mod int4;
mod int4_per_channel;
mod int8;
mod int8_per_channel;
mod other_seed;
mod pruned_10;
mod pruned_50;
mod stale;
mod swapped_layer;

use candle_core::{Tensor, Var};
use rand_chacha::ChaCha20Rng;

use super::Substitution;
use crate::audit::subject::Subject;
use crate::error::{Error, Result};
use crate::random as seeded;

/// In the order of reports.
pub const ALL: [&Substitution; 12] = [
    &int8::ATTACK,
    &int8_per_channel::ATTACK,
    &int4::ATTACK,
    &int4_per_channel::ATTACK,
    &bf16::ATTACK,
    &fp16::ATTACK,
    &pruned_10::ATTACK,
    &pruned_50::ATTACK,
    &fine_tuned::ATTACK,
    &other_seed::ATTACK,
    &stale::ATTACK,
    &swapped_layer::ATTACK,
];

/// The true weights.
fn weights(subject: &Subject) -> Result<&Tensor> {
    let linear = subject.linear().ok_or_else(|| Error::Operation {
        operation: subject.operation().output().to_owned(),
        entry: subject.compiled.artefact.header.entry.clone(),
        reason: "it has no weights to substitute".into(),
    })?;
    Ok(linear.weights())
}

/// The true weights, altered in place; row-major.
fn altered(subject: &Subject, alter: impl FnOnce(&mut [f32])) -> Result<Tensor> {
    let weights = weights(subject)?;
    let mut values = weights.flatten_all()?.to_vec1::<f32>()?;
    alter(&mut values);
    Ok(Tensor::from_vec(values, weights.dims(), weights.device())?)
}

/// Number of output channels, and distance in memory from one to the next.
fn channels(subject: &Subject) -> Result<(usize, usize)> {
    let dims = weights(subject)?.dims();
    Ok(match subject.linear().is_some_and(|linear| linear.is_channels_first()) {
        // [C_out, C_in, taps]
        true => (dims[0], dims[1..].iter().product()),
        // [.., K, N]
        false => (dims[dims.len() - 1], 1),
    })
}

/// The true weights with each output channel altered by itself.
fn altered_per_channel(subject: &Subject, alter: impl Fn(&mut [f32])) -> Result<Tensor> {
    let (count, stride) = channels(subject)?;
    altered(subject, |values| {
        for channel in 0..count {
            let blocks = (0..values.len() / (count * stride)).map(|block| block * count + channel);
            let places: Vec<usize> =
                blocks.flat_map(|block| block * stride..(block + 1) * stride).collect();
            let mut own: Vec<f32> = places.iter().map(|&place| values[place]).collect();
            alter(&mut own);
            for (place, value) in places.into_iter().zip(own) {
                values[place] = value;
            }
        }
    })
}

/// Symmetric rounding to `2 levels + 1` values up to the largest magnitude.
fn quantise(values: &mut [f32], levels: f32) {
    let step = values.iter().fold(0f32, |largest, value| largest.max(value.abs())) / levels;
    if step > 0. {
        values.iter_mut().for_each(|value| *value = (*value / step).round() * step);
    }
}

/// Sets the smallest share of the weights to zero: magnitude pruning (Han, Pool, Tran, Dally,
/// Learning both weights and connections, NeurIPS 2015).
fn prune(values: &mut [f32], share: f64) {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].abs().total_cmp(&values[*b].abs()));
    let count = ((values.len() as f64 * share).round() as usize).max(1);
    order.into_iter().take(count).for_each(|index| values[index] = 0.);
}

/// Rounds through a narrower float type of candle's.
fn rounded(subject: &Subject, to: candle_core::DType) -> Result<Tensor> {
    let weights = weights(subject)?;
    Ok(weights.to_dtype(to)?.to_dtype(weights.dtype())?)
}

/// Weights after `steps` gradient steps on the squared distance of the outputs to random targets
/// of the outputs' own size, `relative` times the norm of the weights in all.
fn trained_on(
    subject: &Subject,
    steps: usize,
    relative: f64,
    random: &mut ChaCha20Rng,
) -> Result<Tensor> {
    let truth = weights(subject)?;
    let Some(linear) = subject.linear() else { return Ok(truth.clone()) };
    let size = truth.sqr()?.sum_all()?.to_scalar::<f32>()?.sqrt();
    let mut current = truth.clone();
    for step in 0..steps {
        let inputs = subject.inputs(step * 16, 16)?;
        let var = Var::from_tensor(&current)?;
        let output = linear.with_weights(var.as_tensor().clone())?.forward(&inputs[0])?;
        let spread = f64::from(output.sqr()?.mean_all()?.to_scalar::<f32>()?).sqrt().max(1e-6);
        let target = (seeded::normal(random, output.dims(), output.device())? * spread)?;
        let loss = (output - target)?.sqr()?.mean_all()?;
        let gradients = loss.backward()?;
        let Some(gradient) = gradients.get(&var) else { break };
        let length = gradient.sqr()?.sum_all()?.to_scalar::<f32>()?.sqrt();
        if !(length > 0. && length.is_finite()) {
            break;
        }
        let rate = f64::from(size) * relative / steps as f64 / f64::from(length);
        current = (current - (gradient * rate)?)?.detach();
    }
    Ok(current)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantised_weights_have_few_values_and_are_near() {
        let mut values: Vec<f32> =
            (0..1000).map(|i| ((i * 37 % 1000) as f32 - 500.) / 500.).collect();
        let before = values.clone();
        quantise(&mut values, 7.);
        let mut distinct = values.clone();
        distinct.sort_by(f32::total_cmp);
        distinct.dedup();
        assert_eq!(distinct.len(), 15);
        for (a, b) in values.iter().zip(&before) {
            assert!((a - b).abs() <= 0.5 / 7. + 1e-6);
        }
    }

    #[test]
    fn pruning_takes_the_smallest() {
        let mut values = vec![3., -0.1, 2., 0.2, -5., 1., 4., 6., 7., 8.];
        prune(&mut values, 0.2);
        assert_eq!(values, vec![3., 0., 2., 0., -5., 1., 4., 6., 7., 8.]);
    }
}
