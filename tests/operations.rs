//! Every kind of operation, through the public API: compiled from a model, proved in tract, checked
//! in candle; honest outputs accepted at every scale, wrong ones refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use nomopoly::candle_core::{Device, Tensor};
use nomopoly::onnx::{Graph, Model, Plan, builder, pb};
use nomopoly::operations::Operation;
use nomopoly_build::prost::Message;

type Nodes = (pb::NodeProto, Vec<Vec<usize>>, Vec<(&'static str, Vec<usize>)>, Vec<usize>);

/// Pseudo-random values without structure.
fn values(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1u32 << 24) as f32 * 2. - 1.
        })
        .collect()
}

/// Node, shapes of its inputs x0, x1, shapes of its constants, output shape.
fn cases() -> BTreeMap<&'static str, Nodes> {
    use builder::{int_attribute as int, ints_attribute as ints, node};
    let text = builder::string_attribute;
    let conv = |attributes| node("Conv", &["x0", "w", "b"], &["y"], attributes);
    let mut cases: BTreeMap<&'static str, Nodes> = BTreeMap::new();
    let mut add =
        |name, node, inputs: &[&[usize]], constants: &[(&'static str, &[usize])], y: &[usize]| {
            let inputs = inputs.iter().map(|shape| shape.to_vec()).collect();
            let constants = constants.iter().map(|(name, shape)| (*name, shape.to_vec())).collect();
            cases.insert(name, (node, inputs, constants, y.to_vec()));
        };
    let w3: &[(&str, &[usize])] = &[("w", &[8, 4, 3, 3]), ("b", &[8])];
    add(
        "conv 2-D padded",
        conv(vec![ints("pads", &[1, 1, 1, 1])]),
        &[&[2, 4, 7, 6]],
        w3,
        &[2, 8, 7, 6],
    );
    add(
        "conv 2-D strided, dilated, uneven padding",
        conv(vec![
            ints("strides", &[2, 1]),
            ints("dilations", &[1, 2]),
            ints("pads", &[0, 2, 1, 1]),
        ]),
        &[&[1, 4, 9, 8]],
        w3,
        &[1, 8, 4, 7],
    );
    add(
        "conv same upper",
        conv(vec![text("auto_pad", "SAME_UPPER"), ints("strides", &[2, 2])]),
        &[&[1, 4, 8, 7]],
        w3,
        &[1, 8, 4, 4],
    );
    add(
        "conv same lower",
        conv(vec![text("auto_pad", "SAME_LOWER"), ints("strides", &[2, 2])]),
        &[&[1, 4, 8, 7]],
        w3,
        &[1, 8, 4, 4],
    );
    add(
        "conv grouped",
        conv(vec![int("group", 2)]),
        &[&[1, 8, 5, 5]],
        &[("w", &[6, 4, 3, 3]), ("b", &[6])],
        &[1, 6, 3, 3],
    );
    add(
        "conv depthwise",
        conv(vec![int("group", 6), ints("pads", &[1, 1, 1, 1])]),
        &[&[1, 6, 5, 5]],
        &[("w", &[6, 1, 3, 3]), ("b", &[6])],
        &[1, 6, 5, 5],
    );
    add(
        "conv 1-D",
        conv(vec![ints("pads", &[1, 0])]),
        &[&[2, 4, 10]],
        &[("w", &[32, 4, 3]), ("b", &[32])],
        &[2, 32, 9],
    );
    add(
        "conv 1x1",
        node("Conv", &["x0", "w"], &["y"], vec![]),
        &[&[1, 16, 4, 4]],
        &[("w", &[32, 16, 1, 1])],
        &[1, 32, 4, 4],
    );
    let gemm: &[(&str, &[usize])] = &[("w", &[20, 48]), ("b", &[48])];
    add("gemm", node("Gemm", &["x0", "w", "b"], &["y"], vec![]), &[&[3, 20]], gemm, &[3, 48]);
    add(
        "gemm transposed, scaled, no bias",
        node(
            "Gemm",
            &["x0", "w"],
            &["y"],
            vec![int("transA", 1), int("transB", 1), builder::float_attribute("alpha", 0.5)],
        ),
        &[&[20, 3]],
        &[("w", &[48, 20])],
        &[3, 48],
    );
    add(
        "gemm with a bias by row",
        node("Gemm", &["x0", "w", "b"], &["y"], vec![builder::float_attribute("beta", -2.)]),
        &[&[3, 20]],
        &[("w", &[20, 48]), ("b", &[3, 1])],
        &[3, 48],
    );
    let matmul = || node("MatMul", &["x0", "w"], &["y"], vec![]);
    add("matmul batched left", matmul(), &[&[2, 3, 5, 16]], &[("w", &[16, 40])], &[2, 3, 5, 40]);
    add("matmul batched both", matmul(), &[&[2, 5, 16]], &[("w", &[2, 16, 40])], &[2, 5, 40]);
    add(
        "matmul batched twice",
        matmul(),
        &[&[3, 1, 5, 16]],
        &[("w", &[2, 16, 40])],
        &[3, 2, 5, 40],
    );
    add("matmul vector left", matmul(), &[&[16]], &[("w", &[3, 16, 40])], &[3, 40]);
    add("matmul vector right", matmul(), &[&[4, 16]], &[("w", &[16])], &[4]);
    add("relu", node("Relu", &["x0"], &["y"], vec![]), &[&[2, 3, 4]], &[], &[2, 3, 4]);
    add(
        "max pool padded",
        node(
            "MaxPool",
            &["x0"],
            &["y"],
            vec![
                ints("kernel_shape", &[3, 3]),
                ints("strides", &[2, 2]),
                ints("pads", &[1, 1, 1, 1]),
            ],
        ),
        &[&[1, 3, 8, 8]],
        &[],
        &[1, 3, 4, 4],
    );
    add(
        "max pool, ceiling",
        node(
            "MaxPool",
            &["x0"],
            &["y"],
            vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2]), int("ceil_mode", 1)],
        ),
        &[&[1, 3, 7, 7]],
        &[],
        &[1, 3, 4, 4],
    );
    let average = |include| {
        node(
            "AveragePool",
            &["x0"],
            &["y"],
            vec![
                ints("kernel_shape", &[3, 3]),
                ints("pads", &[1, 1, 1, 1]),
                int("count_include_pad", include),
            ],
        )
    };
    add("average pool", average(0), &[&[2, 3, 6, 5]], &[], &[2, 3, 6, 5]);
    add("average pool counting the padding", average(1), &[&[2, 3, 6, 5]], &[], &[2, 3, 6, 5]);
    add(
        "flatten",
        node("Flatten", &["x0"], &["y"], vec![int("axis", 2)]),
        &[&[2, 3, 4, 5]],
        &[],
        &[6, 20],
    );
    add(
        "reshape",
        node("Reshape", &["x0", "shape"], &["y"], vec![]),
        &[&[2, 3, 4]],
        &[("shape", &[2])],
        &[4, 6],
    );
    add(
        "add two inputs",
        node("Add", &["x0", "x1"], &["y"], vec![]),
        &[&[2, 3, 4], &[3, 1]],
        &[],
        &[2, 3, 4],
    );
    add(
        "add constant",
        node("Add", &["w", "x0"], &["y"], vec![]),
        &[&[2, 3, 4]],
        &[("w", &[4])],
        &[2, 3, 4],
    );
    add(
        "batch normalization",
        node("BatchNormalization", &["x0", "s", "b", "m", "v"], &["y"], vec![]),
        &[&[2, 6, 4, 4]],
        &[("s", &[6]), ("b", &[6]), ("m", &[6]), ("v", &[6])],
        &[2, 6, 4, 4],
    );
    cases
}

