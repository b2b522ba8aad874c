//! The exported files compute what the runtime computes.

use nomopoly_manifest::OperationKind;
use serde_json::json;

use super::*;

/// Zeros, and scales near both ends of f32.
const SCALES: [f64; 6] = [0., 1e-30, 1e-3, 1., 1e3, 1e30];
/// What verifiers judge: squares are numbers.
const JUDGED_SCALES: [f64; 6] = [0., 1e-15, 1e-3, 1., 1e3, 1e15];

/// A claimed output and proof, `[1, ...]` each.
struct Claim {
    what: &'static str,
    y: Tensor,
    proof: Tensor,
}

/// `y` with noise of a size relative to its largest element; an output of zeros gets the noise
/// itself.
fn noisy(y: &Tensor, deviation: f64) -> Tensor {
    let noise = normal_tensor(y.dims(), 77);
    let largest = y.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
    let size = if largest == 0. { deviation } else { deviation * f64::from(largest) };
    (y + (noise * size).unwrap()).unwrap()
}

fn with_element(tensor: &Tensor, value: f32) -> Tensor {
    let mut all = values(tensor);
    all[0] = value;
    Tensor::from_vec(all, tensor.dims(), &Device::Cpu).unwrap()
}

/// The honest claim, and wrong ones whose residuals are far above rounding.
fn claims(subject: &Subject, inputs: &[Tensor]) -> (Claim, Vec<Claim>) {
    let compiled = &subject.compiled;
    let y = compiled.operation.forward(inputs).unwrap();
    let proof = compiled.prove(&y).unwrap();
    let mut wrong = vec![];
    for deviation in [1e-1, 1e-2, 1e-3] {
        let noisy = noisy(&y, deviation);
        let generated = compiled.prove(&noisy).unwrap();
        wrong.push(Claim { what: "output with its own proof", y: noisy.clone(), proof: generated });
        wrong.push(Claim { what: "output with the true proof", y: noisy, proof: proof.clone() });
        let moved = with_element(&proof, values(&proof)[0] + deviation as f32);
        wrong.push(Claim { what: "proof", y: y.clone(), proof: moved });
    }
    (Claim { what: "honest", y, proof }, wrong)
}

fn not_finite(honest: &Claim) -> Vec<Claim> {
    let mut all = vec![];
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let (y, proof) = (honest.y.clone(), honest.proof.clone());
        all.push(Claim { what: "y", y: with_element(&y, value), proof: proof.clone() });
        all.push(Claim { what: "proof", y, proof: with_element(&proof, value) });
    }
    all
}

fn exported_score(plan: &Plan, inputs: &[Tensor], claim: &Claim) -> f64 {
    let all: Vec<Tensor> = inputs.iter().chain([&claim.y, &claim.proof]).cloned().collect();
    let scores = run(plan, &all);
    assert_eq!(scores[0].len(), 1);
    f64::from(scores[0][0])
}

/// The largest difference of scores between a verifier file and the runtime.
fn compare_scores(name: &str, subject: &Subject, compare_honest: bool) -> f64 {
    let plan = plan(name, &subject.exported.verifier);
    let verifier = subject.verifier();
    let (mut worst, mut dumped) = (0f64, vec![]);
    for scale in JUDGED_SCALES {
        let inputs = subject.inputs(scale, 20);
        let (honest, wrong) = claims(subject, &inputs);
        for claim in wrong.iter().chain(compare_honest.then_some(&honest)) {
            let verdicts = verifier.verify(&inputs, &claim.y, &claim.proof).unwrap();
            let (expected, got) = (verdicts[0].score, exported_score(&plan, &inputs, claim));
            assert!(
                (expected - got).abs() < 1e-3,
                "{name} at scale {scale}, wrong {}: {got}, expected {expected}",
                claim.what
            );
            worst = worst.max((expected - got).abs());
            dumped.push(json!({
                "inputs": inputs.iter().map(values).collect::<Vec<_>>(),
                "y": values(&claim.y), "proof": values(&claim.proof), "score": expected,
            }));
        }
        for claim in not_finite(&honest) {
            let got = exported_score(&plan, &inputs, &claim);
            assert_eq!(got, 0., "{name}: {} not finite", claim.what);
        }
    }
    subject.dump(name, &dumped);
    worst
}

#[test]
fn verifiers_score_as_the_runtime_does() {
    for (name, operation) in subjects::all() {
        for &check in subjects::checks(&operation) {
            let sharp = Subject::new(&operation, check, sharp_head());
            let worst = compare_scores(&format!("{name}-{check}-sharp"), &sharp, true);
            let soft = Subject::new(&operation, check, soft_head());
            let worst_soft = compare_scores(&format!("{name}-{check}-soft"), &soft, false);
            println!("{name} {check}: scores differ by {worst:.1e} and {worst_soft:.1e}");
        }
    }
}

