//! A compiled demo model to work on, and running the command.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

use nomopoly_build::demo;

/// What a run of the command gave.
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    fn new(output: Output) -> Self {
        let ran = Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        };
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
        ran
    }

    /// Asserts the exit code and that the output, both streams together, holds every text.
    #[track_caller]
    pub fn says(self, code: i32, texts: &[&str]) -> Self {
        let Self { stdout, stderr, .. } = &self;
        assert_eq!(self.code, Some(code), "stdout:\n{stdout}\nstderr:\n{stderr}");
        for text in texts {
            let said = stdout.contains(text) || stderr.contains(text);
            assert!(said, "not said: {text}\nstdout:\n{stdout}\nstderr:\n{stderr}");
        }
        self
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}:\n{}", self.stdout))
    }
}

/// The command, in a folder.
pub fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cargo-nomopoly"));
    command
        .current_dir(folder)
        .env_remove("NOMOPOLY_REGISTRY")
        // Nobody's own cache takes part.
        .env("NOMOPOLY_CACHE", folder.join("cache"))
        .stdin(Stdio::null());
    command
}

/// A folder with a model and what a test puts there.
pub struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    /// With `demo.onnx`, which is not compiled.
    pub fn bare() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("demo.onnx"), demo::model(0)).unwrap();
        Self { folder }
    }

    /// A copy of a folder with `demo.onnx` compiled into `ops`, `image.npy` and `proof.npf`: only
    /// the first test trains.
    pub fn compiled() -> Self {
        static MASTER: LazyLock<Bench> = LazyLock::new(|| {
            let bench = Bench::bare();
            bench.write("image.npy", &npy_f32(&[1, 3, 8, 8], &demo::image(0)));
            bench.run(["compile", "demo.onnx", "--preset", "fast"]).says(0, &["trained"]);
            bench.run(PROVE).says(0, &["logits"]);
            bench
        });
        let bench = Self { folder: tempfile::tempdir().unwrap() };
        copy(MASTER.path(), bench.path());
        bench
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub fn run<I: IntoIterator<Item: AsRef<OsStr>>>(&self, arguments: I) -> Ran {
        self.run_in("", arguments)
    }

    /// In a folder below.
    pub fn run_in<I: IntoIterator<Item: AsRef<OsStr>>>(&self, folder: &str, arguments: I) -> Ran {
        Ran::new(command(&self.join(folder)).args(arguments).output().unwrap())
    }
}

/// Proves `image.npy` with the compiled demo model.
pub const PROVE: [&str; 6] =
    ["prove", "demo.onnx", "--input", "image=image.npy", "--out", "proof.npf"];
/// Checks that proof.
pub const VERIFY: [&str; 6] =
    ["verify", "demo.onnx", "--input", "image=image.npy", "--proof", "proof.npf"];

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for item in fs::read_dir(from).unwrap() {
        let (item, to) = (item.unwrap(), to.to_owned());
        let to = to.join(item.file_name());
        if item.file_type().unwrap().is_dir() {
            copy(&item.path(), &to);
        } else {
            fs::copy(item.path(), to).unwrap();
        }
    }
}

/// A `.npy` file, version 1.0, with any header: also wrong ones.
pub fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    // The data starts at a multiple of 64 bytes.
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

pub fn npy_f32(shape: &[usize], values: &[f32]) -> Vec<u8> {
    let shape: String = shape.iter().map(|dimension| format!("{dimension},")).collect();
    let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    npy("<f4", &format!("({shape})"), &data)
}
