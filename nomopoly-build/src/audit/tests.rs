//! The suite checks itself: verifiers that are known to be weak must be broken by it, spending more
//! must never help the defender, knowing more must never hurt the attacker.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use candle_core::{Device, Tensor};
use nomopoly_manifest::{Accepted, AttackFigures, Attacker, Defence, Rate};
use nomopoly_runtime::VerifierKey;
use nomopoly_runtime::artefact::Network;
use nomopoly_runtime::operations::linear::Contracted;
use nomopoly_runtime::residual::{Prepared, features, proof_residual};

use super::attacks::adaptive::{self, Arena};
use super::subject::Claim;
use super::tally::Tally;
use super::verifiers::{Judges, Jury, Round, Verifier};
use super::*;
use crate::demo;
use crate::registry::Registry;
use crate::{Compiler, load_compiled};

const LEAST: f64 = 1e-3;

/// The demo model, compiled once.
pub(super) static MODEL: LazyLock<CompiledModel> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.onnx");
    std::fs::write(&path, demo::model(0)).unwrap();
    let registry = Registry::open(folder.path().join("ops"));
    let compiler = Compiler::new(registry.clone()).options(CompileOptions::fast());
    compiler.compile(&path).unwrap();
    load_compiled(&registry, &path).unwrap()
});

fn auditor(folder: &tempfile::TempDir) -> Auditor {
    Auditor::new(MODEL.clone(), folder.path()).samples(100).light()
}

/// An operation of the demo model with what it receives.
fn subject(name: &str) -> Subject {
    let folder = tempfile::tempdir().unwrap();
    let (subjects, _) = auditor(&folder).subjects(&Device::Cpu).unwrap();
    subjects.into_iter().find(|subject| subject.operation().output() == name).unwrap()
}

/// What is wrong with a planted verifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    /// Its secret vectors do not look at the first half of the channels.
    HalfBlind,
    /// Its tolerance grows with the size of the claimed output.
    WidenedByClaim,
}

/// The compiled verifier with a flaw.
struct Planted<'a> {
    subject: &'a Subject,
    flaw: Flaw,
}

struct PlantedRound {
    subject: Subject,
    flaw: Flaw,
    prepared: Prepared,
    contracted: Contracted,
}

impl Verifier for Planted<'_> {
    fn round(&self, key: &VerifierKey, inputs: &[Tensor]) -> Result<Box<dyn Round>> {
        let linear = self.subject.linear().unwrap();
        let header = &self.subject.compiled.artefact.header;
        let vectors = nomopoly_runtime::secret_vectors(
            key,
            &header.id,
            linear.features(),
            header.sketches,
            &Device::Cpu,
        )?;
        let vectors = if self.flaw == Flaw::HalfBlind {
            let half = linear.features() / 2;
            let seen = vectors.narrow(0, half, linear.features() - half)?;
            Tensor::cat(&[&vectors.narrow(0, 0, half)?.zeros_like()?, &seen], 0)?
        } else {
            vectors
        };
        let contracted = linear.contract(&vectors)?;
        let operation = self.subject.operation();
        let prepared = Prepared::new(operation, inputs, Some(&contracted))?;
        let (subject, flaw) = (self.subject.clone(), self.flaw);
        Ok(Box::new(PlantedRound { subject, flaw, prepared, contracted }))
    }
}

impl Round for PlantedRound {
    fn logits(&self, claim: &Claim) -> Result<Tensor> {
        let Network::Residual(head) = &self.subject.compiled.artefact.network else {
            panic!("the demo has heads");
        };
        let (operation, contracted) = (self.subject.operation(), Some(&self.contracted));
        let mut residual = self.prepared.output_residual(operation, contracted, &claim.output)?;
        if self.flaw == Flaw::WidenedByClaim {
            let batch = claim.output.dim(0)?;
            let norm = claim.output.reshape((batch, ()))?.sqr()?.sum_keepdim(1)?.sqrt()?;
            residual = residual.broadcast_div(&((norm * 1e3)? + 1.)?)?;
        }
        let generator = self.subject.generator();
        let expected = generator.proof(&claim.output)?;
        let of_proof = proof_residual(generator, &expected, &claim.proof)?;
        Ok(head.logits(&features(&residual, &of_proof)?)?)
    }

    fn vectors(&self) -> Option<Tensor> {
        Some(self.contracted.vectors.clone())
    }
}

/// One verifier as the only judge.
struct Alone<'a>(&'a dyn Verifier);

struct AloneRound(Box<dyn Round>);

