//! Build scripts in hostile places.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nomopoly_build::manifest::{BuildStatus, CompileOptions};
use nomopoly_build::registry::Registry;
use nomopoly_build::{Config, Environment, Mode, Outcome};

use crate::fixture::{Fixture, run};
use crate::models;

/// A crate's folder as a build script sees it.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir_all(place.path("crate/models")).unwrap();
        fs::create_dir_all(place.path("out")).unwrap();
        fs::write(place.path("crate/models/dense.onnx"), models::dense(0)).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn environment(&self) -> Environment {
        Environment {
            manifest_dir: self.path("crate"),
            out_dir: self.path("out"),
            package: "dense".into(),
            mode: None,
            registry: None,
            cache: Some(self.path("cache")),
            budget: None,
        }
    }

    fn run(&self, environment: &Environment) -> Outcome {
        config().run(environment).unwrap()
    }
}

fn config() -> Config {
    Config::new().model("models/dense.onnx").options(CompileOptions::fast())
}

fn status(outcome: &Outcome) -> &BuildStatus {
    &outcome.manifest.models[0].status
}

#[track_caller]
fn ready(outcome: &Outcome) {
    assert!(matches!(status(outcome), BuildStatus::Ready { .. }), "{outcome:?}");
}

#[track_caller]
fn missing(outcome: &Outcome, words: &str) {
    let BuildStatus::Missing { operations, reason, .. } = status(outcome) else {
        panic!("{outcome:?}")
    };
    assert_eq!(operations, &["hidden", "y"]);
    assert!(reason.contains(words), "{reason}");
}

#[test]
fn an_unchanged_build_does_nothing_and_any_change_is_seen() {
    let place = Place::new();
    let environment = place.environment();
    let first = place.run(&environment);
    ready(&first);
    let files: Vec<_> = first.directives.files.clone();
    assert!(files.contains(&place.path("crate/models/dense.onnx")), "{files:?}");
    assert!(files.iter().all(|file| file.exists()), "an absent file would rerun every time");

    // With the cache gone there is nothing to look up: the answer is the last one.
    fs::remove_dir_all(place.path("cache")).unwrap();
    assert_eq!(place.run(&environment).manifest, first.manifest);
    assert!(!place.path("cache").exists());

    fs::write(place.path("crate/models/dense.onnx"), models::dense(1)).unwrap();
    let second = place.run(&environment);
    ready(&second);
    assert_ne!(second.manifest, first.manifest);
    // No limit is no overflow.
    let unlimited = config().budget(Duration::MAX).run(&environment).unwrap();
    assert_eq!(unlimited.manifest, second.manifest);
    let other = config().options(CompileOptions { seed: 5, ..CompileOptions::fast() });
    assert_ne!(other.run(&environment).unwrap().manifest, second.manifest);
}

#[test]
fn what_was_left_by_a_build_that_was_killed_is_not_taken_for_whole() {
    let place = Place::new();
    let environment = place.environment();
    let first = place.run(&environment);
    let fingerprint = place.path("out/nomopoly/fingerprint.json");
    let kept = fs::read(&fingerprint).unwrap();
    fs::write(place.path("crate/models/dense.onnx"), models::dense(1)).unwrap();
    place.run(&environment);
    // Had the fingerprint stayed, the first model would meet the second one's bundle.
    assert_ne!(fs::read(&fingerprint).unwrap(), kept);
    fs::write(place.path("crate/models/dense.onnx"), models::dense(0)).unwrap();
    let again = place.run(&environment);
    assert_eq!(again.manifest, first.manifest);
    let (BuildStatus::Ready { bundle, .. }, Some(interface)) =
        (status(&again), &again.manifest.models[0].interface)
    else {
        panic!("{again:?}")
    };
    let bundle = nomopoly_build::runtime::bundle::Bundle::from_bytes(&fs::read(bundle).unwrap());
    assert_eq!(bundle.unwrap().model.to_string(), interface.digest);
}

