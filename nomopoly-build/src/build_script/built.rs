//! One model of a crate, from its file to its bundle.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use candle_core::Device;
use nomopoly_manifest::{BuildStatus, BuiltModel, CompileOptions, ModelInterface};
use nomopoly_runtime::Error as RuntimeError;
use nomopoly_runtime::bundle::Bundle;
use nomopoly_runtime::onnx::{Graph, Model};

use super::directives::Directives;
use super::environment::{Environment, Mode};
use super::interface::interface;
use super::ledger;
use super::lookup::Lookup;
use super::output::Output;
use crate::command_line;
use crate::error::{Error, Result};
use crate::plan::ModelPlan;
use crate::policy::{POLICY_FILE, Policy, Violation};
use crate::registry::{ARTEFACT, Registry};

/// A model and the files that it was made from.
pub struct Built {
    pub model: BuiltModel,
    pub files: Vec<PathBuf>,
}

/// Other models of the crate with the same file name.
pub fn same_name(path: &Path, paths: &[PathBuf]) -> Vec<String> {
    let others = paths.iter().filter(|other| *other != path);
    let twins = others.filter(|other| other.file_name() == path.file_name());
    twins.map(|twin| shown(twin)).collect()
}

/// The path with `/` between its parts.
fn shown(path: &Path) -> String {
    let text = path.to_string_lossy();
    if cfg!(windows) { text.replace('\\', "/") } else { text.into_owned() }
}

impl Built {
    /// A model that shares its file name with another: registries record models by file name.
    pub fn twin(path: &Path, twins: &[String]) -> Self {
        let reason = format!(
            "{} has the same file name, and registries record models by file name: rename one",
            twins.join(", ")
        );
        Self { model: failed(path, reason), files: vec![] }
    }
}

fn failed(path: &Path, reason: String) -> BuiltModel {
    BuiltModel { path: shown(path), status: BuildStatus::Failed { reason }, interface: None }
}

/// What a policy has against a model, all of it at once.
fn refused(violations: &[Violation]) -> String {
    let lines: String = violations.iter().map(|violation| format!("\n{violation}")).collect();
    format!("it is not what {POLICY_FILE} asks for:{lines}")
}

/// What all models of a crate are built with.
pub struct Building<'a> {
    pub environment: &'a Environment,
    pub options: &'a CompileOptions,
    pub mode: Mode,
    #[cfg_attr(not(feature = "train"), expect(dead_code, reason = "only training takes time"))]
    pub deadline: Option<Instant>,
    #[cfg_attr(not(feature = "train"), expect(dead_code, reason = "only training takes time"))]
    pub budget: Duration,
    /// The crate's policy, or why its file cannot be used.
    pub policy: &'a Result<Option<Policy>, String>,
    pub output: &'a Output,
}

