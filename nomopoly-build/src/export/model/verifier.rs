//! `verifier.onnx`: inputs, claims and a key to one verdict.

use std::collections::{BTreeMap, HashMap, HashSet};

use nomopoly_runtime::artefact::Network;
use nomopoly_runtime::dynamic::cut_graph;
use nomopoly_runtime::exchange::{IDENTITY, IDENTITY_LEN, proof_name};
use nomopoly_runtime::head::Head;
use nomopoly_runtime::onnx::pb::tensor_proto::DataType;
use nomopoly_runtime::onnx::{DatumType, builder, pb};
use nomopoly_runtime::residual::tolerance_width;
use nomopoly_runtime::{CompiledOperation, Error, VerifierKey};

use super::super::generator::Size;
use super::super::graph::{GraphBuilder, Value};
use super::super::sketch::{self, Key, Residual, SameShape, Sketched};
use super::super::verifier::proof_residuals;
use super::super::{axis, head, replay};
use super::comparison::{self, cast, compare, same_bytes};
use super::interface::Interface;
use super::key::{self, KEY_IDENTITY, vectors_name, weights_name};
use super::{RESIDUALS, SAME_KEY, SAME_MODEL, SAME_SHAPES, SCORES, Subject, VERDICT, declare};

/// Name of a model's output as the verifier computes it.
pub(super) fn recomputed_name(output: &str) -> String {
    format!("nomopoly.recomputed/{output}")
}

/// What is judged: operations with a proof vector, then the outputs that are compared.
pub(super) enum Judged<'a> {
    Operation(&'a CompiledOperation),
    /// Name of an output, and the kind of the node that gives it.
    Output(&'a str, &'a str),
}

/// In the order of the verifier's scores.
pub(super) fn judged<'a>(subject: &'a Subject) -> Vec<Judged<'a>> {
    let operations = subject.proved.iter().map(|compiled| Judged::Operation(compiled));
    let outline = subject.model.outline();
    let by_verdict: HashSet<&str> =
        subject.proved.iter().map(|compiled| compiled.operation.output()).collect();
    let outputs = outline.outputs.iter().filter(|o| !by_verdict.contains(o.name.as_str()));
    let outputs = outputs.map(|output| {
        let node = outline.nodes.iter().find(|node| node.outputs.contains(&output.name));
        Judged::Output(&output.name, node.map_or("", |node| node.kind.as_str()))
    });
    operations.chain(outputs).collect()
}

