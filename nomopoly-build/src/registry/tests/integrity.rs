//! Committing entries and noticing changes to them.

use super::*;

#[test]
fn what_was_committed_is_found_and_intact() {
    let fixture = Fixture::new();
    let entry = entry_name("conv_1x3x8x8", "a");
    let locked = commit(&fixture.registry, &entry, "a").unwrap();
    assert_eq!(locked.files.len(), 7);
    assert!(!locked.files.contains_key(LOG));
    assert!(locked.files.contains_key("plots/conv_1x3x8x8_training_metrics.svg"));

    fixture.registry.verify_entry(&entry).unwrap();
    assert_eq!(fixture.registry.is_compiled(&entry, &id("a")).unwrap().as_ref(), Some(&locked));
    assert_eq!(fixture.registry.is_compiled(&entry, &id("b")).unwrap(), None);
    let status = fixture.registry.entry(&entry).unwrap();
    assert_eq!(status.state, State::Compiled);
    assert_eq!(status.locked, Some(locked));
    assert_eq!(status.seconds, Some(0.412));
    let size = |file: &String| fs::metadata(fixture.path(&entry, file)).unwrap().len();
    assert_eq!(status.bytes, expected_files("conv_1x3x8x8").iter().map(size).sum::<u64>());
    assert_eq!(fixture.listing(), [entry.as_str(), LOCK_FILE]);
}

#[cfg(unix)]
#[test]
fn others_may_read_what_the_umask_lets_them() {
    use std::os::unix::fs::PermissionsExt as _;
    let fixture = Fixture::new();
    let entry = fixture.commit("conv_1x3x8x8", "a");
    let plain = fixture.folder.path().join("plain");
    fs::create_dir(&plain).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&fixture.root().join(&entry)), mode(&plain));
    fs::write(plain.join("file"), "").unwrap();
    assert_eq!(mode(&fixture.root().join(LOCK_FILE)), mode(&plain.join("file")));
}

#[test]
fn a_flipped_bit_is_named() {
    for file in expected_files("conv_1x3x8x8").iter().filter(|file| *file != LOG) {
        let fixture = Fixture::new();
        let entry = fixture.commit("conv_1x3x8x8", "a");
        let path = fixture.path(&entry, file);
        let mut bytes = fs::read(&path).unwrap();
        bytes[0] ^= 1;
        fs::write(&path, bytes).unwrap();

        let error = fixture.registry.verify_entry(&entry).unwrap_err();
        assert!(error.to_string().contains(file), "{error}");
        assert!(error.to_string().contains("damaged"), "{error}");
        let RegistryError::Corrupt { faults, .. } = error else { panic!("{error}") };
        assert!(matches!(&faults[..], [Fault::Damaged { file: named, .. }] if named == file));
        assert_eq!(fixture.registry.is_compiled(&entry, &id("a")).unwrap(), None);
        assert!(fixture.registry.read_verified(&entry, file).is_err());
    }
}

#[test]
fn a_damaged_entry_is_replaced_by_the_next_commit() {
    let fixture = Fixture::new();
    let entry = fixture.commit("conv_1x3x8x8", "a");
    fs::write(fixture.path(&entry, ARTEFACT), "damaged").unwrap();
    fixture.commit("conv_1x3x8x8", "a");
    fixture.registry.verify_entry(&entry).unwrap();
    assert_eq!(fixture.listing(), [entry.as_str(), LOCK_FILE]);
}

#[test]
fn missing_and_foreign_files_are_named_together() {
    let fixture = Fixture::new();
    let entry = fixture.commit("conv_1x3x8x8", "a");
    fs::remove_file(fixture.path(&entry, ARTEFACT)).unwrap();
    fs::write(fixture.path(&entry, "plots/other.svg"), "").unwrap();
    fs::create_dir(fixture.path(&entry, "more")).unwrap();
    fs::write(fixture.path(&entry, ".DS_Store"), "").unwrap();
    let error = fixture.registry.verify_entry(&entry).unwrap_err();
    let RegistryError::Corrupt { faults, .. } = error else { panic!("{error}") };
    assert_eq!(
        faults,
        [
            Fault::Missing { file: ARTEFACT.into() },
            Fault::Foreign { file: "more/".into() },
            Fault::Foreign { file: "plots/other.svg".into() },
        ]
    );
}

