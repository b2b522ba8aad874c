//! Norms of what operations read, which their rounding units are made of.
//!
//! Squares are added up as they are: those of elements of more than about 10¹⁸ make infinite units, which
//! are refused, and those of less than about 10⁻¹⁸ vanish, so that nothing but zeros is accepted. The runtime divides such tensors by their
//! largest element first, which would be one more pass over every activation here, or a branch that keeps
//! all of them in memory up to the end.

use std::collections::BTreeMap;

use super::graph::{GraphBuilder, Value};
use super::node::{self, Slide};
use super::sketch::with_kernel;

/// Norms in a graph.
#[derive(Debug, Clone)]
pub(super) struct Norm {
    /// What there is instead of them: norms divided by `factor`.
    pub value: Value,
    pub factor: f64,
    /// Among all of a graph.
    pub place: usize,
}

/// The norms that the operations of a graph ask for, each once.
#[derive(Debug, Default)]
pub(super) struct Norms {
    /// What the roots were taken of, and whether that has two axes.
    squares: Vec<(Value, bool)>,
    known: BTreeMap<String, Norm>,
}

impl Norms {
    fn once(
        &mut self,
        graph: &mut GraphBuilder,
        name: String,
        is_matrix: bool,
        squares: impl FnOnce(&mut GraphBuilder) -> (Value, f64),
    ) -> Norm {
        if let Some(known) = self.known.get(&name) {
            return known.clone();
        }
        let (squares, factor) = squares(graph);
        let (value, place) = (graph.op("Sqrt", &[&squares]), self.squares.len());
        self.squares.push((squares, is_matrix));
        let norm = Norm { value, factor, place };
        self.known.insert(name, norm.clone());
        norm
    }

    /// ‖x_row‖, `[.., rows, 1]`; whether there are no axes but these two.
    pub fn of_rows(&mut self, graph: &mut GraphBuilder, rows: &Value, is_matrix: bool) -> Norm {
        self.once(graph, format!("rows {rows:?}"), is_matrix, |graph| {
            let squares = graph.square(rows);
            (graph.reduce_along("ReduceSum", &squares, -1), 1.)
        })
    }

    /// Norms of patches, √(Σ_c scales[c] Σ_taps x_c²): `scales` of R outputs, each over the input channels
    /// of its group, give `[N, R, ...positions]`. Pixels are added up over channels before the window slides
    /// over them: the constants do not grow with the image.
    pub fn of_patches(
        &mut self,
        graph: &mut GraphBuilder,
        slide: &Slide,
        x: &Value,
        scales: &[f32],
        groups: usize,
    ) -> Norm {
        let name = format!("patches {x:?} {slide:?} {groups} {scales:?}");
        self.once(graph, name, false, |graph| {
            // Windows of several forms may slide over one image.
            let axes = slide.kernel.len();
            let name = format!("pixels {x:?} {groups} {scales:?}");
            let by_pixel = graph.once(&name, |graph| by_pixel(graph, x, scales, groups, axes));
            slide.sums(graph, &by_pixel, groups)
        })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.squares.len()
    }

    /// The largest square of the norm at a place, over that of its factor, `[1, 1]`.
    pub fn largest(&self, graph: &mut GraphBuilder, place: usize) -> Value {
        match &self.squares[place] {
            (squares, true) => graph.reduce_matrix("ReduceMax", squares),
            (squares, false) => graph.reduce_all("ReduceMax", squares),
        }
    }
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
