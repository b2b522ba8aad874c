//! Forms of operations that tract runs, but not as ONNX means them.
//!
//! A verifier recomputes in the same tract: it would accept the proof of such a node, and with it
//! an answer that is not the model's. `tests/coverage/deviations.rs` shows for each of them what
//! tract computes instead, and fails when a new tract computes something else.

use tract_onnx::pb;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::type_proto;

/// Why a node of one kind must not run; `None` for the forms that tract understands.
type Check = fn(&pb::NodeProto) -> Option<&'static str>;

const CHECKS: [(&str, Check); 18] = [
    ("Attention", attention),
    ("BatchNormalization", batch_normalization),
    ("Celu", celu),
    ("DequantizeLinear", dequantize_linear),
    ("Einsum", einsum),
    ("GRU", gru),
    ("GlobalLpPool", |_| Some("tract divides by the number of elements: it takes a mean, no sum")),
    ("GridSample", grid_sample),
    ("LSTM", |node| recurrent(node, &["Sigmoid", "Tanh", "Tanh"])),
    ("LinearClassifier", linear_classifier),
    ("MultiHeadAttention", multi_head_attention),
    ("QuantizeLinear", quantize_linear),
    ("RNN", |node| recurrent(node, &["Tanh"])),
    ("Resize", resize),
    ("SkipLayerNormalization", skip_layer_normalization),
    ("SkipSimplifiedLayerNormalization", skip_simplified_layer_normalization),
    ("Swish", swish),
    ("TreeEnsembleClassifier", tree_ensemble_classifier),
];

/// Where a check has to look at more than the node.
const CHECKS_IN_PLACE: [(&str, CheckInPlace); 3] = [
    ("BatchNormalization", trained_batch_normalization),
    ("RotaryEmbedding", rotary_embedding),
    ("Slice", slice),
];

type CheckInPlace = fn(&pb::NodeProto, &Place) -> Option<&'static str>;

/// Where a node stands.
pub(crate) struct Place<'a> {
    /// The version of the default operator set.
    pub opset: i64,
    /// The graph that has the node, without those around it.
    pub graph: &'a pb::GraphProto,
}

impl<'a> Place<'a> {
    /// The initialiser of this name, or what the `Constant` of this name holds.
    fn constant(&self, name: &str) -> Option<Constant<'a>> {
        let initialiser = self.graph.initializer.iter().find(|tensor| tensor.name == name);
        let attribute = || {
            let mut nodes = self.graph.node.iter().filter(|node| node.op_type == "Constant");
            let node = nodes.find(|node| node.output.iter().any(|output| output == name))?;
            node.attribute.iter().find(|attribute| attribute.name.starts_with("value"))
        };
        initialiser.map(Constant::Tensor).or_else(|| {
            let attribute = attribute()?;
            Some(attribute.t.as_ref().map_or(Constant::Attribute(attribute), Constant::Tensor))
        })
    }

    /// How many dimensions a constant has, or an input of the graph; `None` for other names.
    fn rank(&self, name: &str) -> Option<usize> {
        if let Some(constant) = self.constant(name) {
            return Some(constant.rank());
        }
        let input = self.graph.input.iter().find(|input| input.name == name)?;
        let Some(type_proto::Value::TensorType(tensor)) = &input.r#type.as_ref()?.value else {
            return None;
        };
        Some(tensor.shape.as_ref()?.dim.len())
    }
}

/// What a file says a constant is.
enum Constant<'a> {
    Tensor(&'a pb::TensorProto),
    /// A number or a list of numbers in the place of a tensor.
    Attribute(&'a pb::AttributeProto),
}

impl Constant<'_> {
    fn rank(&self) -> usize {
        match self {
            Self::Tensor(tensor) => tensor.dims.len(),
            Self::Attribute(attribute) => usize::from(attribute.name.ends_with('s')),
        }
    }

    /// The elements, if they are integers.
    fn integers(&self) -> Option<Vec<i64>> {
        let tensor = match self {
            Self::Tensor(tensor) => tensor,
            Self::Attribute(attribute) => {
                return (attribute.name == "value_ints").then(|| attribute.ints.clone());
            }
        };
        let raw = &tensor.raw_data;
        let integers = match DataType::try_from(tensor.data_type).ok()? {
            DataType::Int64 if raw.is_empty() => tensor.int64_data.clone(),
            DataType::Int64 => raw.as_chunks().0.iter().copied().map(i64::from_le_bytes).collect(),
            DataType::Int32 if raw.is_empty() => {
                tensor.int32_data.iter().copied().map(i64::from).collect()
            }
            DataType::Int32 => raw
                .as_chunks()
                .0
                .iter()
                .copied()
                .map(|bytes| i64::from(i32::from_le_bytes(bytes)))
                .collect(),
            _ => return None,
        };
        Some(integers)
    }
}

