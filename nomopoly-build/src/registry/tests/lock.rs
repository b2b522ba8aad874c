//! The lock file: its text, and what it refuses.

use nomopoly_manifest::ARTEFACT_SCHEMA;

use super::*;

#[test]
fn an_absent_registry_is_empty() {
    let fixture = Fixture::new();
    let registry = &fixture.registry;
    assert_eq!(registry.read_lock().unwrap(), Lock::new(ARTEFACT_SCHEMA));
    assert!(registry.entries().unwrap().is_empty());
    assert!(registry.remove_incomplete().unwrap().is_empty());
    assert!(registry.gc(false).unwrap().is_empty());
    assert!(!registry.forget_model("m.onnx").unwrap());
    assert_eq!(registry.discard_unusable_lock().unwrap(), None);
    assert!(!fixture.root().exists(), "queries must not create the folder");
}

#[test]
fn equal_contents_are_equal_bytes_in_any_order() {
    let texts = [["a", "b", "c"], ["c", "b", "a"]].map(|order| {
        let fixture = Fixture::new();
        for content in order {
            let entry = fixture.commit("conv_1x3x8x8", content);
            let nodes = model(&[("z", &entry), ("a b \"c\"", &entry)]);
            fixture.registry.record_model(&format!("{content}.onnx"), nodes).unwrap();
        }
        fixture.lock_text()
    });
    assert_eq!(texts[0], texts[1]);
    assert!(texts[0].starts_with("# Written by cargo nomopoly"));
    assert!(!texts[0].contains('\r'));
}

#[test]
fn an_unchanged_lock_is_not_written_again() {
    let fixture = Fixture::new();
    fixture.registry.record_model("m.onnx", model(&[])).unwrap();
    let modified = || fs::metadata(fixture.root().join(LOCK_FILE)).unwrap().modified().unwrap();
    let before = modified();
    std::thread::sleep(Duration::from_millis(20));
    fixture.registry.record_model("m.onnx", model(&[])).unwrap();
    assert_eq!(modified(), before);
}

#[test]
fn another_schema_names_both_versions_and_the_way_out() {
    let fixture = Fixture::new();
    // Another layout too: the version must be told before the layout is read.
    fixture.write_lock("schema = 999\nentries = 3\n");
    let error = fixture.registry.read_lock().unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, RegistryError::Schema { found: 999, .. }), "{text}");
    assert!(
        text.contains("999") && text.contains(&format!("expected {ARTEFACT_SCHEMA}")),
        "{text}"
    );
    assert!(text.contains("--force") && text.contains("delete"), "{text}");
    // Writers must not overwrite what they cannot read.
    assert!(commit(&fixture.registry, &entry_name("conv", "a"), "a").is_err());
    assert!(fixture.registry.record_model("m.onnx", model(&[])).is_err());
    assert!(fixture.registry.remove_incomplete().is_err());
    assert_eq!(fixture.lock_text(), "schema = 999\nentries = 3\n");

    let moved = fixture.registry.discard_unusable_lock().unwrap().unwrap();
    assert_eq!(fs::read_to_string(moved).unwrap(), "schema = 999\nentries = 3\n");
    fixture.commit("conv", "a");
    assert_eq!(fixture.registry.discard_unusable_lock().unwrap(), None);
}

#[test]
fn text_that_is_no_toml_is_refused_with_its_line() {
    let fixture = Fixture::new();
    let schema = format!("schema = {ARTEFACT_SCHEMA}\n");
    for (text, line) in [
        (format!("{schema}\nmodels = {{\n"), 3),
        (format!("{schema}[entries.x]\nid = 3\n"), 0),
        ("schema = \"2\"\n".into(), 1),
        (String::new(), 1),
        (format!("<<<<<<< HEAD\n{schema}"), 1),
    ] {
        fixture.write_lock(&text);
        let error = fixture.registry.read_lock().unwrap_err();
        assert!(!error.to_string().contains('\n'), "{error}");
        assert!(error.is_unusable_lock());
        let RegistryError::Parse { line: got, .. } = error else { panic!("{text:?}: {error}") };
        // TOML's own position where a field is missing or mistyped is not ours to fix.
        assert!(line == 0 || got == line, "{text:?}: line {got}");
    }
    fs::write(fixture.root().join(LOCK_FILE), [schema.as_bytes(), b"# \xff\n"].concat()).unwrap();
    let error = fixture.registry.read_lock().unwrap_err();
    assert!(matches!(error, RegistryError::Parse { line: 2, .. }), "{error}");
}

