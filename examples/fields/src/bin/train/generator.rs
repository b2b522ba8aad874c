//! Draws fields as people and programs write them. Nothing here is anyone's data.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha20Rng;

use crate::text::KINDS;
use crate::words::{
    CODAS, DOMAINS, EXTENSIONS, FAMILY, HOSTS, HOURS, LOCAL, MONTHS, ONSETS, PATHS, UNITS, VOWELS,
    WEEKDAYS, WORDS, ZONES,
};

type Rng = ChaCha20Rng;

/// In the order of [`KINDS`].
const GENERATORS: [fn(&mut Rng) -> String; KINDS.len()] = [date, time, email, url, number, text];

/// A field of the kind at this index of [`KINDS`].
pub fn field(kind: usize, rng: &mut ChaCha20Rng) -> String {
    let field = GENERATORS[kind](rng);
    // People also shout and whisper.
    match rng.random_range(0..20) {
        0 => field.to_uppercase(),
        1 => field.to_lowercase(),
        _ => field,
    }
}

/// Weekdays are not those of the calendar: only the look of a date counts.
fn date(rng: &mut Rng) -> String {
    let (y, m, d) =
        (rng.random_range(1930..2060), rng.random_range(1..=12), rng.random_range(1..=28));
    let short_year = y % 100;
    let (month, weekday) = (MONTHS[m - 1], pick(rng, &WEEKDAYS));
    let (short_month, short_weekday) = (&month[..3], &weekday[..3]);
    match rng.random_range(0..14) {
        0 | 1 => format!("{y}-{m:02}-{d:02}"),
        2 => format!("{y}/{m:02}/{d:02}"),
        3 => format!("{d:02}.{m:02}.{y}"),
        4 => format!("{d}.{m}.{y}"),
        5 => format!("{m}/{d}/{y}"),
        6 => format!("{d:02}/{m:02}/{short_year:02}"),
        7 => format!("{d} {month} {y}"),
        8 => format!("{month} {d}, {y}"),
        9 => format!("{short_month} {d}, {y}"),
        10 => format!("{d:02}-{short_month}-{short_year:02}"),
        11 => format!("{short_weekday}, {d} {short_month} {y}"),
        12 => format!("{weekday}, {d} {month}"),
        _ => format!("{month} {y}"),
    }
}

fn time(rng: &mut Rng) -> String {
    let (h, m, s) = (rng.random_range(0..24), rng.random_range(0..60), rng.random_range(0..60));
    let hour_of_twelve = h % 12 + 1;
    let half = pick(rng, &["am", "pm", " am", " pm", " AM", " PM", " a.m.", " p.m."]);
    let word = pick(rng, &HOURS);
    match rng.random_range(0..12) {
        0 | 1 => format!("{h:02}:{m:02}"),
        2 => format!("{h}:{m:02}"),
        3 => format!("{h:02}:{m:02}:{s:02}"),
        4 => format!("{h:02}:{m:02}:{s:02}.{:03}", rng.random_range(0..1000)),
        5 | 6 => format!("{hour_of_twelve}:{m:02}{half}"),
        7 => format!("{hour_of_twelve}{half}"),
        8 => format!("{h}h{m:02}"),
        9 => format!("{h:02}:{m:02} {}", pick(rng, &ZONES)),
        10 => format!("{hour_of_twelve} o'clock"),
        _ => format!("{} {word}", pick(rng, &["half past", "quarter past", "quarter to"])),
    }
}

fn email(rng: &mut Rng) -> String {
    let (name, family, domain) = (pick(rng, &LOCAL), pick(rng, &FAMILY), pick(rng, &DOMAINS));
    let local = match rng.random_range(0..8) {
        0 => name.to_owned(),
        7 => made_up(rng),
        1 => format!("{name}.{family}"),
        2 => format!("{}.{family}", &name[..1]),
        3 => format!("{name}_{family}"),
        4 => format!("{name}{}", rng.random_range(1..2000)),
        5 => format!("{name}+{}", pick(rng, &HOSTS)),
        _ => format!("{}-{name}", pick(rng, &HOSTS)),
    };
    match rng.random_range(0..5) {
        0 => format!("{local}@{}.{domain}", pick(rng, &HOSTS)),
        1 => format!("{} <{local}@{domain}>", capital(name)),
        _ => format!("{local}@{domain}"),
    }
}

