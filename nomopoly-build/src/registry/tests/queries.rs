//! Status table, look-ups and filters.

use super::*;

fn names(entries: &[EntryStatus]) -> Vec<&str> {
    entries.iter().map(|entry| entry.name.as_str()).collect()
}

#[test]
fn entries_are_found_by_name_stem_and_prefix() {
    let fixture = Fixture::new();
    let conv = fixture.commit("conv_1x3x8x8", "a");
    let wide = fixture.commit("conv_1x3x8x80", "b");
    let relu = fixture.commit("relu_1x8", "c");
    let find = |query: &str| fixture.registry.entry(query).map(|entry| entry.name);
    assert_eq!(find(&conv).unwrap(), conv);
    assert_eq!(find("conv_1x3x8x8").unwrap(), conv, "a stem wins over a longer prefix");
    assert_eq!(find("conv_1x3x8x80").unwrap(), wide);
    assert_eq!(find("re").unwrap(), relu);
    assert_eq!(find(&conv[..conv.len() - 4]).unwrap(), conv);

    let error = find("conv").unwrap_err();
    assert!(error.to_string().contains(&wide), "{error}");
    let RegistryError::Ambiguous { candidates, .. } = error else { panic!("{error}") };
    assert_eq!(candidates, [conv.clone(), wide]);

    let other = fixture.commit("conv_1x3x8x8", "d");
    let error = find("conv_1x3x8x8").unwrap_err();
    let RegistryError::Ambiguous { candidates, .. } = error else { panic!("{error}") };
    assert_eq!(candidates.len(), 2);
    assert!(candidates.contains(&conv) && candidates.contains(&other));

    let error = find("rleu_1x8").unwrap_err();
    assert!(error.to_string().contains(&format!("did you mean `{relu}`")), "{error}");
    let RegistryError::Unknown { close, .. } = find("softmax_7").unwrap_err() else { panic!() };
    assert!(close.is_empty());
}

#[test]
fn the_table_is_sorted_and_shows_every_state_and_use() {
    let fixture = Fixture::new();
    let relu = fixture.commit("relu_1x8", "c");
    let conv = fixture.commit("conv_1x3x8x8", "a");
    let add = fixture.commit("add_1x8", "d");
    let orphan = entry_name("gemm_1x8", "e");
    fs::create_dir(fixture.root().join(&orphan)).unwrap();
    fs::create_dir(fixture.root().join("notes")).unwrap();
    fs::remove_dir_all(fixture.root().join(&add)).unwrap();
    let nodes = model(&[("y", &conv), ("x", &conv), ("z", &add)]);
    fixture.registry.record_model("m.onnx", nodes).unwrap();

    let entries = fixture.registry.entries().unwrap();
    assert_eq!(names(&entries), [&add, &conv, &orphan, &relu]);
    assert!(matches!(&entries[0].state, State::Incomplete { missing } if missing.len() == 7));
    assert_eq!(
        entries[1].models,
        [("m.onnx", "x"), ("m.onnx", "y")].map(|(m, n)| (m.into(), n.into()))
    );
    assert_eq!(entries[2].state, State::Unrecorded);
    assert_eq!(names(&fixture.registry.compiled().unwrap()), [&conv, &relu]);
    let pending = fixture.registry.pending().unwrap();
    assert_eq!(pending, [PendingModel { model: "m.onnx".into(), nodes: vec![("z".into(), add)] }]);
}

#[test]
fn filters_use_the_recorded_figures() {
    let fixture = Fixture::new();
    let weak = entry_name("conv_1x3x8x8", "a");
    let put = |entry: &str, content: &str, figures: LockedFigures| {
        let transaction = fixture.registry.begin(entry).unwrap();
        fill(transaction.path(), entry, content);
        transaction.commit(NewEntry { figures, ..new_entry(content) }).unwrap();
    };
    put(&weak, "a", LockedFigures { accuracy: 0.9, certified_bits: Some(20.0), ..figures() });
    let (replay, mlp) = (entry_name("relu_1x8", "b"), entry_name("add_1x8", "c"));
    let replayed = LockedFigures { check: Check::Replay, certified_bits: None, ..figures() };
    put(&replay, "b", replayed.clone());
    put(&mlp, "c", LockedFigures { certified_deviation: None, ..replayed });

    let select = |min_accuracy, min_certified_bits| {
        let filter = Filter { min_accuracy, min_certified_bits };
        fixture.registry.select(&filter).unwrap()
    };
    assert_eq!(names(&select(None, None)), [&mlp, &weak, &replay]);
    assert_eq!(names(&select(Some(0.99), None)), [&mlp, &replay]);
    assert_eq!(names(&select(None, Some(20.0))), [&weak, &replay]);
    assert_eq!(names(&select(Some(0.99), Some(20.5))), [&replay]);
    assert!(select(Some(f64::NAN), None).is_empty());
}

#[test]
fn times_come_from_the_last_line_of_the_log() {
    let fixture = Fixture::new();
    let entry = fixture.commit("relu_1x8", "a");
    for (log, expected) in [
        ("compiled in 1.5 s", Some(1.5)),
        ("x\n2026 compiled in 2 s\n\n", Some(2.0)),
        ("compiled in 1 s\ntraining failed\n", None),
        ("compiled in NaN s", None),
        ("compiled in -1 s", None),
        ("", None),
    ] {
        fs::write(fixture.path(&entry, LOG), log).unwrap();
        assert_eq!(fixture.registry.entry(&entry).unwrap().seconds, expected, "{log:?}");
    }
    let long = format!("{}\ncompiled in 3 s\n", "é".repeat(1000));
    fs::write(fixture.path(&entry, LOG), long).unwrap();
    assert_eq!(fixture.registry.entry(&entry).unwrap().seconds, Some(3.0));
}
