//! The proof that another operation's generator makes of the same tensors.

use nomopoly_manifest::{Attacker, Family};
use nomopoly_runtime::generator::Generator;

use crate::audit::attacks::Forgery;
use crate::audit::subject::Claim;

pub const ATTACK: Forgery = Forgery {
    name: "proof-of-other-operation",
    family: Family::Proofs,
    attacker: Attacker::Outsider,
    setting: "true output, proof by another operation's generator",
    forge: |scene, _| {
        let shape = &scene.subject.operation().spec().output_shape;
        let dim = scene.subject.generator().proof_dim();
        // Another operation's generator is one of another seed.
        let seed = *blake3::hash(scene.subject.operation().output().as_bytes()).as_bytes();
        let other = Generator::from_seed(seed, shape, dim, scene.truth.device())?;
        let proof = other.proof(&scene.truth)?;
        Ok(Some(Claim { output: scene.truth.clone(), proof }))
    },
};
