//! Names of entries and of the files in them.
//!
//! Names come from command lines and from a lock file that anyone may have edited, and they are
//! joined to paths: what is not of the one known form is refused here, before that.

use super::RegistryError;

/// Number of hexadecimal digits of the id at the end of an entry's name.
pub const ID_DIGITS: usize = 12;

/// File that the runtime loads.
pub const ARTEFACT: &str = "artefact.safetensors";
/// File that holds [`nomopoly_manifest::Metrics`].
pub const METRICS: &str = "compilation_metrics.json";
/// File that holds times; it alone is not hashed.
pub const LOG: &str = "compilation.log";
/// Subfolder of an entry.
pub const PLOTS: &str = "plots";

/// Room for the longest suffix of a file name within the 255 bytes that file systems allow.
const MAX_NAME: usize = 200;

/// Part of an entry's name before `-` and the digits of its id. A name without them is its own
/// stem.
pub fn stem_of(entry: &str) -> &str {
    split(entry).map_or(entry, |(stem, _)| stem)
}

/// Files that an entry holds, as paths relative to its folder with `/` between parts.
pub fn expected_files(stem: &str) -> [String; 8] {
    let [prover, verifier, adversary] = onnx_files(stem);
    [
        prover,
        verifier,
        adversary,
        ARTEFACT.to_owned(),
        METRICS.to_owned(),
        LOG.to_owned(),
        format!("{PLOTS}/{stem}_training_metrics.svg"),
        format!("{PLOTS}/{stem}_training_summary.svg"),
    ]
}

/// The ONNX files of an entry.
pub(super) fn onnx_files(stem: &str) -> [String; 3] {
    ["prover", "verifier", "adversary"].map(|role| format!("{stem}_{role}.onnx"))
}

/// The files whose hashes are in the lock: all but the log. An entry without its log still
/// counts as complete, because nothing reads it and many `.gitignore` files drop `*.log`.
pub(super) fn hashed_files(stem: &str) -> impl Iterator<Item = String> {
    expected_files(stem).into_iter().filter(|file| file != LOG)
}

/// Whether `text` is a BLAKE3 hash as the lock spells it.
pub(super) fn is_hash(text: &str) -> bool {
    is_hex(text, 64)
}

/// Whether `text` is so many hexadecimal digits in lower case.
pub(super) fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(is_hex_digit)
}

/// Whether `name` has the form `stem-0123456789ab`. Only lower case, because some file systems
/// would put `Conv-...` and `conv-...` into one folder.
pub(super) fn is_entry(name: &str) -> bool {
    let plain = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-'
    };
    name.len() <= MAX_NAME
        && split(name).is_some_and(|(stem, _)| {
            stem.bytes().all(plain) && stem.starts_with(|c: char| c.is_ascii_alphanumeric())
        })
}

/// Refuses what [`is_entry`] does not accept.
pub(super) fn check(name: &str) -> Result<(), RegistryError> {
    if is_entry(name) { Ok(()) } else { Err(RegistryError::Name { name: name.to_owned() }) }
}

/// Refuses a look-up that reads like a path. Other unknown names deserve suggestions instead.
pub(super) fn check_query(query: &str) -> Result<(), RegistryError> {
    let hostile = query.is_empty()
        || query.len() > MAX_NAME
        || query.starts_with('.')
        || query.contains("..")
        || query.contains(['/', '\\', ':'])
        || query.contains(char::is_control);
    if hostile { Err(RegistryError::Name { name: query.to_owned() }) } else { Ok(()) }
}

fn split(name: &str) -> Option<(&str, &str)> {
    let (stem, digits) = name.rsplit_once('-')?;
    (!stem.is_empty() && is_hex(digits, ID_DIGITS)).then_some((stem, digits))
}

fn is_hex_digit(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}

/// The names nearest to `query` by edits, best first, at most three.
pub(super) fn close<'a>(query: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let limit = 2 + query.chars().count() / 4;
    let mut near: Vec<(usize, &str)> = names
        .map(|name| (edits(query, name).min(edits(query, stem_of(name))), name))
        .filter(|(edits, _)| *edits <= limit)
        .collect();
    near.sort_unstable();
    near.into_iter().take(3).map(|(_, name)| name.to_owned()).collect()
}

/// Levenshtein distance.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let changed = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_with_an_id_are_entries() {
        assert!(is_entry("conv_1x3x8x8-9c41d2e0a1b2"));
        for name in [
            "",
            ".",
            "..",
            "-9c41d2e0a1b2",
            "--x-9c41d2e0a1b2",
            ".tmp-9c41d2e0a1b2",
            "../conv-9c41d2e0a1b2",
            "a/b-9c41d2e0a1b2",
            "a\\b-9c41d2e0a1b2",
            "c:b-9c41d2e0a1b2",
            "a\0b-9c41d2e0a1b2",
            "Conv-9c41d2e0a1b2",
            "conv-9c41d2e0a1b",
            "conv-9C41D2E0A1B2",
            "nomopoly.lock",
            "notes",
        ] {
            assert!(!is_entry(name), "{name:?}");
        }
        assert!(!is_entry(&format!("{}-9c41d2e0a1b2", "a".repeat(300))));
    }

    #[test]
    fn stems_lose_the_id_only() {
        assert_eq!(stem_of("conv_1x3x8x8-9c41d2e0a1b2"), "conv_1x3x8x8");
        assert_eq!(stem_of("conv_1x3x8x8"), "conv_1x3x8x8");
    }

    #[test]
    fn edits_are_counted() {
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("conv", "conv"), 0);
    }
}
