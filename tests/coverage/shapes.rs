//! Operations that move, select, join and repeat elements.

use nomopoly::TensorData;
use nomopoly::onnx::builder::{
    int_attribute as int, ints_attribute as ints, node, string_attribute as text, tensor_attribute,
    tensor_f32, tensor_i64,
};

use super::case::{
    ANSWER, Case, absent, between, case, exactly, flags, floats, list, number, numbers, scalar,
    several,
};

pub fn cases() -> Vec<Case> {
    let mut cases = vec![];
    for mode in ["constant", "reflect", "edge"] {
        let pads = numbers(&[0, 1, 2, 1, 0, 1]);
        let operands = [floats(&[2, 3, 4]), pads];
        cases.push(case("Pad", mode, operands, vec![text("mode", mode)]));
    }
    for (form, mode) in [("in depth order", "DCR"), ("in column order", "CRD")] {
        let attributes = vec![int("blocksize", 2), text("mode", mode)];
        cases.push(case("DepthToSpace", form, [floats(&[1, 8, 2, 3])], attributes));
    }
    for mode in ["nearest", "linear", "cubic"] {
        let sizes = exactly(&[4], TensorData::F32(vec![1., 1., 2., 1.5].into())).constant();
        let operands = [floats(&[1, 2, 4, 4]), absent(), sizes];
        cases.push(case("Resize", mode, operands, vec![text("mode", mode)]));
    }
    let sizes = numbers(&[1, 2, 3, 7]);
    let operands = [floats(&[1, 2, 4, 4]), absent(), absent(), sizes];
    cases.push(case(
        "Resize",
        "to sizes",
        operands,
        vec![text("coordinate_transformation_mode", "align_corners"), text("mode", "linear")],
    ));
    for mode in ["bilinear", "nearest", "bicubic"] {
        let operands = [floats(&[1, 2, 4, 5]), between(-1., 1., &[1, 3, 3, 2])];
        cases.push(case("GridSample", mode, operands, vec![text("mode", mode)]));
    }
    for reduction in ["none", "add", "mul", "max", "min"] {
        let operands = [floats(&[4, 3]), list(&[3, 1]).shaped(&[2, 1]), floats(&[2, 3])];
        let attributes = vec![text("reduction", reduction)];
        cases.push(case("ScatterND", reduction, operands, attributes).opset(18));
        let operands = [floats(&[3, 4]), list(&[2, 0, 1, 2]).shaped(&[1, 4]), floats(&[1, 4])];
        let attributes = vec![text("reduction", reduction)];
        cases.push(case("ScatterElements", reduction, operands, attributes).opset(18));
    }
    for direction in [0, 1] {
        let form = ["the lower triangle", "the upper triangle"][direction];
        let attributes = vec![int("upper", direction as i64)];
        cases.push(case("Trilu", form, [floats(&[2, 4, 4]), number(1)], attributes));
    }
    cases.extend([
        case("ArrayFeatureExtractor", "", [floats(&[3, 4]), numbers(&[2, 0])], vec![])
            .domain("ai.onnx.ml"),
        case(
            "Concat",
            "three inputs",
            [floats(&[2, 3]), floats(&[2, 1]), floats(&[2, 4])],
            vec![int("axis", -1)],
        ),
        several(
            "Constant",
            "added to an input",
            vec![floats(&[2, 3])],
            vec![
                node(
                    "Constant",
                    &[],
                    &["row"],
                    vec![tensor_attribute("value", tensor_f32("", &[3], &[0.5, -1., 2.]))],
                ),
                node("Sub", &["input0", "row"], &[ANSWER], vec![]),
            ],
        ),
        several(
            "ConstantOfShape",
            "the shape of an input",
            vec![floats(&[2, 3])],
            vec![
                node("Shape", &["input0"], &["shape"], vec![]),
                node(
                    "ConstantOfShape",
                    &["shape"],
                    &["halves"],
                    vec![tensor_attribute("value", tensor_f32("", &[1], &[0.5]))],
                ),
                node("Mul", &["input0", "halves"], &[ANSWER], vec![]),
            ],
        ),
        case("Expand", "a constant shape", [floats(&[3, 1]), numbers(&[2, 1, 4])], vec![]),
        case("Flatten", "", [floats(&[2, 3, 4])], vec![int("axis", 2)]),
        case(
            "Gather",
            "constant indices",
            [floats(&[3, 4]), numbers(&[2, -1, 0])],
            vec![int("axis", 1)],
        ),
        case(
            "Gather",
            "indices as an input",
            [floats(&[5, 4]).constant(), list(&[4, 0, 4])],
            vec![],
        ),
        case(
            "GatherElements",
            "",
            [floats(&[3, 3]), list(&[1, 2, 0, 2, 0, 0]).shaped(&[2, 3])],
            vec![int("axis", 0)],
        ),
        case("GatherND", "", [floats(&[2, 3, 4]), list(&[1, 2, 0, 1]).shaped(&[2, 2])], vec![]),
        case(
            "GatherND",
            "batches",
            [floats(&[2, 3, 4]), list(&[2, 0]).shaped(&[2, 1])],
            vec![int("batch_dims", 1)],
        ),
        several(
            "Range",
            "limits from a shape",
            vec![floats(&[5])],
            vec![
                node("Size", &["input0"], &["count"], vec![]),
                node("Range", &["zero", "count", "one"], &["positions"], vec![]),
                node("Cast", &["positions"], &["steps"], vec![int("to", 1)]),
                node("Mul", &["input0", "steps"], &[ANSWER], vec![]),
            ],
        )
        .with(vec![tensor_i64("zero", &[], &[0]), tensor_i64("one", &[], &[1])]),
        case("Reshape", "a constant shape", [floats(&[2, 3, 4]), numbers(&[0, -1])], vec![]),
        several(
            "Reshape",
            "a shape that the model computes",
            vec![floats(&[2, 3, 4])],
            vec![
                node("Shape", &["input0"], &["shape"], vec![]),
                node("Gather", &["shape", "order"], &["turned"], vec![]),
                node("Reshape", &["input0", "turned"], &[ANSWER], vec![]),
            ],
        )
        .with(vec![tensor_i64("order", &[3], &[2, 0, 1])]),
        case(
            "Scatter",
            "",
            [floats(&[3, 4]), list(&[2, 0, 1, 2]).shaped(&[1, 4]), floats(&[1, 4])],
            vec![],
        )
        .opset(10),
        case("Shape", "", [floats(&[2, 3, 4])], vec![]),
        case("Shape", "a part", [floats(&[2, 3, 4])], vec![int("start", -2)]),
        case("Size", "", [floats(&[2, 3, 4])], vec![]),
        case(
            "Slice",
            "constant bounds",
            [
                floats(&[4, 5]),
                numbers(&[1, -1]),
                numbers(&[4, -5]),
                numbers(&[0, 1]),
                numbers(&[2, -2]),
            ],
            vec![],
        ),
        case(
            "Slice",
            "bounds as attributes",
            [floats(&[4, 5])],
            vec![ints("axes", &[1]), ints("starts", &[1]), ints("ends", &[-1])],
        )
        .opset(9),
        case("SpaceToDepth", "", [floats(&[1, 2, 4, 6])], vec![int("blocksize", 2)]),
        case(
            "Split",
            "into parts of given sizes",
            [floats(&[2, 6]), numbers(&[1, 3, 2])],
            vec![int("axis", 1)],
        )
        .outputs(3),
        case(
            "Split",
            "into equal parts",
            [floats(&[2, 6])],
            vec![int("axis", 1), int("num_outputs", 2)],
        )
        .opset(18)
        .outputs(2),
        case("Squeeze", "", [floats(&[1, 3, 1, 2]), numbers(&[0, -2])], vec![]),
        case("Squeeze", "axes as an attribute", [floats(&[1, 3, 1, 2])], vec![ints("axes", &[2])])
            .opset(11),
        case("Tile", "", [floats(&[2, 3]), numbers(&[2, 3])], vec![]),
        case("Transpose", "", [floats(&[2, 3, 4])], vec![ints("perm", &[2, 0, 1])]),
        case("Transpose", "without perm", [floats(&[2, 3, 4])], vec![]),
        case("Unsqueeze", "", [floats(&[2, 3]), numbers(&[0, -1])], vec![]),
        case("Unsqueeze", "axes as an attribute", [floats(&[2, 3])], vec![ints("axes", &[1])])
            .opset(11),
        case(
            "Where",
            "a constant mask",
            [flags(&[4]).constant(), floats(&[2, 4]), scalar(-1e4)],
            vec![],
        ),
    ]);
    cases
}
