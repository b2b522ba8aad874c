//! What the build script says about a model, or what is wrong and the way out.

use std::path::{Component, Path, PathBuf};

use nomopoly_manifest::{
    BuildManifest, BuildStatus, BuiltModel, MANIFEST_PATH, MANIFEST_SCHEMA, ModelInterface,
};

use crate::parse::Input;

/// What Cargo says to the compiler.
pub struct Environment {
    pub manifest_dir: Option<PathBuf>,
    /// Absent in crates without a build script.
    pub out_dir: Option<PathBuf>,
}

impl Environment {
    pub fn from_cargo() -> Self {
        let folder = |name| std::env::var_os(name).map(PathBuf::from);
        Self { manifest_dir: folder("CARGO_MANIFEST_DIR"), out_dir: folder("OUT_DIR") }
    }
}

/// A model as far as it is known.
#[derive(Debug, Default)]
pub struct Checked {
    /// The build script's manifest, so that the compiler knows that it depends on it.
    pub manifest: Option<PathBuf>,
    /// Absent when the model is not known at all.
    pub interface: Option<ModelInterface>,
    pub source: Source,
    /// What to report on the path.
    pub problem: Option<String>,
}

/// Where the parts of the model are.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Source {
    Ready {
        model: String,
        bundle: String,
        external: Vec<(String, String)>,
        /// File with the guarantee ledger as one expression.
        ledger: Option<String>,
    },
    Unavailable(String),
    #[default]
    Broken,
}

/// Finds the model in the manifest of the crate's build script.
pub fn check(input: &Input, environment: &Environment) -> Checked {
    let path = input.path.value();
    let mut checked = Checked::default();
    match find(&path, environment, &mut checked.manifest) {
        Err(problem) => checked.problem = Some(problem),
        Ok(model) => {
            match model.interface.as_ref().map_or(Ok(()), sound) {
                Ok(()) => checked.interface = model.interface,
                Err(problem) => {
                    checked.problem = Some(problem);
                    return checked;
                }
            }
            match model.status {
                BuildStatus::Ready { model, bundle, external, ledger } => {
                    checked.source = Source::Ready { model, bundle, external, ledger };
                }
                BuildStatus::Stub { reason } => checked.source = Source::Unavailable(reason),
                BuildStatus::Failed { reason } => checked.problem = Some(reason),
                BuildStatus::Missing { operations, reason, command } => {
                    checked.problem = Some(format!(
                        "{} of this model's operations are not compiled: {}\n{reason}\nrun `{command}`",
                        operations.len(),
                        operations.join(", ")
                    ));
                }
            }
        }
    }
    checked
}

fn find(
    path: &str,
    environment: &Environment,
    manifest: &mut Option<PathBuf>,
) -> Result<BuiltModel, String> {
    let folder = environment
        .manifest_dir
        .as_deref()
        .ok_or("CARGO_MANIFEST_DIR is not set: build with cargo")?;
    let file = folder.join(path);
    if !file.is_file() {
        let close = suggestion(&file);
        return Err(format!(
            "{} is not a file; the path is relative to Cargo.toml{close}",
            file.display()
        ));
    }
    let out_dir = environment.out_dir.as_deref().ok_or(
        "this crate has no build script to compile the model\nrun `cargo nomopoly init`, or add \
         `nomopoly-build` to [build-dependencies] and a build.rs with \
         `fn main() { nomopoly_build::compile_referenced(); }`",
    )?;
    let manifest_file = out_dir.join(MANIFEST_PATH);
    let json = std::fs::read(&manifest_file).map_err(|_| {
        "this crate's build script compiles no model\ncall \
         `nomopoly_build::compile_referenced();` in the `main` of build.rs"
    })?;
    *manifest = Some(manifest_file.clone());
    let found = read(&json, &manifest_file)?;
    let same = |model: &BuiltModel| plain(Path::new(&model.path)) == plain(Path::new(path));
    let paths: Vec<String> = found.models.iter().map(|model| format!("`{}`", model.path)).collect();
    found.models.into_iter().find(same).ok_or_else(|| {
        let compiled = if paths.is_empty() { "nothing".to_owned() } else { paths.join(", ") };
        format!(
            "build.rs does not compile this model (it compiles {compiled})\nadd it to \
             `nomopoly_build::compile([..])`, or call `nomopoly_build::compile_referenced();`"
        )
    })
}

/// The version alone first: other versions may have another layout.
fn read(json: &[u8], file: &Path) -> Result<BuildManifest, String> {
    let damaged = |error: serde_json::Error| {
        format!(
            "{} is damaged or was edited: {error}\nrun `cargo clean` and build again",
            file.display()
        )
    };
    let value: serde_json::Value = serde_json::from_slice(json).map_err(damaged)?;
    let schema = value.get("schema").and_then(serde_json::Value::as_u64);
    if schema.is_some_and(|schema| schema != u64::from(MANIFEST_SCHEMA)) {
        let version = value.get("version").and_then(serde_json::Value::as_str);
        return Err(format!(
            "nomopoly-build {} and nomopoly-macros {} do not fit each other (manifest schema {}, \
             expected {MANIFEST_SCHEMA})\nuse one version of every Nomopoly crate",
            version.unwrap_or("of an unknown version"),
            env!("CARGO_PKG_VERSION"),
            schema.unwrap_or_default(),
        ));
    }
    serde_json::from_value(value).map_err(damaged)
}

/// The element types that typed tensors have, as the manifest spells them.
const ELEMENTS: [&str; 11] =
    ["f32", "f64", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "bool"];

/// Whether code can be written for an interface: a manifest may have been edited.
fn sound(interface: &ModelInterface) -> Result<(), String> {
    let mut tensors = interface.inputs.iter().chain(&interface.outputs);
    match tensors.find(|tensor| !ELEMENTS.contains(&tensor.dtype.as_str())) {
        None => Ok(()),
        Some(tensor) => Err(format!(
            "the build script's manifest was edited: `{}` has element type {:?}\nrun `cargo clean` \
             and build again",
            tensor.name, tensor.dtype
        )),
    }
}

/// A path without `.` parts.
fn plain(path: &Path) -> PathBuf {
    path.components().filter(|part| !matches!(part, Component::CurDir)).collect()
}

/// Another ONNX file in the same folder.
fn suggestion(file: &Path) -> String {
    let folder = file.parent().unwrap_or(Path::new(""));
    let Ok(items) = std::fs::read_dir(folder) else { return String::new() };
    let names = items.flatten().map(|item| item.file_name().to_string_lossy().into_owned());
    let mut models: Vec<String> = names.filter(|name| name.ends_with(".onnx")).collect();
    models.sort();
    match models.as_slice() {
        [] => String::new(),
        models => format!("\nthat folder has {}", models.join(", ")),
    }
}
