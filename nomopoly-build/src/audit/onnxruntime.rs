//! Honest runs in ONNX Runtime, through a Python interpreter that has it.
//!
//! Tensors travel as bare elements in the files of a temporary folder, one file for all samples of
//! an input or output, and one process runs every sample: starting Python costs more than a small
//! model's runs do.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nomopoly_runtime::{NamedTensor, TensorData};
use serde::{Deserialize, Serialize};

const SCRIPT: &str = include_str!("onnxruntime.py");
/// Its file name, which must not be that of a module the script imports.
const SCRIPT_NAME: &str = "honest_runs.py";
/// No protobuf message is larger.
const LARGEST_MODEL: usize = i32::MAX as usize;
/// How long an interpreter may take to import the packages, from a cold disk too.
const MOST_START: Duration = Duration::from_secs(60);
const BETWEEN_POLLS: Duration = Duration::from_millis(5);
/// As much of the error output as an error repeats.
const LAST_LINES: usize = 8;
const LAST_BYTES: u64 = 4096;

const WAY_OUT: &str = "make one with `python3 -m venv .venv` and \
    `.venv/bin/python -m pip install onnxruntime numpy`, and pass `--python .venv/bin/python`";

/// A Python interpreter with ONNX Runtime and NumPy.
#[derive(Debug, Clone)]
pub struct OnnxRuntime {
    python: PathBuf,
    version: String,
}

#[derive(Serialize)]
struct Request<'a> {
    model: Option<&'a str>,
    samples: usize,
    inputs: Vec<Stacked>,
}

#[derive(Deserialize)]
struct Answer {
    version: String,
    outputs: Vec<Stacked>,
}

/// What one file holds, for every sample.
#[derive(Serialize, Deserialize)]
struct Stacked {
    name: String,
    /// As NumPy writes it, for example `<f4`.
    dtype: String,
    /// Of one sample.
    shape: Vec<usize>,
}

impl OnnxRuntime {
    /// Finds out whether this interpreter has both packages.
    ///
    /// # Errors
    /// In words, with the way to an interpreter that has them.
    pub fn new(python: &Path) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let started = Instant::now();
        let request = Request { model: None, samples: 0, inputs: vec![] };
        let answer = answer(python, folder.path(), &request, &|| started.elapsed() > MOST_START);
        let answer = answer.map_err(|failure| {
            let reason = match failure {
                Failure::Stopped => format!("no answer within {} s", MOST_START.as_secs()),
                Failure::Failed(reason) => reason,
            };
            let python = python.display();
            format!("`{python}` is no Python with onnxruntime and numpy ({reason}): {WAY_OUT}")
        })?;
        Ok(Self { python: python.to_owned(), version: answer.version })
    }

    /// The version of ONNX Runtime, for example `1.32.0`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Runs a model, an ONNX file without external data, on samples that each hold all of its
    /// inputs: on one thread, with the optimisations that ONNX Runtime makes by default. The
    /// answer holds for each sample the graph's outputs, in their order.
    ///
    /// `stop` is asked every few milliseconds; once it says so, Python is ended. Everything is
    /// held in memory at once, and as files: large runs are better made in parts.
    ///
    /// # Errors
    /// In words: `stop` said so, the samples differ in their names, types or shapes, the model is
    /// larger than protobuf's 2 GiB, the temporary folder is full, or what Python said last.
    pub fn run(
        &self,
        model: &[u8],
        inputs: &[Vec<NamedTensor>],
        stop: &dyn Fn() -> bool,
    ) -> Result<Vec<Vec<NamedTensor>>, String> {
        let Some(first) = inputs.first() else { return Ok(vec![]) };
        if model.len() > LARGEST_MODEL {
            return Err(format!(
                "the model has {} bytes: ONNX Runtime reads at most {LARGEST_MODEL} from one file",
                model.len()
            ));
        }
        check(inputs)?;
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let path = |name: &str| folder.path().join(name);
        const MODEL: &str = "model.onnx";
        fs::write(path(MODEL), model).map_err(|error| error.to_string())?;
        let mut stacked = Vec::with_capacity(first.len());
        for (index, input) in first.iter().enumerate() {
            let dtype = numpy_dtype(&input.data).ok_or_else(|| {
                format!("input `{}`: element type {} is not known", input.name, input.data.dtype())
            })?;
            stacked.push(Stacked {
                name: input.name.clone(),
                dtype: dtype.to_owned(),
                shape: input.shape.clone(),
            });
            write_samples(&path(&format!("input{index}")), inputs, index)
                .map_err(|error| format!("input `{}`: {error}", input.name))?;
        }
        let request = Request { model: Some(MODEL), samples: inputs.len(), inputs: stacked };
        let answer = answer(&self.python, folder.path(), &request, stop);
        let answer = answer.map_err(|failure| match failure {
            Failure::Stopped => "stopped before ONNX Runtime had run every sample".to_owned(),
            Failure::Failed(reason) => format!("ONNX Runtime {}: {reason}", self.version),
        })?;
        let mut samples = vec![vec![]; inputs.len()];
        for (index, output) in answer.outputs.iter().enumerate() {
            read_samples(&path(&format!("output{index}")), output, &mut samples)
                .map_err(|error| format!("output `{}` of ONNX Runtime: {error}", output.name))?;
        }
        Ok(samples)
    }
}

