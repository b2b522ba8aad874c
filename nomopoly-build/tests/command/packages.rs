//! Packages and workspaces: which models are meant, and where their operations go.

use nomopoly_build::demo;

use crate::bench::Bench;

/// A workspace of two packages whose sources name models; nothing of it is ever built.
fn workspace() -> Bench {
    let bench = Bench::bare();
    bench.write("Cargo.toml", b"[workspace]\nresolver = \"3\"\nmembers = [\"a\", \"b\"]\n");
    for name in ["a", "b"] {
        let manifest = format!("[package]\nname = \"{name}\"\nedition = \"2024\"\n");
        bench.write(&format!("{name}/Cargo.toml"), manifest.as_bytes());
    }
    bench.write(
        "a/src/lib.rs",
        b"#[nomopoly::model(\"models/one.onnx\")]\npub struct One;\nmod more;\n",
    );
    bench.write("a/src/more.rs", b"#[nomopoly::model(\"two.onnx\")]\nstruct Two;\n");
    bench.write("b/src/lib.rs", b"");
    bench.write("a/models/one.onnx", &demo::model(1));
    bench.write("a/two.onnx", &demo::model(2));
    bench
}

#[test]
fn the_models_of_a_package_are_compiled_into_its_folder() {
    let bench = workspace();
    let compile = ["compile", "-p", "a", "--preset", "fast", "--quiet"];
    bench.run(compile).says(0, &["one.onnx", "two.onnx", "7 operations in `a/ops`"]);
    assert!(bench.join("a/ops/nomopoly.lock").is_file() && !bench.join("ops").exists());
    bench.run(["check", "-p", "a"]).says(0, &["2 models", "`a/ops`", "no problems"]);
    // The same from within the package, without saying which.
    let json = bench.run_in("a", ["check", "--format", "json"]).says(0, &[]).json();
    assert_eq!((&json["models"], &json["ok"]), (&2.into(), &true.into()));
    let cached = bench.run_in("a", ["compile", "--preset", "fast", "--format", "json"]);
    let json = cached.says(0, &[]).json();
    assert_eq!(json["models"].as_array().unwrap().len(), 2);
    // And at the root of the workspace, where every package counts that names models.
    bench.run(["check"]).says(0, &["2 models", "`a/ops`", "no problems"]);
    // What the package asks of its models, both of them.
    bench.write("a/nomopoly.toml", b"[policy]\nmax_far = 1e-9\n");
    let words = ["one.onnx: operation `conv1`", "two.onnx: operation `conv1`", "14 problems"];
    bench.run(["check", "-p", "a"]).says(1, &words);
    std::fs::remove_file(bench.join("a/nomopoly.toml")).unwrap();
    // A model that changed is named, and nothing is trained.
    bench.write("a/two.onnx", &demo::model(3));
    for arguments in [&["check", "-p", "a"][..], &["check"]] {
        bench.run(arguments).says(1, &["has changed", "cargo nomopoly compile -p a two.onnx"]);
    }
}

#[test]
fn a_package_that_is_not_there_or_names_no_model_says_so() {
    let bench = workspace();
    bench.run(["compile", "-p", "c"]).says(1, &["no package `c`", "a, b"]);
    bench.run(["compile"]).says(1, &["which package is meant", "-p NAME"]);
    bench.run(["compile", "-p", "b"]).says(1, &["package `b` name no model"]);
    bench.run(["vendor", "-p", "a"]).says(1, &["14 operations are not in", "compile"]);
    let alone = Bench::bare();
    alone.run(["compile"]).says(1, &["could not find `Cargo.toml`", "name a model"]);
    alone.run(["init"]).says(1, &["could not find `Cargo.toml`"]);
    bench.write("Cargo.toml", b"[workspace\n");
    bench.run(["check"]).says(1, &["Cargo.toml"]);
    // Outside a package, the registry alone is checked.
    alone.run(["check"]).says(0, &["0 entries", "no problems"]);
}

#[test]
fn init_prepares_a_member_and_the_profiles_of_its_workspace() {
    let bench = workspace();
    bench.run(["init", "-p", "b"]).says(0, &["added dependency nomopoly", "build script"]);
    assert!(bench.join("b/build.rs").is_file());
    let root = std::fs::read_to_string(bench.join("Cargo.toml")).unwrap();
    assert!(root.contains("[profile.dev.build-override]"), "{root}");
    bench.run(["init", "-p", "b"]).says(0, &["`b` is set up already"]);
    let json = bench.run(["init", "-p", "b", "--format", "json"]).says(0, &[]).json();
    assert!(json["changes"].as_array().unwrap().is_empty());
    bench.run(["init", "-p", "a", "--path", "."]).says(1, &["no checkout of Nomopoly"]);
}
