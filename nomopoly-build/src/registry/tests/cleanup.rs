//! Removal of incomplete and unused entries.

use std::time::SystemTime;

use super::*;

#[test]
fn half_written_entries_are_reported_and_removed() {
    let fixture = Fixture::new();
    let whole = fixture.commit("conv_1x3x8x8", "a");
    let half = fixture.commit("relu_1x8", "b");
    let orphan = entry_name("gemm_1x8", "c");
    fill(&fixture.root().join(&orphan), &orphan, "c");
    fs::remove_file(fixture.path(&half, ARTEFACT)).unwrap();
    fs::remove_file(fixture.path(&half, "plots/relu_1x8_training_metrics.svg")).unwrap();
    let missing = vec![ARTEFACT.to_owned(), "plots/relu_1x8_training_metrics.svg".to_owned()];
    assert_eq!(fixture.state(&half), State::Incomplete { missing });
    assert_eq!(fixture.state(&orphan), State::Unrecorded);
    assert_eq!(fixture.registry.is_compiled(&orphan, &id("c")).unwrap(), None);

    assert_eq!(fixture.registry.remove_incomplete().unwrap(), [orphan, half]);
    assert_eq!(fixture.listing(), [whole.as_str(), LOCK_FILE]);
    assert_eq!(fixture.registry.read_lock().unwrap().entries.len(), 1);
    fixture.registry.verify_entry(&whole).unwrap();
    assert!(fixture.registry.remove_incomplete().unwrap().is_empty());
}

#[test]
fn gc_keeps_what_models_use() {
    let fixture = Fixture::new();
    let used = fixture.commit("conv_1x3x8x8", "a");
    let unused = fixture.commit("conv_1x3x8x8", "b");
    fixture.registry.record_model("m.onnx", model(&[("y", &used)])).unwrap();

    let before = (fixture.listing(), fixture.lock_text());
    assert_eq!(fixture.registry.gc(true).unwrap(), [unused.as_str()]);
    assert_eq!((fixture.listing(), fixture.lock_text()), before);

    assert_eq!(fixture.registry.gc(false).unwrap(), [unused]);
    assert_eq!(fixture.listing(), [used.as_str(), LOCK_FILE]);
    fixture.registry.verify_entry(&used).unwrap();

    assert!(fixture.registry.forget_model("m.onnx").unwrap());
    assert_eq!(fixture.registry.gc(false).unwrap(), [used]);
    assert_eq!(fixture.listing(), [LOCK_FILE]);
}

#[test]
fn data_that_is_not_ours_survives_a_wrong_path() {
    let fixture = Fixture::new();
    // A date that looks like the digits of an id, and other names that come near.
    let keep = ["backup-202401011234", "src", ".tmp-mine", ".old-mine", ".git"];
    for name in keep {
        fs::create_dir_all(fixture.root().join(name)).unwrap();
        fs::write(fixture.path(name, "thesis.txt"), "years of work").unwrap();
    }
    fs::write(fixture.root().join("conv-9c41d2e0a1b2"), "a file").unwrap();
    assert!(fixture.registry.gc(false).unwrap().is_empty());
    for name in keep {
        assert!(fixture.path(name, "thesis.txt").exists());
    }
    assert_eq!(fixture.listing().len(), keep.len() + 1);
}

#[test]
fn temporary_folders_go_when_their_writer_is_gone() {
    let fixture = Fixture::new();
    let entry = entry_name("conv_1x3x8x8", "a");
    let running = fixture.registry.begin(&entry).unwrap();
    // As a process leaves them that died before, while and after it locked its folder.
    let [bare, stale, dead] = ["AAAAAA", "BBBBBB", "CCCCCC"]
        .map(|end| fixture.root().join(format!(".tmp-{entry}-{end}")));
    for folder in [&bare, &stale, &dead] {
        fs::create_dir(folder).unwrap();
    }
    fs::write(dead.join("in-use"), "").unwrap();
    let hours_ago = SystemTime::now() - Duration::from_secs(2 * 60 * 60);
    fs::File::open(&stale).unwrap().set_modified(hours_ago).unwrap();
    let old = fixture.root().join(format!(".old-{entry}-DDDDDD"));
    fs::create_dir(&old).unwrap();

    let removed = fixture.registry.remove_incomplete().unwrap();
    let expected = [&old, &stale, &dead].map(|path| path.file_name().unwrap().to_str().unwrap());
    assert_eq!(removed, expected);
    assert!(bare.exists(), "a young folder may be one that is being set up");
    fill(running.path(), &entry, "a");
    running.commit(new_entry("a")).unwrap();
    fixture.registry.verify_entry(&entry).unwrap();
}
