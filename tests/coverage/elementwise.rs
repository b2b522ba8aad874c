//! Operations that compute each element of their output from one element of each operand.

use nomopoly::TensorData;
use nomopoly::onnx::builder::{
    float_attribute as real, int_attribute as int, node, string_attribute as text,
};

use super::case::{
    ANSWER, Case, between, case, exactly, flags, floats, list, number, numbers, scalar, several,
    unsigned_bytes,
};

const SHAPE: [usize; 3] = [2, 3, 4];

pub fn cases() -> Vec<Case> {
    let mut cases = vec![];
    for kind in [
        "Abs",
        "Atan",
        "Asinh",
        "Ceil",
        "Cos",
        "Cosh",
        "Erf",
        "Exp",
        "Floor",
        "Identity",
        "Neg",
        "Relu",
        "Round",
        "Sigmoid",
        "Sign",
        "Sin",
        "Sinh",
        "Softplus",
        "Softsign",
        "Tan",
        "Tanh",
        "HardSwish",
    ] {
        cases.push(case(kind, "", [floats(&SHAPE)], vec![]));
    }
    for kind in ["Acos", "Asin", "Atanh"] {
        cases.push(case(kind, "", [between(-0.9, 0.9, &SHAPE)], vec![]));
    }
    for kind in ["Log", "Reciprocal", "Rsqrt", "Sqrt"] {
        cases.push(case(kind, "", [between(0.1, 3., &SHAPE)], vec![]));
    }
    for kind in ["Sub", "Mul", "Div", "Max", "Min", "Mean", "Sum"] {
        let operands = [floats(&SHAPE), between(0.5, 2., &[3, 1])];
        cases.push(case(kind, "two inputs, broadcast", operands, vec![]));
    }
    for kind in ["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"] {
        let operands = [list(&[1, 2, 3, 4]), list(&[4, 2, 3, 1])];
        cases.push(case(kind, "integers", operands, vec![]));
        let operands = [floats(&SHAPE), floats(&[4])];
        cases.push(case(kind, "floats, broadcast", operands, vec![]));
    }
    for kind in ["And", "Or", "Xor"] {
        cases.push(case(kind, "", [flags(&SHAPE), flags(&[4])], vec![]));
    }
    for kind in ["BitwiseAnd", "BitwiseOr", "BitwiseXor"] {
        let operands = [unsigned_bytes(&SHAPE), unsigned_bytes(&[4])];
        cases.push(case(kind, "", operands, vec![]).opset(18));
    }
    for direction in ["LEFT", "RIGHT"] {
        let shift = exactly(&[3], TensorData::U8(vec![1, 2, 0].into()));
        let operands = [unsigned_bytes(&[3]), shift];
        cases.push(case("BitShift", direction, operands, vec![text("direction", direction)]));
    }
    cases.extend([
        case("Acosh", "", [between(1.1, 3., &SHAPE)], vec![]),
        case("Add", "two inputs, broadcast", [floats(&SHAPE), floats(&[3, 1])], vec![]),
        case("Add", "a constant operand", [floats(&SHAPE), floats(&[4]).constant()], vec![]),
        case("Add", "integers", [list(&[1, 2, 3]), list(&[5])], vec![])
            .without_artefact("element type is not f32"),
        case("BitwiseNot", "", [unsigned_bytes(&SHAPE)], vec![]).opset(18),
        case("Cast", "floats to integers", [floats(&SHAPE)], vec![int("to", 7)]),
        case("Cast", "floats to flags", [floats(&SHAPE)], vec![int("to", 9)]),
        case("Cast", "integers to floats", [list(&[-3, 0, 7])], vec![int("to", 1)]),
        case("CastLike", "", [floats(&SHAPE), list(&[0])], vec![]),
        case("Celu", "", [floats(&SHAPE)], vec![]),
        case("Clip", "bounds as inputs", [floats(&SHAPE), scalar(-0.5), scalar(1.)], vec![]),
        case(
            "Clip",
            "bounds as attributes",
            [floats(&SHAPE)],
            vec![real("min", -0.5), real("max", 1.)],
        )
        .opset(10),
        case("Div", "integers", [list(&[7, 8, 9]), list(&[2, 3, 4])], vec![]),
        case("Dropout", "", [floats(&SHAPE)], vec![]),
        case("Dropout", "with its mask", [floats(&SHAPE)], vec![]).outputs(2),
        case("Elu", "", [floats(&SHAPE)], vec![real("alpha", 0.7)]),
        case("Gelu", "exact", [floats(&SHAPE)], vec![]).opset(20),
        case("Gelu", "by tanh", [floats(&SHAPE)], vec![text("approximate", "tanh")]).opset(20),
        case("HardSigmoid", "", [floats(&SHAPE)], vec![real("alpha", 0.3), real("beta", 0.4)]),
        several(
            "IsInf",
            "of what overflows",
            vec![between(70., 110., &SHAPE)],
            vec![
                node("Exp", &["input0"], &["powers"], vec![]),
                node("IsInf", &["powers"], &[ANSWER], vec![]),
            ],
        ),
        several(
            "IsNaN",
            "of roots of negative numbers",
            vec![floats(&SHAPE)],
            vec![
                node("Sqrt", &["input0"], &["roots"], vec![]),
                node("IsNaN", &["roots"], &[ANSWER], vec![]),
            ],
        ),
        case("LeakyRelu", "", [floats(&SHAPE)], vec![real("alpha", 0.1)]),
        case("Mish", "", [floats(&SHAPE)], vec![]).opset(18),
        case("Mod", "integers", [list(&[-7, 8, 9]), list(&[3, 3, -4])], vec![]),
        case("Mod", "floats, as C", [floats(&SHAPE), between(0.5, 1., &[4])], vec![int("fmod", 1)]),
        case("Not", "", [flags(&SHAPE)], vec![]),
        case("PRelu", "", [floats(&SHAPE), floats(&[4]).constant()], vec![]),
        case(
            "ParametricSoftplus",
            "",
            [floats(&SHAPE)],
            vec![real("alpha", 1.), real("beta", 0.5)],
        ),
        case("Pow", "a constant exponent", [floats(&SHAPE), scalar(3.)], vec![]),
        case("Pow", "two inputs", [between(0.5, 2., &SHAPE), floats(&[4])], vec![]),
        case("ScaledTanh", "", [floats(&SHAPE)], vec![real("alpha", 1.5), real("beta", 0.5)]),
        case("Selu", "", [floats(&SHAPE)], vec![]),
        case("Shrink", "", [floats(&SHAPE)], vec![real("bias", 0.2), real("lambd", 0.4)]),
        case("Swish", "", [floats(&SHAPE)], vec![]).opset(24),
        case("ThresholdedRelu", "", [floats(&SHAPE)], vec![real("alpha", 0.5)]),
        case("Where", "three inputs", [flags(&SHAPE), floats(&[4]), floats(&[3, 1])], vec![]),
        case("BiasGelu", "", [floats(&SHAPE), floats(&[4]).constant()], vec![])
            .domain("com.microsoft"),
        case("FastGelu", "", [floats(&SHAPE), floats(&[4]).constant()], vec![])
            .domain("com.microsoft"),
        case("QuickGelu", "", [floats(&SHAPE)], vec![real("alpha", 1.5)]).domain("com.microsoft"),
        case("CumSum", "", [floats(&SHAPE), number(1)], vec![]),
        case(
            "CumSum",
            "backwards, without itself",
            [floats(&SHAPE), number(-1)],
            vec![int("reverse", 1), int("exclusive", 1)],
        ),
        case("ConstantLike", "", [floats(&SHAPE)], vec![real("value", 1.5)]),
        case("EyeLike", "", [floats(&[3, 4])], vec![int("k", 1)]),
        case("OneHot", "", [list(&[2, 0, -1]), number(4), numbers(&[5, 9])], vec![]),
    ]);
    cases
}
