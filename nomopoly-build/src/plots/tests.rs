use std::collections::BTreeMap;

use nomopoly_manifest::{
    ARTEFACT_SCHEMA, Architecture, Case, Certificate, Check, CheckCost, CompileOptions,
    DeviationPoint, Epoch, Figures, Histogram, Metrics, OperationKind, OperationSpec, Rate,
};

use super::*;

fn rate(errors: u64, samples: u64) -> Rate {
    // Roughly the Clopper-Pearson bound; exact for no errors up to rounding.
    let errors_95 = errors as f64 + 3.0 + 1.7 * (errors as f64).sqrt();
    let upper_95 = if samples == 0 { 1.0 } else { (errors_95 / samples as f64).min(1.0) };
    Rate { errors, samples, upper_95 }
}

/// What a convolution of twenty epochs looks like.
fn metrics() -> Metrics {
    let history = (1..=20)
        .map(|epoch| {
            let t = f64::from(epoch - 1) / 19.0;
            let wave = (f64::from(epoch) * 2.3).sin().abs();
            let accuracy: BTreeMap<Case, f64> = Case::ALL
                .into_iter()
                .enumerate()
                .map(|(i, case)| {
                    let gap = (0.5 - 0.08 * i as f64) * (-t * (5.0 + i as f64)).exp() * wave;
                    (case, (1.0 - gap).min(1.0))
                })
                .collect();
            let honest_score = 1.0 - 0.5 * (-6.0 * t).exp();
            let fake_score = 0.52 * (-7.0 * t).exp();
            Epoch {
                epoch,
                verifier_loss: 0.69 * (-6.0 * t).exp() + 0.002 * wave,
                adversary_loss: 0.7 + 9.0 * t + wave,
                mean_accuracy: accuracy.values().sum::<f64>() / 5.0,
                accuracy,
                fool_rate: 0.6 * (-8.0 * t).exp() * wave,
                honest_score,
                fake_score,
                score_separation: honest_score - fake_score,
                deviation: 10_f64.powf(-4.0 * t),
            }
        })
        .collect();
    let scores = Case::ALL
        .into_iter()
        .map(|case| {
            let mut counts = vec![0; 50];
            if case == Case::Honest {
                (counts[49], counts[48], counts[47], counts[44]) = (3950, 40, 9, 1);
            } else {
                (counts[0], counts[1], counts[3], counts[27]) = (960, 34, 5, 1);
            }
            (case, Histogram { counts })
        })
        .collect();
    let deviations = [1.0, 0.3, 0.1, 0.03, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6, 1e-6]
        .into_iter()
        .map(|deviation: f64| {
            let pass = (2.0e-5 / deviation).min(1.0);
            DeviationPoint {
                deviation,
                certified_log2: Some(12.0 * pass.log2()),
                measured: rate((1000.0 * (pass * 0.3).powi(4)) as u64, 1000),
            }
        })
        .collect();
    Metrics {
        schema: ARTEFACT_SCHEMA,
        entry: "conv_1x3x8x8-9c41d2e0a1b2".into(),
        operation: OperationSpec {
            kind: OperationKind::Conv,
            dtype: "f32".into(),
            input_shapes: vec![vec![1, 3, 8, 8]],
            output_shape: vec![1, 8, 8, 8],
            attributes: BTreeMap::new(),
        },
        check: Check::Sketch,
        options: CompileOptions::default(),
        history,
        figures: Figures {
            accuracy: 0.99984,
            cases: Case::ALL.into_iter().map(|case| (case, rate(1, 1000))).collect(),
            completeness_error: rate(0, 4000),
            soundness_error: rate(2, 3000),
            certificate: Some(Certificate {
                sketches: 12,
                threshold: 9.5,
                spread: 2e-6,
                median_spread: 1e-6,
                bits_at_min_deviation: Some(67.7),
                deviation_at_soundness_bits: 2.016e-4,
            }),
            epochs: 20,
            cost: CheckCost { recompute: 13_824, verify: 20_736 },
        },
        scores,
        deviations,
    }
}

fn replay() -> Metrics {
    let mut metrics = metrics();
    metrics.check = Check::Replay;
    if let Some(certificate) = &mut metrics.figures.certificate {
        certificate.sketches = 0;
        certificate.bits_at_min_deviation = None;
    }
    for point in &mut metrics.deviations {
        let below_tolerance = point.deviation < 2e-6;
        point.certified_log2 = below_tolerance.then_some(0.0);
        point.measured = if below_tolerance { rate(1000, 1000) } else { rate(0, 1000) };
    }
    metrics
}

fn mlp() -> Metrics {
    let mut metrics = metrics();
    metrics.options.architecture = Architecture::Mlp;
    metrics.figures.certificate = None;
    for point in &mut metrics.deviations {
        point.certified_log2 = None;
        point.measured = rate(if point.deviation > 0.5 { 0 } else { 700 }, 1000);
    }
    metrics
}

fn empty() -> Metrics {
    let mut metrics = metrics();
    metrics.history.clear();
    metrics.scores.clear();
    metrics.deviations.clear();
    metrics.figures.cases.clear();
    metrics
}

fn one_epoch() -> Metrics {
    let mut metrics = metrics();
    metrics.history.truncate(1);
    metrics
}

/// Constant series at their ends, no samples, bounds of 0, and a name full of markup.
fn degenerate() -> Metrics {
    let mut metrics = metrics();
    metrics.entry = "a<b & \"c\"\u{0} 'd'".into();
    for epoch in &mut metrics.history {
        epoch.verifier_loss = 0.0;
        epoch.adversary_loss = 0.0;
        epoch.accuracy.clear();
        epoch.mean_accuracy = 1.0;
        epoch.fool_rate = 0.0;
        epoch.deviation = 0.0;
        epoch.score_separation = f64::NAN;
    }
    metrics.scores = [(Case::Honest, Histogram { counts: Vec::new() })].into();
    for point in &mut metrics.deviations {
        point.certified_log2 = None;
        point.measured = rate(0, 0);
    }
    metrics
}

