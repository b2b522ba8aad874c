//! How cost grows with the number of operations, with activations and with parameters, on synthetic
//! models that grow in one way at a time. One thread.

use std::path::Path;
use std::sync::Arc;

use nomopoly::candle_core::Device;
use nomopoly::dynamic::{Prover, Verifier};
use nomopoly::onnx::{DatumType, Plan, builder, cut::with_outputs};
use nomopoly::{NamedTensor, VerifierKey};
use nomopoly_build::manifest::CompileOptions;
use nomopoly_build::plots::{Cost, Growth, cost_against_size, exponent};
use nomopoly_build::prost::Message;
use nomopoly_build::registry::Registry;
use nomopoly_build::{Compiler, load_compiled};

use crate::support::table::Table;
use crate::support::timing::{Spread, digits, seconds, time};
use crate::support::values;

/// Where the picture goes.
const PLOT: &str = "docs/plots/cost-against-size.svg";

/// A chain of equal layers with rectifiers between them.
enum Layers {
    /// 3x3 convolutions of so many channels on square images of this side.
    Convolutions { channels: usize, side: usize },
    /// Square matrices of this width on so many rows.
    Matrices { width: usize, rows: usize },
}

impl Layers {
    fn model(&self, count: usize) -> (Vec<u8>, NamedTensor) {
        let (op, shape, weights, fan_in) = match *self {
            Self::Convolutions { channels: c, side } => {
                ("Conv", vec![1, c, side, side], vec![c, c, 3, 3], 9 * c)
            }
            Self::Matrices { width, rows } => ("MatMul", vec![rows, width], vec![width; 2], width),
        };
        let scale = (2. / fan_in as f32).sqrt();
        let data = values(weights.iter().product(), 5, scale);
        let attributes = || match self {
            Self::Convolutions { .. } => vec![builder::ints_attribute("pads", &[1; 4])],
            Self::Matrices { .. } => vec![],
        };
        let (mut nodes, mut last) = (vec![], "x".to_owned());
        for layer in 0..count {
            let (linear, active) = (format!("linear{layer}"), format!("relu{layer}"));
            nodes.push(builder::node(op, &[&last, "w"], &[&linear], attributes()));
            nodes.push(builder::node("Relu", &[&linear], &[&active], vec![]));
            last = active;
        }
        let graph = builder::graph(
            "growth",
            nodes,
            // One matrix for all layers: equal operations are compiled once.
            vec![builder::tensor_f32("w", &weights, &data)],
            vec![builder::value_info("x", DatumType::F32, &shape)],
            vec![builder::value_info(&last, DatumType::F32, &shape)],
        );
        let input = values(shape.iter().product(), 9, 1.);
        let input = NamedTensor::from_f32("x", &shape, input);
        (builder::model(graph, 17).encode_to_vec(), input)
    }
}

pub fn run(quick: bool) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench-models/growth");
    std::fs::create_dir_all(&folder).expect("the target folder is writable");
    let mut growths = vec![];
    let counts: &[usize] = if quick { &[2, 8] } else { &[2, 4, 8, 16, 32, 64] };
    let of =
        |count: usize| (Layers::Convolutions { channels: 32, side: 28 }, count, 2. * count as f64);
    growths.push(measure("operations", counts.iter().map(|c| of(*c)), &folder, quick));
    let sides: &[usize] = if quick { &[14, 56] } else { &[14, 20, 28, 40, 56, 80, 112] };
    let of = |side: usize| {
        (Layers::Convolutions { channels: 32, side }, 8, (8 * 2 * 32 * side * side) as f64)
    };
    growths.push(measure("elements of activations", sides.iter().map(|s| of(*s)), &folder, quick));
    let widths: &[usize] = if quick { &[128, 512] } else { &[128, 256, 512, 1024, 2048] };
    let of = |width: usize| (Layers::Matrices { width, rows: 64 }, 4, (width * width) as f64);
    growths.push(measure("parameters of a layer", widths.iter().map(|w| of(*w)), &folder, quick));

    let mut table = Table::new(&[
        "what grows",
        "from",
        "to",
        "plain inference",
        "exponent",
        "with proof",
        "exponent",
        "check",
        "exponent",
    ]);
    for Growth { size, points } in &growths {
        let (Some(first), Some(last)) = (points.first(), points.last()) else { continue };
        let column = |of: fn(&Cost) -> f64| {
            let slope = exponent(&points.iter().map(|c| (c.size, of(c))).collect::<Vec<_>>());
            let times = format!("{} to {}", time(of(first)), time(of(last)));
            [times, slope.map_or("-".into(), digits)]
        };
        let columns = [column(|c| c.plain), column(|c| c.prove), column(|c| c.verify)];
        let ends = [size.clone(), digits(first.size), digits(last.size)];
        table.row(ends.into_iter().chain(columns.into_iter().flatten()));
    }
    println!(
        "How cost grows, one thread; an exponent of 1 is in proportion, and what a check costs \
              beside the parameters of a layer is in proportion to their root (rows and columns):\n"
    );
    table.print();
    if quick {
        return;
    }
    let title = "Cost against size, chains of equal layers, one thread";
    let svg = cost_against_size(title, &growths).expect("it draws");
    let plot = Path::new(env!("CARGO_MANIFEST_DIR")).join(PLOT);
    std::fs::create_dir_all(plot.parent().expect("it is in a folder")).expect("it is writable");
    std::fs::write(&plot, svg).expect("it is writable");
    println!("Drawn in {PLOT}.\n");
}

fn measure(
    size: &str,
    models: impl Iterator<Item = (Layers, usize, f64)>,
    folder: &Path,
    quick: bool,
) -> Growth {
    let registry = Registry::open(folder.join("ops"));
    let options = CompileOptions { test_samples: 100, ..CompileOptions::fast() };
    let points = models.map(|(layers, count, of_size)| {
        let (bytes, input) = layers.model(count);
        let path = folder.join("model.onnx");
        std::fs::write(&path, bytes).expect("it is writable");
        let compiler = Compiler::new(registry.clone()).options(options.clone());
        compiler.compile(&path).expect("it compiles");
        let model = Arc::new(load_compiled(&registry, &path).expect("it was compiled"));
        let plain = with_outputs(model.graph(), &[]).expect("nothing is added");
        let plain = Plan::new("growth", &plain.proto).expect("tract runs it");
        let tensor = input.to_tract().expect("it fits");
        let prover = Prover::new(model.clone()).expect("tract runs it");
        let key = VerifierKey::random().expect("the system has random bytes");
        let verifier = Verifier::new(&model, &key, &Device::Cpu).expect("it expands");
        let inputs = [input];
        let proof = prover.prove(&inputs).expect("it proves");
        let (mut times, rounds) = ([vec![], vec![], vec![]], if quick { 3 } else { 11 });
        for _ in 0..rounds {
            times[0].push(seconds(|| plain.run([tensor.clone()]).expect("it runs")));
            times[1].push(seconds(|| prover.prove(&inputs).expect("it proves")));
            times[2].push(seconds(|| verifier.inspect(&inputs, &proof).expect("it is whole")));
        }
        let [plain, prove, verify] = times.map(|times| Spread::of(times).median);
        Cost { size: of_size, plain, prove, verify }
    });
    Growth { size: size.to_owned(), points: points.collect() }
}
