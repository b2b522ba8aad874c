//! Tables of everything that was measured.

use super::catalogue::{Real, all};
use super::results::{Audited, Compiled, Shaped, Speed, load};
use crate::support::table::Table;
use crate::support::timing::{bytes, digits, time};

pub fn print() {
    compiling();
    for (stage, title) in [
        ("speed-1", "One thread each"),
        (
            "speed",
            "Every core: rayon's pool for ours, as many threads for ONNX Runtime, one for tract",
        ),
    ] {
        speed(stage, title);
    }
    audits();
    shapes();
}

fn of<T: serde::de::DeserializeOwned>(stage: &str) -> Vec<(&'static Real, T)> {
    all().iter().filter_map(|model| Some((model, load(model, stage)?))).collect()
}

fn compiling() {
    let mut table = Table::new(&[
        "model",
        "",
        "nodes",
        "sketched",
        "replayed with artefact",
        "recomputed",
        "multiply-accumulates",
        "parameters",
        "compiled cold",
        "again",
        "peak memory",
        "model file",
        "artefacts that are loaded",
        "everything in the registry",
    ]);
    for (model, c) in of::<Compiled>("compile") {
        table.row([
            model.name.to_owned(),
            model.about.to_owned(),
            c.nodes.to_string(),
            c.sketched.to_string(),
            c.replayed.to_string(),
            c.recomputed.to_string(),
            format!("{} M", digits(c.multiply_accumulates as f64 / 1e6)),
            format!("{} M", digits(c.parameters as f64 / 1e6)),
            time(c.cold_seconds),
            time(c.again_seconds),
            format!("{:.0} MB", c.peak_mb),
            bytes(c.model_bytes as f64),
            bytes(c.loaded_bytes as f64),
            bytes(c.registry_bytes as f64),
        ]);
    }
    println!("Compiling, preset fast, calibrated on each model's own inputs:\n");
    table.print();
}

fn speed(stage: &str, title: &str) {
    let mut table = Table::new(&[
        "model",
        "tract",
        "ONNX Runtime",
        "tract over ONNX Runtime",
        "prove over tract",
        "verify over ONNX Runtime",
        "both, first calls",
        "verify over tract",
        "verify",
        "processor time of a proof",
        "of a check",
        "joules of a proof, of a check",
        "starting a verifier",
        "proof",
        "peak memory, host and verifier",
    ]);
    let ratio = |low: f64, median: f64, high: f64| {
        format!("{} ({} to {})", digits(median), digits(low), digits(high))
    };
    let absent = || "-".to_owned();
    for (model, s) in of::<Speed>(stage) {
        let over = s.verify_over_onnxruntime.zip(s.verify_over_onnxruntime_low);
        let over = over.zip(s.verify_over_onnxruntime_high);
        let energy = s.prove_joules.zip(s.verify_joules);
        table.row([
            model.name.to_owned(),
            time(s.tract),
            s.onnxruntime.map_or_else(absent, time),
            s.tract_over_onnxruntime.map_or_else(absent, digits),
            ratio(s.prove_over_tract_low, s.prove_over_tract, s.prove_over_tract_high),
            over.map_or_else(absent, |((median, low), high)| ratio(low, median, high)),
            format!(
                "{}, {}",
                digits(s.first_prove_over_tract),
                s.first_verify_over_onnxruntime.map_or_else(absent, digits)
            ),
            digits(s.verify_over_tract),
            time(s.verify),
            time(s.prove_cpu),
            time(s.verify_cpu),
            energy.map_or_else(absent, |(a, b)| format!("{}, {}", digits(a), digits(b))),
            time(s.start_verifier),
            bytes(s.proof_bytes as f64),
            format!("{:.0} MB", s.peak_mb),
        ]);
    }
    println!(
        "{title}; medians of blocks of calls by turns, without the first of each (10th to 90th percentile):\n"
    );
    table.print();
}

fn audits() {
    let mut table = Table::new(&[
        "model",
        "honest inferences of",
        "rejected",
        "largest honest residual, units",
        "there",
        "int8",
        "bf16",
        "fp16",
        "fine-tuned",
        "one layer",
        "time",
    ]);
    for (model, a) in of::<Audited>("audit") {
        let caught = |name: &str| {
            let of = a.attacks.iter().find(|(other, ..)| other == name);
            of.map_or("-".into(), |(_, tried, accepted)| match tried {
                0 => "the same weights".to_owned(),
                _ => format!("{} of {tried}", tried - accepted),
            })
        };
        table.row([
            model.name.to_owned(),
            a.runtime.clone(),
            format!("{} of {}", a.honest_rejected, a.honest),
            digits(a.largest_residual),
            a.where_largest.clone(),
            caught("int8"),
            caught("bf16"),
            caught("fp16"),
            caught("fine-tuned"),
            caught("one layer"),
            time(a.seconds),
        ]);
    }
    println!(
        "Whole-model checks: honest inferences with ONNX Runtime's transcripts, and substituted models caught:\n"
    );
    table.print();
}

fn shapes() {
    let mut table = Table::new(&[
        "model",
        "first input",
        "honest rejected",
        "int8 weights accepted",
        "first proof and check",
        "later ones",
    ]);
    for (model, s) in of::<Shaped>("shapes") {
        for (shape, count, rejected, forged, first, later) in s.shapes {
            table.row([
                model.name.to_owned(),
                shape,
                format!("{rejected} of {count}"),
                format!("{forged} of {count}"),
                time(first),
                time(later),
            ]);
        }
    }
    println!("Other shapes with the same artefacts:\n");
    table.print();
}
