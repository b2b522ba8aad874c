//! For `build.rs`: compile a crate's models, and leave what the attribute `#[nomopoly::model]`
//! needs in `OUT_DIR`.
//!
//! | file | subject |
//! | --- | --- |
//! | `environment.rs` | what Cargo and the user say through variables |
//! | `lookup.rs` | registries in their order |
//! | `interface.rs` | what a program sees of a model |
//! | `built.rs` | one model, from its file to its bundle |
//! | `ledger.rs` | what an audit measured, as Rust text |
//! | `output.rs` | files in `OUT_DIR`, and the fingerprint that spares work |
//! | `directives.rs` | what is said to Cargo |

mod built;
mod directives;
mod environment;
mod interface;
mod ledger;
mod lookup;
mod output;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nomopoly_manifest::{
    ARTEFACT_SCHEMA, BuildManifest, BuildStatus, CompileOptions, MANIFEST_SCHEMA,
};

pub use directives::Directives;
pub use environment::{Environment, Mode};
pub use lookup::cache_folder;

use crate::cargo_project::references;
use crate::error::{Error, Result};
use crate::policy::Policy;
use built::{Building, Built};

/// How long a build script trains by default before it leaves the rest to the command.
pub const DEFAULT_BUDGET: Duration = Duration::from_secs(30);

/// Compiles the operations of these models, for `build.rs`:
///
/// ```no_run
/// nomopoly_build::compile(["models/digits.onnx"]);
/// ```
///
/// Paths are relative to the crate's `Cargo.toml`. What cannot be compiled is no error here: the
/// attribute `#[nomopoly::model]` reports it at the place that uses the model.
pub fn compile<P: Into<PathBuf>>(models: impl IntoIterator<Item = P>) {
    Config::new().models(models).compile();
}

/// As [`compile`], for every model that an attribute `#[nomopoly::model("...")]` in the sources of
/// the crate's targets names.
pub fn compile_referenced() {
    Config::new().referenced().compile();
}

/// Options of a build script; `Config::new().models(..).compile()` is [`compile`].
#[derive(Debug, Clone)]
pub struct Config {
    models: Vec<PathBuf>,
    referenced: bool,
    options: CompileOptions,
    inputs: BTreeMap<PathBuf, BTreeMap<String, Vec<usize>>>,
    calibration: BTreeMap<PathBuf, PathBuf>,
    mode: Option<Mode>,
    budget: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}

/// What a build script did.
#[derive(Debug)]
pub struct Outcome {
    /// What was written to `OUT_DIR`.
    pub manifest: BuildManifest,
    /// What Cargo should be told.
    pub directives: Directives,
}

impl Config {
    /// No models, default options.
    pub fn new() -> Self {
        Self {
            models: vec![],
            referenced: false,
            options: CompileOptions::default(),
            inputs: BTreeMap::new(),
            calibration: BTreeMap::new(),
            mode: None,
            budget: DEFAULT_BUDGET,
        }
    }

    /// Adds a model file; the path is relative to the crate's `Cargo.toml`.
    #[must_use]
    pub fn model(mut self, path: impl Into<PathBuf>) -> Self {
        self.models.push(path.into());
        self
    }

    /// Adds model files.
    #[must_use]
    pub fn models<P: Into<PathBuf>>(mut self, paths: impl IntoIterator<Item = P>) -> Self {
        self.models.extend(paths.into_iter().map(Into::into));
        self
    }

    /// Adds every model that an attribute in the crate's sources names.
    #[must_use]
    pub fn referenced(mut self) -> Self {
        self.referenced = true;
        self
    }

    /// Compile options of all models. They are part of every entry's id: the command must be
    /// given the same ones.
    #[must_use]
    pub fn options(mut self, options: CompileOptions) -> Self {
        self.options = options;
        self
    }

    /// Binds the shape of an input that has symbolic dimensions.
    #[must_use]
    pub fn input(
        mut self,
        model: impl Into<PathBuf>,
        name: impl Into<String>,
        shape: impl Into<Vec<usize>>,
    ) -> Self {
        let model = environment::plain(&model.into());
        self.inputs.entry(model).or_default().insert(name.into(), shape.into());
        self
    }

    /// Real inputs of a model to train and measure on: a `.npz` file with an array
    /// `[samples, ...]` per model input.
    #[must_use]
    pub fn calibration(mut self, model: impl Into<PathBuf>, npz: impl Into<PathBuf>) -> Self {
        self.calibration.insert(environment::plain(&model.into()), npz.into());
        self
    }

