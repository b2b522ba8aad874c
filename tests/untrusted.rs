//! Untrusted bytes: every parser on every seed and every regression of the fuzzers, as plain tests.
//! `scripts/fuzz.sh` goes on from the same files.
//!
//! `NOMOPOLY_WRITE_SEEDS=1 cargo test --test untrusted` writes `fuzz/seeds` anew.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

#[path = "../fuzz/src/parsers.rs"]
mod parsers;
#[path = "untrusted/seeds.rs"]
mod seeds;
#[path = "../fuzz/src/small.rs"]
mod small;
#[path = "../fuzz/src/tiny.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod tiny;

/// Bytes of all seeds together, and of one.
const MOST: u64 = 300_000;
const MOST_EACH: u64 = 16_000;

fn fuzz(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(folder)
}

/// Files of a folder by name; none when it is not there.
fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return BTreeSet::new() };
    entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect()
}

/// Runs a parser on its files. The last name that is printed is the one that failed.
fn run(target: &str, parser: fn(&[u8])) {
    let seeds = files(&fuzz("seeds").join(target));
    let regressions = files(&fuzz("regressions").join(target));
    assert!(seeds.len() >= 5, "{target} has {} seeds", seeds.len());
    for path in seeds.iter().chain(&regressions) {
        println!("{}", path.display());
        parser(&std::fs::read(path).unwrap());
    }
    println!("{target}: {} seeds, {} regressions", seeds.len(), regressions.len());
}

macro_rules! targets {
    ($($target:ident),*) => {
        $(#[test]
        fn $target() {
            seeds::written();
            run(stringify!($target), parsers::$target);
        })*

        #[test]
        fn every_target_is_tested() {
            let tested = [$(stringify!($target)),*];
            assert_eq!(parsers::TARGETS.map(|(name, _)| name), tested);
            let stems = files(&fuzz("fuzz_targets"));
            let stems = stems.iter().map(|path| path.file_stem().unwrap().to_str().unwrap());
            assert_eq!(stems.collect::<Vec<_>>(), tested);
            let manifest = std::fs::read_to_string(fuzz("Cargo.toml")).unwrap();
            for target in tested {
                assert!(manifest.contains(&format!("name = \"{target}\"")), "{target}");
            }
        }
    };
}

targets!(
    artefact,
    bundle,
    challenge,
    committed,
    expanded_key,
    lock,
    manifest,
    onnx,
    opening,
    proof,
    receipt,
    verify
);

#[test]
fn seeds_stay_small() {
    seeds::written();
    let mut all = 0;
    for (target, _) in parsers::TARGETS {
        for path in files(&fuzz("seeds").join(target)) {
            let size = std::fs::metadata(&path).unwrap().len();
            assert!(size <= MOST_EACH, "{} has {size} bytes", path.display());
            all += size;
        }
    }
    assert!(all <= MOST, "seeds have {all} bytes");
}

/// What the fuzzers rely on: honest values pass the very checks that edited ones must fail.
#[test]
fn the_honest_values_are_accepted() {
    let tiny = &*tiny::TINY;
    assert!(tiny.verifier.inspect(&tiny.input, &tiny.proof).unwrap().accepted());
    parsers::assert_honest(&tiny.proof);
    let outputs = tiny.committed.outputs();
    for (challenge, opening) in [&tiny.whole, &tiny.parts] {
        let receipt = tiny.committed.receipt();
        tiny.receipts.verify(&tiny.input, outputs, receipt, challenge, opening).unwrap();
    }
    let expanded = nomopoly::dynamic::Verifier::from_expanded(
        &tiny.expanded,
        &nomopoly::candle_core::Device::Cpu,
    );
    assert!(expanded.unwrap().inspect(&tiny.input, &tiny.proof).unwrap().accepted());
}

#[test]
fn edits_change_what_they_say() {
    let edit = |edits: &[[u8; 5]]| parsers::edited(b"abcdef", &edits.concat());
    assert_eq!(edit(&[[1, 0, 0, 0, 1]]), b"accdef");
    assert_eq!(edit(&[[1, 0, 0, 1, b'x']]), b"axcdef");
    assert_eq!(edit(&[[6, 0, 0, 2, b'x'], [0, 0, 0, 2, b'y']]), b"yabcdefx");
    assert_eq!(edit(&[[1, 0, 0, 3, 4]]), b"af");
    assert_eq!(edit(&[[4, 0, 0, 3, 200], [9, 0, 0, 0, 1]]), b"abcd\0"[..4].to_vec());
}
