use prost::Message;

use super::*;
use crate::onnx::builder::{int_attribute, node, tensor_f32, tensor_i64};
use crate::onnx::test_models::{chain, numbers, small_net};

fn bind(proto: &pb::ModelProto) -> Result<Graph> {
    let model = Model::from_bytes("test.onnx", &proto.encode_to_vec())?;
    Graph::bind(Arc::new(model), &BTreeMap::new())
}

#[test]
fn every_value_has_a_shape() {
    let graph = bind(&small_net()).unwrap();
    for (name, shape) in [
        ("x", &[1, 2, 6, 6][..]),
        ("w", &[3, 2, 3, 3]),
        ("conv", &[1, 3, 6, 6]),
        ("relu", &[1, 3, 6, 6]),
        ("pool", &[1, 3, 3, 3]),
        ("flat", &[1, 27]),
        ("wt", &[27, 5]),
        ("mm", &[1, 5]),
        ("add", &[1, 5]),
        ("gemm", &[1, 4]),
    ] {
        let value = graph.value(name).unwrap_or_else(|| panic!("{name}"));
        assert_eq!((value.shape.as_slice(), value.dtype), (shape, DatumType::F32), "{name}");
    }
    assert!(graph.value("nothing").is_none());
    assert_eq!(graph.inputs()[0].shape, [1, 2, 6, 6]);
    assert_eq!(graph.outputs()[0].shape, [1, 4]);
    assert_eq!(graph.notes().len(), 1);
}

#[test]
fn a_bound_batch_reaches_every_value() {
    let model = Model::from_bytes("test.onnx", &small_net().encode_to_vec()).unwrap();
    let shapes = BTreeMap::from([("x".to_string(), vec![3, 2, 6, 6])]);
    let graph = Graph::bind(Arc::new(model), &shapes).unwrap();
    assert_eq!(graph.value("flat").unwrap().shape, [3, 27]);
    assert_eq!(graph.outputs()[0].shape, [3, 4]);
}

#[test]
fn a_transposed_weight_is_constant_and_what_depends_on_inputs_is_not() {
    let graph = bind(&small_net()).unwrap();
    let constant = graph.value("wt").unwrap().constant.clone().unwrap();
    let wt = constant.to_plain_array_view::<f32>().unwrap();
    let w1 = numbers(135, 3);
    assert!((0..27).all(|i| (0..5).all(|j| wt[[i, j]] == w1[j * 27 + i])));
    assert!(graph.value("w1").unwrap().constant.is_some());
    assert!(["x", "conv", "gemm"].iter().all(|name| graph.value(name).unwrap().constant.is_none()));
}

#[test]
fn what_shapes_compute_is_int64() {
    let nodes = vec![
        node("Shape", &["x"], &["shape"], vec![]),
        node("Gather", &["shape", "one"], &["dim"], vec![int_attribute("axis", 0)]),
        node("Unsqueeze", &["dim", "zero"], &["dims"], vec![]),
        node("Concat", &["dims", "minus"], &["target"], vec![int_attribute("axis", 0)]),
        node("Reshape", &["x", "target"], &["y"], vec![]),
    ];
    let mut proto = chain(nodes, "y");
    proto.graph.as_mut().unwrap().initializer = vec![
        tensor_i64("one", &[], &[1]),
        tensor_i64("zero", &[1], &[0]),
        tensor_i64("minus", &[1], &[-1]),
    ];
    let graph = bind(&proto).unwrap();
    let target = graph.value("target").unwrap();
    assert_eq!(target.dtype, DatumType::I64);
    let constant = target.constant.as_ref().unwrap();
    assert_eq!(constant.try_as_plain_ram().unwrap().as_slice::<i64>().unwrap(), [3, -1]);
    assert_eq!(graph.outputs()[0].shape, [3, 2]);
}

#[test]
fn all_operations_that_cannot_run_are_listed_at_once() {
    let mut other = node("Conv", &["b"], &["c"], vec![]);
    other.domain = "my.company".into();
    let nodes = vec![
        node("Sparkle", &["x"], &["a"], vec![]),
        node("Relu", &["a"], &["b"], vec![]),
        other,
        node("RandomNormalLike", &["c"], &["d"], vec![]),
        node("Fizz", &["d"], &["y"], vec![]),
    ];
    let error = bind(&chain(nodes, "y")).unwrap_err();
    let Error::UnsupportedNodes { nodes, .. } = error else { panic!("{error}") };
    assert_eq!(nodes.len(), 4, "{nodes:?}");
    for (line, start) in nodes.iter().zip([
        "`a` (Sparkle): tract does not know",
        "`c` (Conv): the operator domain `my.company`",
        "`d` (RandomNormalLike): it draws random",
        "`y` (Fizz)",
    ]) {
        assert!(line.starts_with(start), "{line}");
    }
}

