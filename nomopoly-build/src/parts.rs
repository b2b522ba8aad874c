//! Parts of large operations: what is trained on in place of the whole.
//!
//! A convolution of 56x56 positions and its part of 4x4 positions have the same weights, the same
//! rounding per position and one head. A head that is trained on parts costs as much for an image of
//! any size. What depends on the whole (the largest of all honest residuals, the spread that decides
//! the number of sketches) is measured on a few whole inputs.

use std::sync::Arc;

use nomopoly_runtime::Result;
use nomopoly_runtime::operations::linear::Cut;
use nomopoly_runtime::operations::{Body, Operation, Part};
use rand_chacha::ChaCha20Rng;

use crate::random;

/// Elements of inputs and output that a part has about; more where one position has more.
const ELEMENTS: usize = 4096;
/// Positions that a part of a linear operation has at least.
const FEWEST_POSITIONS: usize = 4;

/// A part of an operation.
#[derive(Debug, Clone)]
pub struct Trial {
    /// The operation on a part.
    pub operation: Arc<Operation>,
    cut: Cutting,
}

#[derive(Debug, Clone)]
enum Cutting {
    Linear(Cut),
    /// A run of elements of the output, and the operands they come from: each one's shape in the
    /// output's rank; constants by their values.
    Elements {
        run: usize,
        output: Vec<usize>,
        operands: Vec<Operand>,
    },
    /// Some positions of all channels of an image, `[images, channels, positions]`.
    Positions {
        images: usize,
        channels: usize,
        positions: usize,
        run: usize,
    },
    /// Some channels, each of so many elements.
    Channels {
        images: usize,
        channels: usize,
        each: usize,
        run: usize,
    },
}

#[derive(Debug, Clone)]
struct Operand {
    shape: Vec<usize>,
    constant: Option<Vec<f32>>,
}

impl Trial {
    /// A part of an operation that is larger than one; `None` where the whole is small, or all of it
    /// is needed for one element of the output.
    ///
    /// # Errors
    /// When tensor arithmetic fails.
    pub fn new(operation: &Operation) -> Result<Option<Self>> {
        let spec = operation.spec();
        let whole = spec.inputs_len() + spec.output_len();
        if whole <= 2 * ELEMENTS {
            return Ok(None);
        }
        let part = match operation.body() {
            Body::Linear(linear) => {
                let each = whole.div_ceil(linear.positions().max(1));
                let positions = (ELEMENTS / each).max(FEWEST_POSITIONS);
                if positions >= linear.positions() {
                    return Ok(None);
                }
                let Some(part) = linear.on_part(positions)? else { return Ok(None) };
                let body = Body::Linear(part.linear);
                let operation = operation.on_part(vec![part.input_shape], part.output_shape, body);
                (operation, Cutting::Linear(part.cut))
            }
            Body::Replayed(replayed) => {
                let output = &spec.output_shape;
                let input = &spec.input_shapes[0];
                let (images, channels) = match output.as_slice() {
                    [images, channels, ..] => (*images, *channels),
                    _ => (1, 1),
                };
                let (inputs, shape, cut) = match replayed.part() {
                    Part::Elements => {
                        // A multiple of every number of directions that an adversary may have.
                        let run = ELEMENTS / 2;
                        let operands = operands(operation)?;
                        let inputs = vec![vec![run]; operands.len()];
                        let output = output.clone();
                        (inputs, vec![run], Cutting::Elements { run, output, operands })
                    }
                    Part::Positions => {
                        let positions = spec.output_len() / (images * channels).max(1);
                        let run = (ELEMENTS / 2 / channels.max(1)).clamp(1, positions);
                        let shape = vec![1, channels, run];
                        let cut = Cutting::Positions { images, channels, positions, run };
                        (vec![shape.clone()], shape, cut)
                    }
                    Part::Channels => {
                        let each = input.iter().skip(2).product::<usize>();
                        let run = (ELEMENTS / each.max(1)).clamp(1, channels);
                        let of = |shape: &[usize]| [&[1, run], &shape[2..]].concat();
                        let cut = Cutting::Channels { images, channels, each, run };
                        (vec![of(input)], of(output), cut)
                    }
                };
                let elements: usize = inputs.iter().map(|s| s.iter().product::<usize>()).sum();
                if elements + shape.iter().product::<usize>() >= whole {
                    return Ok(None);
                }
                let body = Body::Replayed(replayed.on_part(&shape)?);
                (operation.on_part(inputs, shape, body), cut)
            }
        };
        Ok(Some(Self { operation: Arc::new(part.0), cut: part.1 }))
    }

