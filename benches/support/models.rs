//! Whole models that benchmarks compile and measure: the digits of the example, a convolutional
//! network and a transformer encoder of sizes that people run. The weights of the last two are
//! random, from fixed seeds: costs and bytes do not depend on what a model has learned.

use std::path::Path;

use nomopoly::NamedTensor;
use nomopoly::onnx::{DatumType, builder, pb};
use nomopoly_build::prost::Message;

use super::values;

/// A model with one f32 input.
pub struct Whole {
    pub name: &'static str,
    /// In words, for the head of a table.
    pub about: &'static str,
    /// The ONNX file.
    pub bytes: Vec<u8>,
    /// An input of the size that the model is measured at.
    pub input: NamedTensor,
}

/// Names that [`whole`] knows.
pub const NAMES: [&str; 3] = ["digits", "conv", "encoder"];

/// A model by its name.
pub fn whole(name: &str) -> Option<Whole> {
    match name {
        "digits" => Some(digits()),
        "conv" => Some(conv()),
        "encoder" => Some(encoder()),
        _ => None,
    }
}

/// The model of `examples/digits`.
pub fn digits() -> Whole {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/digits/models/digits.onnx");
    // Grey values without structure.
    let pixels = (0..64).map(|i| ((i * 37) % 17) as f32 / 16.).collect();
    Whole {
        name: "digits",
        about: "8x8 images, one convolution and two Gemm",
        bytes: std::fs::read(path).expect("the example's model is in the repository"),
        input: NamedTensor::from_f32("image", &[1, 1, 8, 8], pixels),
    }
}

/// Nodes and weights of a graph under construction.
#[derive(Default)]
struct Net {
    nodes: Vec<pb::NodeProto>,
    tensors: Vec<pb::TensorProto>,
}

impl Net {
    /// Adds a node; its output is named `name`, which comes back.
    fn node(
        &mut self,
        op_type: &str,
        inputs: &[&str],
        name: &str,
        attributes: Vec<pb::AttributeProto>,
    ) -> String {
        self.nodes.push(builder::node(op_type, inputs, &[name], attributes));
        name.to_owned()
    }

    /// Adds a weight tensor of random values, `mean` plus normal-like ones of this deviation.
    fn weights(&mut self, name: &str, shape: &[usize], mean: f32, deviation: f32) -> String {
        // Each tensor has a seed of its own, so that no two are alike, and keeps it (FNV-1a of its
        // name) when a layer is added elsewhere: what was compiled of it stays usable.
        let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let mut data = values(shape.iter().product(), seed, deviation);
        data.iter_mut().for_each(|value| *value += mean);
        self.tensors.push(builder::tensor_f32(name, shape, &data));
        name.to_owned()
    }

    fn scalar(&mut self, name: &str, value: f32) -> String {
        self.tensors.push(builder::tensor_f32(name, &[], &[value]));
        name.to_owned()
    }

    fn target_shape(&mut self, name: &str, shape: &[i64]) -> String {
        self.tensors.push(builder::tensor_i64(name, &[shape.len()], shape));
        name.to_owned()
    }

    /// The ONNX file, at operator set 17, which has LayerNormalization.
    fn finish(
        self,
        name: &str,
        input: &NamedTensor,
        output: &str,
        output_shape: &[usize],
    ) -> Vec<u8> {
        let inputs = vec![builder::value_info(&input.name, DatumType::F32, &input.shape)];
        let outputs = vec![builder::value_info(output, DatumType::F32, output_shape)];
        let graph = builder::graph(name, self.nodes, self.tensors, inputs, outputs);
        builder::model(graph, 17).encode_to_vec()
    }

    /// A square convolution that keeps the variance of what a Relu let through (He et al. 2015,
    /// <https://arxiv.org/abs/1502.01852>), times `gain`. It has a bias, as an exporter leaves it
    /// that folds the batch normalisation behind it.
    fn conv(&mut self, x: &str, name: &str, spec: Kernel, gain: f32) -> String {
        let Kernel { from, to, size, stride } = spec;
        let deviation = gain * (2. / (from * size * size) as f32).sqrt();
        let weights = self.weights(&format!("{name}.w"), &[to, from, size, size], 0., deviation);
        let bias = self.weights(&format!("{name}.b"), &[to], 0., 0.05);
        self.node("Conv", &[x, &weights, &bias], name, window(size, stride))
    }

