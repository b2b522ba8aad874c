//! Inferences in ONNX Runtime, timed by a Python process that waits in between: so
//! they can be taken by turns with ours, and starting Python is no part of them.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use nomopoly::{NamedTensor, TensorData};

use super::timing::LEAST;

const SCRIPT: &str = include_str!("onnxruntime_times.py");

/// A Python process that holds a model and its inputs.
pub struct OnnxRuntime {
    child: Child,
    /// `None` once it was told to end.
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    pub version: String,
    /// What the model's first output is.
    pub output: Vec<f32>,
}

/// The interpreter that `NOMOPOLY_PYTHON` names, else the one that `scripts/conformance.sh` makes.
pub fn python() -> PathBuf {
    std::env::var_os("NOMOPOLY_PYTHON").map(PathBuf::from).unwrap_or_else(|| {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("target/conformance/venv/bin/python")
    })
}

impl OnnxRuntime {
    /// Loads a model and runs it once on `threads`. Tensors travel as files in `folder`.
    ///
    /// # Errors
    /// In words, when there is no Python with ONNX Runtime or the model does not run.
    pub fn start(
        model: &Path,
        inputs: &[NamedTensor],
        threads: usize,
        folder: &Path,
    ) -> Result<Self, String> {
        let python = python();
        let mut listed = vec![];
        for (index, input) in inputs.iter().enumerate() {
            let file = folder.join(format!("ort-input-{index}"));
            let (dtype, raw): (&str, Vec<u8>) = match &input.data {
                TensorData::F32(v) => ("<f4", v.iter().flat_map(|v| v.to_le_bytes()).collect()),
                TensorData::I64(v) => ("<i8", v.iter().flat_map(|v| v.to_le_bytes()).collect()),
                TensorData::I32(v) => ("<i4", v.iter().flat_map(|v| v.to_le_bytes()).collect()),
                other => return Err(format!("input `{}` is {}", input.name, other.dtype())),
            };
            std::fs::write(&file, raw).map_err(|error| error.to_string())?;
            listed.push(serde_json::json!([input.name, dtype, input.shape, file]));
        }
        let output_file = folder.join("ort-output");
        let mut child = Command::new(&python)
            .args(["-c", SCRIPT])
            .arg(model)
            .arg(serde_json::Value::from(listed).to_string())
            .arg(&output_file)
            .args([LEAST.as_secs_f64().to_string(), threads.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", python.display()))?;
        let requests = child.stdin.take();
        let answers = child.stdout.take().ok_or("its output is closed")?;
        let mut this = Self {
            child,
            requests,
            answers: BufReader::new(answers),
            version: String::new(),
            output: vec![],
        };
        this.version = this.answer()?;
        let raw = std::fs::read(&output_file).map_err(|error| error.to_string())?;
        let values =
            raw.chunks_exact(4).filter_map(|b| Some(f32::from_le_bytes(b.try_into().ok()?)));
        this.output = values.collect();
        Ok(this)
    }

    fn answer(&mut self) -> Result<String, String> {
        let mut line = String::new();
        match self.answers.read_line(&mut line) {
            Ok(0) => Err("Python ended; its reason is above".into()),
            Ok(_) => Ok(line.trim().to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Seconds of one inference, measured as [`super::timing::seconds`] does.
    pub fn seconds(&mut self) -> f64 {
        let requests = self.requests.as_mut().expect("it ends on drop only");
        requests.write_all(b"\n").and_then(|()| requests.flush()).expect("Python waits for it");
        let answer = self.answer().expect("Python answers every line");
        answer.parse().expect("seconds")
    }
}

impl Drop for OnnxRuntime {
    fn drop(&mut self) {
        // Without further requests the script ends by itself.
        self.requests = None;
        let _ = self.child.wait();
    }
}
