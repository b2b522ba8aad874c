//! Sums of products: matrices, convolutions, attention, and what is quantised.

use nomopoly::TensorData;
use nomopoly::onnx::builder::{
    float_attribute as real, floats_attribute as reals, int_attribute as int,
    ints_attribute as ints, node, string_attribute as text, tensor_f32,
};

use super::case::{
    ANSWER, Case, absent, between, case, exactly, floats, scalar, several, signed_bytes, texts,
    unsigned_bytes, zero_point,
};

pub fn cases() -> Vec<Case> {
    let weights = |shape: &[usize]| floats(shape).constant();
    vec![
        // MatMul and Gemm.
        case("MatMul", "a constant right operand", [floats(&[3, 4]), weights(&[4, 5])], vec![]),
        case("MatMul", "a batch times a constant", [floats(&[2, 3, 4]), weights(&[4, 5])], vec![]),
        case("MatMul", "constant batches", [floats(&[2, 3, 4]), weights(&[2, 4, 5])], vec![]),
        several(
            "MatMul",
            "a constant bias behind it",
            vec![floats(&[2, 3, 4])],
            vec![
                node("MatMul", &["input0", "weights"], &["product"], vec![]),
                node("Add", &["product", "bias"], &[ANSWER], vec![]),
            ],
        )
        .with(vec![
            tensor_f32("weights", &[4, 2], &[0.5; 8]),
            tensor_f32("bias", &[2], &[1., -1.]),
        ]),
        case("MatMul", "two inputs", [floats(&[3, 4]), floats(&[4, 5])], vec![])
            .without_artefact("the right operand is not constant"),
        case(
            "MatMul",
            "two inputs of batches",
            [floats(&[2, 1, 3, 4]), floats(&[5, 4, 2])],
            vec![],
        )
        .without_artefact("the right operand is not constant"),
        case("MatMul", "a constant left operand", [weights(&[3, 4]), floats(&[4, 5])], vec![])
            .without_artefact("the right operand is not constant"),
        case("Gemm", "", [floats(&[3, 4]), weights(&[4, 5]), weights(&[5])], vec![]),
        case(
            "Gemm",
            "transposed and scaled",
            [floats(&[4, 3]), weights(&[5, 4])],
            vec![int("transA", 1), int("transB", 1), real("alpha", 0.5)],
        ),
        case("Gemm", "two inputs", [floats(&[3, 4]), floats(&[4, 5])], vec![])
            .without_artefact("the right operand is not constant"),
        case(
            "Einsum",
            "two batches of matrices",
            [floats(&[2, 3, 4]), floats(&[2, 4, 5])],
            vec![text("equation", "bij,bjk->bik")],
        ),
        case(
            "Einsum",
            "an ellipsis",
            [floats(&[2, 3, 4]), floats(&[2, 4, 5])],
            vec![text("equation", "...ij,...jk->...ik")],
        ),
        case(
            "Einsum",
            "a batch times a constant",
            [floats(&[2, 3, 4]), weights(&[4, 5])],
            vec![text("equation", "abi,ij->abj")],
        ),
        case(
            "Einsum",
            "scores of attention",
            [floats(&[1, 2, 3, 4]), floats(&[1, 2, 5, 4])],
            vec![text("equation", "bhqd,bhkd->bhqk")],
        ),
        // Convolutions.
        case("Conv", "one axis", [floats(&[2, 3, 8]), weights(&[4, 3, 3]), weights(&[4])], vec![]),
        case(
            "Conv",
            "padded, strided, dilated",
            [floats(&[2, 3, 8, 7]), weights(&[4, 3, 3, 2])],
            vec![ints("pads", &[1, 0, 2, 1]), ints("strides", &[2, 1]), ints("dilations", &[1, 2])],
        ),
        case(
            "Conv",
            "same size",
            [floats(&[1, 2, 5, 5]), weights(&[3, 2, 3, 3])],
            vec![text("auto_pad", "SAME_LOWER")],
        ),
        case(
            "Conv",
            "grouped",
            [floats(&[1, 4, 5, 5]), weights(&[6, 2, 3, 3]), weights(&[6])],
            vec![int("group", 2)],
        ),
        case(
            "Conv",
            "depthwise",
            [floats(&[1, 4, 5, 5]), weights(&[4, 1, 3, 3])],
            vec![int("group", 4)],
        ),
        case("Conv", "three axes", [floats(&[1, 2, 4, 4, 4]), weights(&[3, 2, 2, 2, 2])], vec![]),
        case("Conv", "weights as an input", [floats(&[1, 2, 5, 5]), floats(&[3, 2, 3, 3])], vec![])
            .without_artefact("the weight tensor is not constant"),
        case(
            "ConvTranspose",
            "strided",
            [floats(&[1, 3, 4, 4]), weights(&[3, 2, 3, 3]), weights(&[2])],
            vec![ints("strides", &[2, 2]), ints("output_padding", &[1, 1])],
        ),
        case(
            "ConvTranspose",
            "grouped, padded",
            [floats(&[1, 4, 4, 4]), weights(&[4, 2, 3, 3])],
            vec![int("group", 2), ints("pads", &[1, 1, 1, 1])],
        ),
        // Integers.
        case(
            "ConvInteger",
            "",
            [
                unsigned_bytes(&[1, 2, 4, 4]),
                unsigned_bytes(&[3, 2, 2, 2]).constant(),
                zero_point(3),
            ],
            vec![],
        ),
        case(
            "MatMulInteger",
            "",
            [unsigned_bytes(&[3, 4]), signed_bytes(&[4, 5]).constant(), zero_point(12)],
            vec![],
        ),
        case(
            "QuantizeLinear",
            "to uint8",
            [floats(&[2, 3]), scalar(0.05), zero_point(100)],
            vec![],
        ),
        case(
            "QuantizeLinear",
            "to int8",
            [
                floats(&[2, 3]),
                scalar(0.05),
                exactly(&[], TensorData::I8(vec![-3].into())).constant(),
            ],
            vec![],
        ),
        case(
            "QuantizeLinear",
            "by channel",
            [
                floats(&[2, 3]),
                between(0.02, 0.1, &[3]).constant(),
                exactly(&[3], TensorData::U8(vec![100, 128, 90].into())).constant(),
            ],
            vec![int("axis", 1)],
        ),
        case(
            "DequantizeLinear",
            "from uint8",
            [unsigned_bytes(&[2, 3]), scalar(0.05), zero_point(100)],
            vec![],
        ),
        case(
            "DequantizeLinear",
            "by channel",
            [
                signed_bytes(&[2, 3]),
                between(0.02, 0.1, &[3]).constant(),
                exactly(&[3], TensorData::I8(vec![0, 1, -2].into())).constant(),
            ],
            vec![int("axis", 1)],
        ),
        case("DynamicQuantizeLinear", "", [floats(&[2, 3])], vec![]).outputs(3),
        case(
            "QLinearMatMul",
            "",
            [
                unsigned_bytes(&[3, 4]),
                scalar(0.02),
                zero_point(110),
                unsigned_bytes(&[4, 5]).constant(),
                scalar(0.03),
                zero_point(90),
                scalar(0.2),
                zero_point(128),
            ],
            vec![],
        ),
        case(
            "QLinearConv",
            "",
            [
                unsigned_bytes(&[1, 2, 4, 4]),
                scalar(0.02),
                zero_point(110),
                unsigned_bytes(&[3, 2, 2, 2]).constant(),
                scalar(0.03),
                zero_point(90),
                scalar(0.2),
                zero_point(128),
            ],
            vec![],
        ),
        case(
            "MatMulNBits",
            "four bits",
            [
                floats(&[3, 64]),
                unsigned_bytes(&[5, 2, 16]).constant(),
                between(0.05, 0.2, &[10]).constant(),
            ],
            vec![int("K", 64), int("N", 5), int("bits", 4), int("block_size", 32)],
        )
        .domain("com.microsoft"),
        case(
            "GatherBlockQuantized",
            "",
            [
                unsigned_bytes(&[6, 32]).constant(),
                exactly(&[3], TensorData::I64(vec![5, 0, 2].into())),
                between(0.05, 0.2, &[6, 2]).constant(),
            ],
            vec![
                int("bits", 4),
                int("block_size", 32),
                int("gather_axis", 0),
                int("quantize_axis", 1),
            ],
        )
        .domain("com.microsoft"),
        // Attention.
        case(
            "Attention",
            "four dimensions",
            [floats(&[1, 2, 3, 4]), floats(&[1, 2, 5, 4]), floats(&[1, 2, 5, 4])],
            vec![],
        )
        .opset(23),
        case(
            "Attention",
            "causal, three dimensions",
            [floats(&[1, 4, 8]), floats(&[1, 4, 4]), floats(&[1, 4, 4])],
            vec![int("q_num_heads", 2), int("kv_num_heads", 1), int("is_causal", 1)],
        )
        .opset(23),
        case(
            "MultiHeadAttention",
            "",
            [floats(&[1, 3, 8]), floats(&[1, 5, 8]), floats(&[1, 5, 8])],
            vec![int("num_heads", 2)],
        )
        .domain("com.microsoft"),
        case(
            "GroupQueryAttention",
            "",
            [
                floats(&[1, 3, 16]),
                floats(&[1, 3, 8]),
                floats(&[1, 3, 8]),
                absent(),
                absent(),
                exactly(&[1], TensorData::I32(vec![2].into())).constant(),
                exactly(&[], TensorData::I32(vec![3].into())).constant(),
            ],
            vec![int("num_heads", 2), int("kv_num_heads", 1)],
        )
        .outputs(3)
        .domain("com.microsoft"),
        case(
            "RotaryEmbedding",
            "",
            [
                floats(&[1, 2, 3, 4]),
                floats(&[6, 2]).constant(),
                floats(&[6, 2]).constant(),
                exactly(&[1, 3], TensorData::I64(vec![4, 0, 5].into())),
            ],
            vec![],
        )
        .opset(23),
        case(
            "RotaryEmbedding",
            "",
            [
                floats(&[1, 2, 3, 4]),
                exactly(&[1, 3], TensorData::I64(vec![4, 0, 5].into())),
                floats(&[6, 2]).constant(),
                floats(&[6, 2]).constant(),
            ],
            vec![],
        )
        .domain("com.microsoft"),
        // Classical learning.
        case(
            "LinearClassifier",
            "three classes",
            [floats(&[2, 3])],
            vec![
                reals("coefficients", &[0.5, -1., 2., 1., 0.3, -0.2, 0.1, 0.9, -0.7]),
                reals("intercepts", &[0.1, -0.2, 0.3]),
                ints("classlabels_ints", &[10, 20, 30]),
                text("post_transform", "SOFTMAX"),
            ],
        )
        .outputs(2)
        .domain("ai.onnx.ml"),
        case(
            "LinearRegressor",
            "",
            [floats(&[2, 3])],
            vec![reals("coefficients", &[0.5, -1., 2.]), reals("intercepts", &[0.1])],
        )
        .domain("ai.onnx.ml"),
        case(
            "TreeEnsembleClassifier",
            "one tree",
            [floats(&[4, 2])],
            vec![
                ints("nodes_treeids", &[0, 0, 0]),
                ints("nodes_nodeids", &[0, 1, 2]),
                ints("nodes_featureids", &[1, 0, 0]),
                reals("nodes_values", &[0.2, 0., 0.]),
                texts("nodes_modes", &["BRANCH_LEQ", "LEAF", "LEAF"]),
                ints("nodes_truenodeids", &[1, 0, 0]),
                ints("nodes_falsenodeids", &[2, 0, 0]),
                ints("class_treeids", &[0, 0, 0]),
                ints("class_nodeids", &[1, 1, 2]),
                ints("class_ids", &[0, 2, 1]),
                reals("class_weights", &[0.7, 0.3, 1.]),
                ints("classlabels_int64s", &[4, 5, 6]),
            ],
        )
        .outputs(2)
        .domain("ai.onnx.ml"),
    ]
}
