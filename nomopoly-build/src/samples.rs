//! What each operation really receives: inputs pushed through the model up to its node.

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use nomopoly_manifest::{Architecture, CompileOptions};
use nomopoly_runtime::onnx::cut::with_outputs;
use nomopoly_runtime::onnx::{Graph, Plan, TensorInfo};
use nomopoly_runtime::operations::Operation;
use nomopoly_runtime::{Error as RuntimeError, NamedTensor, TensorData};
use rand::Rng;
use rand_chacha::ChaCha20Rng;
use rand_distr::{Distribution, StandardNormal};
use tract_onnx::prelude::DatumType;

use crate::calibration::Calibration;
use crate::error::Result;
use crate::parts::Trial;
use crate::random;

/// Samples for training, validation and the threshold; the test split has
/// [`CompileOptions::test_samples`].
const TRAIN: usize = 192;
const VALIDATION: usize = 64;
const THRESHOLD: usize = 192;
/// Operations with at most this many elements of input and output get as many samples as asked.
const SMALL: usize = 4096;
/// Elements of a larger operation's samples together: bounds memory. They get fewer samples, at
/// least [`FEWEST`].
const ELEMENTS: usize = 2 << 20;
const FEWEST: usize = 32;
/// Whole inputs of an operation that is trained on parts: at most so many for the threshold, and as
/// many for the figures, with so many elements together.
const WHOLE: usize = 8;
const WHOLE_ELEMENTS: usize = 2 << 20;
/// Multiply-accumulates that running the model may take altogether, and how often it is run at least.
const RUN_BUDGET: u64 = 100_000_000_000;
const FEWEST_RUNS: usize = 48;

/// Inputs of one operation, each varying input stacked to `[N, ...shape]`.
#[derive(Debug, Clone)]
pub struct Samples {
    pub inputs: Vec<Tensor>,
}

impl Samples {
    pub fn len(&self) -> usize {
        self.inputs.first().and_then(|input| input.dim(0).ok()).unwrap_or(0)
    }

    /// Samples `start` to `start + len`.
    pub fn narrow(&self, start: usize, len: usize) -> Result<Vec<Tensor>> {
        self.inputs.iter().map(|input| Ok(input.narrow(0, start, len)?.contiguous()?)).collect()
    }

    /// The first `count`, or all if there are fewer.
    pub fn first(&self, count: usize) -> Result<Self> {
        Ok(Self { inputs: self.narrow(0, count.min(self.len()))? })
    }

    /// `count` random samples, with replacement.
    pub fn draw(&self, count: usize, random: &mut impl Rng) -> Result<Vec<Tensor>> {
        let n = self.len() as f64;
        let indices: Vec<u32> = (0..count).map(|_| (random::uniform(random) * n) as u32).collect();
        self.inputs
            .iter()
            .map(|input| {
                let indices = Tensor::from_slice(&indices, count, input.device())?;
                Ok(input.index_select(&indices, 0)?)
            })
            .collect()
    }
}

/// Disjoint samples of one operation: no run of the model gives to two of them.
#[derive(Debug, Clone)]
pub struct Splits {
    pub train: Samples,
    /// For early stopping and the curriculum.
    pub validation: Samples,
    /// For the threshold and the number of sketches.
    pub threshold: Samples,
    /// For the final figures; nothing is chosen on it.
    pub test: Samples,
    /// What the four are samples of, where that is a part of the operation.
    pub trial: Option<Wholes>,
}

/// The part that a large operation is trained on, and a few inputs of the whole.
#[derive(Debug, Clone)]
pub struct Wholes {
    pub part: Trial,
    /// Of the runs that gave the threshold's samples.
    pub threshold: Samples,
    /// Of the runs that gave the figures' samples.
    pub test: Samples,
}

/// Which runs of the model give to which samples.
struct Shares {
    runs: usize,
    /// Where validation, threshold and test begin.
    starts: [usize; 3],
}

impl Shares {
    fn new(runs: usize, test: usize) -> Self {
        let all = (TRAIN + VALIDATION + THRESHOLD + test) as f64;
        let share = |count: usize| ((count as f64 / all * runs as f64) as usize).max(2);
        let (train, validation, threshold) = (share(TRAIN), share(VALIDATION), share(THRESHOLD));
        let starts = [train, train + validation, train + validation + threshold];
        Self { runs, starts }
    }

    /// 0 to 3: training, validation, threshold, test.
    fn of(&self, run: usize) -> usize {
        self.starts.iter().filter(|start| run >= **start).count()
    }
}

