//! Forms that the runtime would run, but not as ONNX means them: they are refused. A verifier
//! recomputes in the same runtime, and would accept a proof of an answer that is not the model's.

use nomopoly::TensorData;
use nomopoly::onnx::builder::{
    float_attribute as real, int_attribute as int, ints_attribute as ints, node,
    string_attribute as text, tensor_f32, tensor_i64,
};
use nomopoly::onnx::pb;

use super::case::{ANSWER, Case, absent, between, case, exactly, floats, scalar, several, texts};
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
    cases
}