#[test]
fn registries_are_asked_in_their_order_and_locked_never_trains() {
    let place = Place::new();
    let locked = Environment { mode: Some(Mode::Locked), ..place.environment() };
    missing(&place.run(&locked), "never trains");
    ready(&place.run(&place.environment()));

    // The cache alone, then the crate's own, then the one that was named.
    let entries = |root: &Path| Registry::open(root).compiled().unwrap();
    ready(&place.run(&locked));
    for (folder, named) in [("crate/ops", false), ("named", true)] {
        let place_of = |name: &str| place.path(name);
        fs::remove_dir_all(place_of("out/nomopoly")).unwrap();
        fs::rename(place_of("cache"), place_of(folder)).unwrap();
        let registry = named.then(|| place_of("named"));
        let outcome = place.run(&Environment { registry, ..locked.clone() });
        ready(&outcome);
        let lock = place_of(folder).join("nomopoly.lock");
        assert!(outcome.directives.files.contains(&lock), "{outcome:?}");
        assert_eq!(entries(&place_of(folder)).len(), 2);
        fs::rename(place_of(folder), place_of("cache")).unwrap();
    }

    // A damaged file: locked names it, auto goes on without it.
    fs::remove_dir_all(place.path("out/nomopoly")).unwrap();
    let entry = &entries(&place.path("cache"))[0].path;
    fs::write(entry.join("artefact.safetensors"), b"damaged").unwrap();
    let outcome = place.run(&locked);
    let BuildStatus::Failed { reason } = status(&outcome) else { panic!("{outcome:?}") };
    assert!(reason.contains("artefact.safetensors"), "{reason}");
    let outcome = place.run(&place.environment());
    ready(&outcome);
    assert!(outcome.directives.warnings.iter().any(|w| w.contains("artefact.safetensors")));
}

#[test]
fn registries_of_another_version_are_named_and_left_out() {
    let place = Place::new();
    fs::create_dir_all(place.path("crate/ops")).unwrap();
    fs::write(place.path("crate/ops/nomopoly.lock"), "schema = 99\n").unwrap();
    let outcome = place.run(&place.environment());
    ready(&outcome);
    let warned = outcome.directives.warnings.iter().any(|w| w.contains("schema version 99"));
    assert!(warned, "{outcome:?}");
    fs::remove_dir_all(place.path("out/nomopoly")).unwrap();
    let locked = Environment { mode: Some(Mode::Locked), ..place.environment() };
    let outcome = place.run(&locked);
    let BuildStatus::Failed { reason } = status(&outcome) else { panic!("{outcome:?}") };
    assert!(reason.contains("schema version 99"), "{reason}");
    let kept = fs::read_to_string(place.path("crate/ops/nomopoly.lock")).unwrap();
    assert_eq!(kept, "schema = 99\n", "a build script wrote to the crate");
}

#[test]
fn a_budget_that_is_spent_is_said_and_the_next_build_goes_on() {
    let place = Place::new();
    let hurried = Environment { budget: Some(Duration::ZERO), ..place.environment() };
    let outcome = place.run(&hurried);
    missing(&outcome, "budget of 0 s");
    // Until something is there, Cargo must ask again: an absent file makes it.
    assert!(outcome.directives.files.iter().any(|file| !file.exists()));
    ready(&place.run(&place.environment()));
}

#[test]
fn an_unwritable_cache_is_said_and_done_without() {
    let place = Place::new();
    // A file where the folder should be: unwritable also for root.
    fs::write(place.path("cache"), b"").unwrap();
    let outcome = place.run(&place.environment());
    ready(&outcome);
    assert!(
        outcome.directives.warnings.iter().any(|w| w.contains("NOMOPOLY_CACHE")),
        "{outcome:?}"
    );
    let none = Environment { cache: None, ..place.environment() };
    fs::remove_dir_all(place.path("out/nomopoly")).unwrap();
    ready(&place.run(&none));
}

