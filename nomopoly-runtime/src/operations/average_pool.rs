//! AveragePool. <https://onnx.ai/onnx/operators/onnx__AveragePool.html>
//!
//! `ceil_mode` since opset 10, `dilations` since 19.

use candle_core::Tensor;
use nomopoly_manifest::Attribute;

use super::linear::EPSILON;
use super::node::{NodeView, Parsed, Refusal, window_attributes};
use super::window::{Taps, Window};
use super::{Body, Part, Replayed};
use crate::Result;

struct AveragePool {
    window: Window,
    taps: Taps,
    /// `[1, 1, positions]`: how many taps each position divides by.
    counts: Tensor,
    shape: Vec<usize>,
}

pub(super) fn parse(node: &NodeView) -> Result<Parsed, Refusal> {
    if node.is_constant(0) {
        return Err(Refusal("the input is constant".into()));
    }
    let window = node.window(None)?;
    let include_pad = node.int("count_include_pad", 0) != 0;
    let ceil_mode = node.int("ceil_mode", 0) != 0;
    if ceil_mode && include_pad && !is_expressible(&window) {
        return Err(Refusal(
            "its windows count padding, hang over the end of one axis and skip the end of another"
                .into(),
        ));
    }
    let mut attributes = window_attributes(&window);
    attributes.insert("ceil_mode".into(), Attribute::Int(node.int("ceil_mode", 0)));
    attributes.insert("count_include_pad".into(), Attribute::Int(include_pad.into()));
    let taps = Taps::new(&window, node.device)?;
    let counts: Vec<f32> =
        window.tap_counts(include_pad).into_iter().map(|count| count.max(1.)).collect();
    let counts = Tensor::from_vec(counts, (1, 1, window.positions()), node.device)?;
    let pool = AveragePool { window, taps, counts, shape: node.output_shape().to_vec() };
    let body = Body::Replayed(Box::new(pool));
    Ok(Parsed { attributes, varying: vec![0], constants: vec![], body })
}

/// Whether some padding without `ceil_mode` means the same, which exported files need: operator
/// sets before 22 and since read `ceil_mode` differently where a last window starts in the padding.
fn is_expressible(window: &Window) -> bool {
    let over = |axis: usize| {
        let span = (window.kernel[axis] - 1) * window.dilations[axis] + 1;
        let end = (window.output[axis].max(1) - 1) * window.strides[axis] + span;
        end as i64 - (window.input[axis] + window.pads_begin[axis]) as i64
    };
    let axes = 0..window.kernel.len();
    !axes.clone().any(|axis| over(axis) < 0)
        || axes.into_iter().all(|axis| over(axis) <= window.pads_end[axis] as i64)
}

impl AveragePool {
    fn average(&self, x: &Tensor) -> Result<Tensor> {
        let batch = x.dim(0)?;
        let images = batch * self.shape[0];
        let x = x.reshape((images, self.shape[1], self.window.input_len()))?;
        let y = self.taps.apply(&x, 0.)?.sum(2)?.broadcast_div(&self.counts)?;
        let mut shape = vec![batch];
        shape.extend(&self.shape);
        Ok(y.reshape(shape)?)
    }
}

impl Replayed for AveragePool {
    fn forward(&self, inputs: &[Tensor]) -> Result<Tensor> {
        self.average(&inputs[0])
    }

    fn unit(&self, inputs: &[Tensor], _output: &Tensor) -> Result<Tensor> {
        let growth = (self.window.taps() as f64).powf(0.25);
        let mean = self.average(&inputs[0].abs()?)?;
        Ok(mean.affine(EPSILON * growth, f64::from(f32::MIN_POSITIVE))?)
    }

    fn cost(&self) -> u64 {
        (self.shape[0] * self.shape[1] * self.window.taps() * self.window.positions()) as u64
    }

    fn on_part(&self, output_shape: &[usize]) -> Result<Box<dyn Replayed>> {
        let shape = output_shape.to_vec();
        Ok(Box::new(AveragePool {
            window: self.window.clone(),
            taps: self.taps.clone(),
            counts: self.counts.clone(),
            shape,
        }))
    }

    fn part(&self) -> Part {
        Part::Channels
    }
}