/// Collects the samples of operations by running the model on calibration data or, without it,
/// on generated inputs. Large operations get parts of what they receive, see [`Trial`].
///
/// # Errors
/// When the model cannot be run, the calibration data does not fit it, or `check_stop` says so.
pub fn collect(
    graph: &Graph,
    operations: &[Arc<Operation>],
    calibration: Option<&Calibration>,
    options: &CompileOptions,
    device: &Device,
    check_stop: &dyn Fn() -> Result<()>,
) -> Result<Vec<Splits>> {
    let wanted = TRAIN + VALIDATION + THRESHOLD + options.test_samples as usize;
    let affordable = (RUN_BUDGET / cost(graph).max(1)) as usize;
    let mut runs = affordable.clamp(FEWEST_RUNS, wanted);
    if let Some(calibration) = calibration {
        // Real inputs that are used twice would be in two splits.
        runs = runs.min(calibration.len().max(FEWEST_DISTINCT));
    }
    let mut random = random::stream(options.seed, &graph.model().digest().to_string(), "samples");
    let mut source = |sample| match calibration {
        Some(calibration) => calibration.sample(graph, sample),
        None => Ok(generated(graph, &mut random)),
    };
    let shares = Shares::new(runs, options.test_samples as usize);
    let mut collectors = operations
        .iter()
        .map(|operation| Collector::new(operation, wanted, &shares, options))
        .collect::<Result<Vec<_>>>()?;
    run_model(graph, operations, runs, &mut source, check_stop, &mut |run, values| {
        for (operation, collector) in operations.iter().zip(&mut collectors) {
            let inputs: Option<Vec<&[f32]>> =
                operation.inputs().iter().map(|name| values.get(name.as_str()).copied()).collect();
            let inputs = inputs.ok_or_else(|| RuntimeError::Operation {
                operation: operation.output().to_owned(),
                reason: "its inputs were not computed".into(),
            })?;
            collector.take(run, &shares, &inputs);
        }
        Ok(())
    })?;
    collectors.into_iter().map(|collector| collector.finish(device)).collect()
}

/// Samples of so many elements each that are kept where `wanted` were asked for: all of those that are
/// `small`.
fn how_many(elements: usize, small: usize, wanted: usize) -> usize {
    if elements <= small {
        return wanted;
    }
    (ELEMENTS / elements.max(1)).clamp(FEWEST.min(wanted), wanted)
}

/// Calibration data of fewer samples than this is used more than once.
const FEWEST_DISTINCT: usize = 12;

/// Gathers the samples of one operation.
struct Collector<'a> {
    operation: &'a Operation,
    part: Option<Trial>,
    random: ChaCha20Rng,
    /// Samples of each split, of each input.
    splits: [Stack; 4],
    /// Whole inputs for the threshold and the figures.
    wholes: [Stack; 2],
    /// Samples that each split gets of one run.
    per_run: [usize; 4],
    most: [usize; 4],
    most_wholes: usize,
}

/// Samples of each input, one behind the other.
#[derive(Default)]
struct Stack {
    count: usize,
    inputs: Vec<Vec<f32>>,
}

impl Stack {
    fn push<'a>(&mut self, inputs: impl Iterator<Item = &'a [f32]>) {
        self.count += 1;
        for (index, input) in inputs.enumerate() {
            if self.inputs.len() == index {
                self.inputs.push(vec![]);
            }
            self.inputs[index].extend_from_slice(input);
        }
    }

    fn samples(self, shapes: &[Vec<usize>], device: &Device) -> Result<Samples> {
        let stacked = self.inputs.into_iter().zip(shapes).map(|(values, shape)| {
            let shape = [&[self.count], shape.as_slice()].concat();
            Ok(Tensor::from_vec(values, shape, device)?)
        });
        Ok(Samples { inputs: stacked.collect::<Result<_>>()? })
    }
}

