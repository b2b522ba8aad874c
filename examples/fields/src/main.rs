//! Recognises what kind of text a field holds (date, time, email, ...), on a host that proves it.
//!
//! The model has two inputs, integers and floats, and two outputs: the kind, and an embedding that
//! an application can compare fields by. Give strings to classify, or none for the committed test
//! set.

mod text;

use std::error::Error;

use nomopoly::{Proven, VerifierKey};

#[nomopoly::model("models/fields.onnx")]
struct Fields;

fn main() -> Result<(), Box<dyn Error>> {
    let host = Fields::prover()?;
    let verifier = Fields::verifier(VerifierKey::random()?)?;
    let ask = |field: &str| -> nomopoly::Result<FieldsOutput> {
        let input = FieldsInput {
            characters: [text::characters(field)].into(),
            layout: [text::layout(field)].into(),
        };
        // What passes between host and application is bytes.
        let proven = Proven::<Fields>::from_bytes(&host.prove(&input)?.to_bytes()?)?;
        verifier.verify(&input, &proven)?;
        Ok(proven.into_output())
    };
    let kind = |output: &FieldsOutput| {
        output.kind.argmax().and_then(|kind| text::KINDS.get(kind)).copied().unwrap_or("unknown")
    };

    let asked: Vec<String> = std::env::args().skip(1).collect();
    for field in &asked {
        println!("{:>8}  {field}", kind(&ask(field)?));
    }
    if !asked.is_empty() {
        return Ok(());
    }

    let (mut right, mut count) = (0, 0);
    for line in include_str!("../data/test_fields.tsv").lines() {
        let (expected, field) = line.split_once('\t').ok_or("a line has no tab")?;
        right += usize::from(kind(&ask(field)?) == expected);
        count += 1;
    }
    println!("{right} of {count} fields recognised, every proof accepted\n");

    println!("How alike are two fields? Cosine of their embeddings, both proved:");
    for (a, b) in
        [("12 May 2024", "2024-05-12"), ("12 May 2024", "info@example.org"), ("3.14", "2.718")]
    {
        let (x, y) = (ask(a)?.embedding, ask(b)?.embedding);
        println!("  {:>6.3}  {a} / {b}", cosine(x.as_slice(), y.as_slice()));
    }

    println!("\nWhat each operation's proof is worth:");
    for guarantee in Fields::OPERATIONS {
        let worth = match (guarantee.certified_bits, guarantee.certified_deviation) {
            (Some(bits), Some(from)) => {
                format!("2^-{bits:.0} at deviation 1e-3, 2^-40 from {from:.1e} on")
            }
            (None, Some(from)) => format!("certain from deviation {from:.1e} on"),
            _ => "computed by the verifier itself".to_owned(),
        };
        println!(
            "  {:<10} {:<10} {:<10} {worth}",
            guarantee.operation,
            guarantee.kind,
            guarantee.checked_by.to_string()
        );
    }
    Ok(())
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
