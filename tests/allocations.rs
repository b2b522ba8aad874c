//! Memory that parsers of untrusted bytes ask for: a bounded multiple of the bytes that are there,
//! whatever lengths those claim, and twice the bytes make about twice the work.
//!
//! Work is counted in allocations and in bytes allocated, not in time, so that the figures are the
//! same on every machine.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use nomopoly::ExpandedKey;
use nomopoly::Proof;
use nomopoly::bundle::Bundle;
use nomopoly::onnx::{Model, pb};
use nomopoly::receipt::{Challenge, Committed, Opening, RECEIPT_SCHEMA, Receipt};
use nomopoly_build::manifest::{Audit, BuildManifest, Metrics};
use nomopoly_build::registry::parse_lock;

/// Counts what a thread allocates.
struct Counting;

thread_local! {
    static NOW: Cell<i64> = const { Cell::new(0) };
    static PEAK: Cell<i64> = const { Cell::new(0) };
    static CALLS: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<u64> = const { Cell::new(0) };
}

fn count(change: i64) {
    // A thread that ends has no counters any more.
    let _ = NOW.try_with(|now| {
        now.set(now.get() + change);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(now.get())));
    });
    if change > 0 {
        let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
        let _ = BYTES.try_with(|bytes| bytes.set(bytes.get() + change as u64));
    }
}

// Sound: it passes everything on to the system's allocator, and counts beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as i64 - layout.size() as i64);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[derive(Debug, Clone, Copy)]
struct Usage {
    /// Most bytes that were in use at once, beyond those before.
    peak: u64,
    calls: u64,
    bytes: u64,
}

fn usage<T>(f: impl FnOnce() -> T) -> Usage {
    let before = NOW.get();
    PEAK.set(before);
    let (calls, bytes) = (CALLS.get(), BYTES.get());
    drop(f());
    Usage {
        peak: (PEAK.get() - before) as u64,
        calls: CALLS.get() - calls,
        bytes: BYTES.get() - bytes,
    }
}

/// What is always allowed: messages, first rooms of lists.
const SLACK: u64 = 64 << 10;

/// Bytes of memory for each byte of input: a list of (text, list), say, takes two bytes an element in
/// the file and 48 in memory, with room for up to twice as many.
const LISTS: u64 = 64;
/// The same of expanded keys, whose operations are large structures with few bytes each.
const KEYS: u64 = 512;

/// Checks a parser on hostile inputs of a size: memory within `factor` bytes for each that is there,
/// and at most a little more than twice the work for twice the size.
fn bounded<T>(
    name: &str,
    factor: u64,
    hostile: impl Fn(usize) -> Vec<u8>,
    parse: impl Fn(&[u8]) -> T,
) {
    let measured = [1usize, 2, 4, 8].map(|step| {
        let bytes = hostile(step * 40_000);
        (bytes.len() as u64, usage(|| parse(&bytes)))
    });
    for (len, used) in measured {
        println!("{name}: {len} bytes, {used:?}: {} for each", used.peak / len.max(1));
        assert!(used.peak <= factor * len + SLACK, "{name}: {len} bytes make {used:?}");
    }
    // Lists grow by doubling, so that one size may be luckier than another; eight times the work for
    // eight times the size is far from the 64 times of a quadratic loop.
    let [(len, less), .., (longer, more)] = measured;
    let most = |less: u64| 2.2 * (longer as f64 / len as f64) * less as f64 + SLACK as f64;
    assert!(more.calls as f64 <= most(less.calls), "{name}: {measured:?}");
    assert!(more.bytes as f64 <= most(less.bytes), "{name}: {measured:?}");
}

/// The count itself: a parser that believes a length, and one that starts anew at every byte.
#[test]
fn what_asks_for_too_much_is_noticed() {
    let zeros = |n| vec![0; n];
    let refused = |parse: fn(&[u8]) -> Vec<u8>| {
        std::panic::catch_unwind(|| bounded("greedy", LISTS, zeros, parse)).is_err()
    };
    assert!(!refused(|bytes| bytes.to_vec()));
    assert!(refused(|_| Vec::with_capacity(1 << 28)));
    assert!(refused(|bytes| bytes
        .iter()
        .step_by(64)
        .map(|_| bytes.to_vec().len() as u8)
        .collect()));
}

fn sealed(magic: &[u8; 8], schema: u32, body: &[u8]) -> Vec<u8> {
    let hash = *blake3::hash(body).as_bytes();
    [&magic[..], &schema.to_le_bytes(), &hash, body].concat()
}