#[test]
fn two_crates_that_build_at_once_share_a_cache() {
    let place = Place::new();
    let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
        let builds: Vec<_> = (0..4)
            .map(|crate_| {
                let environment = Environment {
                    out_dir: place.path(&format!("out-{crate_}")),
                    ..place.environment()
                };
                fs::create_dir_all(&environment.out_dir).unwrap();
                scope.spawn(move || config().run(&environment).unwrap())
            })
            .collect();
        builds.into_iter().map(|build| build.join().unwrap()).collect()
    });
    outcomes.iter().for_each(ready);
    let registry = Registry::open(place.path("cache"));
    assert_eq!(registry.compiled().unwrap().len(), 2);
    for entry in registry.entries().unwrap() {
        registry.verify_entry(&entry.name).unwrap();
    }
    let bundles = outcomes.iter().map(|outcome| match status(outcome) {
        BuildStatus::Ready { bundle, .. } => fs::read(bundle).unwrap(),
        other => panic!("{other:?}"),
    });
    let bundles: Vec<_> = bundles.collect();
    assert!(bundles.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn what_is_wrong_with_a_model_is_its_status() {
    let place = Place::new();
    let models: [(&str, Option<Vec<u8>>, &str); 4] = [
        ("absent.onnx", None, "cannot read"),
        ("empty.onnx", Some(vec![]), "the file is empty"),
        ("cut.onnx", Some(models::dense(0)[..60].to_vec()), "cut.onnx"),
        ("text.onnx", Some(b"hello, world".to_vec()), "text.onnx"),
    ];
    for (name, bytes, words) in models {
        if let Some(bytes) = bytes {
            fs::write(place.path("crate").join(name), bytes).unwrap();
        }
        let outcome = Config::new().model(name).run(&place.environment()).unwrap();
        let BuildStatus::Failed { reason } = status(&outcome) else { panic!("{outcome:?}") };
        assert!(reason.contains(words), "{name}: {reason}");
        let told = outcome.directives.warnings.iter().any(|warning| warning.contains(name));
        assert!(told, "{outcome:?}");
        assert!(outcome.directives.files.iter().any(|file| !file.exists()), "{outcome:?}");
    }
    fs::create_dir_all(place.path("crate/other")).unwrap();
    fs::write(place.path("crate/other/dense.onnx"), models::dense(1)).unwrap();
    let twins = config().model("other/dense.onnx").run(&place.environment()).unwrap();
    assert_eq!(twins.manifest.models.len(), 2);
    for model in &twins.manifest.models {
        let BuildStatus::Failed { reason } = &model.status else { panic!("{model:?}") };
        assert!(reason.contains("same file name"), "{reason}");
    }
}

#[test]
fn a_policy_is_enforced_and_a_change_of_it_is_seen() {
    let place = Place::new();
    let environment = place.environment();
    ready(&place.run(&environment));
    let file = place.path("crate/nomopoly.toml");
    let failed = |words: &[&str]| {
        let outcome = place.run(&environment);
        let BuildStatus::Failed { reason } = status(&outcome) else { panic!("{outcome:?}") };
        for words in words {
            assert!(reason.contains(words), "{words}: {reason}");
        }
        assert!(outcome.manifest.models[0].interface.is_some(), "the types stay whole");
        assert!(outcome.directives.files.contains(&file), "{outcome:?}");
    };
    // A file that was not there before.
    fs::write(&file, "[policy]\nmax_frr = 1e-9\nmax_far = 1e-9\n").unwrap();
    failed(&[
        "operation `hidden`: false rejection up to",
        "operation `y`: false rejection up to",
        "operation `y`: false acceptance up to",
    ]);
    fs::write(&file, "[policy]\nmax_frr = 0.5\nmax_far = 0.5\n").unwrap();
    let outcome = place.run(&environment);
    ready(&outcome);
    assert!(outcome.directives.files.contains(&file), "{outcome:?}");
    // Of the last build's outcome, which is the answer now.
    assert!(place.run(&environment).directives.files.contains(&file));
    fs::write(&file, "[policy]\nmax_fra = 0.5\n").unwrap();
    failed(&["nomopoly.toml", "max_fra", "max_frr"]);
    fs::remove_file(&file).unwrap();
    ready(&place.run(&environment));
}

#[test]
fn an_audit_becomes_a_ledger_and_a_policy_may_ask_for_one() {
    let place = Place::new();
    let environment = place.environment();
    let ledger = |outcome: &Outcome| match status(outcome) {
        BuildStatus::Ready { ledger, .. } => ledger.clone(),
        other => panic!("{other:?}"),
    };
    // The user's cache is not watched: here nothing is left of the build before.
    let again = |environment: &Environment| {
        let _ = fs::remove_dir_all(place.path("out/nomopoly"));
        place.run(environment)
    };
    assert_eq!(ledger(&place.run(&environment)), None);
    fs::write(place.path("crate/nomopoly.toml"), "[policy]\nrequire_audit = true\n").unwrap();
    let outcome = place.run(&environment);
    let BuildStatus::Failed { reason } = status(&outcome) else { panic!("{outcome:?}") };
    assert!(reason.contains("cargo nomopoly audit"), "{reason}");

    let registry = Registry::open(place.path("cache"));
    let audit = crate::audits::record(&registry, "dense: models/dense.onnx");
    let outcome = again(&environment);
    let file = PathBuf::from(ledger(&outcome).expect("it was audited"));
    assert!(file.is_absolute() && file.starts_with(place.path("out/nomopoly")), "{file:?}");
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(text.matches("::nomopoly::AuditedOperation {").count(), 2, "{text}");
    // Nothing changed, and a file that is gone is a change.
    assert_eq!(place.run(&environment).manifest, outcome.manifest);
    fs::remove_file(&file).unwrap();
    assert_eq!(place.run(&environment).manifest, outcome.manifest);
    assert!(file.is_file());

    // A damaged audit vouches for nothing: locked names it, auto goes on without it.
    fs::remove_file(place.path("crate/nomopoly.toml")).unwrap();
    fs::write(&audit, "{}").unwrap();
    let outcome = again(&environment);
    assert_eq!(ledger(&outcome), None);
    let warned = outcome.directives.warnings.iter().any(|w| w.contains("is damaged"));
    assert!(warned, "{outcome:?}");
    let outcome = again(&Environment { mode: Some(Mode::Locked), ..environment });
    let BuildStatus::Failed { reason } = status(&outcome) else { panic!("{outcome:?}") };
    assert!(reason.contains("is damaged"), "{reason}");
}

/// The build script of a crate, as Cargo would run it.
fn build_script(fixture: &Fixture, out: &Path) -> Command {
    let json = run(&mut fixture.cargo(["build", "--message-format", "json"]));
    let script = json.lines().filter(|line| line.contains("\"custom-build\"")).find_map(|line| {
        let value: serde_json::Value = serde_json::from_str(line).ok()?;
        let own = value["package_id"].as_str()?.contains(&fixture.name);
        own.then(|| value["filenames"][0].as_str().map(PathBuf::from))?
    });
    let mut command = Command::new(script.expect("cargo names the build script"));
    command
        .current_dir(fixture.path(""))
        .env("CARGO_MANIFEST_DIR", fixture.path(""))
        .env("CARGO_PKG_NAME", &fixture.name)
        .env("OUT_DIR", out)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

#[test]
fn a_build_that_is_killed_in_training_leaves_nothing_half_written() {
    let fixture = Fixture::new("killed");
    fixture.write("models/dense.onnx", models::dense(0));
    fixture.write(
        "src/main.rs",
        "#[nomopoly::model(\"models/dense.onnx\")]\npub struct Dense;\nfn main() {}\n",
    );
    let place = tempfile::tempdir().unwrap();
    let (out, cache) = (place.path().join("out"), place.path().join("cache"));
    fs::create_dir_all(&out).unwrap();
    let script = || {
        let mut command = build_script(&fixture, &out);
        command.env("NOMOPOLY_CACHE", &cache);
        command
    };
    let manifest = out.join("nomopoly/manifest.json");
    let mut delay = Duration::from_millis(20);
    // Killed ever later, until one build is fast enough.
    let mut kills = 0;
    loop {
        let mut build = script().spawn().unwrap();
        let start = Instant::now();
        while start.elapsed() < delay && build.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(2));
        }
        if build.try_wait().unwrap().is_some_and(|status| status.success()) {
            break;
        }
        build.kill().unwrap();
        build.wait().unwrap();
        kills += 1;
        let registry = Registry::open(&cache);
        for entry in registry.compiled().unwrap() {
            registry.verify_entry(&entry.name).unwrap();
        }
        if manifest.is_file() {
            let json = fs::read(&manifest).unwrap();
            serde_json::from_slice::<serde_json::Value>(&json).unwrap();
        }
        delay = delay.mul_f64(1.6);
    }
    assert!(kills > 2, "the build was never killed in the middle");
    let written = fs::read_to_string(&manifest).unwrap();
    assert!(written.contains("\"ready\""), "{written}");
    Registry::open(&cache).gc(false).unwrap();
    // A folder whose writer died before it had marked it as its own goes after an hour only.
    for item in fs::read_dir(&cache).unwrap().map(Result::unwrap) {
        let name = item.file_name().to_string_lossy().into_owned();
        let temporary = name.starts_with(".tmp-") || name.starts_with(".old-");
        assert!(!temporary || !item.path().join("in-use").exists(), "{name}");
    }
}

