//! `docs/OPERATIONS.md`, from the lists of this folder.

use std::collections::BTreeMap;
use std::fmt::Write;

use nomopoly_build::manifest::OperationKind;

use super::case::Case;
use super::refused::{Refused, UNKNOWN};

const INTRODUCTION: &str = "\
# Operations

A verifier runs the model again, but for the products that cost most: the host reveals their outputs,
and secret random sums over each output have to agree with the same sums over the weights (a
*sketch*). Everything else it computes itself and compares with what the host claims (a *replay*);
what the runtime (tract) cannot run, what it would run but not as ONNX means it, and what would come
out differently every time, is *refused* with an error that names the node.

An *artefact* is what a compilation makes for one operation: the networks and the threshold that a
sketch or a replay is judged by. A node without one is replayed all the same.

`tests/coverage.rs` writes this file: it proves each of the cases below in a model in which nothing is
compiled, checks the proof, and changes each output, which must be refused.
";

/// Kinds with artefacts: the forms that have one.
const ARTEFACTS: [(&str, &str); 10] = [
    ("Add", "broadcasting, of two inputs or of one and a constant; behind a MatMul it is its bias"),
    ("AveragePool", "any axes, padding, strides, dilations, `ceil_mode`, `count_include_pad`"),
    ("BatchNormalization", "of an inference, with constant parameters by channel"),
    ("Conv", "any axes, groups, padding, strides, dilations; constant weights and bias"),
    ("Flatten", "any axis"),
    ("Gemm", "`alpha`, `beta`, `transA`, `transB`; constant right operand and bias"),
    ("MatMul", "constant right operand, batches as in NumPy, with a constant bias behind it"),
    ("MaxPool", "any axes, padding, strides, dilations, `ceil_mode`"),
    ("Relu", "all"),
    ("Reshape", "a shape that does not depend on the data"),
];

/// What else is worth knowing of a kind.
const REMARKS: [(&str, &str); 11] = [
    ("ConstantLike", "not in ONNX any more"),
    ("ConstantOfShape", "the shape must not depend on the data"),
    ("Dropout", "of an inference: the identity"),
    ("GatherBlockQuantized", "in blocks of 32, scales are rounded to half precision"),
    ("MatMulNBits", "constant weights; in blocks of 32, scales are rounded to half precision"),
    ("ParametricSoftplus", "not in ONNX any more"),
    ("QuantizeLinear", "constant scale and zero point"),
    ("Range", "limits that are constant or come from shapes"),
    ("Rsqrt", "not in ONNX"),
    ("ScaledTanh", "not in ONNX any more"),
    ("Split", "constant sizes"),
];

/// The whole file.
pub fn render(covered: &[Case], refused: &[Refused]) -> String {
    let mut text = INTRODUCTION.to_owned();
    text.push_str("\n## What is checked, and how\n\n");
    let rows = kinds(covered).into_iter().map(|(name, cases)| row(&name, &cases));
    let head = [
        "ONNX kind",
        "in a check of the whole model",
        "forms with an artefact (float32), remarks",
        "cases of `tests/coverage.rs`, other tests",
    ];
    table(&mut text, head, rows);

    text.push_str("\n## What is refused\n\n");
    text.push_str(
        "Prover and verifier run the same runtime. Where that reads a node in its own way, a proof \
         would hold\nof an answer that is not the model's, so such forms are refused too.\n\n",
    );
    let rows = refused.iter().map(|refused| {
        let (why, says) = (refused.why.to_owned(), refused.says.to_owned());
        [name(&refused.case), some(refused.case.form, "all"), why, says]
    });
    table(&mut text, ["ONNX kind", "form", "why", "the error says"], rows);
    let unknown = UNKNOWN.map(|kind| format!("`{kind}`")).join(", ");
    text.push_str("\nThe runtime does not know these, whatever their form:\n");
    wrap(&mut text, &unknown);
    text
}

/// Cases by the name of their kind, in the order of the alphabet.
fn kinds(covered: &[Case]) -> BTreeMap<String, Vec<&Case>> {
    let mut kinds: BTreeMap<String, Vec<&Case>> = BTreeMap::new();
    for case in covered {
        kinds.entry(name(case)).or_default().push(case);
    }
    kinds
}

fn row(name: &str, cases: &[&Case]) -> [String; 4] {
    let find = |table: &[(&str, &'static str)]| {
        table.iter().find(|(kind, _)| *kind == cases[0].kind).map(|(_, says)| *says)
    };
    let kind = OperationKind::from_op_type(cases[0].kind);
    let how = match kind {
        Some(kind) if kind.is_linear() => "sketch, or replay where that costs less",
        Some(_) => "replay with artefact",
        None => "replay",
    };
    let mut remarks: Vec<String> = find(&ARTEFACTS).into_iter().map(str::to_owned).collect();
    remarks.extend(find(&REMARKS).map(str::to_owned));
    let mut without: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for case in cases {
        if let Some(reason) = case.no_artefact {
            without.entry(reason).or_default().push(case.form);
        }
    }
    for (reason, forms) in without {
        remarks.push(format!("no artefact: {} ({reason})", forms.join(", ")));
    }
    let mut tests: Vec<String> = cases.iter().map(|case| some(case.form, "plain")).collect();
    if kind.is_some() {
        tests.push("`tests/operations.rs`".to_owned());
        tests.push("`tests/conformance/backend_node_tests.py`".to_owned());
    }
    [name.to_owned(), how.to_owned(), remarks.join("; "), tests.join("; ")]
}

fn name(case: &Case) -> String {
    match case.domain {
        "" => case.kind.to_owned(),
        domain => format!("{} (`{domain}`)", case.kind),
    }
}

fn some(form: &str, otherwise: &str) -> String {
    if form.is_empty() { otherwise.to_owned() } else { form.to_owned() }
}

fn table<const N: usize>(
    text: &mut String,
    head: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) {
    let mut line = |cells: [String; N]| {
        // A bar inside a cell would end it.
        let cells = cells.map(|cell| cell.replace('|', "\\|"));
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    };
    line(head.map(str::to_owned));
    line([(); N].map(|()| "---".to_owned()));
    rows.for_each(line);
}

/// Words in lines of at most a hundred characters.
fn wrap(text: &mut String, words: &str) {
    let mut length = 0;
    for word in words.split(' ') {
        if length > 0 && length + 1 + word.len() > 100 {
            text.push('\n');
            length = 0;
        } else if length > 0 {
            text.push(' ');
            length += 1;
        }
        text.push_str(word);
        length += word.len();
    }
    text.push_str(".\n");
}
