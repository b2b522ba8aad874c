//! What a newcomer does: `cargo new`, three lines, build, run, change, package.

use std::fs;
use std::process::Command;

use crate::fixture::{Fixture, checkout, outcome, run, target};
use crate::models;

const MAIN: &str = r#"
use nomopoly::VerifierKey;

#[nomopoly::model("models/dense.onnx")]
pub struct Dense;

fn main() -> Result<(), nomopoly::Error> {
    let prover = Dense::prover()?;
    let verifier = Dense::verifier(VerifierKey::random()?)?;
    let input = DenseInput { x: [[1., 2., 3., 4., 5., 6.]].into() };
    let proven = prover.prove(&input)?;
    let report = verifier.verify(&input, &proven)?;
    println!("y = {:?}, {} operations accepted", proven.output().y.as_slice(), report.operations.len());
    let hidden = Dense::op("hidden")?;
    assert_eq!(hidden, Dense::op(0)?);
    let (y, proof) = prover.op("hidden")?.prove(&[input.x.as_slice()])?;
    println!("{} of {} floats", hidden.kind, y.len());
    let _ = proof;
    Ok(())
}
"#;

#[test]
fn from_cargo_new_to_a_packaged_crate() {
    let fixture = Fixture::new("newcomer");
    fixture.write("models/dense.onnx", models::dense(0));
    fixture.write("src/main.rs", MAIN);
    let first = fixture.run();
    assert!(first.contains("2 operations accepted"), "{first}");
    assert!(first.contains("Gemm of 4 floats"), "{first}");

    // Nothing changed: the build script does not even run.
    let again = run(&mut fixture.cargo(["build", "-v"]));
    assert!(again.contains("Fresh newcomer"), "{again}");

    // Another weight, another model: the proof is of the new one.
    fixture.write("models/dense.onnx", models::dense(1));
    let changed = fixture.run();
    assert!(changed.contains("2 operations accepted"), "{changed}");
    assert_ne!(first, changed);

    // Committed operations, and a build that must not train.
    let said = run(fixture.nomopoly().arg("vendor"));
    assert!(said.contains("2 entries copied"), "{said}");
    let said = run(fixture.nomopoly().arg("check"));
    assert!(said.contains("1 model") && said.contains("no problems"), "{said}");
    // The crate as it would be published. Its lock file would name a Nomopoly of crates.io.
    let package = ["package", "--no-verify", "--allow-dirty", "--exclude-lockfile", "--quiet"];
    run(&mut fixture.cargo(package));
    let archive = target().join("package/newcomer-0.1.0.crate");
    let published = Fixture::empty("newcomer-0.1.0");
    run(Command::new("tar").arg("xzf").arg(archive).arg("-C").arg(published.path("..")));
    published.copy_lock();
    for file in ["models/dense.onnx", "ops/nomopoly.lock", "build.rs"] {
        assert!(published.path(file).is_file(), "{file} is not in the package");
    }
    let said = run(published.cargo(["run", "--quiet"]).env("NOMOPOLY_MODE", "locked"));
    assert_eq!(said, changed);
    assert!(!published.cache.exists(), "a locked build wrote to the cache");

    // The committed operations are stale now (the Relu, which has no weights, still serves), and it
    // is said how to mend that.
    published.write("models/dense.onnx", models::dense(2));
    let (success, said) = outcome(published.nomopoly().arg("check"));
    assert!(!success && said.contains("dense.onnx") && said.contains("has changed"), "{said}");
    let (success, said) =
        outcome(published.cargo(["build", "--quiet"]).env("NOMOPOLY_MODE", "locked"));
    assert!(
        !success && said.contains("1 of this model's operations are not compiled: hidden"),
        "{said}"
    );
    assert!(said.contains("run `cargo nomopoly compile -p newcomer models/dense.onnx`"), "{said}");
    assert_eq!(said.matches("error: #[nomopoly::model]").count(), 1, "{said}");
    assert_eq!(said.matches("\nerror").count(), 1, "only the summary follows:\n{said}");
    // The command does as the error says, and the next build finds what it made.
    run(published.nomopoly().args(["compile", "-p", "newcomer", "models/dense.onnx"]));
    let said = run(published.cargo(["run", "--quiet"]).env("NOMOPOLY_MODE", "locked"));
    assert!(said.contains("2 operations accepted"), "{said}");
}

#[test]
fn init_twice_changes_nothing_and_a_stub_has_the_same_types() {
    let fixture = Fixture::new("documented");
    let said = run(fixture.nomopoly().args(["init", "--path"]).arg(checkout()));
    assert!(said.contains("is set up already"), "{said}");

    fixture.write("models/dense.onnx", models::dense(0));
    fixture.write(
        "src/main.rs",
        MAIN.replace("let prover = Dense::prover()?;", "let prover = match Dense::prover() { Err(e) => { println!(\"{e}\"); return Ok(()) } Ok(p) => p };"),
    );
    let said = run(fixture.cargo(["run", "--quiet"]).env("DOCS_RS", "1"));
    assert!(said.contains("dense.onnx cannot be proved or checked by this build"), "{said}");
    assert!(!fixture.cache.exists(), "a stub trained");
}

const ODD: &str = r#"
use nomopoly::{Tensor, Tensors as _, VerifierKey};

/// Attributes, documentation and visibility stay.
#[nomopoly::model("models/mit Leerzeichen und é.onnx", device = "auto")]
#[derive(Debug)]
pub(crate) struct Odd;

#[nomopoly::model("models/batch.onnx", embed = false)]
struct Batch;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let input = OddInput { r#type: [[1., 2., 3., 4., 5., 6.]].into() };
    let proven = Odd::prover()?.prove(&input)?;
    Odd::verifier(VerifierKey::random()?)?.verify(&input, &proven)?;
    println!("{Odd:?} {:?}", proven.output().tensor_1_output.shape());