/// Why there is no answer.
enum Failure {
    Stopped,
    Failed(String),
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.to_string())
    }
}

/// A process that does not outlive its owner.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Neither fails unless the process is gone.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lets the script do what the request says, with the files that are in the folder.
fn answer(
    python: &Path,
    folder: &Path,
    request: &Request<'_>,
    stop: &dyn Fn() -> bool,
) -> Result<Answer, Failure> {
    fs::write(folder.join("request.json"), serde_json::to_vec(request)?)?;
    // From a file, Python looks for modules beside it and not in the working directory.
    let script = folder.join(SCRIPT_NAME);
    fs::write(&script, SCRIPT)?;
    // A file cannot fill up as a pipe does.
    let errors = folder.join("stderr");
    let child = Command::new(python)
        .arg(&script)
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&errors)?)
        .spawn()?;
    let mut process = Process(child);
    let status = loop {
        if let Some(status) = process.0.try_wait()? {
            break status;
        }
        if stop() {
            return Err(Failure::Stopped);
        }
        std::thread::sleep(BETWEEN_POLLS);
    };
    if !status.success() {
        let said = last_lines(&errors)?;
        return Err(Failure::Failed(if said.is_empty() { status.to_string() } else { said }));
    }
    let answer = fs::read(folder.join("answer.json"))
        .map_err(|_| Failure::Failed("it ended without an answer".into()))?;
    Ok(serde_json::from_slice(&answer)?)
}

fn last_lines(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let start = file.metadata()?.len().saturating_sub(LAST_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = vec![];
    file.take(LAST_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    Ok(lines[lines.len().saturating_sub(LAST_LINES)..].join("\n"))
}

/// One file holds all samples of an input, so they must be alike.
fn check(samples: &[Vec<NamedTensor>]) -> Result<(), String> {
    let told = |t: &NamedTensor| format!("`{}` {} {:?}", t.name, t.data.dtype(), t.shape);
    for (index, sample) in samples.iter().enumerate() {
        if sample.len() != samples[0].len() {
            let (got, expected) = (sample.len(), samples[0].len());
            return Err(format!("sample {index} has {got} inputs, sample 0 has {expected}"));
        }
        for (tensor, first) in sample.iter().zip(&samples[0]) {
            let (got, expected) = (told(tensor), told(first));
            if got != expected {
                return Err(format!("sample {index} has {got}, sample 0 has {expected}"));
            }
            let len = tensor.shape.iter().try_fold(1usize, |len, &d| len.checked_mul(d));
            if len != Some(tensor.data.len()) {
                return Err(format!("sample {index}: {got} has {} elements", tensor.data.len()));
            }
        }
    }
    Ok(())
}

/// Writes input `index` of every sample.
fn write_samples(path: &Path, samples: &[Vec<NamedTensor>], index: usize) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for sample in samples {
        file.write_all(&to_bytes(&sample[index].data))?;
    }
    file.flush()
}

/// Gives every sample its tensor of an output.
fn read_samples(
    path: &Path,
    output: &Stacked,
    samples: &mut [Vec<NamedTensor>],
) -> Result<(), String> {
    let mut file = BufReader::new(File::open(path).map_err(|error| error.to_string())?);
    let bytes = element_bytes(&output.dtype)
        .ok_or_else(|| format!("element type {} is not known", output.dtype))?;
    let bytes = output.shape.iter().try_fold(bytes, |bytes, &dim| bytes.checked_mul(dim));
    let mut buffer = vec![0; bytes.ok_or("it is too large")?];
    for sample in samples {
        file.read_exact(&mut buffer).map_err(|error| error.to_string())?;
        let data = from_bytes(&output.dtype, &buffer).ok_or("its elements cannot be read")?;
        sample.push(NamedTensor { name: output.name.clone(), shape: output.shape.clone(), data });
    }
    Ok(())
}

macro_rules! element_types {
    ($($variant:ident($rust:ty, $dtype:literal)),* $(,)?) => {
        /// NumPy's name of an element type.
        fn numpy_dtype(data: &TensorData) -> Option<&'static str> {
            match data {
                $(TensorData::$variant(_) => Some($dtype),)*
                TensorData::Bool(_) => Some(BOOL),
                _ => None,
            }
        }

        /// Bytes of one element.
        fn element_bytes(dtype: &str) -> Option<usize> {
            match dtype {
                $($dtype => Some(size_of::<$rust>()),)*
                BOOL => Some(1),
                _ => None,
            }
        }

        /// Little-endian; nothing for types without a [`numpy_dtype`].
        fn to_bytes(data: &TensorData) -> Vec<u8> {
            match data {
                $(TensorData::$variant(values) => {
                    values.iter().flat_map(|value| value.to_le_bytes()).collect()
                })*
                TensorData::Bool(values) => values.iter().map(|&value| value.into()).collect(),
                _ => vec![],
            }
        }

        fn from_bytes(dtype: &str, bytes: &[u8]) -> Option<TensorData> {
            Some(match dtype {
                $($dtype => {
                    let (values, _) = bytes.as_chunks();
                    let values = values.iter().map(|bytes| <$rust>::from_le_bytes(*bytes));
                    TensorData::$variant(values.collect())
                })*
                BOOL => TensorData::Bool(bytes.iter().map(|&byte| byte != 0).collect()),
                _ => return None,
            })
        }
    };
}

