//! What crates must never link, as docs/ARCHITECTURE.md promises.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// Names of all crates that a package is built from.
fn dependencies(package: &str, options: &[&str]) -> BTreeSet<String> {
    tree(package, "{lib}", "normal,build", options)
        .lines()
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect()
}

/// Lines of `cargo tree`.
fn tree(package: &str, format: &str, edges: &str, options: &[&str]) -> String {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--offline", "--edges", edges, "--prefix", "none", "--no-dedupe"])
        .args(["--format", format, "--package", package])
        .args(options)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn macros_never_link_candle_or_tract() {
    for name in dependencies("nomopoly-macros", &[]) {
        assert!(!name.starts_with("candle") && !name.starts_with("tract"), "{name}");
    }
}

#[test]
fn the_manifest_depends_on_serde_alone() {
    let allowed = ["nomopoly_manifest", "proc_macro2", "quote", "syn", "unicode_ident"];
    for name in dependencies("nomopoly-manifest", &[]) {
        assert!(name.starts_with("serde") || allowed.contains(&name.as_str()), "{name}");
    }
}

/// Crates that only training, export and plots need.
const TRAINING: [&str; 4] = ["candle_nn", "plotters", "npyz", "statrs"];

#[test]
fn a_build_script_without_the_feature_train_links_no_training() {
    let with = dependencies("nomopoly-build", &[]);
    let without = dependencies("nomopoly-build", &["--no-default-features"]);
    for name in TRAINING {
        assert!(with.contains(name) && !without.contains(name), "{name}");
    }
}

#[test]
fn what_writes_files_is_not_in_the_runtime() {
    assert!(!dependencies("nomopoly-runtime", &[]).contains("nomopoly_host"));
    assert!(!dependencies("nomopoly", &[]).contains("nomopoly_host"));
    assert!(dependencies("remote", &[]).contains("nomopoly_host"));
}

#[test]
fn the_facade_links_neither_training_nor_plots() {
    for name in dependencies("nomopoly", &[]) {
        assert!(!TRAINING.contains(&name.as_str()), "{name}");
    }
}

#[test]
#[cfg(unix)]
fn a_program_and_its_build_script_share_one_build_of_their_dependencies() {
    let features = |package: &str, options: &[&str]| -> BTreeMap<String, String> {
        let lines = tree(package, "{p}|{f}", "normal,no-proc-macro", options);
        let pairs = lines.lines().filter_map(|line| line.split_once('|'));
        // Our own crates are small.
        let foreign = pairs.filter(|(package, _)| !package.starts_with("nomopoly"));
        foreign.map(|(package, features)| (package.to_owned(), features.to_owned())).collect()
    };
    let program = features("nomopoly", &[]);
    assert!(program.keys().any(|package| package.starts_with("candle-core")));
    for (package, options) in [
        ("nomopoly-build", &[][..]),
        ("nomopoly-build", &["--features", "cli"]),
        ("nomopoly-build", &["--no-default-features"]),
        // An HTTP server and client beside it.
        ("remote", &[]),
    ] {
        let other_program = features(package, options);
        for (package, features) in &program {
            if let Some(other) = other_program.get(package) {
                assert_eq!(
                    features, other,
                    "{package} is built twice: align its features in nomopoly-runtime/Cargo.toml"
                );
            }
        }
    }
}