#[test]
fn nodes_that_tract_refuses_are_listed_with_reasons() {
    // Both lack the attribute `to`.
    let nodes = vec![node("Cast", &["x"], &["a"], vec![]), node("Cast", &["a"], &["y"], vec![])];
    let error = bind(&chain(nodes, "y")).unwrap_err();
    let Error::UnsupportedNodes { nodes, .. } = error else { panic!("{error}") };
    assert_eq!(nodes.len(), 2, "{nodes:?}");
    assert!(nodes[0].starts_with("`a` (Cast): "), "{nodes:?}");
}

#[test]
fn shapes_that_do_not_fit_name_the_node() {
    let mut proto = chain(vec![node("MatMul", &["x", "w"], &["product"], vec![])], "product");
    proto.graph.as_mut().unwrap().initializer = vec![tensor_f32("w", &[4, 4], &[0.5; 16])];
    let error = bind(&proto).unwrap_err().to_string();
    assert!(error.contains("product"), "{error}");
}

#[test]
fn optional_outputs_that_nothing_reads_are_dropped() {
    let ones = |name: &str| tensor_f32(name, &[3], &[1.0; 3]);
    let nodes = vec![
        node("Dropout", &["x"], &["d", "mask"], vec![]),
        node("BatchNormalization", &["d", "s", "b", "m", "v"], &["y", "m2", "v2"], vec![]),
    ];
    let mut proto = chain(nodes, "y");
    proto.graph.as_mut().unwrap().initializer = vec![ones("s"), ones("b"), ones("m"), ones("v")];
    let graph = bind(&proto).unwrap();
    assert_eq!(graph.nodes()[0].output, ["d"]);
    assert_eq!(graph.nodes()[1].output, ["y"]);
}

#[test]
fn outputs_whose_number_has_a_meaning_stay() {
    let nodes = vec![
        node("Split", &["x"], &["a", "b", "c"], vec![int_attribute("axis", 1)]),
        node("Add", &["a", "c"], &["y"], vec![]),
    ];
    let graph = bind(&chain(nodes, "y")).unwrap();
    assert_eq!(graph.value("c").unwrap().shape, [2, 1]);
    assert!(graph.value("b").is_none(), "nothing reads it");
}

#[test]
fn an_output_whose_shape_depends_on_data_is_refused() {
    let error = bind(&chain(vec![node("NonZero", &["x"], &["y"], vec![])], "y")).unwrap_err();
    assert!(error.to_string().contains("`y` (NonZero)"), "{error}");
    assert!(error.to_string().contains("depends on the data"), "{error}");
}

#[test]
fn initialisers_may_be_listed_as_inputs_and_names_may_repeat() {
    let mut proto = small_net();
    let graph = proto.graph.as_mut().unwrap();
    graph.input.push(builder::value_info("w", DatumType::F32, &[3, 2, 3, 3]));
    graph.node.iter_mut().for_each(|node| node.name = "same".into());
    graph.value_info.push(builder::value_info("relu", DatumType::F32, &[9, 9]));
    let graph = bind(&proto).unwrap();
    assert_eq!(graph.inputs().len(), 1);
    assert!(graph.value("w").unwrap().constant.is_some());
    assert_eq!(graph.value("relu").unwrap().shape, [1, 3, 6, 6]);
}

#[test]
fn damaged_files_are_errors_and_never_panics() {
    let bytes = small_net().encode_to_vec();
    let try_it = |bytes: &[u8]| {
        // A damaged file may still be a model; whether it binds does not matter here.
        let model = Model::from_bytes("damaged", bytes);
        model.and_then(|model| Graph::bind(Arc::new(model), &BTreeMap::new())).is_ok()
    };
    assert!(try_it(&bytes));
    for end in (0..bytes.len()).step_by(7) {
        try_it(&bytes[..end]);
    }
    let mut flipped = bytes.clone();
    for position in 0..bytes.len() {
        for mask in [0x01, 0x80, 0xff] {
            flipped[position] ^= mask;
            try_it(&flipped);
            flipped[position] ^= mask;
        }
    }
}