fn number(mut value: u64) -> Vec<u8> {
    let mut bytes = vec![];
    while value > 127 {
        bytes.push((value & 127) as u8 | 128);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// Bodies of about `n` bytes: a beginning, then a list of small elements whose length is right, too
/// large by one, too large by far, or as large as the bytes that follow.
fn lists(start: &[u8], element: &[u8], n: usize) -> [Vec<u8>; 4] {
    let count = n / element.len();
    [count, count + 1, 1 << 60, n].map(|claimed| {
        [start, &number(claimed as u64), &element.repeat(count), &[0; 8][..]].concat()
    })
}

/// A format with the beginnings and elements of its lists.
fn format<T>(
    name: &str,
    (magic, schema): (&[u8; 8], u32),
    hostile: &[(&str, Vec<u8>, Vec<u8>)],
    factor: u64,
    parse: impl Fn(&[u8]) -> T,
) {
    for (list, start, element) in hostile {
        for claim in 0..4 {
            let body = |n| lists(start, element, n)[claim].clone();
            let name = format!("{name} {list} {claim}");
            bounded(&name, factor, |n| sealed(magic, schema, &body(n)), &parse);
        }
    }
    for byte in [0, 1, 9, 0x7f, 0x80, 0xff] {
        let name = format!("{name} {byte:#x}");
        bounded(&name, factor, |n| sealed(magic, schema, &vec![byte; n]), &parse);
        bounded(&name, factor, |n| vec![byte; n], &parse);
    }
}

/// Elements of a few bytes, by what they are on the wire.
fn small_tensor() -> Vec<u8> {
    // No name, no shape, no booleans.
    vec![0, 0, 10, 0]
}

fn small_operation() -> Vec<u8> {
    [&[0][..], &[0; 32], &[0]].concat()
}

fn proof_lists(before: &[u8]) -> Vec<(&'static str, Vec<u8>, Vec<u8>)> {
    let from = |rest: &[u8]| [before, &[1; 32], rest].concat();
    vec![
        ("inputs", from(&[]), vec![0, 0]),
        ("shape", from(&[1, 0]), vec![1]),
        ("name", from(&[1]), vec![b'a']),
        ("outputs", from(&[0]), small_tensor()),
        ("floats", from(&[0, 1, 0, 0, 0]), vec![0; 4]),
        ("doubles", from(&[0, 1, 0, 0, 1]), vec![0; 8]),
        ("longs", from(&[0, 1, 0, 0, 5]), vec![1]),
        ("unsigned", from(&[0, 1, 0, 0, 9]), vec![1]),
        ("booleans", from(&[0, 1, 0, 0, 10]), vec![1]),
        ("transcript", from(&[0, 0]), small_tensor()),
        ("operations", from(&[0, 0, 0]), small_operation()),
    ]
}

#[test]
fn proofs_ask_for_no_more_than_they_bring() {
    format("proof", (b"NMPPROOF", 1), &proof_lists(&[]), LISTS, Proof::from_bytes);
}

#[test]
fn stored_inferences_ask_for_no_more_than_they_bring() {
    let receipt = [&[0; 96][..], &[0], &[0; 32]].concat();
    let lists = proof_lists(&receipt);
    format("committed", (b"NMPCOMIT", RECEIPT_SCHEMA), &lists, LISTS, Committed::from_bytes);
}

#[test]
fn receipts_ask_for_no_more_than_they_bring() {
    let schema = RECEIPT_SCHEMA;
    let parts = [&[0; 32][..], &[1, 0]].concat();
    let challenge = [
        ("asked", vec![0; 32], vec![0, 0]),
        ("parts", parts, vec![0, 1]),
        ("producers", vec![0; 33], vec![1]),
    ];
    format("challenge", (b"NMPCHALL", schema), &challenge, LISTS, Challenge::from_bytes);
    let operation = |output: &[u8], vector: &[u8]| [&[0][..], &[0; 32], output, vector].concat();
    let whole = operation(&[&[0][..], &small_tensor()].concat(), &[0, 0]);
    let parts = operation(&[1, 0, 0, 0, 0], &[0, 0]);
    let inside = |rest: &[u8]| [&[0; 32][..], &[1], &operation(rest, &[])].concat();
    let opening = [
        ("whole", vec![0; 32], whole),
        ("parts", vec![0; 32], parts),
        ("chunks", inside(&[1, 0, 0]), vec![0, 10, 0]),
        ("inner paths", inside(&[1, 0, 0, 0]), vec![7; 32]),
        ("paths", vec![0; 33], vec![7; 32]),
    ];
    format("opening", (b"NMPOPENG", schema), &opening, LISTS, Opening::from_bytes);
    format("receipt", (b"NMPRCEPT", schema), &[], LISTS, Receipt::from_bytes);
}

#[test]
fn bundles_and_keys_ask_for_no_more_than_they_bring() {
    let lists = [
        ("inputs", vec![0; 32], vec![0, 0]),
        ("artefacts", vec![0; 33], vec![0, 0]),
        ("operations", vec![0; 34], vec![0, 0]),
    ];
    format("bundle", (b"NMPBUNDL", 1), &lists, LISTS, Bundle::from_bytes);
    // Names that differ, so that all of them stay.
    let names = |n: usize| {
        let names = (0..n / 5).map(|index| {
            let digit = |place: u32| (index >> (7 * place) & 0x7f) as u8;
            [3, digit(0), digit(1), digit(2), 0]
        });
        let names: Vec<u8> = names.flatten().collect();
        let body = [&[0; 32][..], &number((n / 5) as u64), &names, &[0, 0]].concat();
        sealed(b"NMPBUNDL", 1, &body)
    };
    bounded("bundle names", 64, names, Bundle::from_bytes);
    let outline = [&[0][..], &[0; 32]].concat();
    let lists = [
        ("inputs", outline.clone(), vec![0, 3, b'f', b'3', b'2', 0]),
        ("nodes", [&outline[..], &[0, 0]].concat(), vec![0, 0]),
        ("transcript", [&outline[..], &[0, 0, 0]].concat(), vec![0, 0]),
        ("graph", [&outline[..], &[0, 0, 0, 0]].concat(), vec![0]),
        ("operations", [&outline[..], &[0; 7]].concat(), vec![0, 0, 0]),
    ];
    // It keeps the bytes and reads them as well.
    let parse = |bytes: &[u8]| ExpandedKey::from_bytes(bytes.to_vec());
    format("expanded key", (b"NMPXPKEY", 1), &lists, KEYS, parse);
}

/// A name, and texts of about a number of bytes that open, repeat or claim.
type Texts = (&'static str, fn(usize) -> String);

fn texts() -> Vec<Texts> {
    vec![
        ("zeros", |n| format!("[{}0]", "0,".repeat(n / 2))),
        ("opened", |n| "[".repeat(n)),
        ("objects", |n| "{\"a\":".repeat(n / 5)),
        ("texts", |n| format!("[{}\"\"]", "\"\",".repeat(n / 3))),
        ("names", |n| {
            let names: String = (0..n / 12).map(|i| format!("\"{i:07}\":0,")).collect();
            format!("{{{names}\"z\":0}}")
        }),
        ("models", |n| {
            let model = r#"{"path":"","status":{"is":"stub","reason":""},"interface":null}"#;
            let models = vec![model; n / model.len()].join(",");
            format!(r#"{{"schema":1,"version":"","models":[{models}]}}"#)
        }),
    ]
}

#[test]
fn manifests_ask_for_no_more_than_they_bring() {
    let parse = |bytes: &[u8]| {
        let value: serde_json::Value = serde_json::from_slice(bytes).ok()?;
        let metrics = serde_json::from_value::<Metrics>(value.clone()).is_ok();
        let audit = serde_json::from_value::<Audit>(value.clone()).is_ok();
        Some((metrics, audit, serde_json::from_value::<BuildManifest>(value)))
    };
    for (name, text) in texts() {
        bounded(&format!("manifest {name}"), 96, |n| text(n).into_bytes(), parse);
    }
}

#[test]
fn locks_ask_for_no_more_than_they_bring() {
    let texts: Vec<Texts> = vec![
        ("zeros", |n| format!("schema = 1\na = [{}0]\n", "0,".repeat(n / 2))),
        ("opened", |n| format!("schema = 1\na = {}", "[".repeat(n))),
        ("lines", |n| "\n".repeat(n)),
        ("dotted", |n| format!("schema = 1\n{}a = 1\n", "a.".repeat(n / 2))),
        ("keys", |n| (0..n / 10).map(|i| format!("a{i:06}=1\n")).collect()),
        ("tables", |n| (0..n / 9).map(|i| format!("[{i:06}]\n")).collect()),
        ("arrays", |n| "[[a]]\n".repeat(n / 6)),
        ("text", |n| format!("a = \"{}", "\\n".repeat(n / 2))),
    ];
    for (name, text) in texts {
        bounded(&format!("lock {name}"), 256, |n| text(n).into_bytes(), parse_lock);
    }
}

#[test]
fn models_ask_for_no_more_than_a_multiple_of_what_they_bring() {
    // An empty message is two bytes in the file and a whole structure in memory: protobuf's own
    // amplification, which SECURITY.md names. Attributes are the largest.
    let factor = size_of::<pb::AttributeProto>() as u64;
    println!("an attribute has {factor} bytes");
    let inside =
        |tag: u8, message: Vec<u8>| [&[tag][..], &number(message.len() as u64), &message].concat();
    // ModelProto.opset_import and .graph; GraphProto.node is 1, .initializer 5, .input 11;
    // NodeProto.input is 1, .attribute 5.
    let model = |graph: Vec<u8>| [&[0x42, 2, 0x10, 17][..], &inside(0x3a, graph)].concat();
    let parse = |bytes: &[u8]| Model::from_bytes("hostile.onnx", bytes);
    for (name, tag) in [("nodes", 0x0a), ("initialisers", 0x2a), ("inputs", 0x5a)] {
        bounded(name, factor, |n| model([tag, 0].repeat(n / 2)), parse);
    }
    for (name, tag) in [("names", 0x0a), ("attributes", 0x2a)] {
        bounded(name, factor, |n| model(inside(0x0a, [tag, 0].repeat(n / 2))), parse);
    }
    for byte in [0, 0x0a, 0x3a, 0x7f, 0x80, 0xff] {
        bounded(&format!("{byte:#x}"), factor, |n| vec![byte; n], parse);
        bounded(&format!("graph of {byte:#x}"), factor, |n| model(vec![byte; n]), parse);
    }
}
