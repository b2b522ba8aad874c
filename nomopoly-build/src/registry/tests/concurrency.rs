//! Several writers at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use super::*;

#[test]
fn threads_that_commit_at_once_lose_nothing() {
    let fixture = Fixture::new();
    thread::scope(|scope| {
        for writer in 0..4 {
            let registry = &fixture.registry;
            scope.spawn(move || {
                for i in 0..10 {
                    // Five entries of its own, five that every writer writes.
                    let content = if i % 2 == 0 { format!("{writer}/{i}") } else { format!("{i}") };
                    let entry = entry_name("conv_1x3x8x8", &content);
                    commit(registry, &entry, &content).unwrap();
                    let nodes = model(&[("y", &entry)]);
                    registry.record_model(&format!("{content}.onnx"), nodes).unwrap();
                    registry.entries().unwrap();
                }
            });
        }
    });
    let compiled = fixture.registry.compiled().unwrap();
    assert_eq!(compiled.len(), 4 * 5 + 5);
    assert_eq!(fixture.registry.read_lock().unwrap().models.len(), 4 * 5 + 5);
    for entry in &compiled {
        fixture.registry.verify_entry(&entry.name).unwrap();
        assert!(!entry.models.is_empty());
    }
    assert_eq!(fixture.listing().len(), compiled.len() + 1, "nothing temporary stays");
    assert!(fixture.registry.gc(false).unwrap().is_empty());
}

#[test]
fn a_held_lock_is_an_error_in_time_and_is_announced_once() {
    let fixture = Fixture::new();
    let entry = fixture.commit("conv_1x3x8x8", "a");
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let registry =
        fixture.registry.clone().with_lock_timeout(Duration::from_millis(200)).with_waiting(
            move |path| {
                assert!(path.ends_with(".lock"));
                counter.fetch_add(1, Ordering::SeqCst);
            },
        );
    let held = File::options().write(true).open(fixture.root().join(".lock")).unwrap();
    held.lock().unwrap();

    let start = Instant::now();
    let other = entry_name("conv_1x3x8x8", "b");
    let error = commit(&registry, &other, "b").unwrap_err();
    assert!(start.elapsed() >= Duration::from_millis(200));
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(matches!(error, RegistryError::Locked { .. }), "{error}");
    assert!(error.to_string().contains("another build is running"), "{error}");
    assert!(error.to_string().contains(".lock"), "{error}");
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    assert!(matches!(registry.gc(false), Err(RegistryError::Locked { .. })));
    // Queries do not wait for writers.
    registry.verify_entry(&entry).unwrap();
    assert_eq!(registry.entries().unwrap().len(), 1);
    assert_eq!(registry.gc(true).unwrap(), [entry]);

    held.unlock().unwrap();
    commit(&registry, &other, "b").unwrap();
}

#[test]
fn a_writer_waits_until_the_lock_is_free() {
    let fixture = Fixture::new();
    fixture.commit("conv_1x3x8x8", "a");
    let held = File::options().write(true).open(fixture.root().join(".lock")).unwrap();
    held.lock().unwrap();
    thread::scope(|scope| {
        let writer = scope.spawn(|| fixture.commit("conv_1x3x8x8", "b"));
        thread::sleep(Duration::from_millis(100));
        assert!(!writer.is_finished());
        held.unlock().unwrap();
        let entry = writer.join().unwrap();
        fixture.registry.verify_entry(&entry).unwrap();
    });
}