impl Judges for Alone<'_> {
    fn jury(&self, key: &VerifierKey, inputs: &[Tensor]) -> Result<Box<dyn Jury>> {
        Ok(Box::new(AloneRound(self.0.round(key, inputs)?)))
    }
}

impl Jury for AloneRound {
    fn verdicts(&self, claim: &Claim) -> Result<BTreeMap<Defence, Vec<bool>>> {
        Ok(BTreeMap::from([(Defence::Learned, self.0.accepts(claim)?)]))
    }
}

/// What a planted verifier accepts of every cheap attack.
fn cheap(subject: &Subject, flaw: Flaw) -> Vec<AttackFigures> {
    let planted = Planted { subject, flaw };
    let names = names();
    forged::run(subject, &Alone(&planted), &names, 100, 0, &|| Ok(())).unwrap()
}

fn learned(figures: &AttackFigures) -> &Accepted {
    &figures.accepted[&Defence::Learned]
}

fn wrong(figures: &[AttackFigures], attack: &str) -> Rate {
    learned(figures.iter().find(|figures| figures.attack == attack).unwrap()).wrong
}

/// Runs an adaptive attack on a verifier; what each attacker was granted.
fn adapt(
    subject: &Subject,
    verifier: &dyn Verifier,
    attack: &str,
    effort: &Effort,
) -> Vec<(Attacker, Rate, Option<f64>)> {
    let attack = adaptive::ALL.iter().find(|known| known.name == attack).unwrap();
    let arena = Arena {
        subject,
        verifier,
        defence: Defence::Learned,
        judges: &Alone(verifier),
        effort,
        deviation: LEAST,
        check_stop: &|| Ok(()),
    };
    let mut random = random::stream(1, attack.name, "test");
    let outcomes = (attack.run)(&arena, &mut random).unwrap();
    let figures = |(attacker, tally): (Attacker, Tally)| {
        let (accepted, _) = tally.finish();
        let learned = &accepted[&Defence::Learned];
        (attacker, learned.wrong, learned.largest)
    };
    outcomes.into_iter().map(|outcome| figures((outcome.attacker, outcome.tally))).collect()
}

fn effort() -> Effort {
    Effort {
        trials: 200,
        inputs: 2,
        restarts: 4,
        steps: 150,
        keys: 2,
        queries: 3000,
        oracles: 4,
        seeds: 1,
        training: 40,
    }
}

#[test]
fn the_verifier_without_a_flaw_is_not_broken_without_its_key() {
    let subject = subject("fc1");
    for figures in cheap(&subject, Flaw::None) {
        assert_eq!(learned(&figures).wrong.errors, 0, "{}", figures.attack);
    }
    let sound = Planted { subject: &subject, flaw: Flaw::None };
    for attack in ["pgd", "apgd", "best-response"] {
        for (attacker, wrong, _) in adapt(&subject, &sound, attack, &effort()) {
            if attacker == Attacker::Host {
                assert!(wrong.samples > 0);
                assert_eq!(wrong.errors, 0, "{attack}");
            }
        }
    }
}

#[test]
fn a_verifier_that_ignores_half_the_channels_is_broken() {
    for name in ["fc1", "conv1"] {
        let subject = subject(name);
        let figures = cheap(&subject, Flaw::HalfBlind);
        // A channel that it does not see is wrong in half of the trials.
        let channel = wrong(&figures, "single-channel");
        assert!(channel.observed() > 0.3 && channel.observed() < 0.7, "{channel:?}");
        assert!(wrong(&figures, "single-element").errors > 0);
        // Errors everywhere do not get past it: it takes the right attack.
        assert_eq!(wrong(&figures, "noise-1e-1").errors, 0);
    }
    // A host that searches finds the blind half without the key, with each attack.
    for (name, attacks) in
        [("fc1", &["pgd", "apgd", "best-response"][..]), ("conv1", &["best-response"])]
    {
        let subject = subject(name);
        let planted = Planted { subject: &subject, flaw: Flaw::HalfBlind };
        for attack in attacks {
            let effort = Effort { steps: 500, training: 300, ..effort() };
            let outcomes = adapt(&subject, &planted, attack, &effort);
            let host = outcomes.iter().filter(|(who, ..)| *who == Attacker::Host);
            let found: Vec<&Rate> = host.map(|(_, rate, _)| rate).collect();
            assert!(found.iter().any(|rate| rate.observed() > 0.1), "{name}, {attack}: {found:?}");
        }
    }
}