/// # Errors
/// When the graph cannot be cut, or a tensor cannot be read.
pub(super) fn export(
    subject: &Subject,
    interface: &Interface,
    bake: Option<&VerifierKey>,
) -> Result<pb::ModelProto, Error> {
    let model = subject.model;
    let mut graph = subject.builder();
    let recomputed = replayed_part(subject, &mut graph)?;
    let value = |name: &str| {
        recomputed.get(name).map_or_else(|| Value::named(name), |renamed| Value::named(renamed))
    };

    for input in declare::inputs(model) {
        graph.declared_input(input);
    }
    let outputs = declare::outputs(model, subject.size);
    let revealed = |name: &str| model.transcript().any(|c| c.operation.output() == name);
    // What is revealed is declared as that: its features have a known number.
    for output in outputs.iter().filter(|output| !revealed(&output.name)) {
        graph.declared_input(output.clone());
    }
    for compiled in model.transcript() {
        graph.declared_input(declare::transcript(compiled, subject.size));
    }
    for compiled in &subject.proved {
        let dim = compiled.artefact.generator.proof_dim();
        graph.input(&proof_name(compiled.operation.output()), &[dim]);
    }
    let byte_info = |name: &str| builder::value_info(name, DatumType::U8, &[IDENTITY_LEN]);
    let identity = graph.declared_input(byte_info(IDENTITY));
    let keys = Keys::new(subject, &mut graph, bake)?;

    // What comes first in the file, ONNX Runtime computes last where it has a choice: operations are
    // checked one by one, and only then what needs the whole graph.
    let mut shapes = Shapes::new(subject.size);
    let (mut scores, mut residuals) = (vec![], vec![]);
    let judged = judged(subject);
    let envelopes = subject.proved.iter().map(|c| c.artefact.header.options.envelope);
    let width = tolerance_width(envelopes);
    for judged in &judged {
        let Judged::Output(name, kind) = *judged else { continue };
        let info = model.graph().info(name)?;
        let (dtype, rank) = (info.dtype, info.shape.len());
        let (claimed, truth) = (Value::named(name), value(name));
        graph.checking(Some(name));
        let (score, residual) = compare(&mut graph, dtype, kind, width, &claimed, &truth);
        shapes.must_equal(rank == 0, &[SameShape::new(&truth, &claimed, rank)]);
        scores.push(score);
        residuals.push(residual);
    }
    graph.checking(None);
    let constant = subject.identity_in(&mut graph);
    let equal = if subject.proved.is_empty() {
        same_shapes(&mut graph, shapes, &constant)
    } else {
        let operations = Operations::new(subject, &mut graph, &keys, &value, &mut shapes)?;
        let equal = same_shapes(&mut graph, shapes, &constant);
        let (of_operations, largest) = operations.judge(subject, &mut graph)?;
        scores.insert(0, of_operations);
        residuals.insert(0, largest);
        equal
    };
    let count = judged.len();
    let vector = |graph: &mut GraphBuilder, parts: &[Value]| {
        // The first is the youngest, and computed first.
        let flat = parts.iter().rev().map(|part| graph.reshape(part, &[-1]));
        let mut flat: Vec<Value> = flat.collect();
        flat.reverse();
        graph.op_with("Concat", &flat.iter().collect::<Vec<_>>(), vec![axis(0)])
    };
    let mut scores = vector(&mut graph, &scores);
    if let Some(equal) = equal {
        // Several may be of one operation, and what is wrong goes on to others: none is accepted.
        scores = graph.op("Mul", &[&scores, &equal]);
    }
    let scores = graph.output(&scores, SCORES, &[count]);
    let residuals = vector(&mut graph, &residuals);
    graph.output(&residuals, RESIDUALS, &[count]);

    let same_model = same_bytes(&mut graph, &identity, &constant);
    let same_key = match &keys.identity {
        Some(identity) => same_bytes(&mut graph, identity, &constant),
        // The key is one of this file.
        None => same_bytes(&mut graph, &constant, &constant),
    };
    let accepted =
        graph.op_with("ReduceMin", &[&scores], vec![builder::int_attribute("keepdims", 1)]);
    // From 0.5 on, and not of what is no number.
    let below = graph.scalar(f64::from(0.5f32.next_down()));
    let accepted = graph.op("Less", &[&below, &accepted]);
    let accepted = graph.op("And", &[&accepted, &same_model]);
    let accepted = graph.op("And", &[&accepted, &same_key]);
    for (value, name) in [(accepted, VERDICT), (same_model, SAME_MODEL), (same_key, SAME_KEY)] {
        give_flag(&mut graph, &value, name);
    }
    for name in [VERDICT, SAME_MODEL, SAME_KEY, SAME_SHAPES] {
        graph.declared_output(builder::value_info(name, DatumType::Bool, &[]));
    }
    for output in &outputs {
        if let Some(name) = recomputed.get(&output.name) {
            graph.declared_output(declare::renamed(output, name));
        }
    }
    Ok(subject.finish("verifier", interface, bake.is_some(), graph))
}

/// A bool of one element as a scalar under this name.
fn give_flag(graph: &mut GraphBuilder, value: &Value, name: &str) {
    let scalar = graph.reshape(value, &[]);
    graph.copy_as(&scalar, name);
}