fn bind(
    node: pb::NodeProto,
    inputs: &[Vec<usize>],
    constants: &[(&str, Vec<usize>)],
    output: &[usize],
) -> Graph {
    use nomopoly::onnx::builder::{graph, model, tensor_f32, value_info};
    let f32 = nomopoly::onnx::DatumType::F32;
    let initialisers = constants.iter().enumerate().map(|(index, (name, shape))| {
        let mut data = values(shape.iter().product(), 100 + index as u32);
        if *name == "v" {
            data.iter_mut().for_each(|v| *v = v.abs() + 0.1);
        }
        if *name == "shape" {
            let target: Vec<i64> = output.iter().map(|&d| d as i64).collect();
            return builder::tensor_i64(name, shape, &target);
        }
        tensor_f32(name, shape, &data)
    });
    let inputs =
        inputs.iter().enumerate().map(|(i, shape)| value_info(&format!("x{i}"), f32, shape));
    let outputs = vec![value_info("y", f32, output)];
    let graph = graph("case", vec![node], initialisers.collect(), inputs.collect(), outputs);
    let bytes = model(graph, 17).encode_to_vec();
    Graph::bind(Arc::new(Model::from_bytes("case.onnx", &bytes).unwrap()), &BTreeMap::new())
        .unwrap()
}

#[test]
fn tract_and_candle_agree_on_every_kind() {
    for (name, (node, inputs, constants, output)) in cases() {
        let graph = bind(node, &inputs, &constants, &output);
        let operation = Operation::from_node(&graph, &graph.nodes()[0], &Device::Cpu)
            .unwrap()
            .unwrap_or_else(|reason| panic!("{name}: {}", reason.0));
        let plan = Plan::new(name, graph.model().proto()).unwrap();
        for scale in [0., 1e-3, 1., 1e3] {
            let data: Vec<Vec<f32>> = inputs
                .iter()
                .enumerate()
                .map(|(i, shape)| {
                    values(shape.iter().product(), i as u32).iter().map(|v| v * scale).collect()
                })
                .collect();
            let samples: Vec<Tensor> = data
                .iter()
                .zip(&inputs)
                .map(|(data, shape)| {
                    let shape: Vec<usize> =
                        std::iter::once(1).chain(shape.iter().copied()).collect();
                    Tensor::from_slice(data, shape, &Device::Cpu).unwrap()
                })
                .collect();
            let ours = operation.forward(&samples).unwrap();
            assert_eq!(ours.dims()[1..], output, "{name}");
            let unit = operation.element_unit(&samples, &ours).unwrap();
            let unit = unit.broadcast_as(ours.shape()).unwrap().flatten_all().unwrap();
            let named = data.into_iter().zip(&inputs).enumerate().map(|(i, (data, shape))| {
                nomopoly::NamedTensor::from_f32(&format!("x{i}"), shape, data).to_tract().unwrap()
            });
            let theirs = plan.run(named).unwrap();
            let theirs = nomopoly::NamedTensor::from_tract("y", &theirs[0]).unwrap();
            assert_eq!(theirs.shape, output, "{name}");
            let ours = ours.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            for ((ours, theirs), unit) in
                ours.iter().zip(theirs.as_f32().unwrap()).zip(unit.to_vec1::<f32>().unwrap())
            {
                // The rounding unit is the promise under test: eight of them are accepted.
                assert!(
                    (ours - theirs).abs() <= 4. * unit,
                    "{name} at {scale}: {ours} {theirs} {unit}"
                );
            }
        }
    }
}
