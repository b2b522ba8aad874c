//! Sets of fields: drawing them, keeping them apart, and the file of held-out fields.

use std::collections::HashSet;

use candle_core::{Device, Tensor};
use rand_chacha::ChaCha20Rng;

use crate::Result;
use crate::generator;
use crate::text::{self, KINDS, LENGTH};

/// Texts with their kinds.
pub struct Fields {
    texts: Vec<String>,
    /// Indices into [`KINDS`].
    kinds: Vec<usize>,
}

impl Fields {
    /// `per_kind` fields of every kind; some come up more than once.
    pub fn training(per_kind: usize, rng: &mut ChaCha20Rng) -> Self {
        Self::draw(per_kind, rng, |_| true)
    }

    /// `per_kind` fields of every kind, no two of which are the same to the model, and none the
    /// same as one of `training`.
    pub fn held_out(per_kind: usize, training: &Self, rng: &mut ChaCha20Rng) -> Self {
        let mut seen: HashSet<_> =
            training.texts.iter().map(|text| text::characters(text)).collect();
        Self::draw(per_kind, rng, |text| seen.insert(text::characters(text)))
    }

    fn draw(per_kind: usize, rng: &mut ChaCha20Rng, mut wanted: impl FnMut(&str) -> bool) -> Self {
        let mut fields = Self { texts: Vec::new(), kinds: Vec::new() };
        for kind in 0..KINDS.len() {
            let mut left = per_kind;
            // Ends: every kind has far more texts than are ever asked for.
            while left > 0 {
                let text = generator::field(kind, rng);
                if wanted(&text) {
                    fields.texts.push(text);
                    fields.kinds.push(kind);
                    left -= 1;
                }
            }
        }
        fields
    }

    pub fn len(&self) -> usize {
        self.kinds.len()
    }

    /// One text.
    pub fn text(&self, index: usize) -> &str {
        &self.texts[index]
    }

    /// i64 `[batch, 24]`, values 0..=95.
    pub fn characters(&self, batch: &[usize]) -> Result<Tensor> {
        let codes: Vec<i64> =
            batch.iter().flat_map(|&index| text::characters(&self.texts[index])).collect();
        Ok(Tensor::from_vec(codes, (batch.len(), LENGTH), &Device::Cpu)?)
    }

    /// f32 `[batch, 3]`, values 0..=1.
    pub fn layouts(&self, batch: &[usize]) -> Result<Tensor> {
        let layouts: Vec<f32> =
            batch.iter().flat_map(|&index| text::layout(&self.texts[index])).collect();
        Ok(Tensor::from_vec(layouts, (batch.len(), 3), &Device::Cpu)?)
    }

    /// u32 `[batch]`, values 0..=5.
    pub fn kinds(&self, batch: &[usize]) -> Result<Tensor> {
        let kinds: Vec<u32> = batch.iter().map(|&index| self.kinds[index] as u32).collect();
        Ok(Tensor::from_vec(kinds, batch.len(), &Device::Cpu)?)
    }

    /// How many rows of `logits` have their largest value at the kind; row i belongs to field
    /// `batch[i]`.
    pub fn count_correct(&self, batch: &[usize], logits: &[Vec<f32>]) -> usize {
        let rows = batch.iter().zip(logits);
        rows.filter(|&(&index, row)| largest(row) == Some(self.kinds[index])).count()
    }

    /// A line for every field whose row of `logits` has its largest value elsewhere.
    pub fn mistakes(&self, logits: &[Vec<f32>]) -> impl Iterator<Item = String> {
        let fields = self.texts.iter().zip(&self.kinds).zip(logits);
        fields.filter_map(|((text, &kind), row)| {
            let got = largest(row).filter(|&got| got != kind)?;
            Some(format!("`{text}`: expected {}, got {}", KINDS[kind], KINDS[got]))
        })
    }

    /// One line for every field: its kind, a tab, its text.
    pub fn tsv(&self) -> String {
        let fields = self.kinds.iter().zip(&self.texts);
        fields.map(|(&kind, text)| format!("{}\t{text}\n", KINDS[kind])).collect()
    }
}

fn largest(row: &[f32]) -> Option<usize> {
    (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]))
}
