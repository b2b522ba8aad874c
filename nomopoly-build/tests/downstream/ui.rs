//! What the compiler says about mistakes: each file in `ui/` is compiled after a set-up, and its
//! first lines say which errors must come, and where they point. No others may.
//!
//! ```text
//! //~ setup: what the build script left, see `Setup`
//! //~ error: words of an error, one line for each (\n for a line break)
//! //~ at: the source text that the error before points to
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nomopoly_build::manifest::CompileOptions;
use nomopoly_build::runtime::onnx::pb::tensor_shape_proto::dimension::Value::DimParam;
use nomopoly_build::{Config, Environment, Mode};
use serde_json::Value;

use crate::fixture::{Fixture, run, target};
use crate::models;

/// A crate's folder, and what build scripts left for it.
struct Ui {
    fixture: Fixture,
    place: tempfile::TempDir,
    /// The library `nomopoly` as the fixture's crate links it.
    library: PathBuf,
}

impl Ui {
    fn new() -> Self {
        let fixture = Fixture::new("ui");
        for (name, bytes) in [
            ("dense.onnx", models::dense(0)),
            ("batch.onnx", models::named(1, "x", "y", DimParam("N".into()))),
        ] {
            fixture.write(&format!("models/{name}"), bytes);
        }
        fixture.write(
            "src/main.rs",
            "#[nomopoly::model(\"models/dense.onnx\")]\npub struct Dense;\nfn main() {}\n",
        );
        let json = run(&mut fixture.cargo(["build", "--message-format", "json"]));
        let library = json.lines().find_map(|line| {
            let value: Value = serde_json::from_str(line).ok()?;
            let own =
                value["target"]["name"] == "nomopoly" && value["reason"] == "compiler-artifact";
            own.then(|| value["filenames"][0].as_str().map(PathBuf::from))?
        });
        let library = library.expect("cargo names the library");
        Self { fixture, place: tempfile::tempdir().unwrap(), library }
    }

    /// Does what a build script would have done; the `OUT_DIR`, if the crate has one.
    fn set_up(&self, setup: &str) -> (PathBuf, Option<PathBuf>) {
        let folder = self.place.path().join(setup);
        let (crate_, out) = (folder.join("crate"), folder.join("out"));
        if folder.exists() {
            return (crate_, (setup != "none").then_some(out));
        }
        for part in ["crate/models", "crate/other", "out"] {
            fs::create_dir_all(folder.join(part)).unwrap();
        }
        for name in ["dense.onnx", "batch.onnx"] {
            let model = self.fixture.path("models").join(name);
            fs::copy(model, crate_.join("models").join(name)).unwrap();
        }
        let environment = Environment {
            manifest_dir: crate_.clone(),
            out_dir: out.clone(),
            package: "ui".into(),
            mode: (setup == "missing").then_some(Mode::Locked),
            registry: None,
            cache: Some(folder.join("cache")),
            budget: None,
        };
        let mut config =
            Config::new().model("models/dense.onnx").options(CompileOptions::default());
        match setup {
            "none" => return (crate_, None),
            "empty" => return (crate_, Some(out)),
            "ready" | "schema" | "edited" => config = config.model("models/batch.onnx"),
            "missing" => {}
            "twins" => {
                fs::write(crate_.join("other/dense.onnx"), models::dense(3)).unwrap();
                config = config.model("other/dense.onnx");
            }
            "constant" => {
                fs::write(crate_.join("models/dense.onnx"), models::constant()).unwrap();
            }
            "policy" => {
                fs::write(crate_.join("nomopoly.toml"), "[policy]\nmax_far = 1e-9\n").unwrap();
            }
            "unreadable-policy" => {
                fs::write(crate_.join("nomopoly.toml"), "[policy]\nmax_fra = 1e-3\n").unwrap();
            }
            "corrupt" => fs::write(crate_.join("models/dense.onnx"), b"garbage!").unwrap(),
            other => panic!("unknown set-up {other}"),
        }
        config.run(&environment).unwrap();
        let manifest = out.join("nomopoly/manifest.json");
        let edit = |from: &str, to: &str| {
            let text = fs::read_to_string(&manifest).unwrap();
            assert!(text.contains(from), "{text}");
            fs::write(&manifest, text.replace(from, to)).unwrap();
        };
        match setup {
            "schema" => {
                edit("\"schema\": 2", "\"schema\": 3");
                edit(&format!("\"{}\"", env!("CARGO_PKG_VERSION")), "\"9.8.7\"");
            }
            "edited" => edit("\"digest\"", "\"digset\""),
            _ => {}
        }
        (crate_, Some(out))
    }