/// Why a node of a kind that tract knows must not run all the same.
pub(crate) fn reason(node: &pb::NodeProto, place: &Place) -> Option<&'static str> {
    let alone = CHECKS.iter().find(|(kind, _)| *kind == node.op_type);
    let in_place = CHECKS_IN_PLACE.iter().find(|(kind, _)| *kind == node.op_type);
    alone
        .and_then(|(_, check)| check(node))
        .or_else(|| in_place.and_then(|(_, check)| check(node, place)))
}

fn attention(node: &pb::NodeProto) -> Option<&'static str> {
    // A negative bound, as is the default, is none.
    let bounded = |name| has(node, name, |size| size.i >= 0);
    if bounded("left_window_size") || bounded("right_window_size") {
        return Some("tract ignores `left_window_size` and `right_window_size`");
    }
    let is_causal = has(node, "is_causal", |flag| flag.i != 0);
    (is_causal && has_input(node, 4)).then_some(
        "with `is_causal` and past keys, tract shows the first query the first key alone",
    )
}

fn batch_normalization(node: &pb::NodeProto) -> Option<&'static str> {
    has(node, "training_mode", |flag| flag.i != 0)
        .then_some("tract ignores `training_mode`: it normalises with the given statistics")
}

fn trained_batch_normalization(node: &pb::NodeProto, place: &Place) -> Option<&'static str> {
    // They count whether or not anything reads them: nothing else says that it is a training.
    let outputs = node.output.iter().filter(|name| !name.is_empty()).count();
    (place.opset < 14 && outputs > 1).then_some(
        "before version 14, several outputs ask for a training: tract has that of an inference",
    )
}

fn celu(node: &pb::NodeProto) -> Option<&'static str> {
    has(node, "alpha", |alpha| alpha.f != 1.)
        .then_some("tract does not multiply negative values with `alpha`")
}

fn dequantize_linear(node: &pb::NodeProto) -> Option<&'static str> {
    const FLOAT: [i64; 2] = [DataType::Undefined as i64, DataType::Float as i64];
    has(node, "output_dtype", |dtype| !FLOAT.contains(&dtype.i))
        .then_some("tract ignores `output_dtype`: it dequantises to f32")
}

fn gru(node: &pb::NodeProto) -> Option<&'static str> {
    recurrent(node, &["Sigmoid", "Tanh"]).or_else(|| {
        has(node, "linear_before_reset", |flag| !matches!(flag.i, 0 | 1))
            .then_some("tract takes every `linear_before_reset` but 1 for 0")
    })
}

fn grid_sample(node: &pb::NodeProto) -> Option<&'static str> {
    let is_cubic = has(node, "mode", |mode| matches!(&*mode.s, b"bicubic" | b"cubic"));
    (is_cubic && has(node, "padding_mode", |mode| mode.s == b"border")).then_some(
        "with `padding_mode` border, tract moves points to the border before it samples cubically",
    )
}

fn linear_classifier(node: &pb::NodeProto) -> Option<&'static str> {
    let has_two = count(node, &["classlabels_ints", "classlabels_strings"]) == 2;
    let has_several_models = has(node, "intercepts", |numbers| numbers.floats.len() > 1)
        || has(node, "multi_class", |flag| flag.i != 0);
    let is_other = !has(node, "post_transform", |_| true)
        || has(node, "post_transform", |name| name.s != b"LOGISTIC");
    (has_two && !has_several_models && is_other).then_some(
        "of two classes that share one model, tract gives the scores -s and s where ONNX Runtime \
         gives 1 - s and s; set `post_transform` to LOGISTIC",
    )
}

fn multi_head_attention(node: &pb::NodeProto) -> Option<&'static str> {
    has(node, "unidirectional", |flag| flag.i != 0).then_some("tract ignores `unidirectional`")
}

