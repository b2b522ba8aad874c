//! What cannot be proved, with the words of the error that says so.

use nomopoly::TensorData;
use nomopoly::onnx::DatumType;
use nomopoly::onnx::builder::{
    float_attribute as real, floats_attribute as reals, graph, graph_attribute,
    int_attribute as int, ints_attribute as ints, node, string_attribute as text, value_info,
};

use super::case::{
    ANSWER, Case, absent, between, case, exactly, flags, floats, list, number, numbers, scalar,
    several, texts,
};

/// A model that is refused.
pub struct Refused {
    pub case: Case,
    /// Why, in plain words.
    pub why: &'static str,
    /// A part of the error.
    pub says: &'static str,
}

/// Operations of ONNX's own domain, up to operator set 25, that the runtime does not know.
pub const UNKNOWN: [&str; 34] = [
    "AffineGrid",
    "CenterCropPad",
    "Col2Im",
    "ConcatFromSequence",
    "DeformConv",
    "Det",
    "ImageDecoder",
    "Loop",
    "LpPool",
    "MaxRoiPool",
    "MaxUnpool",
    "NegativeLogLikelihoodLoss",
    "Optional",
    "OptionalGetElement",
    "OptionalHasElement",
    "RegexFullMatch",
    "ReverseSequence",
    "RoiAlign",
    "SequenceAt",
    "SequenceConstruct",
    "SequenceEmpty",
    "SequenceErase",
    "SequenceInsert",
    "SequenceLength",
    "SequenceMap",
    "SoftmaxCrossEntropyLoss",
    "SplitToSequence",
    "StringConcat",
    "StringNormalizer",
    "StringSplit",
    "TensorScatter",
    "TfIdfVectorizer",
    "Unique",
    "Upsample",
];

/// A model of an operation that the runtime does not know.
pub fn unknown(kind: &'static str) -> Case {
    case(kind, "", [floats(&[2, 3])], vec![]).opset(25)
}

