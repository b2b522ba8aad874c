//! Seeded randomness. candle's CPU generator cannot be seeded, so everything random is drawn from
//! ChaCha20 streams that are named by their purpose.

use candle_core::{Device, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::error::Result;

/// A stream for one purpose of one compilation.
pub fn stream(seed: u64, id: &str, purpose: &str) -> ChaCha20Rng {
    ChaCha20Rng::from_seed(seed_bytes(seed, id, purpose))
}

/// The seed of such a stream.
pub fn seed_bytes(seed: u64, id: &str, purpose: &str) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.update(id.as_bytes());
    hasher.update(&[0]);
    hasher.update(purpose.as_bytes());
    *hasher.finalize().as_bytes()
}

/// Uniform in 0 (inclusive) to 1 (exclusive).
pub fn uniform(random: &mut impl Rng) -> f64 {
    (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// Uniform in the logarithm between two positive numbers.
pub fn log_uniform(random: &mut impl Rng, low: f64, high: f64) -> f64 {
    (low.ln() + uniform(random) * (high / low).ln()).exp()
}

/// Standard normals of a shape.
pub fn normal(random: &mut ChaCha20Rng, shape: &[usize], device: &Device) -> Result<Tensor> {
    let len = shape.iter().product();
    let values: Vec<f32> = (0..len).map(|_| StandardNormal.sample(random)).collect();
    Ok(Tensor::from_vec(values, shape, device)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_repeat_and_differ_by_purpose() {
        let draw = |purpose| stream(1, "id", purpose).next_u64();
        assert_eq!(draw("a"), draw("a"));
        assert_ne!(draw("a"), draw("b"));
    }

    #[test]
    fn log_uniform_stays_in_range() {
        let mut random = stream(0, "", "");
        for _ in 0..1000 {
            let value = log_uniform(&mut random, 1e-6, 1.);
            assert!((1e-6..=1.).contains(&value));
        }
    }
}
