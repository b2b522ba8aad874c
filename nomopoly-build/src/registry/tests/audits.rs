//! Audits of recorded models: what vouches for them, and what makes them void.

use nomopoly_manifest::{
    AUDIT_SCHEMA, Audit, AuditSettings, CheckCost, CheckedHow, OperationAudit, WholeModelAudit,
};

use super::*;

const MODEL: &str = "m.onnx";

/// An audit of `model(nodes)`.
fn audit(nodes: &[(&str, &str)]) -> Audit {
    let cost = CheckCost { recompute: 8, verify: 2 };
    let operation = |node: &str, entry: Option<&str>| OperationAudit {
        operation: node.to_owned(),
        kind: "Conv".to_owned(),
        checked: CheckedHow::Sketch,
        entry: entry.map(str::to_owned),
        certificate: None,
        cost: Some(cost),
        bytes: 64,
        honest: Vec::new(),
        attacks: Vec::new(),
        agreement: Vec::new(),
        no_better_than_fixed: None,
    };
    let mut operations = vec![operation("without an artefact", None)];
    operations.extend(nodes.iter().map(|(node, entry)| operation(node, Some(entry))));
    Audit {
        schema: AUDIT_SCHEMA,
        version: "0.0.0".to_owned(),
        model: MODEL.to_owned(),
        digest: model(&[]).digest,
        settings: AuditSettings {
            samples: 100,
            seed: 0,
            attacks: Vec::new(),
            data: "generated".to_owned(),
            distinct_inputs: 10,
            runtimes: vec!["tract".to_owned()],
            min_deviation: 1e-3,
            soundness_bits: 40,
        },
        is_whole: true,
        skipped: Vec::new(),
        operations,
        whole: WholeModelAudit {
            honest: Vec::new(),
            attacks: Vec::new(),
            drift: Vec::new(),
            proof_bytes: 64,
            cost,
        },
    }
}

/// A registry with one audited model; its entry and the audit's file.
fn audited() -> (Fixture, String, PathBuf) {
    let fixture = Fixture::new();
    let entry = fixture.commit("conv_1x3x8x8", "a");
    fixture.registry.record_model(MODEL, model(&[("y", &entry)])).unwrap();
    let file = fixture.registry.record_audit(MODEL, &audit(&[("y", &entry)])).unwrap();
    (fixture, entry, file)
}

#[track_caller]
fn absent(fixture: &Fixture) {
    assert_eq!(fixture.registry.recorded_audit(MODEL).unwrap(), RecordedAudit::Absent);
}

#[test]
fn an_audit_is_kept_with_its_hash_and_found_under_any_name() {
    let (fixture, entry, file) = audited();
    let expected = audit(&[("y", &entry)]);
    let digits = &id("model")[..16];
    assert_eq!(file, fixture.root().join("audits").join(format!("{digits}.json")));
    assert_eq!(fixture.registry.read_audit(MODEL).unwrap(), Some(expected.clone()));
    let hash = blake3::hash(&fs::read(&file).unwrap()).to_hex().to_string();
    assert!(fixture.lock_text().contains(&hash), "{}", fixture.lock_text());
    assert_eq!(fixture.listing(), ["audits", &entry, LOCK_FILE]);
    assert_eq!(fs::read_dir(fixture.root().join("audits")).unwrap().count(), 1);

    // Not an entry, and in nobody's way.
    assert_eq!(fixture.registry.entries().unwrap().len(), 1);
    fixture.registry.verify_entry(&entry).unwrap();
    assert!(fixture.registry.remove_incomplete().unwrap().is_empty());
    let before = fixture.lock_text();
    fixture.registry.record_audit(MODEL, &expected).unwrap();
    assert_eq!(fixture.lock_text(), before);

    let like = |nodes: &[(&str, &str)]| {
        fixture.registry.recorded_audit_like(&model(nodes)).unwrap().valid(&mut |_| {})
    };
    assert_eq!(like(&[("y", &entry)]), Some(expected));
    assert_eq!(like(&[("z", &entry)]), None);
    absent(&Fixture::new());
}

#[test]
fn locks_without_audits_are_read_as_before() {
    let fixture = Fixture::new();
    let entry = fixture.commit("conv_1x3x8x8", "a");
    fixture.registry.record_model(MODEL, model(&[("y", &entry)])).unwrap();
    assert!(!fixture.lock_text().contains("audit"), "{}", fixture.lock_text());
    absent(&fixture);
}