#[test]
fn an_entry_without_its_log_is_complete() {
    let fixture = Fixture::new();
    let entry = fixture.commit("conv_1x3x8x8", "a");
    fs::remove_file(fixture.path(&entry, LOG)).unwrap();
    fixture.registry.verify_entry(&entry).unwrap();
    let status = fixture.registry.entry(&entry).unwrap();
    assert_eq!((status.state, status.seconds), (State::Compiled, None));
}

#[test]
fn an_intact_entry_is_kept_unless_it_is_to_be_replaced() {
    let fixture = Fixture::new();
    let entry = fixture.commit("conv_1x3x8x8", "a");
    let first = fixture.registry.read_lock().unwrap();
    let other = || {
        let transaction = fixture.registry.begin(&entry).unwrap();
        fill(transaction.path(), &entry, "other bytes");
        transaction
    };
    let kept = other().commit(new_entry("a")).unwrap();
    assert_eq!(kept, first.entries[&entry]);
    assert_eq!(fixture.registry.read_lock().unwrap(), first);

    let replaced = other().commit_replacing(new_entry("a")).unwrap();
    assert_ne!(replaced.files, kept.files);
    fixture.registry.verify_entry(&entry).unwrap();
    assert_eq!(fixture.listing(), [entry.as_str(), LOCK_FILE]);
}

#[test]
fn too_few_and_too_many_files_are_refused() {
    let fixture = Fixture::new();
    let entry = entry_name("conv_1x3x8x8", "a");
    let transaction = fixture.registry.begin(&entry).unwrap();
    fill(transaction.path(), &entry, "a");
    fs::remove_file(transaction.path().join(LOG)).unwrap();
    fs::write(transaction.path().join("notes.txt"), "").unwrap();
    let error = transaction.commit(new_entry("a")).unwrap_err();
    let RegistryError::Unfinished { faults, .. } = error else { panic!("{error}") };
    assert_eq!(
        faults,
        [Fault::Foreign { file: "notes.txt".into() }, Fault::Missing { file: LOG.into() }]
    );
    assert!(fixture.listing().is_empty());
}

#[test]
fn an_id_or_a_seed_that_cannot_be_recorded_is_refused() {
    let fixture = Fixture::new();
    let entry = entry_name("conv_1x3x8x8", "a");
    for new in [
        NewEntry { id: id("b"), ..new_entry("a") },
        NewEntry { id: "short".into(), ..new_entry("a") },
        NewEntry { seed: 1 << 63, ..new_entry("a") },
    ] {
        let transaction = fixture.registry.begin(&entry).unwrap();
        fill(transaction.path(), &entry, "a");
        let error = transaction.commit(new).unwrap_err();
        assert!(matches!(error, RegistryError::Refused { .. }), "{error}");
    }
    assert!(fixture.listing().is_empty());
}

#[test]
fn metrics_must_parse_after_their_hash_was_checked() {
    let fixture = Fixture::new();
    let entry = fixture.commit("conv_1x3x8x8", "a");
    let error = fixture.registry.metrics(&entry).unwrap_err();
    assert!(matches!(error, RegistryError::Metrics { .. }), "{error}");
    fs::write(fixture.path(&entry, METRICS), "{}").unwrap();
    let error = fixture.registry.metrics(&entry).unwrap_err();
    assert!(matches!(error, RegistryError::Corrupt { .. }), "{error}");
}