/// Gives [`SAME_SHAPES`], and what [`Shapes::equal`] does. It needs all of the graph, so it comes before the
/// nodes that judge: a younger output that needs all would be computed first.
fn same_shapes(graph: &mut GraphBuilder, shapes: Shapes, constant: &Value) -> Option<Value> {
    let equal = shapes.equal(graph);
    let same = if let Some(equal) = &equal {
        let half = graph.scalar(0.5);
        graph.op("Less", &[&half, equal])
    } else {
        // All are declared, and the runtime compares them.
        same_bytes(graph, constant, constant)
    };
    give_flag(graph, &same, SAME_SHAPES);
    equal
}

/// Adds the nodes between the revealed tensors. Outputs of the model are claims by their own names,
/// so what these nodes give instead gets others, which are returned.
fn replayed_part(
    subject: &Subject,
    graph: &mut GraphBuilder,
) -> Result<BTreeMap<String, String>, Error> {
    let cut = cut_graph(subject.model)?;
    let part = cut.proto.graph.unwrap_or_default();
    // Copies of what the cut graph is given: here it has names of its own.
    let copies: HashSet<&str> = part
        .output
        .iter()
        .zip(&cut.outputs)
        .filter(|(info, original)| info.name != **original)
        .map(|(info, _)| info.name.as_str())
        .collect();
    let mut nodes: Vec<pb::NodeProto> = part.node.clone();
    nodes.retain(|node| !node.output.iter().any(|output| copies.contains(output.as_str())));
    let produced: HashSet<&String> = nodes.iter().flat_map(|node| &node.output).collect();
    let names: HashMap<String, String> = subject
        .graph
        .output
        .iter()
        .filter(|output| produced.contains(&output.name))
        .map(|output| (output.name.clone(), recomputed_name(&output.name)))
        .collect();
    rename(&mut nodes, &names);
    graph.extend(nodes, part.initializer);
    Ok(names.into_iter().collect())
}

/// Gives tensors other names, also where graphs inside of nodes read them.
fn rename(nodes: &mut [pb::NodeProto], names: &HashMap<String, String>) {
    let to = |name: &mut String| {
        if let Some(other) = names.get(name) {
            name.clone_from(other);
        }
    };
    for node in nodes {
        node.input.iter_mut().chain(&mut node.output).for_each(to);
        for attribute in &mut node.attribute {
            for inner in attribute.g.iter_mut().chain(&mut attribute.graphs) {
                rename(&mut inner.node, names);
                // Names of its own that are the same move with those that it reads from around it.
                inner.input.iter_mut().for_each(|input| to(&mut input.name));
                inner.initializer.iter_mut().for_each(|tensor| to(&mut tensor.name));
                inner.output.iter_mut().for_each(|output| to(&mut output.name));
            }
        }
    }
}

/// The key's tensors in the graph.
struct Keys {
    by_operation: BTreeMap<String, Key<Value>>,
    /// Absent where they are baked in.
    identity: Option<Value>,
}

impl Keys {
    fn new(
        subject: &Subject,
        graph: &mut GraphBuilder,
        bake: Option<&VerifierKey>,
    ) -> Result<Self, Error> {
        let baked = bake.map(|key| key::parts(subject, key)).transpose()?;
        let mut by_operation = BTreeMap::new();
        for (compiled, linear) in key::sketched(subject) {
            let operation = compiled.operation.output();
            let [vectors, weights] = key::shapes(subject, compiled, linear)?;
            let mut part = |name: String, shape: &[usize]| -> Result<Value, Error> {
                let Some(baked) = &baked else { return Ok(graph.input(&name, shape)) };
                let tensor = baked.get(&name).ok_or_else(|| Error::Operation {
                    operation: operation.to_owned(),
                    reason: "cannot be exported: the key has nothing for it".into(),
                })?;
                graph.tensor("key", tensor)
            };
            let key = Key {
                sketches: compiled.artefact.header.sketches as usize,
                vectors: part(vectors_name(operation), &vectors)?,
                weights: part(weights_name(operation), &weights)?,
            };
            by_operation.insert(operation.to_owned(), key);
        }
        let identity = bake.is_none().then(|| {
            graph.declared_input(builder::value_info(KEY_IDENTITY, DatumType::U8, &[IDENTITY_LEN]))
        });
        Ok(Self { by_operation, identity })
    }
}