fn long() -> Metrics {
    let mut metrics = metrics();
    let pattern = metrics.history.clone();
    metrics.history = pattern.into_iter().cycle().take(10_000).collect();
    for (i, epoch) in metrics.history.iter_mut().enumerate() {
        epoch.epoch = i as u32 + 1;
    }
    metrics
}

fn variants() -> Vec<(&'static str, Metrics)> {
    vec![
        ("sketch", metrics()),
        ("replay", replay()),
        ("mlp", mlp()),
        ("empty", empty()),
        ("one_epoch", one_epoch()),
        ("degenerate", degenerate()),
        ("long", long()),
    ]
}

/// Text of an SVG with its entities resolved.
fn plain(svg: &str) -> String {
    svg.replace("&apos;", "'").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

/// Checks that tags nest, attributes are quoted and text holds no bare markup.
fn assert_xml(name: &str, svg: &str) {
    assert!(!svg.chars().any(|c| c.is_control() && c != '\n'), "{name}: control character");
    let mut open = Vec::new();
    let mut rest = svg;
    while let Some(start) = rest.find('<') {
        let (text, tag) = rest.split_at(start);
        assert!(!text.contains('>'), "{name}: bare > in {text:?}");
        for (at, _) in text.match_indices('&') {
            assert!(
                ["&amp;", "&lt;", "&gt;", "&quot;", "&apos;"]
                    .iter()
                    .any(|entity| text[at..].starts_with(entity)),
                "{name}: bare & in {text:?}"
            );
        }
        let end = tag.find('>').unwrap_or_else(|| panic!("{name}: unclosed tag"));
        let body = &tag[1..end];
        assert!(body.matches('"').count().is_multiple_of(2), "{name}: quotes in <{body}>");
        if let Some(closed) = body.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed), "{name}");
        } else if !body.ends_with('/') {
            open.push(body.split_whitespace().next().unwrap_or_default());
        }
        rest = &tag[end + 1..];
    }
    assert!(open.is_empty(), "{name}: {open:?} still open");
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{name}: a number is not finite");
}

#[test]
fn every_kind_of_metrics_gives_valid_xml_and_equal_bytes() {
    for (name, metrics) in variants() {
        for plot in [training_metrics, training_summary] {
            let svg = plot(&metrics).unwrap();
            assert_xml(name, &svg);
            assert!(svg.starts_with("<svg width=\"1100\" height=\"760\""), "{name}");
            assert_eq!(svg, plot(&metrics).unwrap(), "{name}");
            // For looking at them: NOMOPOLY_PLOTS=/tmp/plots cargo test plots.
            if let Some(folder) = std::env::var_os("NOMOPOLY_PLOTS") {
                let kind = if svg.contains("Held-out") { "metrics" } else { "summary" };
                let path = std::path::Path::new(&folder).join(format!("{name}_{kind}.svg"));
                std::fs::write(path, &svg).unwrap();
            }
        }
    }
}

#[test]
fn training_metrics_names_axes_and_series() {
    let svg = plain(&training_metrics(&metrics()).unwrap());
    for words in [
        "conv_1x3x8x8-9c41d2e0a1b2",
        "epoch",
        "share judged rightly (0 to 1)",
        "mean of the five cases",
        "fool rate",
        "deviation (relative)",
        "loss (nats, logarithmic)",
        "verifier",
        "adversary",
        "mean score (0 to 1)",
        "separation",
    ] {
        assert!(svg.contains(words), "{words}");
    }
    for case in Case::ALL {
        assert!(svg.contains(case.label()), "{case:?}");
    }
}

#[test]
fn training_summary_names_axes_and_series() {
    let svg = plain(&training_summary(&metrics()).unwrap());
    for words in [
        "conv_1x3x8x8-9c41d2e0a1b2",
        "score (0 forged, 1 authentic)",
        "samples per bin (logarithmic)",
        "accepted from 0.5 on",
        "deviation of the output (relative, logarithmic)",
        "probability of acceptance (logarithmic, cut at 10⁻¹³)",
        "none accepted: 95 % upper bound",
        "certified bound",
        "min_deviation 10⁻³",
        "67.7 bits",
    ] {
        assert!(svg.contains(words), "{words}");
    }
}

#[test]
fn only_a_sketch_shows_a_probabilistic_bound() {
    let svg = training_summary(&replay()).unwrap();
    assert!(svg.contains("Replay:") && !svg.contains("certified bound below"));
    let svg = training_summary(&mlp()).unwrap();
    assert!(svg.contains("Nothing certified") && !svg.contains("certified bound"));
}

#[test]
fn missing_data_are_said_in_words() {
    let empty = empty();
    assert_eq!(training_metrics(&empty).unwrap().matches("no epochs recorded").count(), 5);
    let summary = training_summary(&empty).unwrap();
    assert_eq!(summary.matches("no samples").count(), 5);
    assert!(summary.contains("no deviations measured"));
}

#[test]
fn different_metrics_give_different_pictures() {
    let mut other = metrics();
    other.history[3].fool_rate += 0.3;
    other.deviations[10].measured = rate(500, 1000);
    assert_ne!(training_metrics(&metrics()).unwrap(), training_metrics(&other).unwrap());
    assert_ne!(training_summary(&metrics()).unwrap(), training_summary(&other).unwrap());
}