#[test]
fn metrics_of_another_entry_are_refused() {
    use nomopoly_manifest::{
        ARTEFACT_SCHEMA, CheckCost, CompileOptions, Figures, Metrics, OperationKind, OperationSpec,
        Rate,
    };
    let rate = Rate { errors: 0, samples: 1000, upper_95: 0.003 };
    let fixture = Fixture::new();
    let entry = entry_name("relu_1x8", "a");
    let mut metrics = Metrics {
        schema: ARTEFACT_SCHEMA,
        entry: entry.clone(),
        operation: OperationSpec {
            kind: OperationKind::Relu,
            dtype: "f32".into(),
            input_shapes: vec![vec![1, 8]],
            output_shape: vec![1, 8],
            attributes: BTreeMap::new(),
        },
        check: Check::Replay,
        options: CompileOptions::default(),
        history: Vec::new(),
        figures: Figures {
            accuracy: 1.0,
            cases: BTreeMap::new(),
            completeness_error: rate,
            soundness_error: rate,
            certificate: None,
            epochs: 0,
            cost: CheckCost { recompute: 8, verify: 8 },
        },
        scores: BTreeMap::new(),
        deviations: Vec::new(),
    };
    let write = |metrics: &Metrics| {
        let transaction = fixture.registry.begin(&entry).unwrap();
        fill(transaction.path(), &entry, "a");
        let json = serde_json::to_vec(metrics).unwrap();
        fs::write(transaction.path().join(METRICS), json).unwrap();
        transaction.commit_replacing(new_entry("a")).unwrap();
    };
    write(&metrics);
    assert_eq!(fixture.registry.metrics(&entry).unwrap(), metrics);
    metrics.entry = "relu_1x9-000000000000".into();
    write(&metrics);
    let error = fixture.registry.metrics(&entry).unwrap_err();
    assert!(error.to_string().contains("relu_1x9-000000000000"), "{error}");
}

#[test]
fn only_known_files_are_read() {
    let fixture = Fixture::new();
    let entry = fixture.commit("conv_1x3x8x8", "a");
    let bytes = fixture.registry.read_verified(&entry, ARTEFACT).unwrap();
    assert_eq!(bytes, b"artefact.safetensors of a");
    for file in ["../nomopoly.lock", "/etc/passwd", LOG, ""] {
        assert!(fixture.registry.read_verified(&entry, file).is_err(), "{file}");
    }
}

#[test]
fn every_onnx_file_is_validated_and_every_failure_is_kept() {
    let fixture = Fixture::new();
    let entry = fixture.commit("conv_1x3x8x8", "a");
    let mut seen = Vec::new();
    fixture
        .registry
        .validate_onnx(&entry, &mut |path| {
            seen.push(path.file_name().unwrap().to_str().unwrap().to_owned());
            Ok(())
        })
        .unwrap();
    assert_eq!(
        seen,
        ["prover", "verifier", "adversary"].map(|role| format!("conv_1x3x8x8_{role}.onnx"))
    );

    fs::remove_file(fixture.path(&entry, "conv_1x3x8x8_prover.onnx")).unwrap();
    let error =
        fixture.registry.validate_onnx(&entry, &mut |_| Err("no graph".to_owned())).unwrap_err();
    let RegistryError::Onnx { failures, .. } = error else { panic!("{error}") };
    assert_eq!(failures[0], "`conv_1x3x8x8_prover.onnx`: missing");
    assert_eq!(failures[2], "`conv_1x3x8x8_adversary.onnx`: no graph");
}

#[test]
fn hostile_names_are_refused_everywhere() {
    let fixture = Fixture::new();
    fixture.commit("conv_1x3x8x8", "a");
    let registry = &fixture.registry;
    for name in HOSTILE {
        let errors = [
            registry.begin(name).map(drop).unwrap_err(),
            registry.entry(name).map(drop).unwrap_err(),
            registry.is_compiled(name, &id("a")).map(drop).unwrap_err(),
            registry.verify_entry(name).unwrap_err(),
            registry.read_verified(name, ARTEFACT).map(drop).unwrap_err(),
            registry.metrics(name).map(drop).unwrap_err(),
            registry.validate_onnx(name, &mut |_| Ok(())).unwrap_err(),
        ];
        for error in errors {
            assert!(matches!(error, RegistryError::Name { .. }), "{name:?}: {error}");
        }
    }
}

#[test]
fn a_registry_that_cannot_be_written_says_what_to_do() {
    let fixture = Fixture::new();
    let file = fixture.folder.path().join("file");
    fs::write(&file, "").unwrap();
    let registry = Registry::open(file.join("ops"));
    let entry = entry_name("conv_1x3x8x8", "a");
    for error in [
        registry.begin(&entry).map(drop).unwrap_err(),
        registry.record_model("m.onnx", model(&[])).unwrap_err(),
    ] {
        let text = error.to_string();
        assert!(matches!(error, RegistryError::Io { .. }), "{text}");
        assert!(text.contains("NOMOPOLY_REGISTRY") && text.contains("ops"), "{text}");
    }
}