const BOOL: &str = "|b1";

element_types! {
    F32(f32, "<f4"), F64(f64, "<f8"),
    I8(i8, "|i1"), I16(i16, "<i2"), I32(i32, "<i4"), I64(i64, "<i8"),
    U8(u8, "|u1"), U16(u16, "<u2"), U32(u32, "<u4"), U64(u64, "<u8"),
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use nomopoly_runtime::onnx::builder;
    use prost::Message;
    use tract_onnx::prelude::DatumType;

    use super::*;

    /// The Python that the environment variable names; `None`, and said so, where there is none.
    fn runtime() -> Option<OnnxRuntime> {
        let Some(python) = std::env::var_os("NOMOPOLY_PYTHON") else {
            eprintln!("skipped: NOMOPOLY_PYTHON names no Python with onnxruntime and numpy");
            return None;
        };
        Some(OnnxRuntime::new(Path::new(&python)).unwrap())
    }

    fn tensor(name: &str, shape: &[usize], data: TensorData) -> NamedTensor {
        NamedTensor { name: name.into(), shape: shape.into(), data }
    }

    /// y = Relu(x), h = sign(y) in f64, j = i + i, n = not b: in another order than its inputs.
    fn model() -> Vec<u8> {
        let to = builder::dtype_to_onnx(DatumType::F64).unwrap();
        let nodes = vec![
            builder::node("Relu", &["x"], &["y"], vec![]),
            builder::node("Sign", &["y"], &["s"], vec![]),
            builder::node("Cast", &["s"], &["h"], vec![builder::int_attribute("to", to.into())]),
            builder::node("Add", &["i", "i"], &["j"], vec![]),
            builder::node("Not", &["b"], &["n"], vec![]),
        ];
        let inputs = vec![
            builder::value_info("x", DatumType::F32, &[1, 2]),
            builder::value_info("i", DatumType::I64, &[3]),
            builder::value_info("b", DatumType::Bool, &[]),
        ];
        let outputs = vec![
            builder::value_info("n", DatumType::Bool, &[]),
            builder::value_info("y", DatumType::F32, &[1, 2]),
            builder::value_info("j", DatumType::I64, &[3]),
            builder::value_info("h", DatumType::F64, &[1, 2]),
        ];
        builder::model(builder::graph("g", nodes, vec![], inputs, outputs), 17).encode_to_vec()
    }

    fn sample(n: i64) -> Vec<NamedTensor> {
        vec![
            tensor("x", &[1, 2], TensorData::F32(vec![-1., n as f32].into())),
            tensor("i", &[3], TensorData::I64(vec![n, -n, i64::MAX / 2].into())),
            tensor("b", &[], TensorData::Bool(vec![n % 2 == 0].into())),
        ]
    }

    #[test]
    fn every_sample_has_its_own_outputs_in_the_order_of_the_graph() {
        let Some(runtime) = runtime() else { return };
        assert!(runtime.version().starts_with(|c: char| c.is_ascii_digit()), "{runtime:?}");
        let samples: Vec<_> = (0..5).map(sample).collect();
        let outputs = runtime.run(&model(), &samples, &|| false).unwrap();
        let expected = |n: i64| {
            vec![
                tensor("n", &[], TensorData::Bool(vec![n % 2 != 0].into())),
                tensor("y", &[1, 2], TensorData::F32(vec![0., n as f32].into())),
                tensor("j", &[3], TensorData::I64(vec![2 * n, -2 * n, i64::MAX - 1].into())),
                tensor("h", &[1, 2], TensorData::F64(vec![0., n.signum() as f64].into())),
            ]
        };
        assert_eq!(outputs, (0..5).map(expected).collect::<Vec<_>>());
    }

    #[test]
    fn what_onnx_runtime_says_is_in_the_error() {
        let Some(runtime) = runtime() else { return };
        let error = runtime.run(b"no model", &[sample(0)], &|| false).unwrap_err();
        assert!(error.contains("INVALID_PROTOBUF"), "{error}");
        let mut short = sample(0);
        short.pop();
        let error = runtime.run(&model(), &[short], &|| false).unwrap_err();
        assert!(error.contains("sample 0: Required inputs (['b']) are missing"), "{error}");
    }

    #[test]
    fn a_missing_interpreter_is_told_with_the_way_out() {
        let error = OnnxRuntime::new(Path::new("/nowhere/python")).unwrap_err();
        assert!(error.starts_with("`/nowhere/python` is no Python with onnxruntime"), "{error}");
        assert!(error.contains("pip install onnxruntime numpy"), "{error}");
        assert!(error.contains("--python"), "{error}");
    }

    #[test]
    fn samples_that_differ_are_told_apart() {
        let runtime = OnnxRuntime { python: "/nowhere/python".into(), version: String::new() };
        let with = |change: fn(&mut Vec<NamedTensor>)| {
            let mut other = sample(1);
            change(&mut other);
            runtime.run(&[], &[sample(0), other], &|| false).unwrap_err()
        };
        let error = with(|s| s[0].data = TensorData::F64(vec![0.; 2].into()));
        assert_eq!(error, "sample 1 has `x` f64 [1, 2], sample 0 has `x` f32 [1, 2]");
        let error = with(|s| s[0].data = TensorData::F32(vec![0.; 3].into()));
        assert_eq!(error, "sample 1: `x` f32 [1, 2] has 3 elements");
        let error = with(|s| s.truncate(1));
        assert_eq!(error, "sample 1 has 1 inputs, sample 0 has 3");
        assert_eq!(runtime.run(&[], &[], &|| false), Ok(vec![]));
    }

    /// Something that is started as Python would be. Another process writes the file: one that is
    /// still open for writing, in a process that a parallel test forks, cannot be started.
    #[cfg(unix)]
    fn fake(folder: &Path, script: &str) -> OnnxRuntime {
        let python = folder.join("python");
        let write = r#"printf '#!/bin/sh\n%s\n' "$1" > "$0" && chmod +x "$0""#;
        let status = Command::new("sh").args(["-c", write]).arg(&python).arg(script).status();
        assert!(status.unwrap().success());
        OnnxRuntime { python, version: "1.2.3".into() }
    }

    #[cfg(unix)]
    #[test]
    fn a_python_that_dies_is_an_error_with_its_last_lines() {
        let folder = tempfile::tempdir().unwrap();
        let dying = fake(folder.path(), "seq 100000 >&2; kill -9 $$");
        let error = dying.run(&[], &[sample(0)], &|| false).unwrap_err();
        assert!(error.starts_with("ONNX Runtime 1.2.3: 99993\n"), "{error}");
        assert!(error.ends_with("\n100000"), "{error}");
        let silent = fake(folder.path(), "exit 3");
        let error = silent.run(&[], &[sample(0)], &|| false).unwrap_err();
        assert!(error.contains("exit status: 3"), "{error}");
        let error = OnnxRuntime::new(Path::new("true")).unwrap_err();
        assert!(error.contains("it ended without an answer"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn stopping_ends_python() {
        let folder = tempfile::tempdir().unwrap();
        let hanging = fake(folder.path(), r#"echo $$ > "$0.pid"; exec sleep 60"#);
        let pid = || fs::read_to_string(folder.path().join("python.pid")).unwrap_or_default();
        let started = Instant::now();
        let polls = Cell::new(0);
        let stop = || {
            polls.set(polls.get() + 1);
            pid().ends_with('\n')
        };
        let error = hanging.run(&[], &[sample(0)], &stop).unwrap_err();
        assert!(error.starts_with("stopped"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
        // 0 is no signal: it only finds out whether the process is there.
        let alive = Command::new("kill").args(["-0", pid().trim()]).stderr(Stdio::null()).status();
        assert!(!alive.unwrap().success(), "after {} polls", polls.get());
    }
}