#[test]
fn answers_leak_a_key_that_is_kept_and_none_that_is_changed() {
    let subject = subject("fc1");
    let sound = Planted { subject: &subject, flaw: Flaw::None };
    let effort = Effort { queries: 50_000, oracles: 6, ..effort() };
    let outcomes = adapt(&subject, &sound, "decision", &effort);
    let [(_, kept, _), (_, changed, _)] = &outcomes[..] else { panic!("two outcomes") };
    assert!(kept.errors >= 3, "{kept:?}");
    assert_eq!((changed.errors, changed.samples), (0, 6), "{changed:?}");
}

#[test]
fn a_tolerance_that_grows_with_the_claim_is_broken() {
    let figures = cheap(&subject("fc1"), Flaw::WidenedByClaim);
    let noise = wrong(&figures, "noise-1e-3");
    assert!(noise.observed() > 0.9, "{noise:?}");
    assert!(wrong(&figures, "int8").errors > 0);
}

#[test]
fn the_perceptron_is_broken_by_the_public_generator() {
    let folder = tempfile::tempdir().unwrap();
    let audit = Auditor { baseline: true, ..auditor(&folder) };
    let audit = audit.attacks(["generated-proof", "noise-1e-3", "pgd"]).run().unwrap();
    let of = |name: &str| {
        let fc1 = audit.operations.iter().find(|op| op.operation == "fc1").unwrap();
        let attacks = fc1.attacks.iter().filter(|attack| attack.attack == name);
        let rates = attacks.filter_map(|attack| attack.accepted.get(&Defence::Perceptron));
        rates.map(|accepted| accepted.wrong).collect::<Vec<_>>()
    };
    assert!(of("generated-proof")[0].errors > 0 || of("noise-1e-3")[0].errors > 0);
    // It judges the proofs that the compiled verifier judges, and knows an honest one when it sees it.
    let fc1 = audit.operations.iter().find(|op| op.operation == "fc1").unwrap();
    let honest = fc1.honest.iter().find(|honest| honest.scale == 1.).unwrap();
    assert!(honest.rejected[&Defence::Perceptron].observed() < 0.6, "{honest:?}");
    // Searching is no worse than noise.
    let best = of("pgd").iter().map(Rate::observed).fold(0., f64::max);
    assert!(best >= of("noise-1e-3")[0].observed() - 0.2, "{best}");
}

#[test]
fn a_larger_budget_never_helps_the_defender() {
    let subject = subject("fc1");
    let sound = Planted { subject: &subject, flaw: Flaw::None };
    for (attack, who) in [("apgd", Attacker::WhiteBox), ("pgd", Attacker::WhiteBox)] {
        let granted = |steps: usize| {
            let effort = Effort { steps, ..effort() };
            let outcomes = adapt(&subject, &sound, attack, &effort);
            outcomes.iter().filter(|(w, ..)| *w == who).map(|(_, rate, _)| rate.errors).sum::<u64>()
        };
        let (few, many) = (granted(3), granted(400));
        assert!(many >= few, "{attack}: {few} with 3 steps, {many} with 400");
        assert!(many > 0, "{attack} with the key finds nothing");
    }
    let reached = |queries: usize| {
        let effort = Effort { queries, ..effort() };
        let outcomes = adapt(&subject, &sound, "decision", &effort);
        // The first outcome is that under one key.
        outcomes[0].2.unwrap_or(0.)
    };
    let (few, some, many) = (reached(500), reached(5_000), reached(40_000));
    assert!(few <= some && some <= many, "{few} {some} {many}");
    assert!(many > 3. * few, "{few} {many}");
}

#[test]
fn an_unlimited_error_that_is_hidden_from_the_key_reaches_the_ceiling() {
    for name in ["fc1", "conv1"] {
        let subject = subject(name);
        let sound = Planted { subject: &subject, flaw: Flaw::None };
        let outcomes = adapt(&subject, &sound, "null-space", &effort());
        assert_eq!(outcomes.len(), 2);
        let (attacker, wrong, largest) = &outcomes[1];
        assert_eq!((*attacker, wrong.errors), (Attacker::WhiteBox, wrong.samples), "{wrong:?}");
        assert!(largest.unwrap() > 0.99);
    }
}

