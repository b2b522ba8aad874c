//! How long the attribute takes for a model of 100 operations: reading the manifest, finding the
//! model, writing the code.
//!
//! `cargo bench -p nomopoly-macros`

use std::time::Instant;

use nomopoly_manifest::{
    ArtefactInterface, BuildManifest, BuildStatus, BuiltModel, Check, MANIFEST_PATH,
    MANIFEST_SCHEMA, ModelInterface, OperationInterface, Rate, TensorInterface,
};
use quote::quote;

#[allow(dead_code, unused_imports, reason = "the macro's own files; a part is used here")]
#[path = "../src/check.rs"]
mod check;
#[allow(dead_code, unused_imports, reason = "the macro's own files; a part is used here")]
#[path = "../src/expand.rs"]
mod expand;
#[allow(dead_code, unused_imports, reason = "the macro's own files; a part is used here")]
#[path = "../src/names.rs"]
mod names;
#[allow(dead_code, unused_imports, reason = "the macro's own files; a part is used here")]
#[path = "../src/parse.rs"]
mod parse;

fn main() {
    const OPERATIONS: usize = 100;
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("model.onnx"), b"never opened").expect("it is writable");
    let manifest = folder.path().join(MANIFEST_PATH);
    std::fs::create_dir_all(manifest.parent().expect("it has a folder")).expect("it is writable");
    let rate = Rate { errors: 0, samples: 1000, upper_95: 0.003 };
    let operation = |index: usize| OperationInterface {
        name: format!("/encoder/layer.{index}/attention/MatMul_output_0"),
        kind: "MatMul".into(),
        output_shape: vec![1, 128, 384],
        artefact: Some(ArtefactInterface {
            entry: format!("matmul_1x128x384-{index:012x}"),
            check: Check::Sketch,
            baseline: false,
            proof_dim: Some(32),
            sketches: 10,
            certified_bits: Some(50.),
            certified_deviation: Some(4e-4),
            completeness_error: rate,
            soundness_error: rate,
        }),
    };
    let tensor = |name: &str| TensorInterface {
        name: name.into(),
        dtype: "f32".into(),
        shape: vec![1, 128, 384],
        batch: true,
        open: vec![],
    };
    let written = BuildManifest {
        schema: MANIFEST_SCHEMA,
        version: "0.0.0".into(),
        models: vec![BuiltModel {
            path: "model.onnx".into(),
            status: BuildStatus::Ready {
                model: "/m.onnx".into(),
                bundle: "/m.bundle".into(),
                external: vec![],
                ledger: None,
            },
            interface: Some(ModelInterface {
                name: "model.onnx".into(),
                digest: "ab".repeat(32),
                inputs: vec![tensor("x")],
                outputs: vec![tensor("y")],
                operations: (0..OPERATIONS).map(operation).collect(),
            }),
        }],
    };
    let json = serde_json::to_vec_pretty(&written).expect("plain data");
    std::fs::write(&manifest, json).expect("it is writable");
    let environment = check::Environment {
        manifest_dir: Some(folder.path().to_owned()),
        out_dir: Some(folder.path().to_owned()),
    };
    let mut times: Vec<f64> = (0..101)
        .map(|_| {
            let start = Instant::now();
            let item = quote!(
                pub struct Encoder;
            );
            let Ok(input) = parse::Input::parse(quote!("model.onnx"), item) else {
                unreachable!("the benchmark's own attribute is valid")
            };
            let checked = check::check(&input, &environment);
            assert!(checked.problem.is_none(), "{:?}", checked.problem);
            let tokens = expand::expand(&input, &checked);
            let seconds = start.elapsed().as_secs_f64();
            assert!(syn::parse2::<syn::File>(tokens).is_ok());
            seconds
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!(
        "a model of {OPERATIONS} operations expands in {:.2} ms (median of {}; {:.2} to {:.2})",
        times[50] * 1e3,
        times.len(),
        times[0] * 1e3,
        times[100] * 1e3
    );
}