fn resize(node: &pb::NodeProto) -> Option<&'static str> {
    const MAPPING: &str = "coordinate_transformation_mode";
    if has(node, MAPPING, |mode| mode.s == b"tf_crop_and_resize") {
        return Some(
            "with `tf_crop_and_resize`, tract counts fractions of pixels that the output lacks",
        );
    }
    let is_nearest = !has(node, "mode", |_| true) || has(node, "mode", |mode| mode.s == b"nearest");
    let is_apart =
        has(node, MAPPING, |mode| matches!(&*mode.s, b"align_corners" | b"half_pixel_symmetric"));
    (is_nearest && is_apart).then_some(
        "with `align_corners` and `half_pixel_symmetric`, tract takes other pixels for the nearest",
    )
}

fn rotary_embedding(node: &pb::NodeProto, place: &Place) -> Option<&'static str> {
    let is_offset =
        || input(node, 1).is_some_and(|positions| place.rank(positions).is_some_and(|r| r < 2));
    (node.domain == "com.microsoft" && is_offset()).then_some(
        "tract does not count on from a single position; give one for each element of a sequence",
    )
}

fn slice(node: &pb::NodeProto, place: &Place) -> Option<&'static str> {
    // Before version 10 there are none, and bounds are attributes.
    let steps = place.constant(input(node, 4)?).and_then(|steps| steps.integers());
    let are_ones = steps.is_some_and(|steps| steps.iter().all(|step| *step == 1));
    let is_constant = |index| input(node, index).is_none_or(|name| place.constant(name).is_some());
    (!(are_ones || is_constant(1) && is_constant(2))).then_some(
        "with bounds that are not constant, tract leaves out the axes whose step is not 1",
    )
}

fn tree_ensemble_classifier(node: &pb::NodeProto) -> Option<&'static str> {
    if has(node, "nodes_modes", |modes| modes.strings.iter().any(|mode| mode == b"BRANCH_GTE")) {
        return Some("tract takes a BRANCH_GTE for a leaf");
    }
    let has_two = count(node, &["classlabels_int64s", "classlabels_strings"]) == 2;
    let is_one = |ids: &pb::AttributeProto| ids.ints.windows(2).all(|pair| pair[0] == pair[1]);
    (has_two && has(node, "class_ids", is_one)).then_some(
        "with weights for one of two classes alone, tract compares them with 0 to pick the label",
    )
}

fn swish(node: &pb::NodeProto) -> Option<&'static str> {
    has(node, "alpha", |alpha| alpha.f != 1.).then_some("tract ignores `alpha`")
}

fn einsum(node: &pb::NodeProto) -> Option<&'static str> {
    let equation = node.attribute.iter().find(|attribute| attribute.name == "equation")?;
    // What tract makes of it before it reads it.
    let equation = String::from_utf8_lossy(&equation.s).replace("...", "*").replace(' ', "");
    let (operands, output) = match equation.split_once("->") {
        Some((operands, output)) => (operands, Some(output)),
        None => (equation.as_str(), None),
    };
    if equation.contains('*') && operands.split(',').any(|operand| !operand.contains('*')) {
        // It counts axes for an operand without the ellipsis too, and gives those to the output.
        return Some("tract sums over an ellipsis that only some operands have; use letters");
    }
    let times = |axis| operands.chars().filter(|other| *other == axis).count();
    match output {
        // tract takes it for an output that is left out, which has every letter that occurs once.
        Some("") if operands.chars().any(|axis| axis != ',' && times(axis) == 1) => {
            Some("tract sums nothing when there is nothing behind the arrow")
        }
        None if times('*') > 1 => Some("tract sums over the ellipsis when there is no arrow"),
        _ => None,
    }
}

fn quantize_linear(node: &pb::NodeProto) -> Option<&'static str> {
    const UNSIGNED: [i64; 2] = [DataType::Undefined as i64, DataType::Uint8 as i64];
    let is_other = has(node, "output_dtype", |dtype| !UNSIGNED.contains(&dtype.i));
    (is_other && !has_input(node, 2))
        .then_some("tract ignores `output_dtype`: without a zero point it quantises to uint8")
}

