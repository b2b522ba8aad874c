//! What each operation really receives: inputs pushed through the model up to its node.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use candle_core::{Device, Tensor};
use nomopoly_manifest::CompileOptions;
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
const ELEMENTS: usize = 12 << 20;
const FEWEST: usize = 32;

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

/// Disjoint samples of one operation.
#[derive(Debug, Clone)]
pub struct Splits {
    pub train: Samples,
    /// For early stopping and the curriculum.
    pub validation: Samples,
    /// For the threshold and the number of sketches.
    pub threshold: Samples,
    /// For the final figures; nothing is chosen on it.
    pub test: Samples,
}

impl Splits {
    /// Splits samples in the proportions of a full set.
    fn new(samples: &Samples, test: usize) -> Result<Self> {
        let n = samples.len();
        let all = (TRAIN + VALIDATION + THRESHOLD + test) as f64;
        let share = |count: usize| ((count as f64 / all * n as f64) as usize).max(2);
        let (train, validation, threshold) = (share(TRAIN), share(VALIDATION), share(THRESHOLD));
        let part = |start: usize, len: usize| -> Result<Samples> {
            Ok(Samples { inputs: samples.narrow(start, len)? })
        };
        Ok(Self {
            train: part(0, train)?,
            validation: part(train, validation)?,
            threshold: part(train + validation, threshold)?,
            test: part(train + validation + threshold, n - train - validation - threshold)?,
        })
    }
}

/// Collects the samples of operations by running the model on calibration data or, without it,
/// on generated inputs.
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
    let mut random = random::stream(options.seed, &graph.model().digest().to_string(), "samples");
    let mut source = |sample| match calibration {
        Some(calibration) => calibration.sample(graph, sample),
        None => Ok(generated(graph, &mut random)),
    };
    gather(graph, operations, wanted, &mut source, device, check_stop)?
        .iter()
        .map(|samples| Splits::new(samples, options.test_samples as usize))
        .collect()
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
            let fewest = FEWEST.min(wanted);
            if elements <= SMALL { wanted } else { (ELEMENTS / elements).clamp(fewest, wanted) }
        })
        .collect();
    let most = counts.iter().copied().max().unwrap_or(0);
    let mut names: Vec<&str> =
        operations.iter().flat_map(|op| op.inputs().iter().map(String::as_str)).collect();
    names.sort_unstable();
    names.dedup();
    let mut values: HashMap<&str, Vec<f32>> = HashMap::new();
    let exposed = with_outputs(graph, &names)?;
    let plan = Plan::new(graph.model().name(), &exposed.proto)?;
    let positions: HashMap<&str, usize> = exposed
        .outputs
        .iter()
        .enumerate()
        .map(|(position, name)| (name.as_str(), position))
        .collect();
    // How many samples any operation wants of each tensor.
    let mut wanted_of: BTreeMap<&str, usize> = BTreeMap::new();
    for (operation, count) in operations.iter().zip(&counts) {
        for name in operation.inputs() {
            let wanted = wanted_of.entry(name).or_default();
            *wanted = (*wanted).max(*count);
        }
    }
    for sample in 0..most {
        check_stop()?;
        let inputs = source(sample)?;
        let tensors =
            inputs.iter().map(NamedTensor::to_tract).collect::<Result<Vec<_>, RuntimeError>>()?;
        let results = plan.run(tensors)?;
        for (name, wanted) in &wanted_of {
            if sample >= *wanted {
                continue;
            }
            let Some(tensor) = positions.get(name).and_then(|&position| results.get(position))
            else {
                continue;
            };
            let tensor = NamedTensor::from_tract(name, tensor)?;
            if let (Some(data), true) = (tensor.as_f32(), tensor.is_finite()) {
                values.entry(name).or_default().extend_from_slice(data);
            } else {
                return Err(RuntimeError::NonFinite { tensor: (*name).to_owned() }.into());
            }
        }
    }
    operations
        .iter()
        .zip(counts)
        .map(|(operation, count)| {
            let mut inputs = vec![];
            for (name, shape) in operation.inputs().iter().zip(&operation.spec().input_shapes) {
                let len: usize = shape.iter().product();
                let data = values.get(name.as_str()).map_or(&[][..], Vec::as_slice);
                let data = data.get(..count * len).ok_or_else(|| RuntimeError::Operation {
                    operation: operation.output().to_owned(),
                    reason: format!("its input `{name}` was not computed"),
                })?;
                let mut stacked = vec![count];
                stacked.extend(shape);
                inputs.push(Tensor::from_slice(data, stacked, device)?);
            }
            Ok(Samples { inputs })
        })
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
