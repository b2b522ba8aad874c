//! What crates must never link, as docs/ARCHITECTURE.md promises.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// Names of all crates that a package is built from.
fn dependencies(package: &str) -> BTreeSet<String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--offline", "--edges", "normal,build", "--prefix", "none"])
        .args(["--format", "{lib}", "--package", package])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect()
}

#[test]
fn macros_never_link_candle_or_tract() {
    for name in dependencies("nomopoly-macros") {
        assert!(!name.starts_with("candle") && !name.starts_with("tract"), "{name}");
    }
}

#[test]
fn the_manifest_depends_on_serde_alone() {
    let allowed = ["nomopoly_manifest", "proc_macro2", "quote", "syn", "unicode_ident"];
    for name in dependencies("nomopoly-manifest") {
        assert!(name.starts_with("serde") || allowed.contains(&name.as_str()), "{name}");
    }
}

#[test]
fn the_facade_links_neither_training_nor_plots() {
    for name in dependencies("nomopoly") {
        assert!(!name.starts_with("candle_nn") && !name.starts_with("plotters"), "{name}");
    }
}