impl<'a> Collector<'a> {
    fn new(
        operation: &'a Operation,
        wanted: usize,
        shares: &Shares,
        options: &CompileOptions,
    ) -> Result<Self> {
        let part = match options.architecture {
            // The baseline perceptron judges outputs of one size.
            Architecture::Mlp => None,
            Architecture::Residual => Trial::new(operation)?,
        };
        let spec = part.as_ref().map_or(operation, |part| &part.operation).spec();
        let elements = spec.inputs_len() + spec.output_len();
        let small = if part.is_none() { SMALL } else { 0 };
        let count = how_many(elements, small, wanted);
        let ends = [shares.starts[0], shares.starts[1], shares.starts[2], shares.runs];
        let begins = [0, shares.starts[0], shares.starts[1], shares.starts[2]];
        let asked = [TRAIN, VALIDATION, THRESHOLD, options.test_samples as usize];
        let most = asked.map(|asked| (count * asked / wanted.max(1)).max(2));
        let per_run = std::array::from_fn(|split| {
            let runs = ends[split].saturating_sub(begins[split]).max(1);
            if part.is_some() { most[split].div_ceil(runs) } else { 1 }
        });
        let whole = operation.spec();
        let whole = whole.inputs_len() + whole.output_len();
        Ok(Self {
            random: random::stream(options.seed, operation.output(), "parts"),
            operation,
            part,
            splits: Default::default(),
            wholes: Default::default(),
            per_run,
            most,
            most_wholes: (WHOLE_ELEMENTS / whole.max(1)).clamp(1, WHOLE),
        })
    }

    fn take(&mut self, run: usize, shares: &Shares, inputs: &[&[f32]]) {
        let split = shares.of(run);
        let stack = &mut self.splits[split];
        let count = self.per_run[split].min(self.most[split].saturating_sub(stack.count));
        for _ in 0..count {
            match &self.part {
                Some(part) => {
                    let cut = part.cut(inputs, &mut self.random);
                    stack.push(cut.iter().map(Vec::as_slice));
                }
                None => stack.push(inputs.iter().copied()),
            }
        }
        if let (Some(_), Some(whole)) = (&self.part, split.checked_sub(2))
            && self.wholes[whole].count < self.most_wholes
        {
            self.wholes[whole].push(inputs.iter().copied());
        }
    }

    fn finish(self, device: &Device) -> Result<Splits> {
        let Self { operation, part, splits, wholes, .. } = self;
        let shapes = &part.as_ref().map_or(operation, |part| &part.operation).spec().input_shapes;
        let [train, validation, threshold, test] =
            splits.map(|stack| stack.samples(shapes, device));
        let trial = match &part {
            Some(part) => {
                let [threshold, test] =
                    wholes.map(|stack| stack.samples(&operation.spec().input_shapes, device));
                Some(Wholes { part: part.clone(), threshold: threshold?, test: test? })
            }
            None => None,
        };
        Ok(Splits {
            train: train?,
            validation: validation?,
            threshold: threshold?,
            test: test?,
            trial,
        })
    }
}

/// About how many multiply-accumulates one run of a graph takes.
fn cost(graph: &Graph) -> u64 {
    let cost = |node: &nomopoly_runtime::onnx::pb::NodeProto| {
        let outputs = node.output.iter().filter_map(|name| graph.value(name));
        let elements: u64 = outputs.map(|value| value.shape.iter().product::<usize>() as u64).sum();
        let constant = |name: &String| graph.value(name).filter(|value| value.constant.is_some());
        let weights = node.input.iter().filter_map(constant).map(|value| &value.shape);
        let reduction = match (node.op_type.as_str(), weights.max_by_key(|shape| shape.len())) {
            ("Conv", Some(w)) => w.iter().skip(1).product::<usize>(),
            ("Gemm" | "MatMul", Some(w)) => {
                // Without looking at the attributes: rows of a square matrix are its columns.
                w.iter().product::<usize>() / node_columns(graph, node).max(1)
            }
            _ => 1,
        };
        elements * reduction.max(1) as u64
    };
    graph.nodes().iter().map(cost).sum()
}

/// Features of a node's output.
fn node_columns(graph: &Graph, node: &nomopoly_runtime::onnx::pb::NodeProto) -> usize {
    let output = node.output.first().and_then(|name| graph.value(name));
    output.and_then(|value| value.shape.last().copied()).unwrap_or(1)
}

/// Is told of a run by its number, and of what operations receive in it, by name.
type Take<'a> = dyn FnMut(usize, &HashMap<&str, &[f32]>) -> Result<()> + 'a;

