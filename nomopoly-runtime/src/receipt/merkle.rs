//! A binary Merkle tree over BLAKE3, for leaves that are opened some at a time.
//!
//! Leaves and inner nodes are hashed under keys of their own, so that neither can stand for the
//! other, and the number of leaves is part of the root. A node without a sibling moves up as it is.

use serde::{Deserialize, Serialize};

use crate::onnx::Digest;

const LEAF: &str = "nomopoly 2026 receipt leaf";
const NODE: &str = "nomopoly 2026 receipt node";
const ROOT: &str = "nomopoly 2026 receipt root";

/// The hash of a leaf's contents.
pub fn leaf(contents: &[u8]) -> Digest {
    Digest::from_bytes(blake3::derive_key(LEAF, contents))
}

fn node(left: &Digest, right: &Digest) -> Digest {
    let mut hasher = blake3::Hasher::new_derive_key(NODE);
    hasher.update(left.as_bytes());
    hasher.update(right.as_bytes());
    Digest::from_bytes(*hasher.finalize().as_bytes())
}

/// The root of `count` leaves whose topmost node this is.
fn root_of(count: usize, top: &Digest) -> Digest {
    let mut hasher = blake3::Hasher::new_derive_key(ROOT);
    hasher.update(&(count as u64).to_le_bytes());
    hasher.update(top.as_bytes());
    Digest::from_bytes(*hasher.finalize().as_bytes())
}

/// All levels of a tree, leaves first.
#[derive(Debug, Clone)]
pub struct Tree {
    levels: Vec<Vec<Digest>>,
}

/// The hashes that lead from some leaves to the root: siblings that cannot be worked out from the
/// leaves themselves, level by level from the leaves up, from left to right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paths(Vec<Digest>);

impl Tree {
    /// A tree over hashes of leaves. Without leaves the top is the hash of nothing.
    pub fn new(leaves: Vec<Digest>) -> Self {
        let mut levels = vec![leaves];
        while let Some(below) = levels.last().filter(|level| level.len() > 1) {
            let above = below.chunks(2).map(|pair| match pair {
                [left, right] => node(left, right),
                // The last of an odd number.
                single => single[0],
            });
            levels.push(above.collect());
        }
        Self { levels }
    }

    /// Number of leaves.
    pub fn len(&self) -> usize {
        self.levels[0].len()
    }

    pub fn root(&self) -> Digest {
        let top = self.levels.last().and_then(|level| level.first());
        root_of(self.len(), top.unwrap_or(&leaf(&[])))
    }

    /// The paths of some leaves, in ascending order, each once.
    pub fn paths(&self, leaves: &[usize]) -> Paths {
        let mut known = leaves.to_vec();
        let mut siblings = vec![];
        for level in &self.levels {
            let mut rest = known.iter().peekable();
            while let Some(index) = rest.next() {
                // Its neighbour to the right may be known as well.
                if index % 2 == 1 || rest.next_if(|next| **next == index + 1).is_none() {
                    siblings.extend(level.get(index ^ 1));
                }
            }
            known = parents(&known);
        }
        Paths(siblings)
    }
}

/// The nodes above these, in ascending order, each once.
fn parents(nodes: &[usize]) -> Vec<usize> {
    let mut parents: Vec<usize> = nodes.iter().map(|index| index / 2).collect();
    parents.dedup();
    parents
}

impl Paths {
    /// The root that these leaves (ascending, each once) of a tree of `count` lead to; `None` when
    /// the hashes are not as many as their places need.
    pub fn root(&self, count: usize, leaves: &[(usize, Digest)]) -> Option<Digest> {
        let ascending = leaves.windows(2).all(|pair| pair[0].0 < pair[1].0);
        if leaves.is_empty() || !ascending || leaves.iter().any(|(index, _)| *index >= count) {
            return None;
        }
        let mut siblings = self.0.iter();
        let mut known = leaves.to_vec();
        let mut width = count;
        while width > 1 {
            let mut above: Vec<(usize, Digest)> = vec![];
            let mut rest = known.into_iter().peekable();
            while let Some((index, hash)) = rest.next() {
                let joined = if index % 2 == 0 {
                    match rest.next_if(|(next, _)| *next == index + 1) {
                        Some((_, right)) => node(&hash, &right),
                        None if index + 1 < width => node(&hash, siblings.next()?),
                        None => hash,
                    }
                } else {
                    node(siblings.next()?, &hash)
                };
                above.push((index / 2, joined));
            }
            known = above;
            width = width.div_ceil(2);
        }
        let top = known.first().map(|(_, hash)| root_of(count, hash));
        top.filter(|_| siblings.next().is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: usize) -> Vec<Digest> {
        (0..count).map(|index| leaf(&(index as u64).to_le_bytes())).collect()
    }

    /// Subsets of up to `count` leaves.
    fn subsets(count: usize) -> Vec<Vec<usize>> {
        (1..1u32 << count)
            .map(|set| (0..count).filter(|index| set >> index & 1 == 1).collect())
            .collect()
    }

    #[test]
    fn every_subset_of_small_trees_leads_to_the_root_and_nothing_else_does() {
        for count in 1..=9 {
            let all = leaves(count);
            let tree = Tree::new(all.clone());
            for chosen in subsets(count) {
                let paths = tree.paths(&chosen);
                let opened: Vec<_> = chosen.iter().map(|&index| (index, all[index])).collect();
                assert_eq!(paths.root(count, &opened), Some(tree.root()), "{count} {chosen:?}");
                // Another number of leaves, another leaf, another place, a lost or an added hash.
                assert_ne!(paths.root(count + 1, &opened), Some(tree.root()));
                let mut other = opened.clone();
                other[0].1 = leaf(b"other");
                assert_ne!(paths.root(count, &other), Some(tree.root()));
                if let Some(free) = (0..count).find(|index| !chosen.contains(index)) {
                    let mut moved = opened.clone();
                    moved[0].0 = free;
                    moved.sort_by_key(|(index, _)| *index);
                    assert_ne!(paths.root(count, &moved), Some(tree.root()));
                }
                for index in 0..paths.0.len() {
                    let mut lost = paths.clone();
                    lost.0.remove(index);
                    assert_ne!(lost.root(count, &opened), Some(tree.root()));
                    let mut added = paths.clone();
                    added.0.insert(index, leaf(b"added"));
                    assert_ne!(added.root(count, &opened), Some(tree.root()));
                    let mut swapped = paths.clone();
                    swapped.0[index] = leaf(b"swapped");
                    assert_ne!(swapped.root(count, &opened), Some(tree.root()));
                }
            }
        }
    }

    #[test]
    fn reordered_leaves_have_another_root() {
        let tree = Tree::new(leaves(5));
        for index in 0..4 {
            let mut other = leaves(5);
            other.swap(index, index + 1);
            assert_ne!(Tree::new(other).root(), tree.root());
        }
        assert_ne!(Tree::new(leaves(4)).root(), tree.root());
    }

    #[test]
    fn no_leaves_or_leaves_out_of_order_prove_nothing() {
        let tree = Tree::new(leaves(4));
        assert_eq!(tree.paths(&[1]).root(4, &[]), None);
        let twice = [(1, leaves(4)[1]), (1, leaves(4)[1])];
        assert_eq!(tree.paths(&[1]).root(4, &twice), None);
        assert_eq!(tree.paths(&[1]).root(1, &[(1, leaves(4)[1])]), None);
        // An inner node does not stand for a leaf.
        let inner = tree.levels[1].clone();
        assert_ne!(Tree::new(inner).root(), tree.root());
    }
}
