//! The handwritten digits: reading, splitting, and the files of held-out images.

use std::fs;
use std::path::Path;

use candle_core::{Device, Tensor};

use crate::Result;

/// Rows and columns of an image.
pub const SIDE: usize = 8;
/// Number of classes.
pub const CLASSES: usize = 10;

const PIXELS: usize = SIDE * SIDE;
/// Largest pixel value: each pixel counts the dark points of a 4x4 block.
const MAX_PIXEL: u8 = 16;
/// Rows of `digits.csv` in scikit-learn.
const ROWS: usize = 1797;
/// Every image whose row number is a multiple of this is held out.
const HELD_OUT_EVERY: usize = 3;

/// Images with their labels.
pub struct Digits {
    images: Vec<[u8; PIXELS]>,
    labels: Vec<u8>,
}

impl Digits {
    /// Reads `digits.csv`: a row is 64 pixels (0..=16, row by row) and the label (0..=9).
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|error| {
            format!("cannot read {}: {error} (run scripts/fetch-digits.sh first)", path.display())
        })?;
        let mut digits = Self { images: Vec::new(), labels: Vec::new() };
        for (index, line) in text.lines().enumerate() {
            let (image, label) = parse_row(line)
                .map_err(|error| format!("{}, line {}: {error}", path.display(), index + 1))?;
            digits.images.push(image);
            digits.labels.push(label);
        }
        if digits.len() != ROWS {
            // Another number of rows would be another split under the same name.
            return Err(format!(
                "{}: expected {ROWS} images, got {}",
                path.display(),
                digits.len()
            )
            .into());
        }
        Ok(digits)
    }

    /// Training images and held-out images; depends on the order of the rows alone.
    pub fn split(self) -> (Self, Self) {
        let mut training = Self { images: Vec::new(), labels: Vec::new() };
        let mut held_out = Self { images: Vec::new(), labels: Vec::new() };
        for (index, (image, label)) in self.images.into_iter().zip(self.labels).enumerate() {
            let part = if index % HELD_OUT_EVERY == 0 { &mut held_out } else { &mut training };
            part.images.push(image);
            part.labels.push(label);
        }
        (training, held_out)
    }

    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// One image scaled to 0..=1, row by row.
    pub fn scaled(&self, index: usize) -> impl Iterator<Item = f32> {
        self.images[index].iter().map(|&pixel| f32::from(pixel) / f32::from(MAX_PIXEL))
    }

    /// f32 `[batch, 1, 8, 8]`, values 0..=1.
    pub fn images(&self, batch: &[usize]) -> Result<Tensor> {
        let pixels: Vec<f32> = batch.iter().flat_map(|&index| self.scaled(index)).collect();
        Ok(Tensor::from_vec(pixels, (batch.len(), 1, SIDE, SIDE), &Device::Cpu)?)
    }

    /// As `images`, for all of them.
    pub fn all_images(&self) -> Result<Tensor> {
        self.images(&Vec::from_iter(0..self.len()))
    }

    /// u32 `[batch]`, values 0..=9.
    pub fn labels(&self, batch: &[usize]) -> Result<Tensor> {
        let labels: Vec<u32> = batch.iter().map(|&index| self.labels[index].into()).collect();
        Ok(Tensor::from_vec(labels, batch.len(), &Device::Cpu)?)
    }

    /// How many rows of `logits` have their largest value at the label.
    pub fn count_correct(&self, logits: &[Vec<f32>]) -> usize {
        self.count_correct_of(&Vec::from_iter(0..self.len()), logits)
    }

    /// As `count_correct`; row i of `logits` belongs to image `batch[i]`.
    pub fn count_correct_of(&self, batch: &[usize], logits: &[Vec<f32>]) -> usize {
        let correct = |&(&index, row): &(&usize, &Vec<f32>)| {
            let best = (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]));
            best == Some(usize::from(self.labels[index]))
        };
        batch.iter().zip(logits).filter(correct).count()
    }

    /// The images as a NumPy file: uint8 `[count, 1, 8, 8]`, values 0..=16.
    pub fn images_npy(&self) -> Vec<u8> {
        npy(&format!("({}, 1, {SIDE}, {SIDE})", self.len()), self.images.as_flattened())
    }

    /// The labels as a NumPy file: uint8 `[count]`.
    pub fn labels_npy(&self) -> Vec<u8> {
        npy(&format!("({},)", self.len()), &self.labels)
    }
}

fn parse_row(line: &str) -> Result<([u8; PIXELS], u8)> {
    let values = line
        .split(',')
        .map(|field| field.trim().parse::<u8>().map_err(|error| format!("`{field}`: {error}")))
        .collect::<std::result::Result<Vec<u8>, String>>()?;
    let count = values.len();
    let (label, pixels) = values.split_last().ok_or("an empty row")?;
    let image = <[u8; PIXELS]>::try_from(pixels)
        .map_err(|_| format!("expected {} values, got {count}", PIXELS + 1))?;
    if let Some(pixel) = image.iter().find(|&&pixel| pixel > MAX_PIXEL) {
        return Err(format!("expected pixels up to {MAX_PIXEL}, got {pixel}").into());
    }
    if usize::from(*label) >= CLASSES {
        return Err(format!("expected a label below {CLASSES}, got {label}").into());
    }
    Ok((image, *label))
}

/// NumPy's format, version 1.0: magic, version, length of the header, header, then the data in
/// row-major order. Source: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>
fn npy(shape: &str, values: &[u8]) -> Vec<u8> {
    const PREAMBLE: usize = 10;
    let mut header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}");
    // The data starts at a multiple of 64; the header ends with a newline.
    let padded = (PREAMBLE + header.len() + 1).next_multiple_of(64) - PREAMBLE;
    header.extend(std::iter::repeat_n(' ', padded - 1 - header.len()));
    header.push('\n');

    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    // Never truncates: both shapes above give a header of 118 bytes.
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values);
    bytes
}