    /// Two 3x3 convolutions and a way around them (He et al. 2016, figure 5 on the left,
    /// <https://arxiv.org/abs/1512.03385>).
    fn block(&mut self, x: &str, name: &str, from: usize, to: usize, stride: usize) -> String {
        let conv = Kernel { from, to, size: 3, stride };
        let y = self.conv(x, &format!("{name}.conv1"), conv, 1.);
        let y = self.node("Relu", &[&y], &format!("{name}.relu1"), vec![]);
        let conv = Kernel { from: to, to, size: 3, stride: 1 };
        // Half the gain: without normalisation in between, sums of branches would double the
        // variance with each block.
        let y = self.conv(&y, &format!("{name}.conv2"), conv, 0.5);
        let around = if stride == 1 && from == to {
            x.to_owned()
        } else {
            let conv = Kernel { from, to, size: 1, stride };
            self.conv(x, &format!("{name}.down"), conv, 0.7)
        };
        let sum = self.node("Add", &[&y, &around], &format!("{name}.add"), vec![]);
        self.node("Relu", &[&sum], &format!("{name}.relu2"), vec![])
    }

    /// A matrix on the right, which keeps the variance of its input, and a bias: what exporters
    /// make of a linear layer over a sequence. Layers of one width share the bias, for the sake of
    /// compiling: it is as dear for an Add as for a matrix, and equal Adds are compiled once.
    fn linear(&mut self, x: &str, name: &str, from: usize, to: usize) -> String {
        let deviation = (1. / from as f32).sqrt();
        let weights = self.weights(&format!("{name}.w"), &[from, to], 0., deviation);
        let product = self.node("MatMul", &[x, &weights], &format!("{name}.matmul"), vec![]);
        self.node("Add", &[&product, &format!("bias{to}")], name, vec![])
    }

    fn layer_norm(&mut self, x: &str, name: &str) -> String {
        let scale = self.weights(&format!("{name}.scale"), &[WIDTH], 1., 0.1);
        let bias = self.weights(&format!("{name}.bias"), &[WIDTH], 0., 0.1);
        let attributes =
            vec![builder::int_attribute("axis", -1), builder::float_attribute("epsilon", 1e-5)];
        self.node("LayerNormalization", &[x, &scale, &bias], name, attributes)
    }

    /// x Φ(x), through Erf (Hendrycks and Gimpel 2016, <https://arxiv.org/abs/1606.08415>).
    fn gelu(&mut self, x: &str, name: &str) -> String {
        let y = self.node("Div", &[x, "sqrt2"], &format!("{name}.div"), vec![]);
        let y = self.node("Erf", &[&y], &format!("{name}.erf"), vec![]);
        let y = self.node("Add", &[&y, "one"], &format!("{name}.plus1"), vec![]);
        let y = self.node("Mul", &[x, &y], &format!("{name}.mul"), vec![]);
        self.node("Mul", &[&y, "half"], name, vec![])
    }

    fn attention(&mut self, x: &str, name: &str) -> String {
        // Heads of queries and values are [1, HEADS, SEQUENCE, .]; those of keys are transposed.
        let mut heads = |what: &str, order: [i64; 4]| {
            let name = format!("{name}.{what}");
            let y = self.linear(x, &name, WIDTH, WIDTH);
            let y = self.node("Reshape", &[&y, "heads"], &format!("{name}.split"), vec![]);
            let order = vec![builder::ints_attribute("perm", &order)];
            self.node("Transpose", &[&y], &format!("{name}.heads"), order)
        };
        let queries = heads("q", [0, 2, 1, 3]);
        let keys = heads("k", [0, 2, 3, 1]);
        let of_heads = heads("v", [0, 2, 1, 3]);
        let y = self.node("MatMul", &[&queries, &keys], &format!("{name}.scores"), vec![]);
        let y = self.node("Div", &[&y, "sqrt_head"], &format!("{name}.scaled"), vec![]);
        let axis = vec![builder::int_attribute("axis", -1)];
        let y = self.node("Softmax", &[&y], &format!("{name}.softmax"), axis);
        let y = self.node("MatMul", &[&y, &of_heads], &format!("{name}.context"), vec![]);
        let order = vec![builder::ints_attribute("perm", &[0, 2, 1, 3])];
        let y = self.node("Transpose", &[&y], &format!("{name}.back"), order);
        let y = self.node("Reshape", &[&y, "joined"], &format!("{name}.join"), vec![]);
        self.linear(&y, &format!("{name}.o"), WIDTH, WIDTH)
    }
}

/// Channels, side and stride of a convolution.
#[derive(Clone, Copy)]
struct Kernel {
    from: usize,
    to: usize,
    size: usize,
    stride: usize,
}

