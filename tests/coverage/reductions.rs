//! Operations that look along one or more axes: sums, maxima, normalisations, pools, transforms.

use nomopoly::onnx::builder::{
    float_attribute as real, int_attribute as int, ints_attribute as ints, node,
    string_attribute as text, tensor_f32, tensor_i64,
};

use super::case::{ANSWER, Case, absent, between, case, floats, number, numbers, several};

const SHAPE: [usize; 3] = [2, 3, 4];

pub fn cases() -> Vec<Case> {
    let mut cases = vec![];
    for kind in [
        "ReduceL1",
        "ReduceL2",
        "ReduceLogSum",
        "ReduceLogSumExp",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "ReduceProd",
        "ReduceSum",
        "ReduceSumSquare",
    ] {
        let attributes = vec![int("keepdims", 0)];
        let operands = [between(0.2, 2., &SHAPE), numbers(&[0, -1])];
        cases.push(case(kind, "constant axes", operands, attributes).opset(18));
        let attributes = vec![ints("axes", &[1])];
        let operands = [between(0.2, 2., &SHAPE)];
        cases.push(case(kind, "axes as an attribute", operands, attributes).opset(11));
        let operands = [between(0.2, 2., &SHAPE)];
        cases.push(case(kind, "all axes", operands, vec![]).opset(18));
    }
    for kind in ["Softmax", "LogSoftmax", "Hardmax"] {
        cases.push(case(kind, "the last axis", [floats(&SHAPE)], vec![]));
        cases.push(case(kind, "another axis", [floats(&SHAPE)], vec![int("axis", 1)]));
        let flattened = case(kind, "flattened, before version 13", [floats(&SHAPE)], vec![]);
        cases.push(flattened.opset(11));
    }
    for kind in ["ArgMax", "ArgMin"] {
        let attributes = vec![int("axis", 1), int("keepdims", 0)];
        cases.push(case(kind, "", [floats(&SHAPE)], attributes));
        cases.push(case(
            kind,
            "the last of equals",
            [floats(&SHAPE)],
            vec![int("axis", -1), int("select_last_index", 1)],
        ));
    }
    for norm in ["MAX", "L1", "L2"] {
        let operands = [between(0.5, 2., &[2, 4])];
        cases.push(
            case("Normalizer", norm, operands, vec![text("norm", norm)]).domain("ai.onnx.ml"),
        );
    }
    for (p, form) in [(1, "p = 1"), (2, "p = 2")] {
        let attributes = vec![int("p", p), int("axis", 1)];
        cases.push(case("LpNormalization", form, [floats(&SHAPE)], attributes));
    }
    for kind in ["GlobalAveragePool", "GlobalMaxPool"] {
        cases.push(case(kind, "", [floats(&[2, 3, 4, 5])], vec![]));
    }
    let vector = |length: usize| floats(&[length]).constant();
    let positive = |length: usize| between(0.5, 2., &[length]).constant();
    cases.extend([
        case(
            "AveragePool",
            "padding not counted",
            [floats(&[1, 2, 5, 6])],
            vec![ints("kernel_shape", &[3, 2]), ints("pads", &[1, 0, 1, 1])],
        ),
        case(
            "AveragePool",
            "padding counted, ceiling",
            [floats(&[1, 2, 6, 6])],
            vec![
                ints("kernel_shape", &[3, 3]),
                ints("strides", &[2, 2]),
                ints("pads", &[1, 1, 1, 1]),
                int("count_include_pad", 1),
                int("ceil_mode", 1),
            ],
        ),
        case(
            "MaxPool",
            "dilated",
            [floats(&[1, 2, 7, 6])],
            vec![
                ints("kernel_shape", &[2, 2]),
                ints("dilations", &[2, 1]),
                ints("strides", &[2, 1]),
            ],
        ),
        case(
            "MaxPool",
            "same size",
            [floats(&[1, 2, 5, 6])],
            vec![ints("kernel_shape", &[3, 3]), text("auto_pad", "SAME_UPPER")],
        ),
        case(
            "MaxPool",
            "with the output Indices",
            [floats(&[1, 2, 4, 4])],
            vec![ints("kernel_shape", &[2, 2])],
        )
        .outputs(2)
        .without_artefact("the output Indices has no artefact"),
        case(
            "BatchNormalization",
            "of an inference",
            [floats(&[2, 3, 4]), vector(3), vector(3), vector(3), positive(3)],
            vec![real("epsilon", 1e-3)],
        ),
        case("InstanceNormalization", "", [floats(&[2, 3, 4]), vector(3), vector(3)], vec![]),
        case("LayerNormalization", "", [floats(&SHAPE), vector(4), vector(4)], vec![]),
        case(
            "LayerNormalization",
            "two axes, no bias",
            [floats(&SHAPE), floats(&[3, 4]).constant()],
            vec![int("axis", 1)],
        ),
        case(
            "LayerNormalization",
            "with its statistics",
            [floats(&SHAPE), vector(4), vector(4)],
            vec![],
        )
        .outputs(3),
        case(
            "GroupNormalization",
            "",
            [floats(&[2, 4, 3]), vector(4), vector(4)],
            vec![int("num_groups", 2)],
        )
        .opset(21),
        case("RMSNormalization", "", [floats(&SHAPE), vector(4)], vec![]).opset(23),
        case("SimplifiedLayerNormalization", "", [floats(&SHAPE), vector(4)], vec![]),
        case(
            "SkipLayerNormalization",
            "",
            [floats(&SHAPE), floats(&SHAPE), vector(4), vector(4), vector(4)],
            vec![real("epsilon", 1e-5)],
        )
        .domain("com.microsoft"),
        case(
            "SkipSimplifiedLayerNormalization",
            "",
            [floats(&SHAPE), floats(&SHAPE), vector(4)],
            vec![real("epsilon", 1e-5)],
        )
        .domain("com.microsoft"),
        case(
            "LRN",
            "",
            [floats(&[1, 5, 2, 3])],
            vec![int("size", 3), real("alpha", 0.01), real("beta", 0.6)],
        ),
        case("MeanVarianceNormalization", "", [floats(&[2, 3, 2, 4])], vec![]),
        case("TopK", "", [floats(&[2, 6]), numbers(&[3])], vec![]).outputs(2),
        case(
            "TopK",
            "the smallest along another axis",
            [floats(&[4, 3]), numbers(&[2])],
            vec![int("axis", 0), int("largest", 0)],
        )
        .outputs(2),
        case("DFT", "", [floats(&[1, 8, 1])], vec![int("axis", 1)]),
        case(
            "DFT",
            "backwards, axis as an input",
            [floats(&[1, 8, 2]), absent(), number(1)],
            vec![int("inverse", 1)],
        )
        .opset(20),
        case("STFT", "", [floats(&[1, 16, 1]), number(4), floats(&[8]).constant()], vec![]),
    ]);
    for kind in ["BlackmanWindow", "HammingWindow", "HannWindow"] {
        let nodes = vec![
            node("Size", &["input0"], &["length"], vec![]),
            node(kind, &["length"], &["window"], vec![]),
            node("Mul", &["input0", "window"], &[ANSWER], vec![]),
        ];
        cases.push(several(kind, "as long as an input", vec![floats(&[8])], nodes));
    }
    let nodes = vec![
        node("MelWeightMatrix", &["bins", "length", "rate", "low", "high"], &["mel"], vec![]),
        node("MatMul", &["input0", "mel"], &[ANSWER], vec![]),
    ];
    let mel = several("MelWeightMatrix", "multiplied with an input", vec![floats(&[2, 9])], nodes);
    cases.push(mel.with(vec![
        tensor_i64("bins", &[], &[4]),
        tensor_i64("length", &[], &[16]),
        tensor_i64("rate", &[], &[8192]),
        tensor_f32("low", &[], &[0.]),
        tensor_f32("high", &[], &[4096.]),
    ]));
    cases
}