impl Building<'_> {
    /// Builds one model; what goes wrong is its status.
    pub fn model(
        &self,
        path: &Path,
        inputs: &BTreeMap<String, Vec<usize>>,
        calibration: Option<&PathBuf>,
        directives: &mut Directives,
    ) -> Built {
        let file = self.environment.manifest_dir.join(path);
        let mut files = vec![];
        if file.is_file() {
            files.push(file.clone());
        }
        let model = self.try_model(path, &file, inputs, calibration, &mut files, directives);
        let model = model.unwrap_or_else(|error| failed(path, self.explained(path, error)));
        if matches!(model.status, BuildStatus::Missing { .. } | BuildStatus::Failed { .. }) {
            // Whatever mends it may be a file that nobody knows of yet.
            files.push(self.output.absent());
        }
        Built { model, files }
    }

    fn try_model(
        &self,
        path: &Path,
        file: &Path,
        inputs: &BTreeMap<String, Vec<usize>>,
        calibration: Option<&PathBuf>,
        files: &mut Vec<PathBuf>,
        directives: &mut Directives,
    ) -> Result<BuiltModel> {
        let model = Arc::new(Model::load(file)?);
        let external = external(&model, file)?;
        let data = calibration.map(|path| self.environment.manifest_dir.join(path));
        files.extend(data.filter(|path| path.is_file()));
        files.extend(external.iter().map(|(_, path)| PathBuf::from(path)));
        let graph = Graph::bind(model, inputs)?;
        let built = |status, interface: Result<ModelInterface, String>| match interface {
            Ok(interface) => BuiltModel { path: shown(path), status, interface: Some(interface) },
            Err(reason) => failed(path, reason),
        };
        if self.mode == Mode::Stub {
            let reason = "this build made the types only (NOMOPOLY_MODE=stub or DOCS_RS)";
            let status = BuildStatus::Stub { reason: reason.to_owned() };
            return Ok(built(status, interface(&graph, &BTreeMap::new())));
        }

        let policy = match self.policy {
            Ok(policy) => policy,
            // Before anything is trained: whoever wrote it wants to know now.
            Err(reason) => {
                let status = BuildStatus::Failed { reason: reason.clone() };
                return Ok(built(status, interface(&graph, &BTreeMap::new())));
            }
        };
        let mut warn = |text: String| directives.warn(text);
        let plan = ModelPlan::new(&graph, self.options, &Device::Cpu)?;
        let mut lookup = Lookup::new(self.environment, self.mode, &mut warn)?;
        let (mut found, mut missing) = self.find_all(&plan, &lookup, &mut warn)?;
        let mut reason = String::new();
        if !missing.is_empty() && self.mode == Mode::Auto {
            let name = format!("{}: {}", self.environment.package, shown(path));
            let registry = self.writable(&mut warn);
            reason = self
                .train(&graph, &name, &registry, &lookup, calibration, &mut warn)
                .err()
                .unwrap_or_else(|| "training did not make them".to_owned());
            // Also after a failure: what was finished is there.
            lookup = lookup.and(registry);
            (found, missing) = self.find_all(&plan, &lookup, &mut warn)?;
        } else if !missing.is_empty() {
            reason = format!("NOMOPOLY_MODE is {}, which never trains", self.mode);
        }
        let mut metrics = BTreeMap::new();
        for node in &plan.nodes {
            if let Some(registry) = found.get(&node.entry) {
                metrics.insert(node.node.as_str(), registry.metrics(&node.entry)?);
            }
        }
        let interface = interface(&graph, &metrics);
        if !missing.is_empty() {
            let status = BuildStatus::Missing {
                operations: missing,
                reason,
                command: command_line::compile(
                    &self.environment.package,
                    path,
                    self.options,
                    inputs,
                    calibration.map(PathBuf::as_path),
                ),
            };
            return Ok(built(status, interface));
        }
        let locked = plan.locked(&graph);
        let audit = lookup.audit(&locked, &found, self.mode, &mut warn)?;
        let violations = policy.as_ref().map(|policy| {
            let nodes = plan.nodes.iter().map(|node| node.node.as_str());
            let operations = nodes.filter_map(|node| Some((node, metrics.get(node)?)));
            policy.violations(operations, audit.as_ref())
        });
        if let Some(violations) = violations.filter(|violations| !violations.is_empty()) {
            return Ok(built(BuildStatus::Failed { reason: refused(&violations) }, interface));
        }
        let mut artefacts = BTreeMap::new();
        for (entry, registry) in &found {
            artefacts.insert(entry.clone(), registry.read_verified(entry, ARTEFACT)?);
        }
        let ledger = match &audit {
            Some(audit) => Some(utf8(&self.output.ledger(path, &ledger::expression(audit))?)?),
            None => None,
        };
        let bundle = Bundle {
            model: graph.model().digest(),
            inputs: locked.inputs,
            artefacts,
            operations: locked.nodes,
        };
        let status = BuildStatus::Ready {
            model: utf8(file)?,
            bundle: utf8(&self.output.bundle(path, &bundle.to_bytes()?)?)?,
            external,
            ledger,
        };
        Ok(built(status, interface))
    }

    /// The registry of each entry that one has, and the names of the nodes without.
    fn find_all(
        &self,
        plan: &ModelPlan,
        lookup: &Lookup,
        warn: &mut dyn FnMut(String),
    ) -> Result<(BTreeMap<String, Registry>, Vec<String>)> {
        let (mut found, mut missing) = (BTreeMap::new(), vec![]);
        for (entry, node) in plan.entries() {
            match lookup.find(node, self.mode, warn)? {
                Some(registry) => {
                    found.insert(entry.to_owned(), registry.clone());
                }
                None => missing.extend(
                    plan.nodes.iter().filter(|node| node.entry == entry).map(|n| n.node.clone()),
                ),
            }
        }
        Ok((found, missing))
    }

    /// What is wrong, with the way out that a build script has.
    fn explained(&self, path: &Path, error: Error) -> String {
        match error {
            Error::Runtime(RuntimeError::UnboundDimension { input, symbol, example, .. }) => {
                format!(
                    "dimension `{symbol}` of input `{input}` is not bound; bind it in build.rs with \
                 Config::new().input({:?}, {input:?}, [{}])",
                    shown(path),
                    example.replace(',', ", ")
                )
            }
            error => error.to_string(),
        }
    }

    /// Trains what the registries lack, into `registry`.
    ///
    /// # Errors
    /// In words, why not everything was trained.
    #[cfg(feature = "train")]
    fn train(
        &self,
        graph: &Graph,
        name: &str,
        registry: &Registry,
        lookup: &Lookup,
        calibration: Option<&PathBuf>,
        warn: &mut dyn FnMut(String),
    ) -> Result<(), String> {
        if !super::optimised() {
            warn(
                "training without optimisation is about twenty times slower; add to Cargo.toml: \
                 [profile.dev.build-override] and opt-level = 3 (the same for profile.release)"
                    .to_owned(),
            );
        }
        let mut compiler =
            crate::Compiler::new(registry.clone()).options(self.options.clone()).record_as(name);
        if let Some(deadline) = self.deadline {
            compiler = compiler.deadline(deadline);
        }
        for other in lookup.registries() {
            compiler = compiler.also_in(other.clone());
        }
        if let Some(path) = calibration {
            let path = self.environment.manifest_dir.join(path);
            let data = crate::Calibration::load(&path).map_err(|error| error.to_string())?;
            compiler = compiler.calibration(data);
        }
        match compiler.compile_graph(graph) {
            Ok(_) => Ok(()),
            Err(Error::OutOfTime) => Err(format!(
                "the budget of {} s was spent (NOMOPOLY_BUDGET or Config::budget set it); what was \
                 finished is kept",
                self.budget.as_secs_f64()
            )),
            Err(error) => Err(error.to_string()),
        }
    }

    #[cfg(not(feature = "train"))]
    fn writable(&self, _: &mut dyn FnMut(String)) -> Registry {
        Registry::open(self.output.registry())
    }

    #[cfg(not(feature = "train"))]
    fn train(
        &self,
        _: &Graph,
        _: &str,
        _: &Registry,
        _: &Lookup,
        _: Option<&PathBuf>,
        _: &mut dyn FnMut(String),
    ) -> Result<(), String> {
        Err("this nomopoly-build was built without its feature `train`".to_owned())
    }

    /// The user's cache, or a registry in `OUT_DIR` where that cannot be written.
    #[cfg(feature = "train")]
    fn writable(&self, warn: &mut dyn FnMut(String)) -> Registry {
        let cache = self.environment.cache.as_ref().map(|cache| {
            let probe = std::fs::create_dir_all(cache).and_then(|()| tempfile::tempfile_in(cache));
            probe.map(|_| cache).map_err(|error| format!("{}: {error}", cache.display()))
        });
        let reason = match cache {
            Some(Ok(cache)) => {
                let registry = Registry::open(cache);
                match registry.read_lock() {
                    Ok(_) => return registry,
                    Err(error) => error.to_string(),
                }
            }
            Some(Err(reason)) => reason,
            None => "this platform names none".to_owned(),
        };
        warn(format!(
            "the user's cache cannot be used ({reason}); operations are compiled for this build \
             only, NOMOPOLY_CACHE names another folder"
        ));
        Registry::open(self.output.registry())
    }
}

/// External data files: location and absolute path.
fn external(model: &Model, file: &Path) -> Result<Vec<(String, String)>> {
    let folder = file.parent().unwrap_or(Path::new(""));
    let files = model.external_files().iter();
    files.map(|location| Ok((location.clone(), utf8(&folder.join(location))?))).collect()
}

fn utf8(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        Error::Build(format!("the path {} is not UTF-8, so no program can name it", path.display()))
    })
}