    /// The inputs of one part, chosen at random, of a sample's inputs.
    pub fn cut(&self, inputs: &[&[f32]], random: &mut ChaCha20Rng) -> Vec<Vec<f32>> {
        let mut below =
            |n: usize| ((random::uniform(random) * n as f64) as usize).min(n.max(1) - 1);
        match &self.cut {
            Cutting::Linear(Cut::Rows { rows, of, each }) => {
                let mut part = Vec::with_capacity(rows * each);
                for _ in 0..*rows {
                    part.extend_from_slice(&inputs[0][below(*of) * each..][..*each]);
                }
                vec![part]
            }
            Cutting::Linear(Cut::Box {
                images,
                channels,
                image,
                extents,
                places,
                strides,
                pads,
            }) => {
                let area: usize = image.iter().product();
                let start = below(*images) * channels * area;
                let corner: Vec<i64> = (0..image.len())
                    .map(|axis| (below(places[axis]) * strides[axis]) as i64 - pads[axis] as i64)
                    .collect();
                let mut part = Vec::with_capacity(channels * extents.iter().product::<usize>());
                for channel in 0..*channels {
                    let plane = &inputs[0][start + channel * area..][..area];
                    cut_box(plane, image, &corner, extents, &mut part);
                }
                vec![part]
            }
            Cutting::Elements { run, output, operands } => {
                let len: usize = output.iter().product();
                let start = below(len - run + 1);
                let mut varying = inputs.iter();
                operands
                    .iter()
                    .map(|operand| {
                        let values = match &operand.constant {
                            Some(values) => values,
                            None => *varying.next().unwrap_or(&inputs[0]),
                        };
                        let at = |index| values[broadcast(index, output, &operand.shape)];
                        (start..start + run).map(at).collect()
                    })
                    .collect()
            }
            Cutting::Positions { images, channels, positions, run } => {
                let image = below(*images) * channels * positions;
                let start = below(positions - run + 1);
                let of = |channel: usize| &inputs[0][image + channel * positions + start..][..*run];
                vec![(0..*channels).flat_map(of).copied().collect()]
            }
            Cutting::Channels { images, channels, each, run } => {
                let first = below(*images) * channels + below(channels - run + 1);
                vec![inputs[0][first * each..(first + run) * each].to_vec()]
            }
        }
    }
}

/// Operands in the output's rank: those that vary, then the constant.
fn operands(operation: &Operation) -> Result<Vec<Operand>> {
    let spec = operation.spec();
    let rank = spec.output_shape.len();
    let operand = |shape: &[usize], constant| {
        // Copies may have another rank than their output: then they have its elements in order.
        let shape = if shape.len() <= rank && broadcasts(shape, &spec.output_shape) {
            [&vec![1; rank - shape.len()], shape].concat()
        } else {
            spec.output_shape.clone()
        };
        Operand { shape, constant }
    };
    let mut operands: Vec<Operand> =
        spec.input_shapes.iter().map(|shape| operand(shape, None)).collect();
    for constant in operation.constants() {
        let values = constant.flatten_all()?.to_vec1::<f32>()?;
        operands.push(operand(constant.dims(), Some(values)));
    }
    Ok(operands)
}

fn broadcasts(shape: &[usize], output: &[usize]) -> bool {
    shape.iter().rev().zip(output.iter().rev()).all(|(a, b)| a == b || *a == 1)
}

/// The element of an operand that element `index` of the output comes from.
fn broadcast(mut index: usize, output: &[usize], operand: &[usize]) -> usize {
    let (mut at, mut stride) = (0, 1);
    for (out, own) in output.iter().zip(operand).rev() {
        let coordinate = index % out;
        index /= out;
        if *own > 1 {
            at += coordinate * stride;
        }
        stride *= own;
    }
    at
}

/// Appends a box of an image, with zeros where it reaches beyond.
fn cut_box(plane: &[f32], image: &[usize], corner: &[i64], extents: &[usize], part: &mut Vec<f32>) {
    let count: usize = extents.iter().product();
    for index in 0..count {
        let (mut rest, mut at, mut stride, mut inside) = (index, 0, 1, true);
        for axis in (0..image.len()).rev() {
            let coordinate = corner[axis] + (rest % extents[axis]) as i64;
            rest /= extents[axis];
            inside &= (0..image[axis] as i64).contains(&coordinate);
            at += coordinate.max(0) as usize * stride;
            stride *= image[axis];
        }
        part.push(if inside { plane[at] } else { 0. });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_come_from_the_operands_they_are_computed_of() {
        let output = [2, 3, 4];
        assert_eq!(broadcast(23, &output, &output), 23);
        assert_eq!(broadcast(23, &output, &[1, 1, 4]), 3);
        assert_eq!(broadcast(23, &output, &[1, 3, 1]), 2);
        assert_eq!(broadcast(13, &output, &[2, 1, 4]), 5);
        assert_eq!(broadcast(13, &output, &[1, 1, 1]), 0);
    }

    #[test]
    fn a_box_has_zeros_beyond_the_image() {
        let plane: Vec<f32> = (1..=12).map(|v| v as f32).collect();
        let mut part = vec![];
        cut_box(&plane, &[3, 4], &[-1, 2], &[3, 3], &mut part);
        assert_eq!(part, [0., 0., 0., 3., 4., 0., 7., 8., 0.]);
    }
}
