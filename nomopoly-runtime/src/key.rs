//! The verifier's secret: 32 bytes from which every random vector of a verifier is expanded.

use std::fmt;

use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{Error, Result};

/// 32 secret bytes. A verifier draws a fresh key when it starts; whoever learns it can forge, so
/// it is wiped on drop, never printed and in no artefact.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct VerifierKey([u8; 32]);

impl VerifierKey {
    /// A fresh key from the operating system's random source.
    ///
    /// # Errors
    /// [`Error::Random`] when the operating system has none to give.
    pub fn random() -> Result<Self> {
        // Filled in place, so that no copy is left on the stack.
        let mut key = Self([0; 32]);
        getrandom::fill(&mut key.0).map_err(|error| Error::Random(error.to_string()))?;
        Ok(key)
    }

    /// A key from bytes that the caller keeps secret.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The random stream of this key for one purpose. Streams of different contexts are
    /// independent: each is ChaCha20 keyed with BLAKE3's keyed hash of the context.
    pub(crate) fn stream(&self, context: &str) -> ChaCha20Rng {
        let mut seed = *blake3::keyed_hash(&self.0, context.as_bytes()).as_bytes();
        let stream = ChaCha20Rng::from_seed(seed);
        seed.zeroize();
        stream
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifierKey(secret)")
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    #[test]
    fn streams_differ_by_key_and_context_and_repeat() {
        let key = VerifierKey::from_bytes([1; 32]);
        let other = VerifierKey::from_bytes([2; 32]);
        let draw = |key: &VerifierKey, context| key.stream(context).next_u64();
        assert_eq!(draw(&key, "a"), draw(&key, "a"));
        assert_ne!(draw(&key, "a"), draw(&key, "b"));
        assert_ne!(draw(&key, "a"), draw(&other, "a"));
        assert_ne!(VerifierKey::random().unwrap().0, VerifierKey::random().unwrap().0);
    }

    #[test]
    fn a_key_is_never_printed() {
        assert_eq!(format!("{:?}", VerifierKey::from_bytes([7; 32])), "VerifierKey(secret)");
    }
}