#[test]
fn sharp_verifiers_accept_the_honest_and_reject_the_wrong() {
    for (name, operation) in subjects::all() {
        for &check in subjects::checks(&operation) {
            let subject = Subject::new(&operation, check, sharp_head());
            let plan = plan(name, &subject.exported.verifier);
            for scale in JUDGED_SCALES {
                let inputs = subject.inputs(scale, 20);
                let (honest, wrong) = claims(&subject, &inputs);
                let score = exported_score(&plan, &inputs, &honest);
                assert!(score > 0.9, "{name} {check} at scale {scale}: honest scores {score}");
                for claim in wrong {
                    let score = exported_score(&plan, &inputs, &claim);
                    assert!(score < 0.5, "{name} {check} at {scale}: {} {score}", claim.what);
                }
            }
        }
    }
}

/// Squares of such inputs are infinite, or 0: a file then refuses what it cannot judge.
#[test]
fn beyond_their_range_verifiers_accept_nothing_wrong() {
    for (name, operation) in subjects::all() {
        for &check in subjects::checks(&operation) {
            let subject = Subject::new(&operation, check, sharp_head());
            let plan = plan(name, &subject.exported.verifier);
            for scale in [1e-30, 1e30] {
                let inputs = subject.inputs(scale, 20);
                for claim in claims(&subject, &inputs).1 {
                    let score = exported_score(&plan, &inputs, &claim);
                    assert!(score < 0.5, "{name} {check} at {scale}: {} {score}", claim.what);
                }
            }
        }
    }
}

#[test]
fn soft_scores_are_neither_all_0_nor_all_1() {
    let subject = Subject::new(&subjects::conv(), Check::Sketch, soft_head());
    let plan = plan("conv", &subject.exported.verifier);
    let inputs = subject.inputs(1., 20);
    let scores: Vec<f64> = claims(&subject, &inputs)
        .1
        .iter()
        .map(|claim| exported_score(&plan, &inputs, claim))
        .collect();
    assert!(scores.iter().filter(|score| (0.05..0.95).contains(*score)).count() > 3, "{scores:?}");
}

#[test]
fn the_baseline_scores_as_the_runtime_does() {
    for (name, operation) in [("conv", subjects::conv()), ("relu", subjects::relu())] {
        let spec = operation.spec();
        let inputs = spec.inputs_len() + spec.output_len() + PROOF_DIM;
        let subject = Subject::new(&operation, Check::Replay, perceptron(inputs));
        let worst = compare_scores(&format!("{name}-mlp"), &subject, true);
        println!("{name} mlp: scores differ by {worst:.1e}");
    }
}

#[test]
fn provers_give_the_operation_and_its_proof() {
    for (name, operation) in subjects::all() {
        let subject = Subject::new(&operation, Check::Replay, sharp_head());
        let plan = plan(name, &subject.exported.prover);
        let (mut worst_y, mut worst_proof) = (0f64, 0f64);
        for scale in SCALES {
            let inputs = subject.inputs(scale, 20);
            let (honest, _) = claims(&subject, &inputs);
            let outputs = run(&plan, &inputs);
            worst_y = worst_y.max(difference(&outputs[0], &values(&honest.y)));
            for (got, expected) in outputs[1].iter().zip(values(&honest.proof)) {
                assert!(got.is_finite());
                worst_proof = worst_proof.max(f64::from((got - expected).abs()));
            }
        }
        println!("{name}: prover differs by {worst_y:.1e} and {worst_proof:.1e}");
        assert!(worst_y < 1e-5 && worst_proof < 1e-5, "{name}: {worst_y} {worst_proof}");
    }
}

#[test]
fn adversaries_give_their_fakes() {
    for (name, operation) in subjects::all() {
        let mut subject = Subject::new(&operation, Check::Replay, sharp_head());
        subject.adversary.set_deviation(0.25);
        subject.exported = export(&subject.compiled, &subject.adversary).unwrap();
        let plan = plan(name, &subject.exported.adversary);
        let generator = &subject.compiled.artefact.generator;
        let mut worst = 0f64;
        for scale in SCALES {
            let inputs = subject.inputs(scale, 20);
            let outputs = run(&plan, &inputs);
            assert!(outputs.iter().flatten().all(|v| v.is_finite()), "{name} at scale {scale}");
            let truth = operation.forward(&inputs).unwrap();
            let fake = subject.adversary.output(&operation, &inputs, &truth).unwrap();
            let proof = subject.adversary.proof(generator, &fake).unwrap();
            worst = worst.max(difference(&outputs[0], &values(&fake)));
            worst = worst.max(difference(&outputs[1], &values(&proof)));
        }
        println!("{name}: adversary differs by {worst:.1e}");
        assert!(worst < 1e-5, "{name}: {worst}");
    }
}

#[test]
fn every_kind_is_among_the_subjects() {
    let subjects = subjects::all();
    for kind in OperationKind::ALL {
        assert!(subjects.iter().any(|(_, operation)| operation.spec().kind == kind), "{kind}");
    }
}
