//! What the fuzz targets share. `tests/untrusted.rs` of the facade includes the same two files, so
//! that every seed and every regression runs as a plain test, too.

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::process::abort;
use std::sync::{Mutex, Once};

pub mod parsers;
mod small;
pub mod tiny;

static LAST: Mutex<String> = Mutex::new(String::new());

/// Runs a parser; a panic that leaves it is a finding.
///
/// libfuzzer-sys installs a panic hook that aborts at once. Panics that tract answers a malformed
/// model with are caught by the runtime on purpose, so the hook here only takes notes, and what is
/// not caught below this function aborts here.
pub fn run(parser: fn(&[u8]), bytes: &[u8]) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        set_hook(Box::new(|panic| {
            if let Ok(mut last) = LAST.lock() {
                *last = panic.to_string();
            }
        }));
    });
    if catch_unwind(AssertUnwindSafe(|| parser(bytes))).is_err() {
        let last = LAST.lock().map(|last| last.clone()).unwrap_or_default();
        eprintln!("{last}");
        eprintln!("for its backtrace, keep the input in fuzz/regressions and run");
        eprintln!("    RUST_BACKTRACE=1 cargo test --test untrusted");
        abort();
    }
}

/// A target that runs one of [`parsers`].
#[macro_export]
macro_rules! target {
    ($parser:ident) => {
        libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
            $crate::run($crate::parsers::$parser, bytes);
        });
    };
}