    let samples: Vec<[f32; 6]> = (0..3).map(|i| [i as f32; 6]).collect();
    let input = BatchInput { x: Tensor::try_from(samples.as_slice())? };
    assert_eq!(input.samples()?.len(), 3);
    let (host, verifier) = (Batch::prover()?, Batch::verifier(VerifierKey::random()?)?);
    // The artefact was compiled at one sample and serves any number: as one inference, or each alone.
    let whole = host.prove(&input)?;
    verifier.verify(&input, &whole)?;
    let fewer = BatchInput { x: Tensor::try_from(&samples[..2])? };
    let error = verifier.verify(&fewer, &whole).unwrap_err();
    let proven = host.prove_each(&input)?;
    println!("batch {} reports; other input: {error}", verifier.verify_each(&input, &proven)?.len());

    // One operation's score, also of one that the whole-model check recomputes.
    let sample = &input.samples()?[2];
    let (hidden, proof) = host.op("hidden")?.prove(&[sample.x.as_slice()])?;
    assert!(verifier.op("hidden")?.verify(&[sample.x.as_slice()], &hidden, &proof)?.accepted());
    let (mut y, proof) = host.op(1)?.prove(&[&hidden])?;
    assert!(verifier.op(1)?.verify(&[&hidden], &y, &proof)?.accepted());
    y[0] += 0.1;
    assert!(!verifier.op("y")?.verify(&[&hidden], &y, &proof)?.accepted());
    assert!(verifier.op("z").unwrap_err().to_string().contains("hidden, y"));
    assert!(verifier.op(7).is_err() && verifier.op("y")?.verify(&[], &y, &proof).is_err());

    // Proofs that arrive as bytes.
    let sent = proven[0].to_bytes()?;
    let refused = |bytes: &[u8]| nomopoly::Proven::<Batch>::from_bytes(bytes).unwrap_err().to_string();
    assert!(refused(&sent[..sent.len() - 1]).contains("checksum"), "{}", refused(&sent[..9]));
    let foreign = nomopoly::Proven::<Odd>::from_bytes(&sent).unwrap_err().to_string();
    assert!(foreign.contains("another model"), "{foreign}");
    let edited = |edit: fn(&mut nomopoly::Proof)| {
        let mut proof = proven[0].proof().clone();
        edit(&mut proof);
        refused(&proof.to_bytes().unwrap())
    };
    assert!(edited(|p| p.outputs[0].name = "z".into()).contains("outputs are [\"z\"]"));
    assert!(edited(|p| p.outputs[0].shape = vec![4, 1]).contains("[4, 1]"));
    assert!(edited(|p| p.operations[0].vector[0] = f32::NAN).contains("not finite"));
    assert!(edited(|p| p.operations.truncate(0)).contains("0 proof vectors"));

    let expanded = nomopoly::Verifier::<Batch>::expand(&VerifierKey::random()?)?;
    let light = nomopoly::Verifier::<Batch>::from_expanded(&expanded)?;
    light.verify(&input.samples()?[1], &proven[1])?;
    let foreign = nomopoly::Verifier::<Odd>::from_expanded(&expanded).err().expect("a foreign key");
    assert!(matches!(foreign, nomopoly::Error::ModelChanged { .. }), "{foreign}");
    // Without weights there is one shape.
    let error = light.verify(&input, &whole).unwrap_err().to_string();
    assert!(error.contains("[3, 6]") && error.contains("[1, 6]"), "{error}");

    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/models/batch.onnx");
    std::fs::write(path, std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/models/other.bin"))?)?;
    println!("changed: {}", Batch::prover().err().expect("the file changed"));
    std::fs::remove_file(path)?;
    println!("gone: {}", Batch::prover().err().expect("the file is gone"));
    Ok(())
}
"#;

#[test]
fn odd_names_paths_and_models_work_and_a_changed_file_is_named() {
    use nomopoly_build::runtime::onnx::pb::tensor_shape_proto::dimension::Value;
    let fixture = Fixture::new("odd");
    let one = Value::DimValue(1);
    fixture.write("models/mit Leerzeichen und é.onnx", models::named(0, "type", "1/output", one));
    let batch = |seed| models::named(seed, "x", "y", Value::DimParam("N".into()));
    fixture.write("models/batch.onnx", batch(2));
    fixture.write("models/other.bin", batch(3));
    fixture.write("src/main.rs", ODD);
    let said = fixture.run();
    for words in [
        "Odd [1, 4]",
        "batch 3 reports; other input: ",
        "changed: batch.onnx is not the model that this program was built for",
        "gone: cannot read",
    ] {
        assert!(said.contains(words), "{words}:\n{said}");
    }
}

#[test]
fn the_readme_s_program_builds_and_runs() {
    let readme = fs::read_to_string(checkout().join("README.md")).unwrap();
    let blocks: Vec<&str> = readme
        .split("```rust,ignore\n")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once("```")?.0))
        .collect();
    let [build, main] = blocks[..] else { panic!("README has {} programs", blocks.len()) };
    let fixture = Fixture::new("readme");
    fixture.write("build.rs", build);
    fixture.write("src/main.rs", main);
    let model = checkout().join("examples/digits/models/digits.onnx");
    fixture.write("models/digits.onnx", fs::read(model).unwrap());
    let said = fixture.run();
    assert!(said.contains("class Some(") && said.contains("7 operations"), "{said}");
    // The profiles that README shows are those that `init` writes.
    let manifest = fs::read_to_string(fixture.path("Cargo.toml")).unwrap();
    for table in manifest.lines().filter(|line| line.starts_with("[profile")) {
        assert!(readme.contains(table), "{table}");
    }
}