#[test]
fn a_black_box_never_beats_a_white_box() {
    let subject = subject("fc1");
    let flawed = Planted { subject: &subject, flaw: Flaw::HalfBlind };
    let sound = Planted { subject: &subject, flaw: Flaw::None };
    let verifiers: [&dyn Verifier; 2] = [&flawed, &sound];
    for verifier in verifiers {
        for attack in ["pgd", "apgd"] {
            let outcomes = adapt(&subject, verifier, attack, &effort());
            // With each loss, the host first and then the white box.
            for pair in outcomes.chunks(2) {
                let [(Attacker::Host, host, _), (Attacker::WhiteBox, white, _)] = pair else {
                    panic!("{attack}: two attackers for each loss");
                };
                assert!(host.observed() <= white.observed(), "{attack}: {host:?} {white:?}");
            }
        }
    }
}

#[test]
fn audits_repeat_whatever_the_thread_count_and_go_on_where_they_were_stopped() {
    let names = ["noise-1e-5", "int8", "pgd", "drift", "one-layer"];
    let json = |auditor: Auditor| {
        serde_json::to_string(&auditor.baseline(false).attacks(names).run().unwrap()).unwrap()
    };
    let (one, many, cut) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let expected = json(auditor(&one).jobs(1));
    assert_eq!(expected, json(auditor(&many).jobs(4)));
    // A run that is stopped after a few pieces.
    struct StopAfter(Arc<AtomicBool>, std::sync::atomic::AtomicUsize);
    impl AuditObserver for StopAfter {
        fn event(&self, event: &AuditEvent) {
            if matches!(event, AuditEvent::Finished { .. })
                && self.1.fetch_add(1, Ordering::Relaxed) == 2
            {
                self.0.store(true, Ordering::Relaxed);
            }
        }
    }
    let cancel = Arc::new(AtomicBool::new(false));
    let observer = Arc::new(StopAfter(cancel.clone(), Default::default()));
    let stopped = auditor(&cut).baseline(false).attacks(names).cancel(cancel).observer(observer);
    assert!(matches!(stopped.run(), Err(Error::Interrupted)));
    let kept = std::fs::read_dir(cut.path().join("parts")).unwrap().count();
    assert!(kept >= 3, "{kept}");
    assert_eq!(expected, json(auditor(&cut)));
}

#[test]
fn what_was_not_run_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let audit = auditor(&folder).budget(Duration::ZERO).attacks(["int8", "drift"]).run().unwrap();
    let skipped: Vec<&str> = audit.skipped.iter().map(|skipped| skipped.what.as_str()).collect();
    for what in ["int8 on fc1", "drift on the whole model", "honest runs of tract"] {
        assert!(skipped.contains(&what), "{what}: {skipped:?}");
    }
    assert!(audit.operations.iter().all(|operation| operation.attacks.is_empty()));
    assert_eq!(audit.operations.len(), 7);
}

#[test]
fn an_attack_that_does_not_exist_is_named_beside_those_that_do() {
    let folder = tempfile::tempdir().unwrap();
    let error = auditor(&folder).attacks(["int9"]).run().unwrap_err().to_string();
    assert!(error.contains("int9") && error.contains("int8-per-channel"), "{error}");
}

#[test]
fn every_attack_reaches_the_ledger_of_a_sketched_operation() {
    let folder = tempfile::tempdir().unwrap();
    let audit = auditor(&folder).baseline(false).run().unwrap();
    let fc1 = audit.operations.iter().find(|op| op.operation == "fc1").unwrap();
    for name in names().into_iter().filter(|name| !attacks::WHOLE_MODEL.contains(name)) {
        assert!(fc1.attacks.iter().any(|attack| attack.attack == name), "{name}");
    }
    for name in ["int8", "one-layer", "edited-output", "replayed-inference"] {
        let attack = audit.whole.attacks.iter().find(|attack| attack.attack == name);
        let wrong = &attack.unwrap().accepted[&Defence::Learned].wrong;
        assert!(wrong.samples > 0 && wrong.errors == 0, "{name}: {wrong:?}");
    }
    assert!(!audit.whole.drift.is_empty());
    // Honest runs of both runtimes at four scales, none rejected.
    assert_eq!(fc1.honest.len(), 8);
    for honest in fc1.honest.iter().chain(&audit.whole.honest) {
        let rejected = honest.rejected[&Defence::Learned];
        assert!(rejected.samples > 0 && rejected.errors == 0, "{honest:?}");
    }
    // What is measured is not above what is certified, as far as 100 trials tell.
    assert!(!fc1.agreement.is_empty());
    for point in &fc1.agreement {
        let bound = point.certified_log2.unwrap().exp2();
        let spread = 4. * (bound * (1. - bound) / point.measured.samples as f64).sqrt();
        assert!(point.measured.observed() <= bound + spread + 1e-9, "{point:?}");
    }
}
