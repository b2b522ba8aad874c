//! An audit made by hand, of whatever a registry records of a model.

use std::collections::BTreeMap;
use std::path::PathBuf;

use nomopoly_build::manifest::{
    AUDIT_SCHEMA, Accepted, AttackFigures, Attacker, Audit, AuditSettings, Check, CheckCost,
    CheckedHow, Defence, Family, HonestFigures, OperationAudit, Rate, WholeModelAudit,
};
use nomopoly_build::registry::Registry;

/// Nothing went wrong in 2,000 trials.
const NONE: Rate = Rate { errors: 0, samples: 2000, upper_95: 1.5e-3 };

/// Records an audit of the model under this name: every operation was attacked by a host with int8
/// weights, which was never accepted, and tract's honest runs always were. Returns its file.
pub fn record(registry: &Registry, model: &str) -> PathBuf {
    let lock = registry.read_lock().unwrap();
    let locked = &lock.models[model];
    let operations = locked.nodes.iter().map(|(node, entry)| {
        let metrics = registry.metrics(entry).unwrap();
        OperationAudit {
            operation: node.clone(),
            kind: metrics.operation.kind.to_string(),
            checked: match metrics.check {
                Check::Sketch => CheckedHow::Sketch,
                Check::Replay => CheckedHow::Replay,
            },
            entry: Some(entry.clone()),
            certificate: metrics.figures.certificate.clone(),
            cost: Some(metrics.figures.cost),
            bytes: 144,
            honest: vec![honest()],
            attacks: vec![attack()],
            agreement: vec![],
            no_better_than_fixed: None,
        }
    });
    let audit = Audit {
        schema: AUDIT_SCHEMA,
        version: "0.0.0".into(),
        model: model.into(),
        digest: locked.digest.clone(),
        settings: AuditSettings {
            samples: 2000,
            seed: 0,
            attacks: vec!["int8 weights".into()],
            data: "generated".into(),
            distinct_inputs: 100,
            runtimes: vec!["tract".into()],
            min_deviation: 1e-3,
            soundness_bits: 40,
        },
        is_whole: true,
        skipped: vec![],
        operations: operations.collect(),
        whole: WholeModelAudit {
            honest: vec![honest()],
            attacks: vec![attack()],
            drift: vec![],
            proof_bytes: 288,
            cost: CheckCost { recompute: 100, verify: 20 },
        },
    };
    registry.record_audit(model, &audit).unwrap()
}

fn honest() -> HonestFigures {
    HonestFigures {
        runtime: "tract".into(),
        scale: 1.,
        rejected: BTreeMap::from([(Defence::Learned, NONE)]),
        largest_residual: Some(2.5),
    }
}

fn attack() -> AttackFigures {
    AttackFigures {
        attack: "int8 weights".into(),
        family: Family::Substituted,
        attacker: Attacker::Host,
        setting: "every weight".into(),
        accepted: BTreeMap::from([(
            Defence::Learned,
            Accepted { wrong: NONE, small: Rate { errors: 3, ..NONE }, largest: Some(2e-5) },
        )]),
        deviations: None,
    }
}
