//! Notes the optimisation level that this crate is built with: a build script inherits it, and
//! training without optimisation deserves a warning.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let level = std::env::var("OPT_LEVEL").unwrap_or_default();
    println!("cargo::rustc-env=NOMOPOLY_OPT_LEVEL={level}");
}