    /// The errors of compiling one file: message, and the source text that each points to.
    fn errors(&self, file: &Path, setup: &str) -> Vec<(String, String)> {
        let (crate_, out) = self.set_up(setup);
        let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()));
        rustc
            .args(["--edition", "2024", "--crate-type", "bin", "--emit", "metadata"])
            .args(["--error-format", "json", "--crate-name", "case"])
            .arg("-L")
            .arg(format!("dependency={}", target().join("debug/deps").display()))
            .arg("--extern")
            .arg(format!("nomopoly={}", self.library.display()))
            .arg("-o")
            .arg(self.place.path().join("case.rmeta"))
            .arg(file)
            .env("CARGO_MANIFEST_DIR", crate_)
            .env_remove("OUT_DIR");
        if let Some(out) = out {
            rustc.env("OUT_DIR", out);
        }
        let output = rustc.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let diagnostics = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let errors = diagnostics.filter(|value| {
            value["level"] == "error" && value["spans"].as_array().is_some_and(|s| !s.is_empty())
        });
        let pointed = |span: &Value| {
            let line = &span["text"][0];
            let at = |key: &str| line[key].as_u64().unwrap_or(1) as usize - 1;
            let text: Vec<char> = line["text"].as_str().unwrap_or_default().chars().collect();
            text.get(at("highlight_start")..at("highlight_end"))
                .unwrap_or_default()
                .iter()
                .collect()
        };
        let errors: Vec<(String, String)> = errors
            .map(|value| {
                let spans = value["spans"].as_array().unwrap();
                let primary = spans.iter().find(|span| span["is_primary"] == true).unwrap();
                (value["message"].as_str().unwrap_or_default().to_owned(), pointed(primary))
            })
            .collect();
        assert!(!errors.is_empty(), "{} compiles:\n{text}", file.display());
        errors
    }
}

#[test]
fn mistakes_are_one_error_each_where_they_were_made() {
    let ui = Ui::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/downstream/ui");
    let mut files: Vec<PathBuf> =
        fs::read_dir(&folder).unwrap().map(|item| item.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 15);
    let mut failures = vec![];
    for file in files {
        let source = fs::read_to_string(&file).unwrap();
        let mut setup = "ready".to_owned();
        let mut expected: Vec<(String, Option<String>)> = vec![];
        for line in source.lines() {
            if let Some(words) = line.strip_prefix("//~ setup: ") {
                setup = words.to_owned();
            } else if let Some(words) = line.strip_prefix("//~ error: ") {
                expected.push((words.replace("\\n", "\n"), None));
            } else if let Some(words) = line.strip_prefix("//~ at: ") {
                expected.last_mut().expect("an error comes first").1 = Some(words.to_owned());
            }
        }
        if source.contains("models/unlisted.onnx") {
            let (crate_, _) = ui.set_up(&setup);
            fs::write(crate_.join("models/unlisted.onnx"), models::dense(9)).unwrap();
        }
        let got = ui.errors(&file, &setup);
        let fits = got.len() == expected.len()
            && got.iter().zip(&expected).all(|((message, at), (words, place))| {
                message.contains(words.as_str()) && place.as_ref().is_none_or(|p| p == at)
            });
        if !fits {
            failures.push(format!("{}:\n  expected {expected:#?}\n  got {got:#?}", file.display()));
        }
        let _ = fs::remove_file(ui.place.path().join(&setup).join("crate/models/unlisted.onnx"));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