/// A square window that divides the sides by its stride: an odd size is padded by half of it.
fn window(size: usize, stride: usize) -> Vec<pb::AttributeProto> {
    vec![
        builder::ints_attribute("kernel_shape", &[size as i64; 2]),
        builder::ints_attribute("strides", &[stride as i64; 2]),
        builder::ints_attribute("pads", &[(size / 2) as i64; 4]),
    ]
}

/// A residual network at 224x224 of ResNet-18's layers: 20 convolutions (batch normalisation
/// folded into them) and a Gemm, 1.8 billion multiply-accumulates.
pub fn conv() -> Whole {
    let side = 224;
    let pixels = values(3 * side * side, 11, 1.);
    let input = NamedTensor::from_f32("image", &[1, 3, side, side], pixels);
    let mut net = Net::default();
    let stem = Kernel { from: 3, to: 64, size: 7, stride: 2 };
    let x = net.conv("image", "stem.conv", stem, 1.);
    let x = net.node("Relu", &[&x], "stem.relu", vec![]);
    let mut x = net.node("MaxPool", &[&x], "stem.pool", window(3, 2));
    let mut from = 64;
    for (stage, to) in [64, 128, 256, 512].into_iter().enumerate() {
        for block in 0..2 {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            x = net.block(&x, &format!("stage{}.{block}", stage + 1), from, to, stride);
            from = to;
        }
    }
    let x = net.node("GlobalAveragePool", &[&x], "pool", vec![]);
    let x = net.node("Flatten", &[&x], "flat", vec![builder::int_attribute("axis", 1)]);
    let weights = net.weights("logits.w", &[1000, from], 0., (1. / from as f32).sqrt());
    let bias = net.weights("logits.b", &[1000], 0., 0.05);
    let transposed = vec![builder::int_attribute("transB", 1)];
    net.node("Gemm", &[&x, &weights, &bias], "logits", transposed);
    Whole {
        name: "conv",
        about: "ResNet-18's layers at 224x224, random weights: 20 convolutions and a Gemm",
        bytes: net.finish("conv", &input, "logits", &[1, 1000]),
        input,
    }
}

/// Tokens of the encoder's input.
const SEQUENCE: usize = 128;
/// Numbers that each token is.
const WIDTH: usize = 384;
const HEADS: usize = 12;
const FEED_FORWARD: usize = 1536;
const LAYERS: usize = 6;

/// A transformer encoder of six layers, normalised after each sum (Vaswani et al. 2017, figure 1,
/// <https://arxiv.org/abs/1706.03762>) with BERT's GELU, behind the embedding: 36 matrices, 1.4
/// billion multiply-accumulates.
pub fn encoder() -> Whole {
    let shape = [1, SEQUENCE, WIDTH];
    let input = NamedTensor::from_f32("tokens", &shape, values(SEQUENCE * WIDTH, 12, 1.));
    let mut net = Net::default();
    let head = WIDTH / HEADS;
    for width in [WIDTH, FEED_FORWARD] {
        net.weights(&format!("bias{width}"), &[width], 0., 0.05);
    }
    net.scalar("sqrt2", std::f32::consts::SQRT_2);
    net.scalar("one", 1.);
    net.scalar("half", 0.5);
    net.scalar("sqrt_head", (head as f32).sqrt());
    net.target_shape("heads", &[1, SEQUENCE as i64, HEADS as i64, head as i64]);
    net.target_shape("joined", &shape.map(|dim| dim as i64));
    let mut x = "tokens".to_owned();
    for layer in 0..LAYERS {
        let name = format!("layer{layer}");
        let y = net.attention(&x, &format!("{name}.attention"));
        let y = net.node("Add", &[&x, &y], &format!("{name}.sum1"), vec![]);
        x = net.layer_norm(&y, &format!("{name}.norm1"));
        let y = net.linear(&x, &format!("{name}.up"), WIDTH, FEED_FORWARD);
        let y = net.gelu(&y, &format!("{name}.gelu"));
        let y = net.linear(&y, &format!("{name}.down"), FEED_FORWARD, WIDTH);
        let y = net.node("Add", &[&x, &y], &format!("{name}.sum2"), vec![]);
        x = net.layer_norm(&y, &format!("{name}.norm2"));
    }
    Whole {
        name: "encoder",
        about: "a transformer encoder, 6 layers of width 384 at sequence 128, random weights",
        bytes: net.finish("encoder", &input, &x, &shape),
        input,
    }
}
