//! Fake outputs and fake proofs other than the adversary's, and the honest outputs of other
//! runtimes.

use candle_core::{Device, Tensor};
use nomopoly_runtime::operations::{Body, Operation};
use rand_chacha::ChaCha20Rng;

use crate::error::Result;
use crate::random;

/// True outputs as four runtimes give them, by turns: candle in f32, another order of summation,
/// f64 rounded at the end, and f32 from inputs that were themselves rounded differently.
pub fn honest_output(
    operation: &Operation,
    inputs: &[Tensor],
    variant: usize,
    random: &mut ChaCha20Rng,
) -> Result<Tensor> {
    Ok(match (operation.body(), variant % 4) {
        (Body::Linear(linear), 1) => linear.forward_reordered(&inputs[0])?,
        (Body::Linear(linear), 2) if !inputs[0].device().is_metal() => {
            linear.forward_f64(&inputs[0])?
        }
        (Body::Linear(linear), 3) => {
            // Upstream nodes may have been rounded differently by a unit in the last place.
            let noise = random::normal(random, inputs[0].dims(), inputs[0].device())?;
            let noise = (noise.clamp(-2f32, 2f32)? * f64::from(f32::EPSILON / 2.))?;
            linear.forward(&(&inputs[0] + (&inputs[0] * noise)?)?)?
        }
        _ => operation.forward(inputs)?,
    })
}

/// Moves each output `[B, ...]` by a random error of the given relative deviation: dense Gaussian
/// noise for two thirds of the samples, and for the others noise on few elements only (a random
/// share of them, log-uniform down to one).
pub fn deviate(truth: &Tensor, deviations: &[f64], random: &mut ChaCha20Rng) -> Result<Tensor> {
    let batch = truth.dim(0)?;
    let flat = truth.reshape((batch, ()))?;
    let n = flat.dim(1)?;
    let norms = norms(&flat)?;
    let typical = norms.iter().sum::<f64>() / batch as f64;
    let mut noise = random::normal(random, &[batch, n], &Device::Cpu)?.to_vec2::<f32>()?;
    for (row, (norm, deviation)) in noise.iter_mut().zip(norms.iter().zip(deviations)) {
        if random::uniform(random) < 1. / 3. {
            let keep = random::log_uniform(random, 1., n as f64).round() as usize;
            // A run of elements with a random start: no order of the elements is special to it.
            let start = (random::uniform(random) * n as f64) as usize % n;
            for (index, value) in row.iter_mut().enumerate() {
                if (index + n - start) % n >= keep {
                    *value = 0.;
                }
            }
        }
        let length = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        // Outputs of zeros have no relative size: their error is measured by the batch's.
        let target = deviation * if *norm > 0. { *norm } else { typical.max(1e-30) };
        let factor = (target / length.max(1e-30)) as f32;
        row.iter_mut().for_each(|value| *value *= factor);
    }
    let noise: Vec<f32> = noise.into_iter().flatten().collect();
    let noise = Tensor::from_vec(noise, (batch, n), &Device::Cpu)?.to_device(truth.device())?;
    Ok((flat + noise)?.reshape(truth.shape())?)
}

/// Euclidean norm of each row of `[B, n]`.
pub fn norms(flat: &Tensor) -> Result<Vec<f64>> {
    // On the CPU: not every device has f64.
    let wide = flat.to_device(&Device::Cpu)?.to_dtype(candle_core::DType::F64)?;
    Ok(wide.sqr()?.sum(1)?.sqrt()?.to_vec1::<f64>()?)
}

/// Relative deviation of each fake output from the true one.
pub fn relative_deviations(fake: &Tensor, truth: &Tensor) -> Result<Vec<f64>> {
    let batch = truth.dim(0)?;
    let difference = norms(&(fake - truth)?.reshape((batch, ()))?)?;
    let truth = norms(&truth.reshape((batch, ()))?)?;
    Ok(difference
        .into_iter()
        .zip(truth)
        .map(|(d, t)| if t > 0. { d / t } else { f64::INFINITY })
        .collect())
}

/// Fake proofs of true outputs, by turns: a random vector, another sample's proof, and the true
/// proof moved by a relative error, log-uniform down to `least`.
pub fn fake_proofs(proofs: &Tensor, least: f64, random: &mut ChaCha20Rng) -> Result<Tensor> {
    let rows = proofs.to_vec2::<f32>()?;
    let batch = rows.len();
    let dim = rows.first().map_or(0, Vec::len);
    let noise = random::normal(random, &[batch, dim], &Device::Cpu)?.to_vec2::<f32>()?;
    let mut fakes = Vec::with_capacity(batch * dim);
    for (index, (row, noise)) in rows.iter().zip(&noise).enumerate() {
        // A batch of one has no other sample.
        match if batch == 1 && index % 3 == 1 { 0 } else { index % 3 } {
            0 => fakes.extend(noise.iter().map(|v| v.tanh())),
            1 => fakes.extend(&rows[(index + 1) % batch]),
            _ => {
                let error = random::log_uniform(random, least, 1.) as f32;
                fakes.extend(row.iter().zip(noise).map(|(v, n)| v + error * n));
            }
        }
    }
    Ok(Tensor::from_vec(fakes, (batch, dim), &Device::Cpu)?.to_device(proofs.device())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deviations_are_as_asked() {
        let mut random = random::stream(0, "fakes", "test");
        let truth = random::normal(&mut random, &[40, 6, 7], &Device::Cpu).unwrap();
        let asked: Vec<f64> = (0..40).map(|i| 10f64.powi(-(i % 4))).collect();
        let fake = deviate(&truth, &asked, &mut random).unwrap();
        for (got, asked) in relative_deviations(&fake, &truth).unwrap().iter().zip(&asked) {
            assert!((got / asked - 1.).abs() < 1e-2, "{got} {asked}");
        }
    }

    #[test]
    fn an_output_of_zeros_can_be_faked() {
        let mut random = random::stream(0, "fakes", "zeros");
        let truth = Tensor::zeros((2, 5), candle_core::DType::F32, &Device::Cpu).unwrap();
        let fake = deviate(&truth, &[0.1, 0.1], &mut random).unwrap();
        assert!(
            fake.flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().all(|v| v.is_finite())
        );
    }

    #[test]
    fn fake_proofs_differ_from_the_true_ones() {
        let mut random = random::stream(0, "fakes", "proofs");
        let proofs = random::normal(&mut random, &[9, 16], &Device::Cpu).unwrap();
        let fakes = fake_proofs(&proofs, 1e-2, &mut random).unwrap().to_vec2::<f32>().unwrap();
        for (fake, real) in fakes.iter().zip(proofs.to_vec2::<f32>().unwrap()) {
            assert_ne!(*fake, real);
        }
    }
}
