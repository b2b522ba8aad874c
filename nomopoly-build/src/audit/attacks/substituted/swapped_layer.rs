//! The weights of one output channel in the place of another's: a layer put together wrongly.

use super::{altered, channels};
use crate::audit::attacks::Substitution;

pub const ATTACK: Substitution = Substitution {
    name: "swapped-layer",
    setting: "every output channel has the next one's weights",
    weights: |subject, _| {
        let (count, stride) = channels(subject)?;
        altered(subject, |values| {
            let before = values.to_vec();
            for (index, value) in values.iter_mut().enumerate() {
                let channel = (index / stride) % count;
                let next = (channel + 1) % count;
                *value = before[index + next * stride - channel * stride];
            }
        })
    },
};