    /// What to do about operations that no registry has; `NOMOPOLY_MODE` overrides it.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = Some(mode);
        self
    }

    /// How long to train in [`Mode::Auto`], for all models of the crate together. Default
    /// [`DEFAULT_BUDGET`]; `NOMOPOLY_BUDGET` (seconds) overrides it.
    #[must_use]
    pub fn budget(mut self, budget: Duration) -> Self {
        self.budget = budget;
        self
    }

    /// For `build.rs`: compiles, tells Cargo, never panics.
    pub fn compile(&self) {
        // What went wrong has been told.
        let _ = self.try_compile();
    }

    /// As [`Config::compile`], for build scripts that go on only when everything is ready.
    ///
    /// # Errors
    /// [`Error::Build`] when a model is not ready, or `OUT_DIR` cannot be written.
    pub fn try_compile(&self) -> Result<BuildManifest> {
        let outcome = Environment::from_cargo().and_then(|environment| self.run(&environment));
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                directives::print_error(&error.to_string());
                return Err(error);
            }
        };
        outcome.directives.print();
        let broken = outcome.manifest.models.iter().find_map(|model| match &model.status {
            BuildStatus::Ready { .. } | BuildStatus::Stub { .. } => None,
            BuildStatus::Missing { .. } | BuildStatus::Failed { .. } => Some(model.path.clone()),
        });
        match broken {
            Some(path) => Err(Error::Build(format!("{path} is not ready; see the warnings"))),
            None => Ok(outcome.manifest),
        }
    }

    /// Compiles without a word to Cargo, for other build tools.
    ///
    /// # Errors
    /// When `OUT_DIR` cannot be written, an option is out of its range, or the crate's sources
    /// cannot be listed. Models that are not ready are a status in the manifest.
    pub fn run(&self, environment: &Environment) -> Result<Outcome> {
        let start = Instant::now();
        self.options.validate()?;
        let mode = environment.mode.or(self.mode).unwrap_or_default();
        let budget = environment.budget.unwrap_or(self.budget);
        let mut directives = Directives::default();
        let paths = self.paths(environment, &mut directives)?;
        for path in self.inputs.keys().chain(self.calibration.keys()) {
            if !paths.contains(path) {
                directives.warn(format!(
                    "Config::input or Config::calibration names {}, which is no model of this crate",
                    path.display()
                ));
            }
        }
        for lock in lookup::lock_files(environment).iter().filter(|lock| lock.is_file()) {
            directives.file(lock);
        }
        // An absent file would make Cargo run the build script every time: a new one is seen at the
        // next change of anything else, and by `cargo nomopoly check` at once.
        let policy_file = Policy::file(&environment.manifest_dir);
        if policy_file.is_file() {
            directives.file(&policy_file);
        }
        let policy = Policy::load(&environment.manifest_dir).map_err(|error| error.to_string());
        let output = output::Output::open(&environment.out_dir)?;
        let key = self.key(mode, &paths);
        // Locked means that every hash is checked each time.
        if mode != Mode::Locked
            && let Some(manifest) = output.unchanged(&key, environment, &mut directives)
        {
            return Ok(Outcome { manifest, directives });
        }
        // From here on files are replaced: what the last build left must not be taken for whole.
        output.forget()?;
        let before = output.hash_models(environment, &paths);

        let building = Building {
            environment,
            options: &self.options,
            mode,
            // No deadline where the budget is longer than clocks go.
            deadline: start.checked_add(budget),
            budget,
            policy: &policy,
            output: &output,
        };
        let (mut models, mut inputs) = (vec![], vec![]);
        for path in &paths {
            let twins = built::same_name(path, &paths);
            let built = if twins.is_empty() {
                let inputs = self.inputs.get(path).cloned().unwrap_or_default();
                building.model(path, &inputs, self.calibration.get(path), &mut directives)
            } else {
                Built::twin(path, &twins)
            };
            directives.status(&built.model);
            built.files.iter().for_each(|file| directives.file(file));
            inputs.extend(built.files);
            models.push(built.model);
        }
        let manifest = BuildManifest {
            schema: MANIFEST_SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            models,
        };
        output.write_manifest(&manifest)?;
        // A model that was saved in the meantime is looked at again.
        if output.hash_models(environment, &paths) == before {
            output.write_fingerprint(&key, environment, inputs, &directives)?;
        }
        Ok(Outcome { manifest, directives })
    }

    /// The models of the crate, each once.
    fn paths(
        &self,
        environment: &Environment,
        directives: &mut Directives,
    ) -> Result<Vec<PathBuf>> {
        let mut paths: Vec<PathBuf> = vec![];
        let mut add = |path: &Path| {
            let path = environment::plain(path);
            if !paths.contains(&path) {
                paths.push(path);
            }
        };
        self.models.iter().for_each(|path| add(path));
        if self.referenced {
            let targets = crate::cargo_project::targets(&environment.manifest_dir)?;
            let found = references::find(&targets);
            found.models.iter().for_each(|reference| add(Path::new(&reference.path)));
            for source in &found.sources {
                directives.file(source);
            }
            // Where new targets and modules may appear.
            for place in ["Cargo.toml", "src", "tests", "examples", "benches"] {
                let place = environment.manifest_dir.join(place);
                if place.exists() {
                    directives.file(&place);
                }
            }
            if found.models.is_empty() {
                directives.warn(
                    "no #[nomopoly::model(\"...\")] was found in this crate's sources: nothing to \
                     compile",
                );
            }
        }
        Ok(paths)
    }

    /// Everything that decides the outcome beside the contents of files.
    fn key(&self, mode: Mode, paths: &[PathBuf]) -> String {
        format!(
            "{} {MANIFEST_SCHEMA} {ARTEFACT_SCHEMA} {mode} {paths:?} {:?} {:?} {:?}",
            env!("CARGO_PKG_VERSION"),
            self.options,
            self.inputs,
            self.calibration
        )
    }
}

/// Whether this crate was built with optimisation.
#[cfg(feature = "train")]
fn optimised() -> bool {
    env!("NOMOPOLY_OPT_LEVEL") != "0"
}
