//! What a build script costs on the digits example: training for the first time, and looking again
//! when nothing, a source, or the model has changed.
//!
//! `cargo bench -p nomopoly-build --bench build_script`

use std::path::Path;
use std::time::Instant;

use nomopoly_build::{Config, Environment, Mode};

fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name);
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/digits");
    for (file, text) in [
        ("crate/Cargo.toml", "[package]\nname = \"digits\"\nedition = \"2024\"\n"),
        ("crate/build.rs", ""),
        ("crate/models/digits.onnx", ""),
        ("crate/src/main.rs", ""),
    ] {
        let to = path(file);
        std::fs::create_dir_all(to.parent().expect("it has a folder")).expect("it is writable");
        if text.is_empty() {
            let from = example.join(file.trim_start_matches("crate/"));
            std::fs::copy(from, to).expect("the example is there");
        } else {
            std::fs::write(to, text).expect("it is writable");
        }
    }
    let environment = Environment {
        manifest_dir: path("crate"),
        out_dir: path("out"),
        package: "digits".into(),
        mode: None,
        registry: None,
        cache: Some(path("cache")),
        budget: None,
    };
    let run = |environment: &Environment| {
        let start = Instant::now();
        let outcome = Config::new().referenced().run(environment).expect("it builds");
        assert_eq!(outcome.manifest.models.len(), 1);
        start.elapsed().as_secs_f64()
    };
    let print = |what: &str, seconds: f64| println!("  {what:<52} {:>9.1} ms", seconds * 1e3);
    println!("The build script of the digits example, seven operations:");
    print("first time: everything is trained", run(&environment));
    print("again, nothing changed", median(|| run(&environment)));
    let main = path("crate/src/main.rs");
    let source = std::fs::read_to_string(&main).expect("it was copied");
    let mut edits = 0;
    print(
        "again, a source edited",
        median(|| {
            edits += 1;
            std::fs::write(&main, format!("{source}\n// {edits}\n")).expect("it is writable");
            run(&environment)
        }),
    );
    let fresh = |mode| Environment { out_dir: path("other"), mode, ..environment.clone() };
    let clean = || drop(std::fs::remove_dir_all(path("other")));
    print(
        "another target folder, operations from the cache",
        median(|| {
            clean();
            run(&fresh(None))
        }),
    );
    print(
        "the same, locked: every hash checked",
        median(|| {
            clean();
            run(&fresh(Some(Mode::Locked)))
        }),
    );
}

fn median(mut run: impl FnMut() -> f64) -> f64 {
    let mut times: Vec<f64> = (0..15).map(|_| run()).collect();
    times.sort_by(f64::total_cmp);
    times[7]
}