/// The operations that are proved, measured but not judged.
struct Operations<'a> {
    heads: Vec<&'a Head>,
    residuals: Vec<Residual>,
}

impl<'a> Operations<'a> {
    fn new(
        subject: &Subject<'a>,
        graph: &mut GraphBuilder,
        keys: &Keys,
        value: &impl Fn(&str) -> Value,
        shapes: &mut Shapes,
    ) -> Result<Self, Error> {
        let (mut heads, mut residuals) = (vec![], vec![]);
        for compiled in &subject.proved {
            let operation = &compiled.operation;
            let name = operation.output();
            let unfit = |reason: &str| Error::Operation {
                operation: name.to_owned(),
                reason: format!("cannot be exported: {reason}"),
            };
            let Network::Residual(head) = &compiled.artefact.network else {
                return Err(unfit("the baseline perceptron judges it"));
            };
            heads.push(head);
            let claimed = Value::named(name);
            let x: Vec<Value> = operation.inputs().iter().map(|input| value(input)).collect();
            let slide = &subject.slide(compiled);
            graph.checking(Some(name));
            let residual = if compiled.in_transcript() {
                let (Some(linear), Some(key)) = (operation.linear(), keys.by_operation.get(name))
                else {
                    return Err(unfit("it is revealed, and nothing sketches it"));
                };
                let sketched = Sketched { operation, linear, slide, key };
                sketch::residual(graph, &sketched, &x[0], &claimed)?
            } else {
                let truth = value(name);
                replay::residual(graph, operation, slide, &x, &truth, &claimed)?
            };
            let scalar = operation.spec().output_shape.is_empty();
            shapes.must_equal(scalar, &residual.same_shapes);
            residuals.push(residual);
        }
        graph.checking(None);
        Ok(Self { heads, residuals })
    }

    /// Scores and largest residuals, n elements each.
    fn judge(&self, subject: &Subject, graph: &mut GraphBuilder) -> Result<(Value, Value), Error> {
        let proofs: Vec<Value> = subject
            .proved
            .iter()
            .map(|compiled| Value::named(&proof_name(compiled.operation.output())))
            .collect();
        let proofs = graph.op_with("Concat", &proofs.iter().collect::<Vec<_>>(), vec![axis(0)]);
        let proofs = graph.reshape(&proofs, &[self.heads.len() as i64, 1, -1]);
        let proofs = proof_residuals(graph, &subject.generators(), &proofs, subject.size)?;
        Ok(head::judge(graph, &self.heads, &self.residuals, &proofs))
    }
}

/// Claims whose shapes must be those of what they are compared with: others would be broadcast.
struct Shapes {
    size: Size,
    pairs: Vec<SameShape>,
    scalars: Vec<Value>,
}

impl Shapes {
    fn new(size: Size) -> Self {
        Self { size, pairs: vec![], scalars: vec![] }
    }

    /// The second of each is a claim. Declared shapes are enough where they are fixed, but for those of
    /// scalars: ONNX Runtime takes vectors for them, and then takes the shape that was declared for the
    /// one that is there.
    fn must_equal(&mut self, scalar: bool, shapes: &[SameShape]) {
        for shape in shapes {
            match self.size {
                _ if scalar => self.scalars.push(shape.second.clone()),
                Size::Open => self.pairs.push(shape.clone()),
                Size::Fixed => {}
            }
        }
    }

    /// 1 where all are equal, `[1]`; `None` where there is nothing to ask.
    fn equal(self, graph: &mut GraphBuilder) -> Option<Value> {
        let mut all = vec![];
        if !self.pairs.is_empty() {
            all.push(comparison::same_shapes(graph, &self.pairs));
        }
        all.extend(self.scalars.iter().map(|scalar| comparison::is_one(graph, scalar)));
        let all = all.into_iter().reduce(|a, b| graph.op("And", &[&a, &b]))?;
        let all = cast(graph, &all, DataType::Float);
        Some(graph.reshape(&all, &[1]))
    }
}