/// `defaults` are the functions that tract has, those of one direction.
fn recurrent(node: &pb::NodeProto, defaults: &[&str]) -> Option<&'static str> {
    // Both directions are two sets of weights, from which tract tells that there are two.
    if has(node, "direction", |name| !matches!(&*name.s, b"forward" | b"bidirectional")) {
        return Some("tract runs it forward, whatever the `direction`");
    }
    // Exporters disagree about capitals.
    let is_default =
        |(name, default): (&Vec<u8>, &&str)| name.eq_ignore_ascii_case(default.as_bytes());
    let are_defaults = |names: &pb::AttributeProto| {
        names.r#type == AttributeType::Strings as i32
            && names.strings.iter().zip(defaults.iter().cycle()).all(is_default)
    };
    if has(node, "activations", |names| !are_defaults(names)) {
        return Some("tract ignores `activations`: it has the default functions");
    }
    if has(node, "activation_alpha", |_| true) || has(node, "activation_beta", |_| true) {
        return Some("tract ignores `activation_alpha` and `activation_beta`");
    }
    if has(node, "clip", |_| true) {
        return Some("tract ignores `clip`");
    }
    has(node, "input_forget", |flag| flag.i != 0).then_some("tract ignores `input_forget`")
}

fn skip_layer_normalization(node: &pb::NodeProto) -> Option<&'static str> {
    (!has(node, "epsilon", |_| true)).then_some(
        "without `epsilon`, tract takes 1e-5 where ONNX Runtime takes 1e-12; set the attribute",
    )
}

fn skip_simplified_layer_normalization(node: &pb::NodeProto) -> Option<&'static str> {
    let bias = has_input(node, 3).then_some("tract ignores the bias");
    bias.or_else(|| skip_layer_normalization(node))
}

/// Whether an attribute is there and `test` holds of it. Of one that is there twice, tract reads
/// the first and others may read the last, so each counts.
fn has(node: &pb::NodeProto, name: &str, test: impl Fn(&pb::AttributeProto) -> bool) -> bool {
    node.attribute.iter().any(|attribute| attribute.name == name && test(attribute))
}

/// How many texts or integers the attributes of these names hold.
fn count(node: &pb::NodeProto, names: &[&str]) -> usize {
    let lists = node.attribute.iter().filter(|attribute| names.contains(&&*attribute.name));
    lists.map(|list| list.ints.len().max(list.strings.len())).max().unwrap_or(0)
}

/// The name of an operand, unless it is left out.
fn input(node: &pb::NodeProto, index: usize) -> Option<&str> {
    node.input.get(index).map(String::as_str).filter(|name| !name.is_empty())
}

fn has_input(node: &pb::NodeProto, index: usize) -> bool {
    input(node, index).is_some()
}

#[cfg(test)]
mod tests {
    use tract_onnx::prelude::DatumType;

    use super::*;
    use crate::onnx::builder::{
        float_attribute, floats_attribute, graph, int_attribute, ints_attribute, node,
        string_attribute, tensor_attribute, tensor_i64, value_info,
    };

    fn texts(name: &str, values: &[&str]) -> pb::AttributeProto {
        let strings = values.iter().map(|value| value.as_bytes().to_vec()).collect();
        let r#type = AttributeType::Strings as i32;
        pb::AttributeProto { name: name.into(), r#type, strings, ..Default::default() }
    }

    /// In a graph of opset 17 without anything else.
    fn alone(node: &pb::NodeProto) -> Option<&'static str> {
        reason(node, &Place { opset: 17, graph: &pb::GraphProto::default() })
    }

