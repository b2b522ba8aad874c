//! Forged proof vectors. A proof vector is a fingerprint of an output; the generator is public, so
//! it stops outsiders and mix-ups, not a host.

mod constant;
mod generated;
mod other_input;
mod other_operation;
mod random;
mod replayed;

use super::Forgery;

/// In the order of reports.
pub const ALL: [&Forgery; 6] = [
    &constant::ATTACK,
    &random::ATTACK,
    &replayed::ATTACK,
    &other_operation::ATTACK,
    &other_input::ATTACK,
    &generated::ATTACK,
];
