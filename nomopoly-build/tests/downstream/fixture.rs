//! A crate in a temporary folder, running cargo in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The workspace's folder.
pub fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Where this test was built: `.../target/debug/deps/downstream-...`.
pub fn target() -> PathBuf {
    std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_owned()
}

/// A crate that was made by `cargo new` and `cargo nomopoly init`.
pub struct Fixture {
    pub name: String,
    folder: tempfile::TempDir,
    /// The user's cache of compiled operations; it may be another crate's.
    pub cache: PathBuf,
}

impl Fixture {
    /// A folder for a crate of this name, without the crate.
    pub fn empty(name: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("nomopoly-downstream-").tempdir().unwrap();
        let cache = folder.path().join("cache");
        fs::create_dir(folder.path().join(name)).unwrap();
        Self { name: name.to_owned(), folder, cache }
    }

    pub fn new(name: &str) -> Self {
        let fixture = Self::empty(name);
        fs::remove_dir(fixture.path("")).unwrap();
        let new = ["new", "--quiet", "--vcs", "none", "--bin", name];
        run(fixture.command("cargo").current_dir(fixture.folder.path()).args(new));
        let said = run(fixture.nomopoly().args(["init", "--path"]).arg(checkout()));
        assert!(said.contains("added dependency nomopoly"), "{said}");
        fixture.copy_lock();
        fixture
    }

    /// The same versions of everything, without a network.
    pub fn copy_lock(&self) {
        fs::copy(checkout().join("Cargo.lock"), self.path("Cargo.lock")).unwrap();
    }

    /// A path in the crate.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(&self.name).join(name)
    }

    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            // What cargo says to this test is not for the cargo that it runs.
            let ours = name.starts_with("CARGO_") && name != "CARGO_HOME";
            if ours || name.starts_with("NOMOPOLY_") || name == "OUT_DIR" || name == "DOCS_RS" {
                command.env_remove(name);
            }
        }
        command
            .current_dir(self.folder.path().join(&self.name))
            .env("CARGO_TARGET_DIR", target())
            .env("CARGO_NET_OFFLINE", "true")
            .env("CARGO_TERM_COLOR", "never")
            // As the workspace builds dependencies, so that they need not be built again.
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .env("NOMOPOLY_CACHE", &self.cache);
        command
    }

    /// Cargo in the crate.
    pub fn cargo<const N: usize>(&self, arguments: [&str; N]) -> Command {
        let mut command = self.command(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        command.args(arguments);
        // A packaged crate names versions; they are not on crates.io, but here.
        for (name, folder) in [("nomopoly", ""), ("nomopoly-build", "nomopoly-build")] {
            let patch = format!("patch.crates-io.{name}.path={:?}", checkout().join(folder));
            command.arg("--config").arg(patch);
        }
        command
    }

    /// The command of this workspace, in the crate.
    pub fn nomopoly(&self) -> Command {
        self.command(env!("CARGO_BIN_EXE_cargo-nomopoly"))
    }

    /// Builds and runs the crate; what it printed.
    pub fn run(&self) -> String {
        run(&mut self.cargo(["run", "--quiet"]))
    }
}

/// Runs a command that must succeed; its two outputs together.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let (success, text) = outcome(command);
    assert!(success, "{command:?}:\n{text}");
    text
}

/// Runs a command; whether it succeeded, and its two outputs together.
pub fn outcome(command: &mut Command) -> (bool, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = [String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)].concat();
    assert!(!text.contains("panicked at"), "{command:?}:\n{text}");
    (status.success(), text)
}