pub fn cases() -> Vec<Refused> {
    let mut cases = vec![];
    let mut add = |case, why, says| cases.push(Refused { case, why, says });
    let x = || floats(&[2, 3]);
    let image = || floats(&[1, 2, 4, 4]);
    let one = |value| exactly(&[], TensorData::I64(vec![value].into()));

    let depends = "the shape of its output depends on the data";
    let boxes = [floats(&[1, 3, 4]), floats(&[1, 1, 3]), numbers(&[2])];
    let range = [one(0), one(4), number(1)];
    let found = "depends on the data";
    add(case("NonZero", "", [x()], vec![]), depends, found);
    add(case("NonMaxSuppression", "", boxes, vec![]), depends, found);
    add(case("Compress", "", [x(), flags(&[6])], vec![]), depends, "can not be typed");
    add(case("Range", "limits as inputs", range, vec![]), depends, found);
    add(case("TopK", "`k` as an input", [x(), list(&[2])], vec![]).outputs(2), depends, found);
    let variable = "shape input is variable";
    let (shape, repeats) = (list(&[3, 2]), list(&[2, 2]));
    add(case("Reshape", "a shape as an input", [x(), shape.clone()], vec![]), depends, variable);
    add(case("Expand", "a shape as an input", [x(), list(&[4, 2, 3])], vec![]), depends, variable);
    add(case("Tile", "repeats as an input", [x(), repeats], vec![]), depends, variable);
    add(case("ConstantOfShape", "a shape as an input", [shape], vec![]), depends, variable);
    let bounds = [x(), list(&[0]), list(&[1]), numbers(&[1])];
    add(case("Slice", "bounds as inputs", bounds, vec![]), depends, found);
    let pads = [x(), list(&[0, 1, 0, 1])];
    add(case("Pad", "pads as an input", pads, vec![]), depends, "Expect padding to be constant");
    let sizes = [image(), absent(), absent(), list(&[1, 2, 8, 8])];
    add(case("Resize", "sizes as an input", sizes, vec![]), depends, "Resize");
    let parts = case("Split", "sizes as an input", [x(), list(&[1, 1])], vec![]);
    add(parts.outputs(2), depends, "Need splits to be a constant");
    let depth = [list(&[1, 0]), one(3), numbers(&[0, 1])];
    add(case("OneHot", "depth as an input", depth, vec![]), depends, "to be determined");

    let axis = "the axis must be constant";
    let constant = "Axis expected to be a const";
    add(case("CumSum", "an axis as an input", [x(), one(0)], vec![]), axis, constant);
    let sum = case("ReduceSum", "axes as an input", [x(), list(&[0])], vec![]);
    add(sum, axis, "expected axes as a constant");
    let squeeze = case("Squeeze", "axes as an input", [floats(&[1, 3]), list(&[0])], vec![]);
    add(squeeze, axis, "Need axes to be a constant");
    let unsqueeze = case("Unsqueeze", "axes as an input", [x(), list(&[0])], vec![]);
    add(unsqueeze, axis, "Need axes to be a constant");

    let scale = "the scale must be constant";
    let quantized = [x(), between(0.1, 0.2, &[])];
    let quantize = case("QuantizeLinear", "a scale as an input", quantized, vec![]);
    add(quantize, scale, "y_scale must be a const");
    let blocks = vec![int("axis", 1), int("block_size", 3)];
    let operands = [x(), between(0.1, 0.2, &[2, 1]).constant()];
    add(
        case("QuantizeLinear", "in blocks", operands, blocks).opset(21),
        "the runtime has one scale, or one for each channel",
        "blocked quantization is not supported",
    );
    let parameter = || floats(&[3]).constant();
    let statistics =
        [floats(&[2, 3, 4]), parameter(), parameter(), floats(&[3]), between(0.5, 2., &[3])];
    add(
        case("BatchNormalization", "statistics as inputs", statistics, vec![]),
        "the statistics must be constant",
        "Params are not const",
    );

    let weights = |width| floats(&[1, 16, width]).constant();
    let sequence = [floats(&[5, 2, 3]), weights(3), weights(4)];
    add(
        case(
            "LSTM",
            "all outputs of a batch, without initial states",
            sequence,
            vec![int("hidden_size", 4)],
        )
        .outputs(3),
        "a fault of the runtime; with initial states it runs",
        "Clashing resolution",
    );
    add(
        case("MatMul", "two vectors", [floats(&[3]), floats(&[3])], vec![]),
        "the runtime wants a matrix on one side",
        "a_rank > 1 || b_rank > 1",
    );
    add(
        case("Pad", "`mode` wrap", [x(), numbers(&[0, 1, 0, 1])], vec![text("mode", "wrap")])
            .opset(19),
        "the runtime does not pad so",
        "Unsupported mode wrap",
    );
    let heads = || floats(&[1, 2, 3, 4]);
    add(
        case("Attention", "`softcap`", [heads(), heads(), heads()], vec![real("softcap", 2.)])
            .opset(23),
        "the runtime does not cap scores",
        "softcap is not supported",
    );
    let mask = [heads(), heads(), heads(), flags(&[3, 3])];
    add(
        case("Attention", "a mask of flags", mask, vec![]).opset(23),
        "the runtime adds masks: they must be numbers",
        "Mask must be floating point",
    );
    let projected = [floats(&[1, 2, 4]), floats(&[4, 12]).constant()];
    add(
        case("Attention", "that of ONNX Runtime", projected, vec![int("num_heads", 2)])
            .domain("com.microsoft"),
        "it has the name of an ONNX operation and another meaning",
        "another operation than ONNX's",
    );
    let masked = [floats(&[1, 3, 8]), floats(&[1, 3, 8]), floats(&[1, 3, 8]), floats(&[24])];
    add(
        case("MultiHeadAttention", "a bias", masked, vec![int("num_heads", 2)])
            .domain("com.microsoft"),
        "the runtime has neither bias nor mask",
        "is unsupported",
    );
    add(
        case(
            "LinearRegressor",
            "`post_transform` PROBIT",
            [x()],
            vec![reals("coefficients", &[1., 2., 3.]), text("post_transform", "PROBIT")],
        )
        .domain("ai.onnx.ml"),
        "the runtime has no such function",
        "PROBIT and SOFTMAX_ZERO unsupported",
    );
    let element = || between(0.5, 2., &[3, 4]).constant();
    let by_element = [floats(&[2, 3, 4]), element(), element(), element(), element()];
    add(
        case("BatchNormalization", "`spatial` 0", by_element, vec![int("spatial", 0)]).opset(7),
        "the runtime has one set of statistics for each channel",
        "'spatial' is not supported",
    );
    let parameters = [floats(&[2, 3, 4]), parameter(), parameter(), parameter(), parameter()];
    add(
        case("BatchNormalization", "several outputs, before version 14", parameters, vec![])
            .outputs(3)
            .with_outputs(&[ANSWER])
            .opset(13),
        "they ask for a training; the runtime has that of an inference",
        "before version 14",
    );
    let on = exactly(&[], TensorData::Bool(vec![true].into())).constant();
    let training = case("Dropout", "`training_mode`", [x(), scalar(0.5), on], vec![]);
    add(training, "it draws random numbers", "training mode with a non-zero ratio");
    add(
        case("Cast", "to float16", [x()], vec![int("to", 10)]),
        "proofs carry floats of 32 and 64 bits, integers and flags",
        "F16",
    );
    add(
        case("Cast", "to text", [x()], vec![int("to", 8)]),
        "proofs carry numbers and flags, no text",
        "String",
    );
    add(
        case("Relu", "of another operator domain", [x()], vec![]).domain("my.company"),
        "what another domain means by a name is not known",
        "the operator domain",
    );
    let categories = vec![
        ints("cats_int64s", &[1, 2]),
        texts("cats_strings", &["one", "two"]),
        text("default_string", "none"),
    ];
    add(
        case("CategoryMapper", "", [list(&[1, 2, 3])], categories).domain("ai.onnx.ml"),
        "proofs carry numbers and flags, no text",
        "String",
    );
    let branch = |kind, attributes| {
        let output = value_info("answer inside", DatumType::F32, &[2, 3]);
        let inside = node(kind, &["input1"], &["answer inside"], attributes);
        graph(kind, vec![inside], vec![], vec![], vec![output])
    };
    let attributes = vec![
        graph_attribute("then_branch", branch("Celu", vec![real("alpha", 0.5)])),
        graph_attribute("else_branch", branch("Relu", vec![])),
    ];
    let choice = node("If", &["input0"], &["chosen"], attributes);
    add(
        several("If", "a branch that is refused", vec![flags(&[]), x()], vec![choice])
            .with_outputs(&["chosen"]),
        "what is refused is refused inside graphs too",
        "`answer inside` (Celu)",
    );
    for (kind, reads, attributes) in [
        ("RandomNormal", None, vec![ints("shape", &[2, 3])]),
        ("RandomUniform", None, vec![ints("shape", &[2, 3])]),
        ("RandomNormalLike", Some("input0"), vec![]),
        ("RandomUniformLike", Some("input0"), vec![]),
        ("Bernoulli", Some("input0"), vec![]),
        ("Multinomial", Some("input0"), vec![]),
    ] {
        let reads: Vec<&str> = reads.into_iter().collect();
        // An operation without inputs needs another one: a model without inputs is none.
        let nodes = vec![
            node("Neg", &["input0"], &["unused"], vec![]),
            node(kind, &reads, &[ANSWER], attributes),
        ];
        add(
            several(kind, "", vec![x()], nodes),
            "it draws random numbers",
            "it draws random numbers",
        );
    }
    cases
}