#[test]
fn a_missing_or_altered_file_is_named_with_the_way_out() {
    let (fixture, _, file) = audited();
    let whole = fs::read_to_string(&file).unwrap();
    fs::write(&file, whole.replace("\"samples\": 100", "\"samples\": 900")).unwrap();
    for words in ["is damaged", "is missing"] {
        let error = fixture.registry.read_audit(MODEL).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, RegistryError::Audit { .. }), "{text}");
        assert!(text.contains(words) && text.contains(".json"), "{text}");
        assert!(text.contains("`cargo nomopoly audit m.onnx`"), "{text}");
        let _ = fs::remove_file(&file);
    }
    fs::write(&file, whole).unwrap();
    assert!(fixture.registry.read_audit(MODEL).unwrap().is_some());
}

#[test]
fn an_audit_of_something_else_is_refused() {
    let (fixture, entry, file) = audited();
    let before = (fixture.lock_text(), fs::read(&file).unwrap());
    let good = audit(&[("y", &entry)]);
    let mut unreadable = good.clone();
    unreadable.settings.min_deviation = f64::NAN;
    let other = entry_name("conv_1x3x8x8", "b");
    for (name, audit, words) in [
        ("n.onnx", good.clone(), "cargo nomopoly compile n.onnx"),
        (MODEL, Audit { digest: id("other"), ..good.clone() }, "digest"),
        (MODEL, Audit { schema: AUDIT_SCHEMA + 1, ..good.clone() }, "schema version"),
        (MODEL, audit(&[]), "no entry for node \"y\""),
        (MODEL, audit(&[("y", &other)]), other.as_str()),
        (MODEL, unreadable, "JSON"),
    ] {
        let error = fixture.registry.record_audit(name, &audit).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, RegistryError::Refused { .. }), "{text}");
        assert!(text.contains(words), "{words}: {text}");
    }
    assert_eq!((fixture.lock_text(), fs::read(&file).unwrap()), before);
    assert!(Fixture::new().registry.record_audit(MODEL, &good).is_err());
}

#[test]
fn what_does_not_count_any_more_says_why() {
    let (fixture, entry, file) = audited();
    let recorded = fixture.lock_text();
    let hash = |text: &str| blake3::hash(text.as_bytes()).to_hex().to_string();
    let whole = fs::read_to_string(&file).unwrap();
    // Written by other hands with a hash that fits.
    let later = whole.replacen("\"schema\": 1", "\"schema\": 99", 1);
    let foreign = whole.replace(&entry, &entry_name("conv_1x3x8x8", "b"));
    for (text, words) in [(later, "schema version is 99"), (foreign, "for node \"y\"")] {
        fs::write(&file, &text).unwrap();
        fixture.write_lock(&recorded.replace(&hash(&whole), &hash(&text)));
        let mut warnings = Vec::new();
        let state = fixture.registry.recorded_audit(MODEL).unwrap();
        assert_eq!(state.valid(&mut |warning| warnings.push(warning)), None);
        assert!(warnings[0].contains(words), "{warnings:?}");
        assert!(warnings[0].contains("cargo nomopoly audit m.onnx"), "{warnings:?}");
        assert_eq!(fixture.registry.read_audit(MODEL).unwrap(), None);
    }
    let text = "[]";
    fs::write(&file, text).unwrap();
    fixture.write_lock(&recorded.replace(&hash(&whole), &hash(text)));
    let error = fixture.registry.read_audit(MODEL).unwrap_err();
    assert!(error.to_string().contains("is no audit"), "{error}");
}

#[test]
fn the_audit_goes_when_digest_nodes_or_artefacts_change() {
    let (fixture, entry, _) = audited();
    let registry = &fixture.registry;
    let again = |locked: LockedModel| {
        registry.record_model(MODEL, model(&[("y", &entry)])).unwrap();
        registry.record_audit(MODEL, &audit(&[("y", &entry)])).unwrap();
        registry.record_model(MODEL, locked).unwrap();
        registry.read_audit(MODEL).unwrap().is_some()
    };
    assert!(again(model(&[("y", &entry)])));
    let claimed = LockedModel { audit: Some(id("claimed")), ..model(&[("y", &entry)]) };
    assert!(again(claimed), "the hash is not the caller's to say");
    assert!(!again(model(&[("z", &entry)])));
    assert!(!again(LockedModel { digest: id("other"), ..model(&[("y", &entry)]) }));

    // Trained anew, on other data perhaps: what was measured was another head.
    let commit = |content: &str| {
        let transaction = registry.begin(&entry).unwrap();
        fill(transaction.path(), &entry, content);
        transaction.commit_replacing(new_entry("a")).unwrap();
    };
    assert!(again(model(&[("y", &entry)])));
    commit("a");
    assert!(registry.read_audit(MODEL).unwrap().is_some());
    commit("other bytes");
    absent(&fixture);
    assert!(!fixture.lock_text().contains("audit ="), "{}", fixture.lock_text());
}