fn url(rng: &mut Rng) -> String {
    let scheme = pick(rng, &["https://", "https://", "http://", "ftp://", "", ""]);
    let host = match rng.random_range(0..8) {
        // Reserved for documentation: <https://www.rfc-editor.org/rfc/rfc5737>, section 3.
        0 => format!("192.0.2.{}:{}", rng.random_range(1..255), rng.random_range(80..10_000)),
        1 => format!("localhost:{}", rng.random_range(80..10_000)),
        2 | 3 => pick(rng, &DOMAINS).to_owned(),
        _ => format!("{}.{}", pick(rng, &HOSTS), pick(rng, &DOMAINS)),
    };
    let rest = match rng.random_range(0..7) {
        0 | 1 => String::new(),
        2 => "/".to_owned(),
        3 => format!("/{}", pick(rng, &PATHS)),
        4 => format!("/{}/{}", pick(rng, &PATHS), pick(rng, &PATHS)),
        5 => format!("/{}/{}", pick(rng, &PATHS), rng.random_range(1..1000)),
        _ => format!("/{}?id={}", pick(rng, &PATHS), rng.random_range(1..1000)),
    };
    format!("{scheme}{host}{rest}")
}

fn number(rng: &mut Rng) -> String {
    let sign = pick(rng, &["", "", "", "-", "+"]);
    let digits = rng.random_range(1..=7);
    let whole = rng.random_range(0..10_u64.pow(digits));
    let (small, part) = (rng.random_range(1..1000), rng.random_range(0..100));
    match rng.random_range(0..11) {
        0 | 1 => format!("{sign}{whole}"),
        2 => format!("{sign}{small}.{part}"),
        3 => format!("{sign}{small},{part:02}"),
        4 => grouped(rng, &[",", " ", "'"]),
        5 => format!("{sign}{}.{part}e{}", small % 10, rng.random_range(-30..30)),
        6 => format!("{}{small}.{part:02}", pick(rng, &["$", "€", "£", "€ ", "$ "])),
        7 => format!("{small}{}{}", pick(rng, &["", " "]), pick(rng, &UNITS)),
        8 => format!("{small}.{part} {}", pick(rng, &UNITS)),
        9 => format!("{}/{}", small % 20 + 1, part % 20 + 2),
        _ => format!("0x{whole:x}"),
    }
}

/// A number from a thousand on, with a mark between groups of three digits.
fn grouped(rng: &mut Rng, marks: &[&str]) -> String {
    let mark = pick(rng, marks);
    let mut number = rng.random_range(1..1000).to_string();
    for _ in 0..rng.random_range(1..=2) {
        number.push_str(mark);
        number.push_str(&format!("{:03}", rng.random_range(0..1000)));
    }
    number
}

/// Words, and what looks a little like the other kinds without being one: versions, codes, names
/// of files.
fn text(rng: &mut Rng) -> String {
    let (a, b, c) = (&word(rng), &word(rng), &word(rng));
    let n = rng.random_range(1..1000);
    match rng.random_range(0..15) {
        0 | 1 => a.clone(),
        2 => capital(a),
        3 => format!("{a} {b}"),
        4 => format!("{} {b}", capital(a)),
        5 => format!("{a} {b} {c}"),
        6 => format!("{} {b}, {c}", capital(a)),
        7 => format!("{} {n}", capital(a)),
        8 => format!("{a}{}{b}", pick(rng, &["_", "-", "/", " & "])),
        9 => format!("{a}.{}", pick(rng, &EXTENSIONS)),
        10 => format!("{a}_{n}.{}", pick(rng, &EXTENSIONS)),
        11 => version(rng),
        12 => format!("{}-{n:04}", pick(rng, &["A", "BX", "INV", "KL", "PO", "SKU", "T", "WQ"])),
        13 => format!("{a} #{n}"),
        _ => format!("@{a}"),
    }
}

/// From the list, or made up: a list alone would be learnt by heart.
fn word(rng: &mut Rng) -> String {
    if rng.random() { pick(rng, &WORDS).to_owned() } else { made_up(rng) }
}

/// One to four syllables that mean nothing.
fn made_up(rng: &mut Rng) -> String {
    let mut word = String::new();
    for _ in 0..rng.random_range(1..=4) {
        word.push_str(pick(rng, &ONSETS));
        word.push_str(pick(rng, &VOWELS));
    }
    word + pick(rng, &CODAS)
}

fn version(rng: &mut Rng) -> String {
    let (major, minor, patch) =
        (rng.random_range(0..20), rng.random_range(0..30), rng.random_range(0..30));
    match rng.random_range(0..4) {
        0 => format!("v{major}.{minor}"),
        1 => format!("v{major}.{minor}.{patch}"),
        2 => format!("{major}.{minor}.{patch}"),
        _ => format!("{major}.{minor}.{patch}-{}", pick(rng, &["alpha", "beta", "rc1", "rc2"])),
    }
}

fn pick<'a>(rng: &mut Rng, of: &[&'a str]) -> &'a str {
    // Every list here has an element; without one there is nothing to write.
    of.choose(rng).copied().unwrap_or_default()
}

fn capital(word: &str) -> String {
    let mut characters = word.chars();
    characters.next().into_iter().flat_map(char::to_uppercase).chain(characters).collect()
}
