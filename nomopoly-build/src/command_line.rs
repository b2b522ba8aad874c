//! The command that does what a build script could not.

use std::collections::BTreeMap;
use std::path::Path;

use nomopoly_manifest::{Architecture, CompileOptions};

/// `cargo nomopoly compile MODEL` with the options that differ from the defaults.
pub fn compile(
    package: &str,
    model: &Path,
    options: &CompileOptions,
    inputs: &BTreeMap<String, Vec<usize>>,
    calibration: Option<&Path>,
) -> String {
    let mut command = "cargo nomopoly compile".to_owned();
    if !package.is_empty() {
        command.push_str(&format!(" -p {}", quoted(package)));
    }
    command.push_str(&format!(" {}", quoted(&model.to_string_lossy())));
    for (name, shape) in inputs {
        let shape: Vec<String> = shape.iter().map(usize::to_string).collect();
        command.push_str(&format!(" --input {}", quoted(&format!("{name}={}", shape.join(",")))));
    }
    if let Some(data) = calibration {
        command.push_str(&format!(" --calibration {}", quoted(&data.to_string_lossy())));
    }
    let fast = CompileOptions::fast();
    let base = if options.test_samples == fast.test_samples && options.patience == fast.patience {
        command.push_str(" --preset fast");
        fast
    } else {
        CompileOptions::default()
    };
    let mut option = |name: &str, differs: bool, value: String| {
        if differs {
            command.push_str(&format!(" --{name} {value}"));
        }
    };
    macro_rules! each {
        ($($field:ident: $name:literal),* $(,)?) => {
            $(option($name, options.$field != base.$field, options.$field.to_string());)*
        };
    }
    each! {
        min_epochs: "min-epochs", max_epochs: "max-epochs", patience: "patience",
        target_accuracy: "target-accuracy", batch_size: "batch-size",
        steps_per_epoch: "steps-per-epoch", test_samples: "test-samples", proof_dim: "proof-dim",
        soundness_bits: "soundness-bits", min_deviation: "min-deviation", seed: "seed",
    }
    let baseline = options.architecture == Architecture::Mlp;
    option("architecture", baseline, options.architecture.to_string());
    command
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-=,:".contains(c);
    if word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_said_and_words_are_quoted() {
        let none = BTreeMap::new();
        let path = Path::new("models/a b.onnx");
        let command = compile("", path, &CompileOptions::default(), &none, None);
        assert_eq!(command, "cargo nomopoly compile 'models/a b.onnx'");
        let options = CompileOptions { seed: 3, ..CompileOptions::fast() };
        let inputs = BTreeMap::from([("x".to_owned(), vec![1, 3])]);
        assert_eq!(
            compile("digits", Path::new("m.onnx"), &options, &inputs, Some(Path::new("d.npz"))),
            "cargo nomopoly compile -p digits m.onnx --input x=1,3 --calibration d.npz \
             --preset fast --seed 3"
        );
    }
}