#[test]
fn a_hand_edited_lock_is_refused_with_the_reason() {
    let fixture = Fixture::new();
    let entry = fixture.commit("conv_1x3x8x8", "a");
    fixture.registry.record_model("m.onnx", model(&[("y", &entry)])).unwrap();
    let good = fixture.lock_text();
    let id = id("a");
    for (from, to, reason) in [
        (format!("entries.{entry}"), "entries.\"../../etc\"".to_owned(), "../../etc"),
        (format!("id = \"{id}\""), format!("id = \"{}\"", id.to_uppercase()), "has id"),
        (format!("id = \"{id}\""), format!("id = \"f{}\"", &id[1..]), "has id"),
        (format!("id = \"{id}\""), "id = \"é\"".to_owned(), "has id"),
        (format!("\"{ARTEFACT}\""), "\"../../../etc/passwd\"".to_owned(), "passwd"),
        (format!("\"{ARTEFACT}\""), "\"other.safetensors\"".to_owned(), "other.safetensors"),
        (format!("\"{ARTEFACT}\" = \""), format!("\"{ARTEFACT}\" = \"0"), "has hash"),
        (format!("y = \"{entry}\""), "y = \"..\"".to_owned(), "\"..\""),
        ("digest = \"".to_owned(), "digest = \"x".to_owned(), "digest"),
        ("\"m.onnx\"".to_owned(), "\"m\\u001b[2J.onnx\"".to_owned(), "model"),
        ("seed = 7".to_owned(), "seed = -1".to_owned(), ""),
    ] {
        assert!(good.contains(&from), "{from} is not in\n{good}");
        fixture.write_lock(&good.replace(&from, &to));
        let error = fixture.registry.read_lock().unwrap_err();
        let text = error.to_string();
        assert!(error.is_unusable_lock(), "{to}: {text}");
        assert!(text.contains(reason) && text.contains(LOCK_FILE), "{to}: {text}");
        assert!(!text.contains(char::is_control), "{text:?}");
    }
    fixture.write_lock(&good);
    fixture.registry.verify_entry(&entry).unwrap();
}

#[test]
fn a_removed_hash_makes_the_entry_incomplete() {
    let fixture = Fixture::new();
    let entry = fixture.commit("conv_1x3x8x8", "a");
    let text = fixture.lock_text();
    let kept: Vec<&str> = text.lines().filter(|line| !line.contains(ARTEFACT)).collect();
    fixture.write_lock(&kept.join("\n"));
    assert_eq!(fixture.state(&entry), State::Incomplete { missing: vec![ARTEFACT.into()] });
    assert_eq!(fixture.registry.is_compiled(&entry, &id("a")).unwrap(), None);
    let error = fixture.registry.verify_entry(&entry).unwrap_err();
    assert!(error.to_string().contains(ARTEFACT), "{error}");
    fixture.commit("conv_1x3x8x8", "a");
    fixture.registry.verify_entry(&entry).unwrap();
}

#[test]
fn models_that_cannot_be_recorded_are_refused() {
    let fixture = Fixture::new();
    for (name, locked) in [
        ("", model(&[])),
        ("a\nb", model(&[])),
        ("m.onnx", model(&[("y", "../x")])),
        ("m.onnx", model(&[("y\u{7}", "conv-9c41d2e0a1b2")])),
        ("m.onnx", LockedModel { digest: "x".into(), ..model(&[]) }),
    ] {
        let error = fixture.registry.record_model(name, locked).unwrap_err();
        assert!(matches!(error, RegistryError::Refused { .. }), "{error}");
    }
}

#[test]
fn mutated_locks_never_panic() {
    let fixture = Fixture::new();
    let entry = fixture.commit("conv_1x3x8x8", "a");
    fixture.registry.record_model("m.onnx", model(&[("y", &entry)])).unwrap();
    let good = fixture.lock_text().into_bytes();
    // Every seventh position: all of them take half a minute without optimisation.
    for position in (0..good.len()).step_by(7) {
        for byte in [0, b'"', b'.', b'/', b'\n', 0xff] {
            let mut bytes = good.clone();
            bytes[position] = byte;
            fs::write(fixture.root().join(LOCK_FILE), &bytes).unwrap();
            let _ = fixture.registry.read_lock();
        }
    }
}