#[test]
fn names_of_one_model_share_its_audit_if_their_operations_are_the_same() {
    let (fixture, entry, _) = audited();
    let registry = &fixture.registry;
    let other = fixture.commit("conv_1x3x8x8", "b");
    registry.record_model("twin.onnx", model(&[("y", &entry)])).unwrap();
    registry.record_model("else.onnx", model(&[("y", &other)])).unwrap();
    let found = |name: &str| registry.read_audit(name).unwrap().is_some();
    registry.record_audit("twin.onnx", &audit(&[("y", &entry)])).unwrap();
    assert_eq!([MODEL, "twin.onnx", "else.onnx"].map(found), [true, true, false]);
    // One file per model: the latest audit stays, and the others' hashes go.
    registry.record_audit("else.onnx", &audit(&[("y", &other)])).unwrap();
    assert_eq!([MODEL, "twin.onnx", "else.onnx"].map(found), [false, false, true]);
}

#[test]
fn gc_removes_audits_of_models_that_are_gone() {
    let (fixture, entry, file) = audited();
    let registry = &fixture.registry;
    let name = format!("audits/{}", file.file_name().unwrap().to_str().unwrap());
    let audits = fixture.root().join("audits");
    fs::write(audits.join("notes.json"), "years of work").unwrap();
    assert!(registry.gc(false).unwrap().is_empty());

    assert!(registry.forget_model(MODEL).unwrap());
    assert!(registry.remove_incomplete().unwrap().is_empty());
    assert_eq!(registry.gc(true).unwrap(), [name.clone(), entry.clone()]);
    assert!(file.is_file());
    assert_eq!(registry.gc(false).unwrap(), [name, entry]);
    assert!(!file.exists() && audits.join("notes.json").is_file());
    fs::remove_file(audits.join("notes.json")).unwrap();

    // With its last audit the folder goes.
    let (fixture, ..) = audited();
    fixture.registry.forget_model(MODEL).unwrap();
    fixture.registry.gc(false).unwrap();
    assert_eq!(fixture.listing(), [LOCK_FILE]);
}

#[test]
fn an_audit_is_imported_with_equal_operations_only() {
    let (from, entry, _) = audited();
    let to = Fixture::new();
    let import = || to.registry.import_audit(&from.registry, MODEL).unwrap();
    assert!(!import(), "the model is not recorded");
    to.registry.record_model(MODEL, model(&[("y", &entry)])).unwrap();
    assert!(!import(), "the entry is not there");
    to.registry.import(&from.registry, &entry).unwrap();
    assert!(import());
    assert!(!import(), "it has one of its own");
    assert_eq!(to.registry.read_audit(MODEL).unwrap(), from.registry.read_audit(MODEL).unwrap());

    // The same id trained on other data.
    let other = Fixture::new();
    commit(&other.registry, &entry, "a").unwrap();
    let transaction = other.registry.begin(&entry).unwrap();
    fill(transaction.path(), &entry, "other bytes");
    transaction.commit_replacing(new_entry("a")).unwrap();
    other.registry.record_model(MODEL, model(&[("y", &entry)])).unwrap();
    assert!(!other.registry.import_audit(&from.registry, MODEL).unwrap());
}

#[test]
fn a_lock_with_a_hash_that_is_none_is_refused() {
    let (fixture, ..) = audited();
    let good = fixture.lock_text();
    fixture.write_lock(&good.replace("audit = \"", "audit = \"../"));
    let error = fixture.registry.read_lock().unwrap_err();
    assert!(matches!(error, RegistryError::InvalidLock { .. }), "{error}");
    assert!(error.to_string().contains("audit"), "{error}");
}