    fn of(kind: &str, attributes: Vec<pb::AttributeProto>) -> Option<&'static str> {
        alone(&node(kind, &["x"], &["y"], attributes))
    }

    #[test]
    fn defaults_that_are_written_out_may_run() {
        for (kind, attribute) in [
            ("Attention", int_attribute("left_window_size", -1)),
            ("Attention", int_attribute("is_causal", 1)),
            ("BatchNormalization", int_attribute("training_mode", 0)),
            ("Celu", float_attribute("alpha", 1.)),
            ("DequantizeLinear", int_attribute("output_dtype", 0)),
            ("DequantizeLinear", int_attribute("output_dtype", 1)),
            ("GRU", int_attribute("linear_before_reset", 1)),
            ("GridSample", string_attribute("mode", "cubic")),
            ("GridSample", string_attribute("padding_mode", "border")),
            ("LSTM", int_attribute("input_forget", 0)),
            ("MultiHeadAttention", int_attribute("unidirectional", 0)),
            ("QuantizeLinear", int_attribute("output_dtype", 0)),
            ("QuantizeLinear", int_attribute("output_dtype", 2)),
            ("Relu", float_attribute("alpha", 2.)),
            ("SkipLayerNormalization", float_attribute("epsilon", 1e-12)),
            ("SkipSimplifiedLayerNormalization", float_attribute("epsilon", 1e-6)),
            ("Swish", float_attribute("alpha", 1.)),
        ] {
            assert_eq!(of(kind, vec![attribute]), None, "{kind}");
        }
    }

    #[test]
    fn only_default_functions_run_in_a_recurrence() {
        let lstm = |names: &[&str]| of("LSTM", vec![texts("activations", names)]);
        assert_eq!(lstm(&[]), None);
        assert_eq!(lstm(&["Sigmoid", "Tanh", "Tanh"]), None);
        assert_eq!(lstm(&["sigmoid", "tanh", "tanh", "sigmoid", "tanh", "tanh"]), None);
        assert!(lstm(&["Sigmoid", "Tanh", "Tanh", "Sigmoid", "Tanh", "Relu"]).is_some());
        assert!(lstm(&["Sigmoid", "Tanh", "Tanh", "Tanh"]).is_some());
        assert!(of("GRU", vec![float_attribute("activations", 0.)]).is_some());
        for name in ["activation_alpha", "activation_beta"] {
            assert!(of("RNN", vec![floats_attribute(name, &[1.])]).is_some());
        }
        for (direction, runs) in [("forward", true), ("bidirectional", true), ("Reverse", false)] {
            let attribute = string_attribute("direction", direction);
            assert_eq!(of("GRU", vec![attribute]).is_none(), runs, "{direction}");
        }
    }

    #[test]
    fn operands_that_are_left_out_are_not_there() {
        let causal = || vec![int_attribute("is_causal", 1)];
        let attention = |past| node("Attention", &["q", "k", "v", "", past], &["y"], causal());
        assert_eq!(alone(&attention("")), None);
        assert!(alone(&attention("past")).is_some());
        let simplified = |bias| {
            let epsilon = vec![float_attribute("epsilon", 1e-6)];
            node("SkipSimplifiedLayerNormalization", &["x", "s", "g", bias], &["y"], epsilon)
        };
        assert_eq!(alone(&simplified("")), None);
        assert!(alone(&simplified("bias")).is_some());
        let quantize = |zero| {
            let dtype = vec![int_attribute("output_dtype", 3)];
            node("QuantizeLinear", &["x", "scale", zero], &["y"], dtype)
        };
        assert_eq!(alone(&quantize("zero")), None);
        assert!(alone(&quantize("")).is_some());
    }

    #[test]
    fn equations_that_tract_reads_as_onnx_does_may_run() {
        let of = |equation: &str| of("Einsum", vec![string_attribute("equation", equation)]);
        for fine in [
            "ij,jk->ik",
            "ij,jk",
            " b i j , b j k -> b i k ",
            "...ij->...ji",
            "...ij,...jk->...ik",
            "...ij",
            // Each letter occurs twice: there is nothing that tract could keep.
            "i,i->",
            "ij , ij ->",
            "ii->",
        ] {
            assert_eq!(of(fine), None, "{fine}");
        }
        for wrong in [
            "...i,ij->...j",
            "ij,... j k->...ik",
            "ij,j...",
            "ij->...ij",
            "ij->",
            "i,ij -> ",
            "...->",
            "...ij,...jk",
        ] {
            assert!(of(wrong).is_some(), "{wrong}");
        }
    }

    #[test]
    fn the_nearest_pixel_is_that_of_onnx_where_coordinates_are_plain() {
        let resize = |mode: Option<&str>, mapping| {
            let mut attributes = vec![string_attribute("coordinate_transformation_mode", mapping)];
            attributes.extend(mode.map(|mode| string_attribute("mode", mode)));
            of("Resize", attributes).is_none()
        };
        for mode in [None, Some("nearest"), Some("linear")] {
            assert!(resize(mode, "half_pixel") && resize(mode, "asymmetric"));
            assert!(!resize(mode, "tf_crop_and_resize"));
            for mapping in ["align_corners", "half_pixel_symmetric"] {
                assert_eq!(resize(mode, mapping), mode == Some("linear"), "{mode:?} {mapping}");
            }
        }
    }

    #[test]
    fn classifiers_of_two_classes_run_where_each_has_scores() {
        let linear = |labels: &[i64], intercepts: &[f32], post: &str| {
            let attributes = vec![
                ints_attribute("classlabels_ints", labels),
                floats_attribute("intercepts", intercepts),
                string_attribute("post_transform", post),
            ];
            of("LinearClassifier", attributes).is_none()
        };
        assert!(linear(&[1, 2, 3], &[0.; 3], "NONE"));
        assert!(linear(&[1, 2], &[0.; 2], "SOFTMAX"));
        assert!(linear(&[1, 2], &[0.], "LOGISTIC"));
        assert!(!linear(&[1, 2], &[0.], "NONE") && !linear(&[1, 2], &[0.], "SOFTMAX"));
        let labels = texts("classlabels_strings", &["no", "yes"]);
        assert!(of("LinearClassifier", vec![labels.clone()]).is_some());
        let trees = |labels: &pb::AttributeProto, ids: &[i64], mode: &str| {
            let modes = texts("nodes_modes", &["BRANCH_LEQ", mode, "LEAF"]);
            let ids = ints_attribute("class_ids", ids);
            of("TreeEnsembleClassifier", vec![labels.clone(), ids, modes]).is_none()
        };
        let three = ints_attribute("classlabels_int64s", &[1, 2, 3]);
        assert!(trees(&labels, &[0, 1], "BRANCH_GT") && trees(&three, &[0, 0], "BRANCH_GT"));
        assert!(!trees(&labels, &[1, 1], "BRANCH_GT") && !trees(&three, &[0, 1], "BRANCH_GTE"));
    }

    #[test]
    fn steps_other_than_one_need_constant_bounds() {
        let list = |name: &str, values: &[i64]| tensor_i64(name, &[values.len()], values);
        let value = tensor_attribute("value", list("", &[-1]));
        let nodes = vec![
            node("Constant", &[], &["first"], vec![value]),
            node("Constant", &[], &["second"], vec![ints_attribute("value_ints", &[1])]),
            node("Neg", &["one"], &["computed"], vec![]),
        ];
        let graph = graph("g", nodes, vec![list("one", &[1]), list("two", &[2])], vec![], vec![]);
        let runs = |inputs: &[&str]| {
            let slice = node("Slice", inputs, &["y"], vec![]);
            reason(&slice, &Place { opset: 17, graph: &graph }).is_none()
        };
        for steps in ["one", "second", "two", "first", "computed"] {
            assert!(runs(&["x", "one", "first", "two", steps]), "{steps}");
            let fine = ["one", "second"].contains(&steps);
            assert_eq!(runs(&["x", "one", "bound", "", steps]), fine, "{steps}");
            assert_eq!(runs(&["x", "computed", "one", "", steps]), fine, "{steps}");
        }
        assert!(runs(&["x", "bound", "bound"]) && runs(&["x", "bound", "bound", "two", ""]));
        assert!(runs(&["x"]));
    }

    #[test]
    fn positions_are_one_for_each_element() {
        let inputs = [("single", &[1][..]), ("each", &[1, 1][..])]
            .map(|(name, shape)| value_info(name, DatumType::I64, shape));
        let constants = vec![tensor_i64("constant", &[1], &[4])];
        let graph = graph("g", vec![], constants, inputs.to_vec(), vec![]);
        let runs = |positions, domain: &str| {
            let mut node = node("RotaryEmbedding", &["x", positions, "c", "s"], &["y"], vec![]);
            node.domain = domain.into();
            reason(&node, &Place { opset: 23, graph: &graph }).is_none()
        };
        for (positions, fine) in
            [("single", false), ("constant", false), ("each", true), ("z", true)]
        {
            assert_eq!(runs(positions, "com.microsoft"), fine, "{positions}");
            assert!(runs(positions, ""), "{positions}");
        }
    }

    #[test]
    fn several_outputs_were_once_a_training() {
        let runs = |outputs: &[&str], opset| {
            let node = node("BatchNormalization", &["x"], outputs, vec![]);
            reason(&node, &Place { opset, graph: &pb::GraphProto::default() }).is_none()
        };
        assert!(runs(&["y", ""], 9) && runs(&["y", "mean", "variance"], 14));
        assert!(!runs(&["y", "mean", "variance"], 13));
    }
}
