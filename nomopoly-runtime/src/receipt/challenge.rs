//! Which operations of a receipt are to be opened.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::wire::on_the_wire;
use crate::onnx::Digest;

/// The operations that a host is asked to open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// Root of the receipt.
    pub root: Digest,
    /// Operations that are to be checked, in ascending order of their places.
    pub operations: Vec<Asked>,
    /// Operations that those are computed from: only their outputs are needed.
    pub producers: Vec<u32>,
}

/// An operation that is to be checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Its place among the committed ones.
    pub index: u32,
    /// The parts of its output that are to be opened, in ascending order; none of them: all of it.
    pub parts: Vec<Part>,
}

/// A run of elements of an operation's output, row-major: some output channels of a convolution,
/// some rows of a matrix product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Part {
    /// The first element.
    pub first: u32,
    /// How many there are.
    pub count: u32,
}

impl Part {
    pub(super) fn range(&self) -> Range<usize> {
        let first = self.first as usize;
        first..first.saturating_add(self.count as usize)
    }
}

on_the_wire!(Challenge, b"NMPCHALL", "the challenge");

impl Challenge {
    /// Every operation that is to be opened, by its place, with what is asked of it. Producers are
    /// opened as a whole, also where only parts of them are to be checked.
    pub(super) fn opened(&self) -> BTreeMap<u32, Option<&Asked>> {
        let asked = self.operations.iter().map(|asked| (asked.index, Some(asked)));
        let mut opened: BTreeMap<u32, Option<&Asked>> = asked.collect();
        for producer in &self.producers {
            opened.entry(*producer).or_insert(None);
        }
        opened
    }
}
