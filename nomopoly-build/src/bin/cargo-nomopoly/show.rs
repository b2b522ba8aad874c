//! `show`: what a proof, receipt, challenge or opening says, without checking any of it.

use nomopoly_build::runtime::Proof;
use nomopoly_build::runtime::receipt::{Challenge, Committed, Opening, Receipt};
use serde::Serialize;
use serde_json::{Value, json};

use crate::arguments::ShowArguments;
use crate::context::Context;
use crate::failure::Failure;
use crate::numbers::{bytes, printable};
use crate::wire_file;

/// Largest file that is shown: as JSON values it takes some thirty times as much memory.
const MAX_BYTES: u64 = 256 << 20;
/// Elements of a list that are shown to people.
const SHOWN: usize = 6;

pub fn run(arguments: &ShowArguments, context: &Context) -> Result<(), Failure> {
    let contents = wire_file::read(&arguments.file, MAX_BYTES)?;
    let (what, value) = match contents.first_chunk::<8>() {
        Some(b"NMPPROOF") => ("proof", json(Proof::from_bytes(&contents)?)?),
        Some(b"NMPRCEPT") => ("receipt", json(Receipt::from_bytes(&contents)?)?),
        Some(b"NMPCHALL") => ("challenge", json(Challenge::from_bytes(&contents)?)?),
        Some(b"NMPOPENG") => ("opening", json(Opening::from_bytes(&contents)?)?),
        Some(b"NMPCOMIT") => {
            let committed = Committed::from_bytes(&contents)?;
            let (receipt, proof) = (json(committed.receipt())?, json(committed.proof())?);
            ("committed inference", json!({ "receipt": receipt, "proof": proof }))
        }
        Some(b"NMPXPKEY") => {
            return Err(Failure::problem(
                format!("`{}` is an expanded key: it is secret", arguments.file.display()),
                "nothing shows one; keep it from everybody who is to be checked with it",
            ));
        }
        _ => {
            return Err(Failure::problem(
                format!(
                    "`{}` is no proof, receipt, challenge or opening",
                    arguments.file.display()
                ),
                "docs/WIRE.md says how each begins",
            ));
        }
    };
    let size = contents.len() as u64;
    context.result(
        || json!({ "what": what, "bytes": size, "contents": value }),
        || {
            let mut text = format!("{what}, {}; nothing in it is checked\n", bytes(size));
            describe("", &value, 0, &mut text);
            text
        },
    )
}

fn json(value: impl Serialize) -> Result<Value, Failure> {
    // By way of text: a value would write an f32 with all the digits of an f64.
    let text = serde_json::to_string(&value);
    text.and_then(|text| serde_json::from_str(&text)).map_err(|error| {
        Failure::problem(format!("cannot be shown: {error}"), "report this: it is a bug")
    })
}

/// One line per field; of long lists of numbers the beginning.
fn describe(name: &str, value: &Value, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    let name = printable(name);
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(list) if list.iter().any(|item| item.is_object() || item.is_array()) => {
            list.iter().enumerate().map(|(place, item)| (place.to_string(), item)).collect()
        }
        Value::Array(list) => {
            let shown: Vec<String> = list.iter().take(SHOWN).map(plain).collect();
            let more = if list.len() > SHOWN {
                format!(", ... {} in all", list.len())
            } else {
                String::new()
            };
            text.push_str(&format!("{indent}{name}: [{}{more}]\n", shown.join(", ")));
            return;
        }
        single => {
            text.push_str(&format!("{indent}{name}: {}\n", plain(single)));
            return;
        }
    };
    if !name.is_empty() {
        text.push_str(&format!("{indent}{name}:\n"));
    }
    let depth = if name.is_empty() { depth } else { depth + 1 };
    for (name, value) in inner {
        describe(&name, value, depth, text);
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => printable(text),
        other => other.to_string(),
    }
}
