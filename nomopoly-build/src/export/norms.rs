//! Norms of what operations read, which their rounding units are made of.
//!
//! Squares are added up as they are: those of elements of more than about 10¹⁸ make infinite units, which
//! are refused, and those of less than about 10⁻¹⁸ vanish, so that nothing but zeros is accepted. The
//! runtime divides such tensors by their largest element first, which would be one more pass over every
//! activation here, or a branch that keeps all of them in memory up to the end.

use super::graph::{GraphBuilder, Value};
use super::node::{self, Slide};
use super::sketch::with_kernel;

/// ‖x_row‖, `[.., rows, 1]`.
pub(super) fn of_rows(graph: &mut GraphBuilder, rows: &Value) -> Value {
    graph.once(&format!("norms of rows {rows:?}"), |graph| {
        let squares = graph.square(rows);
        let sums = graph.reduce_along("ReduceSum", &squares, -1);
        graph.op("Sqrt", &[&sums])
    })
}

/// Norms of patches, √(Σ_c scales[c] Σ_taps x_c²), are this tensor times this factor: `scales` of R outputs,
/// each over the input channels of its group, give `[N, R, ...positions]`. Pixels are added up over channels
/// before the window slides over them: the constants do not grow with the image.
pub(super) fn of_patches(
    graph: &mut GraphBuilder,
    slide: &Slide,
    x: &Value,
    scales: &[f32],
    groups: usize,
) -> (Value, f64) {
    let image = format!("{x:?} {groups} {scales:?}");
    let norms = graph.once(&format!("norms of patches {image} {slide:?}"), |graph| {
        // Windows of several forms may slide over one image.
        let axes = slide.kernel.len();
        let by_pixel = graph
            .once(&format!("pixels {image}"), |graph| by_pixel(graph, x, scales, groups, axes));
        let sums = slide.sums(graph, &by_pixel, groups);
        graph.op("Sqrt", &[&sums])
    });
    (norms, slide.sums_are_over().sqrt())
}

/// Weighted squares added up over the channels of each group, `[N, groups, ...]`.
fn by_pixel(
    graph: &mut GraphBuilder,
    x: &Value,
    scales: &[f32],
    groups: usize,
    axes: usize,
) -> Value {
    if groups > 1 {
        let shape = with_kernel(&[groups, scales.len() / groups], &vec![1; axes]);
        let scales = graph.floats("channel_scales", &shape, scales);
        let squares = graph.square(x);
        return graph.op_with("Conv", &[&squares, &scales], vec![node::group(groups)]);
    }
    // A product and not a convolution of one output, for which ONNX Runtime would first arrange channels
    // in blocks.
    let scales = graph.floats("channel_scales", &[1, scales.len()], scales);
    let flat = graph.reshape(x, &[0, 0, -1]);
    let squares = graph.square(&flat);
    let sums = graph.op("MatMul", &[&scales, &squares]);
    let shape = graph.shape(x);
    let [others, one] = [1, 0].map(|other| {
        let mut extents = vec![other; axes + 2];
        extents[1] = 1 - other;
        graph.ints(&extents)
    });
    let shape = graph.op("Mul", &[&shape, &others]);
    let shape = graph.op("Add", &[&shape, &one]);
    graph.op("Reshape", &[&sums, &shape])
}