/// Runs the model on inputs that `source` gives by their number, and tells `take` of the inputs of
/// the operations by name.
fn run_model(
    graph: &Graph,
    operations: &[Arc<Operation>],
    runs: usize,
    source: &mut dyn FnMut(usize) -> Result<Vec<NamedTensor>>,
    check_stop: &dyn Fn() -> Result<()>,
    take: &mut Take<'_>,
) -> Result<()> {
    let mut names: Vec<&str> =
        operations.iter().flat_map(|op| op.inputs().iter().map(String::as_str)).collect();
    names.sort_unstable();
    names.dedup();
    let exposed = with_outputs(graph, &names)?;
    let plan = Plan::new(graph.model().name(), &exposed.proto)?;
    for run in 0..runs {
        check_stop()?;
        let inputs = source(run)?;
        let tensors =
            inputs.iter().map(NamedTensor::to_tract).collect::<Result<Vec<_>, RuntimeError>>()?;
        let results = plan.run(tensors)?;
        let named = exposed
            .outputs
            .iter()
            .zip(&results)
            .filter(|(name, _)| names.binary_search(&name.as_str()).is_ok());
        let tensors = named
            .map(|(name, tensor)| NamedTensor::from_tract(name, tensor))
            .collect::<Result<Vec<_>, RuntimeError>>()?;
        let mut values = HashMap::new();
        for tensor in &tensors {
            match tensor.as_f32() {
                Some(data) if tensor.is_finite() => values.insert(tensor.name.as_str(), data),
                _ => return Err(RuntimeError::NonFinite { tensor: tensor.name.clone() }.into()),
            };
        }
        take(run, &values)?;
    }
    Ok(())
}

/// Runs the model on `wanted` inputs that `source` gives by their number, and collects what each
/// operation receives: fewer samples of large operations.
///
/// # Errors
/// When the model cannot be run, `source` fails, or `check_stop` says so.
pub fn gather(
    graph: &Graph,
    operations: &[Arc<Operation>],
    wanted: usize,
    source: &mut dyn FnMut(usize) -> Result<Vec<NamedTensor>>,
    device: &Device,
    check_stop: &dyn Fn() -> Result<()>,
) -> Result<Vec<Samples>> {
    let counts: Vec<usize> = operations
        .iter()
        .map(|operation| {
            let spec = operation.spec();
            let elements = spec.inputs_len() + spec.output_len();
            how_many(elements, SMALL, wanted)
        })
        .collect();
    let most = counts.iter().copied().max().unwrap_or(0);
    let mut stacks: Vec<Stack> = operations.iter().map(|_| Stack::default()).collect();
    run_model(graph, operations, most, source, check_stop, &mut |run, values| {
        for ((operation, stack), count) in operations.iter().zip(&mut stacks).zip(&counts) {
            if run < *count {
                let names = operation.inputs().iter();
                stack.push(names.filter_map(|name| values.get(name.as_str()).copied()));
            }
        }
        Ok(())
    })?;
    let stacked = operations.iter().zip(stacks);
    stacked
        .map(|(operation, stack)| stack.samples(&operation.spec().input_shapes, device))
        .collect()
}

/// Generated inputs of a model.
pub fn generated(graph: &Graph, random: &mut ChaCha20Rng) -> Vec<NamedTensor> {
    graph.inputs().iter().map(|info| generate(info, random)).collect()
}

/// A generated input: standard normals for floats, small non-negative integers and coin tosses for
/// the rest. Real data is better: `--calibration`.
fn generate(info: &TensorInfo, random: &mut ChaCha20Rng) -> NamedTensor {
    let len = info.shape.iter().product::<usize>();
    let mut small = |most: u64| random.next_u64() % most;
    let data = match info.dtype {
        DatumType::F64 => {
            TensorData::F64((0..len).map(|_| StandardNormal.sample(random)).collect())
        }
        DatumType::I64 => TensorData::I64((0..len).map(|_| small(2) as i64).collect()),
        DatumType::I32 => TensorData::I32((0..len).map(|_| small(2) as i32).collect()),
        DatumType::I16 => TensorData::I16((0..len).map(|_| small(128) as i16).collect()),
        DatumType::I8 => TensorData::I8((0..len).map(|_| small(128) as i8).collect()),
        DatumType::U64 => TensorData::U64((0..len).map(|_| small(2)).collect()),
        DatumType::U32 => TensorData::U32((0..len).map(|_| small(2) as u32).collect()),
        DatumType::U16 => TensorData::U16((0..len).map(|_| small(256) as u16).collect()),
        DatumType::U8 => TensorData::U8((0..len).map(|_| small(256) as u8).collect()),
        DatumType::Bool => TensorData::Bool((0..len).map(|_| small(2) == 1).collect()),
        _ => TensorData::F32((0..len).map(|_| StandardNormal.sample(random)).collect()),
    };
    NamedTensor { name: info.name.clone(), shape: info.shape.clone(), data }
}