#[test]
#[cfg(unix)]
fn a_read_only_source_tree_builds() {
    use std::os::unix::fs::PermissionsExt as _;
    let fixture = Fixture::new("readonly");
    fixture.write("models/dense.onnx", models::dense(0));
    fixture.write(
        "src/main.rs",
        "#[nomopoly::model(\"models/dense.onnx\")]\nstruct Dense;\nfn main() { println!(\"{}\", Dense::DIGEST); }\n",
    );
    // The lock file must be complete first.
    let first = fixture.run();
    fixture.write("models/dense.onnx", models::dense(1));
    let before = listing(&fixture.path(""));
    let mode = |mode: u32| {
        for folder in ["", "models", "src"] {
            fs::set_permissions(fixture.path(folder), fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    mode(0o555);
    let said = fixture.run();
    mode(0o755);
    assert_eq!(said.trim().len(), 64, "{said}");
    assert_ne!(said, first);
    // Root may write anywhere: nothing must have been written either.
    assert_eq!(listing(&fixture.path("")), before);
}

/// Every file below a folder, with its size.
fn listing(folder: &Path) -> Vec<(PathBuf, u64)> {
    let mut files = vec![];
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for item in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let metadata = item.metadata().unwrap();
            if metadata.is_dir() {
                folders.push(item.path());
            } else {
                files.push((item.path(), metadata.len()));
            }
        }
    }
    files.sort();
    files
}
