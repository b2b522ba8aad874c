//! Forms that the runtime would run, but not as ONNX means them: they are refused. A verifier
//! recomputes in the same runtime, and would accept a proof of an answer that is not the model's.

use nomopoly::TensorData;
use nomopoly::onnx::builder::{
    float_attribute as real, floats_attribute as reals, int_attribute as int,
    ints_attribute as ints, node, string_attribute as text, tensor_f32, tensor_i64,
};
use nomopoly::onnx::pb;

use super::case::{
    ANSWER, Case, absent, between, case, exactly, floats, list, numbers, scalar, several, texts,
    unsigned_bytes, zero_point,
};
use super::refused::Refused;

/// A form with another meaning.
pub struct Deviation {
    pub refused: Refused,
    /// What the runtime would compute in its place.
    pub instead: Case,
}

pub fn cases() -> Vec<Deviation> {
    let mut cases = vec![];
    let mut add = |case, instead, why, says| {
        cases.push(Deviation { refused: Refused { case, why, says }, instead });
    };
    let ignored = "the runtime ignores the attribute";
    for (kind, gates) in [("LSTM", 4), ("GRU", 3), ("RNN", 1)] {
        let recurrent = |form, attributes: &[pb::AttributeProto]| {
            let weights = |width| floats(&[1, gates * 4, width]).constant();
            let mut all = vec![int("hidden_size", 4)];
            all.extend_from_slice(attributes);
            case(kind, form, [floats(&[5, 1, 3]), weights(3), weights(4)], all)
        };
        let plain = || recurrent("", &[]);
        let reverse = recurrent("`direction` reverse", &[text("direction", "reverse")]);
        let why = "the runtime runs forward; in both directions it is as ONNX says";
        add(reverse, plain(), why, "tract runs it forward");
        let activations = ["HardSigmoid", "Relu", "Relu"];
        let activations = &activations[..if gates == 4 { 3 } else { gates.min(2) }];
        let activations = recurrent("`activations`", &[texts("activations", activations)]);
        let why = "the runtime has the default functions only";
        add(activations, plain(), why, "tract ignores `activations`");
        let clipped = recurrent("`clip`", &[real("clip", 0.1)]);
        add(clipped, plain(), ignored, "tract ignores `clip`");
        if kind == "LSTM" {
            let coupled = recurrent("`input_forget`", &[int("input_forget", 1)]);
            add(coupled, plain(), ignored, "tract ignores `input_forget`");
        }
        if kind == "GRU" {
            let form = "`linear_before_reset` other than 0 and 1";
            let linear = recurrent(form, &[int("linear_before_reset", 2)]);
            let why = "the runtime takes it for 0, ONNX Runtime for 1";
            add(linear, plain(), why, "tract takes every `linear_before_reset`");
        }
    }
    let x = || floats(&[2, 3, 4]);
    add(
        case("Celu", "`alpha` other than 1", [x()], vec![real("alpha", 0.5)]),
        several(
            "Celu",
            "",
            vec![x()],
            vec![
                node("Div", &["input0", "half"], &["scaled"], vec![]),
                node("Exp", &["scaled"], &["power"], vec![]),
                node("Sub", &["power", "one"], &["less"], vec![]),
                node("Min", &["zero", "less"], &["low"], vec![]),
                node("Max", &["zero", "input0"], &["high"], vec![]),
                node("Add", &["low", "high"], &[ANSWER], vec![]),
            ],
        )
        .with(vec![
            tensor_f32("half", &[], &[0.5]),
            tensor_f32("one", &[], &[1.]),
            tensor_f32("zero", &[], &[0.]),
        ]),
        "the runtime does not multiply negative values with `alpha`",
        "does not multiply negative values",
    );
    add(
        case("Swish", "`alpha` other than 1", [x()], vec![real("alpha", 0.5)]).opset(24),
        case("Swish", "", [x()], vec![]).opset(24),
        ignored,
        "tract ignores `alpha`",
    );
    let heads = || floats(&[1, 2, 4, 3]);
    let attention = |form, attributes: &[pb::AttributeProto]| {
        let mut all = vec![int("is_causal", 1)];
        all.extend_from_slice(attributes);
        case("Attention", form, [heads(), heads(), heads()], all).opset(25)
    };
    add(
        attention("`left_window_size`, `right_window_size`", &[int("left_window_size", 1)]),
        attention("", &[]),
        "the runtime ignores the attributes",
        "tract ignores `left_window_size`",
    );
    let past = || floats(&[1, 2, 2, 3]);
    let allowed = (0..24).map(|at| if at % 6 <= at / 6 { 0. } else { -1e9 });
    let mask = exactly(&[4, 6], TensorData::F32(allowed.collect())).constant();
    add(
        case(
            "Attention",
            "`is_causal` with past keys",
            [heads(), heads(), heads(), absent(), past(), past()],
            vec![int("is_causal", 1)],
        )
        .opset(24),
        case("Attention", "", [heads(), heads(), heads(), mask, past(), past()], vec![]).opset(24),
        "the runtime shows the first query the first key alone, not all past ones",
        "with `is_causal` and past keys",
    );
    add(
        case(
            "QuantizeLinear",
            "`output_dtype` without a zero point",
            [x(), scalar(0.1)],
            vec![int("output_dtype", 3)],
        )
        .opset(21),
        case("QuantizeLinear", "", [x(), scalar(0.1)], vec![]).opset(21),
        "the runtime ignores the attribute: it has uint8",
        "tract ignores `output_dtype`",
    );
    let bytes = || [unsigned_bytes(&[2, 3]), scalar(0.05), zero_point(100)];
    add(
        case("DequantizeLinear", "`output_dtype`", bytes(), vec![int("output_dtype", 10)])
            .opset(23),
        case("DequantizeLinear", "", bytes(), vec![]).opset(23),
        "the runtime ignores the attribute: it has float32",
        "tract ignores `output_dtype`",
    );
    let norms = |mode: &'static str| {
        let parameter = || floats(&[3]).constant();
        let variance = between(0.5, 2., &[3]).constant();
        let attributes = if mode.is_empty() { vec![] } else { vec![int("training_mode", 1)] };
        let operands = [x(), parameter(), parameter(), parameter(), variance];
        case("BatchNormalization", mode, operands, attributes)
    };
    add(
        norms("`training_mode`"),
        norms(""),
        "the runtime normalises with the given statistics, as in an inference",
        "tract ignores `training_mode`",
    );
    add(
        case("GlobalLpPool", "", [floats(&[1, 2, 3, 4])], vec![]),
        several(
            "GlobalLpPool",
            "",
            vec![floats(&[1, 2, 3, 4])],
            vec![
                node("Mul", &["input0", "input0"], &["squares"], vec![]),
                node("ReduceMean", &["squares"], &["mean"], vec![ints("axes", &[2, 3])]),
                node("Sqrt", &["mean"], &[ANSWER], vec![]),
            ],
        ),
        "the runtime divides by the number of elements: a mean in the place of a sum",
        "tract divides by the number of elements",
    );
    let matrices = [x(), floats(&[4, 5])];
    add(
        case(
            "Einsum",
            "an ellipsis in one operand alone",
            matrices.clone(),
            vec![text("equation", "...i,ij->...j")],
        ),
        several(
            "Einsum",
            "",
            matrices.to_vec(),
            vec![
                node("MatMul", &["input0", "input1"], &["products"], vec![]),
                node("ReduceSum", &["products", "first"], &[ANSWER], vec![int("keepdims", 0)]),
            ],
        )
        .with(vec![tensor_i64("first", &[1], &[0])]),
        "the runtime sums over the ellipsis; written out in letters it is as ONNX says",
        "only some operands have",
    );
    add(
        case(
            "Einsum",
            "no letter behind the arrow",
            [floats(&[3, 4])],
            vec![text("equation", "ij->")],
        ),
        case("Einsum", "", [floats(&[3, 4])], vec![text("equation", "ij->ij")]),
        "the runtime sums nothing",
        "tract sums nothing",
    );
    let batches = [x(), floats(&[2, 4, 5])];
    add(
        case(
            "Einsum",
            "an ellipsis in two operands, no arrow",
            batches.clone(),
            vec![text("equation", "...ij,...jk")],
        ),
        case("Einsum", "", batches, vec![text("equation", "bij,bjk->ik")]),
        "the runtime sums over the ellipsis; with an arrow it is as ONNX says",
        "when there is no arrow",
    );
    // So small that an epsilon shows.
    let small = || between(-0.02, 0.02, &[2, 3, 4]);
    for kind in ["SkipLayerNormalization", "SkipSimplifiedLayerNormalization"] {
        let skipped = |form, attributes| {
            let operands = [small(), small(), floats(&[4]).constant()];
            case(kind, form, operands, attributes).domain("com.microsoft")
        };
        add(
            skipped("without `epsilon`", vec![]),
            skipped("", vec![real("epsilon", 1e-5)]),
            "the default of the runtime is 1e-5, that of ONNX Runtime 1e-12",
            "without `epsilon`",
        );
    }
    let simplified = "SkipSimplifiedLayerNormalization";
    let gamma = || floats(&[4]).constant();
    let epsilon = || vec![real("epsilon", 1e-5)];
    add(
        case(simplified, "a bias", [x(), x(), gamma(), gamma()], epsilon()).domain("com.microsoft"),
        case(simplified, "", [x(), x(), gamma()], epsilon()).domain("com.microsoft"),
        "the runtime ignores the bias",
        "tract ignores the bias",
    );
    add(
        case(
            "Slice",
            "bounds as inputs, steps other than 1",
            [floats(&[4, 5]), list(&[-1, 0]), list(&[-4, 4]), numbers(&[0, 1]), numbers(&[-1, 2])],
            vec![],
        ),
        case("Identity", "", [floats(&[4, 5])], vec![]),
        "the runtime leaves those axes as they are",
        "with bounds that are not constant",
    );
    let heads = || [floats(&[1, 3, 8]), floats(&[1, 3, 8]), floats(&[1, 3, 8])];
    let multi_head = |form, attributes: &[pb::AttributeProto]| {
        let mut all = vec![int("num_heads", 2)];
        all.extend_from_slice(attributes);
        case("MultiHeadAttention", form, heads(), all).domain("com.microsoft")
    };
    add(
        multi_head("`unidirectional`", &[int("unidirectional", 1)]),
        multi_head("", &[]),
        ignored,
        "tract ignores `unidirectional`",
    );
    // Two heads and two angles, or it would not run at all.
    let (cosines, sines) = ([0.8, 0.5], [0.6, -0.4]);
    let cache = |row: [f32; 2]| {
        exactly(&[2, 2], TensorData::F32([[0., 1.], row].concat().into())).constant()
    };
    add(
        case(
            "RotaryEmbedding",
            "a single position",
            [floats(&[1, 2, 3, 4]), list(&[1]), cache(cosines), cache(sines)],
            vec![],
        )
        .domain("com.microsoft"),
        several(
            "RotaryEmbedding",
            "",
            vec![floats(&[1, 2, 3, 4])],
            vec![
                node("Split", &["input0"], &["low", "high"], vec![int("axis", 3)]),
                node("Mul", &["low", "cosines"], &["low_cosine"], vec![]),
                node("Mul", &["high", "sines"], &["high_sine"], vec![]),
                node("Sub", &["low_cosine", "high_sine"], &["real"], vec![]),
                node("Mul", &["low", "sines"], &["low_sine"], vec![]),
                node("Mul", &["high", "cosines"], &["high_cosine"], vec![]),
                node("Add", &["low_sine", "high_cosine"], &["imaginary"], vec![]),
                node("Concat", &["real", "imaginary"], &[ANSWER], vec![int("axis", 3)]),
            ],
        )
        .with(vec![
            tensor_f32("cosines", &[1, 2, 1, 1], &cosines),
            tensor_f32("sines", &[1, 2, 1, 1], &sines),
        ]),
        "the runtime turns each head by one of the angles of that position",
        "from a single position",
    );
    let (coefficients, intercept) = ([0.5, -1., 2.], 0.1);
    add(
        case(
            "LinearClassifier",
            "two classes and one model, `post_transform` NONE or SOFTMAX",
            [floats(&[2, 3])],
            vec![
                reals("coefficients", &coefficients),
                reals("intercepts", &[intercept]),
                ints("classlabels_ints", &[10, 20]),
            ],
        )
        .outputs(2)
        .with_outputs(&["answer1", ANSWER])
        .domain("ai.onnx.ml"),
        several(
            "LinearClassifier",
            "",
            vec![floats(&[2, 3])],
            vec![
                node("MatMul", &["input0", "weights"], &["products"], vec![]),
                node("Add", &["products", "bias"], &["score"], vec![]),
                node("Neg", &["score"], &["other"], vec![]),
                node("Concat", &["other", "score"], &[ANSWER], vec![int("axis", 1)]),
            ],
        )
        .with(vec![
            tensor_f32("weights", &[3, 1], &coefficients),
            tensor_f32("bias", &[1], &[intercept]),
        ]),
        "the scores of the runtime are -s and s, those of ONNX Runtime 1 - s and s",
        "that share one model",
    );
    let tree = |form, mode: &str, labels: &[i64], ids: &[i64], weights: &[f32]| {
        let attributes = vec![
            ints("nodes_treeids", &[0, 0, 0]),
            ints("nodes_nodeids", &[0, 1, 2]),
            ints("nodes_featureids", &[1, 0, 0]),
            reals("nodes_values", &[0.2, 0., 0.]),
            texts("nodes_modes", &[mode, "LEAF", "LEAF"]),
            ints("nodes_truenodeids", &[1, 0, 0]),
            ints("nodes_falsenodeids", &[2, 0, 0]),
            ints("class_treeids", &[0, 0]),
            ints("class_nodeids", &[1, 2]),
            ints("class_ids", ids),
            reals("class_weights", weights),
            ints("classlabels_int64s", labels),
        ];
        case("TreeEnsembleClassifier", form, [floats(&[6, 2])], attributes)
            .outputs(2)
            .domain("ai.onnx.ml")
    };
    let (three, two) = ([10, 20, 30], [10, 20]);
    let scores = |tree: Case| tree.with_outputs(&["answer1", ANSWER]);
    add(
        scores(tree("BRANCH_GTE", "BRANCH_GTE", &three, &[0, 2], &[0.7, 0.3])),
        scores(tree("", "BRANCH_GT", &three, &[0, 2], &[0., 0.])),
        "the runtime takes the node for a leaf",
        "tract takes a BRANCH_GTE",
    );
    add(
        tree("two classes, weights for one", "BRANCH_LEQ", &two, &[0, 0], &[0.7, 0.2]),
        tree("", "BRANCH_LEQ", &three, &[0, 0], &[0.7, 0.2]),
        "the runtime picks the label from the weights and 0, ONNX Runtime from their sum and 0.5",
        "for one of two classes alone",
    );
    let cubic =
        || vec![text("mode", "bicubic"), text("padding_mode", "border"), int("align_corners", 1)];
    let points = || [floats(&[1, 2, 4, 5]), floats(&[1, 3, 3, 2])];
    add(
        case("GridSample", "bicubic with `padding_mode` border", points(), cubic()),
        several(
            "GridSample",
            "",
            points().to_vec(),
            vec![
                node("Clip", &["input1", "first", "last"], &["inside"], vec![]),
                node("GridSample", &["input0", "inside"], &[ANSWER], cubic()),
            ],
        )
        .with(vec![tensor_f32("first", &[], &[-1.]), tensor_f32("last", &[], &[1.])]),
        "the runtime moves points to the border before it samples",
        "tract moves points to the border",
    );
    let resized = |form, length, scale, region: Option<Vec<f32>>, attributes| {
        let region = region.map(|ends| exactly(&[8], TensorData::F32(ends.into())).constant());
        let scales = exactly(&[4], TensorData::F32(vec![1., 1., 1., scale].into())).constant();
        let operands = [floats(&[1, 1, 1, length]), region.unwrap_or_else(absent), scales];
        case("Resize", form, operands, attributes)
    };
    let mapping = |mode| text("coordinate_transformation_mode", mode);
    // Ten pixels, not the 10.2 of the scale, from a fifth to four fifths of the way.
    let mut interpolation = [[0f32; 10]; 6];
    for pixel in 0..10u8 {
        let at = 5. * 0.2 + f32::from(pixel) * 5. * 0.6 / 9.2;
        for (from, row) in (0u8..).zip(&mut interpolation) {
            row[usize::from(pixel)] = (1. - (at - f32::from(from)).abs()).max(0.);
        }
    }
    add(
        resized(
            "`tf_crop_and_resize`",
            6,
            1.7,
            Some(vec![0., 0., 0., 0.2, 1., 1., 1., 0.8]),
            vec![text("mode", "linear"), mapping("tf_crop_and_resize")],
        ),
        several(
            "Resize",
            "",
            vec![floats(&[1, 1, 1, 6])],
            vec![node("MatMul", &["input0", "interpolation"], &[ANSWER], vec![])],
        )
        .with(vec![tensor_f32("interpolation", &[6, 10], interpolation.as_flattened())]),
        "the runtime counts the fraction of a pixel that a scale leaves over, ONNX Runtime does not",
        "with `tf_crop_and_resize`",
    );
    for (form, mode, length, scale, pixels) in [
        (
            "nearest with `align_corners`",
            "align_corners",
            6,
            1.7,
            &[0, 0, 1, 1, 2, 2, 3, 3, 4, 4][..],
        ),
        ("nearest with `half_pixel_symmetric`", "half_pixel_symmetric", 5, 0.6, &[0, 2, 3][..]),
    ] {
        add(
            resized(form, length, scale, None, vec![text("nearest_mode", "floor"), mapping(mode)]),
            case("Gather", "", [floats(&[1, 1, 1, length]), numbers(pixels)], vec![int("axis", 3)]),
            "the runtime takes another pixel than ONNX Runtime",
            "takes other pixels for the nearest",
        );
    }
    cases
}
