//! A host that spends every operation's tolerance at once: at each operation of a proof it adds an
//! error of a chosen share of the acceptance threshold, in the direction that moves the model's
//! answer most, and goes on from there honestly. The certificate is per operation; this measures
//! what its tolerances add up to.

use std::collections::HashMap;

use candle_core::{Device, Tensor, Var};
use nomopoly_manifest::{Attacker, DriftPoint};
use nomopoly_runtime::artefact::Network;
use nomopoly_runtime::dynamic::Verifier;
use nomopoly_runtime::operations::Operation;
use nomopoly_runtime::{CompiledOperation, NamedTensor, Proof};
use rand_chacha::ChaCha20Rng;

use super::attacks::adaptive::projected;
use super::subject::key;
use super::verifiers::Witness;
use super::whole::{Values, Whole};
use crate::error::Result;
use crate::random as seeded;
use crate::statistics::rate;

/// Shares of the threshold that a host spends.
const SHARES: [f64; 7] = [0.03, 0.1, 0.2, 0.3, 0.5, 1., 4.];
/// The same for the white box, which hides errors of any size.
const KNOWN_SHARES: [f64; 4] = [1., 1e2, 1e4, 1e6];
/// Probes of a random search for the direction.
const PROBES: usize = 32;

/// Runs of the model that one inference takes at the most.
pub const RUNS: usize = SHARES.len() + KNOWN_SHARES.len() + 2 * PROBES + 1;

/// Drift of `count` inferences at each share.
///
/// # Errors
/// When the model cannot be run.
pub fn drift(
    whole: &Whole,
    device: &Device,
    inputs: &dyn Fn(usize) -> Result<Vec<NamedTensor>>,
    count: usize,
    random: &mut ChaCha20Rng,
    check_stop: &dyn Fn() -> Result<()>,
    witness: Witness,
) -> Result<Vec<DriftPoint>> {
    let Some(output) = whole.graph().outputs().first().cloned() else { return Ok(vec![]) };
    let has_head =
        |compiled: &CompiledOperation| matches!(compiled.artefact.network, Network::Residual(_));
    if !whole.model.proved().any(has_head)
        || output.shape.iter().product::<usize>() < 2
        || nomopoly_runtime::typed_dtype(output.dtype) != Some("f32")
    {
        return Ok(vec![]);
    }
    let first_key = key(random);
    let mut verifier = Verifier::new(&whole.model, &first_key, device)?;
    let shares = SHARES.iter().map(|share| (Attacker::Host, *share));
    let known = KNOWN_SHARES.iter().map(|share| (Attacker::WhiteBox, *share));
    let mut points: Vec<Point> =
        shares.chain(known).map(|(attacker, share)| Point::new(attacker, share)).collect();
    let mut how = "gradient";
    for number in 0..count {
        check_stop()?;
        let inputs = inputs(number)?;
        let honest = whole.by_steps(&inputs, &mut |op, x| Ok(op.operation.forward(x)?))?;
        let directions = match gradients(whole, &inputs, &honest, &output.name)? {
            Some(directions) => directions,
            None => {
                how = "random search";
                searched(whole, &inputs, &honest, &output.name, random)?
            }
        };
        let secret = key(random);
        verifier.rotate(&secret)?;
        for point in &mut points {
            let known = point.attacker == Attacker::WhiteBox;
            let verifiers = verifier.operations();
            let mut step = |compiled: &CompiledOperation, x: &[Tensor]| {
                let name = compiled.operation.output();
                let truth = compiled.operation.forward(x)?;
                let Some(direction) = directions.get(name) else { return Ok(truth) };
                let vectors = verifiers
                    .iter()
                    .find(|verifier| verifier.compiled().operation.output() == name)
                    .and_then(|verifier| verifier.contracted())
                    .map(|contracted| contracted.vectors.clone());
                // Without sketches there is nothing that a key would help to hide.
                let (direction, share) = match (known, vectors) {
                    (true, Some(vectors)) if vectors.dim(0)? > vectors.dim(1)? => (
                        projected(direction, features_of(compiled, direction), &vectors)?,
                        point.share,
                    ),
                    (true, _) => (direction.clone(), point.share.min(0.9)),
                    (false, _) => (direction.clone(), point.share),
                };
                Ok((truth + error(compiled, x, &direction, share)?)?)
            };
            let values = whole.by_steps(&inputs, &mut step)?;
            let proof = whole.prove(&inputs, &values)?;
            let report = verifier.inspect(&inputs, &Proof::from_bytes(&proof.to_bytes()?)?)?;
            witness(&secret, &inputs, &proof, &report)?;
            let (then, now) = (flat(&honest, &output.name), flat(&values, &output.name));
            point.count(report.accepted(), &then, &now);
        }
    }
    Ok(points.into_iter().map(|point| point.finish(how)).collect())
}

struct Point {
    attacker: Attacker,
    share: f64,
    tried: u64,
    accepted: u64,
    changed: u64,
    moved: Vec<f64>,
}

impl Point {
    fn new(attacker: Attacker, share: f64) -> Self {
        Self { attacker, share, tried: 0, accepted: 0, changed: 0, moved: vec![] }
    }

    fn count(&mut self, accepted: bool, honest: &[f32], now: &[f32]) {
        self.tried += 1;
        if !accepted {
            return;
        }
        self.accepted += 1;
        let sum = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
        let error = sum(&mut honest.iter().zip(now).map(|(a, b)| f64::from(*b) - f64::from(*a)));
        let size = sum(&mut honest.iter().map(|v| f64::from(*v)));
        if size > 0. {
            self.moved.push(error / size);
        }
        self.changed += u64::from(largest(honest) != largest(now));
    }

    fn finish(mut self, how: &str) -> DriftPoint {
        self.moved.sort_by(f64::total_cmp);
        DriftPoint {
            attacker: self.attacker,
            direction: how.to_owned(),
            spent: self.share,
            accepted: rate(self.accepted, self.tried),
            moved: self.moved.get(self.moved.len() / 2).copied(),
            most_moved: self.moved.last().copied(),
            class_changed: rate(self.changed, self.accepted),
        }
    }
}

fn largest(values: &[f32]) -> Option<usize> {
    (0..values.len()).max_by(|a, b| values[*a].total_cmp(&values[*b]))
}

fn flat(values: &Values, name: &str) -> Vec<f32> {
    values.get(name).and_then(|value| value.as_f32()).map(<[f32]>::to_vec).unwrap_or_default()
}

/// The threshold of a compiled operation in rounding units.
fn threshold(compiled: &CompiledOperation) -> f64 {
    match &compiled.artefact.network {
        Network::Residual(head) => head.threshold(),
        Network::Mlp(_) => 0.,
    }
}

/// An error of a share of the threshold at every position (or element, where every element is
/// compared), along a direction `[1, ...output]`.
fn error(
    compiled: &CompiledOperation,
    x: &[Tensor],
    direction: &Tensor,
    share: f64,
) -> Result<Tensor> {
    let size = threshold(compiled) * share;
    let operation = &compiled.operation;
    match operation.linear() {
        Some(linear) if compiled.in_transcript() => {
            let axis = features_of(compiled, direction);
            let norm = (direction.sqr()?.sum_keepdim(axis)?.sqrt()? + 1e-30)?;
            // One unit for each position.
            let unit = linear.sketch_unit(&x[0])?.reshape(norm.dims())?;
            Ok((direction.broadcast_div(&norm)?.broadcast_mul(&unit)? * size)?)
        }
        _ => {
            let truth = operation.forward(x)?;
            let unit = operation.element_unit(x, &truth)?;
            Ok((direction.sign()?.broadcast_mul(&unit)? * size)?)
        }
    }
}

/// Axis of the features in an output `[1, ...]` of a linear operation.
fn features_of(compiled: &CompiledOperation, output: &Tensor) -> usize {
    match compiled.operation.linear() {
        Some(linear) if linear.is_channels_first() => 2.min(output.rank() - 1),
        _ => output.rank() - 1,
    }
}

/// How far the runner-up is behind the answer: what an attacker makes smaller.
fn margin(logits: &Tensor, honest: &[f32]) -> Result<Option<Tensor>> {
    let mut order: Vec<usize> = (0..honest.len()).collect();
    order.sort_by(|a, b| honest[*b].total_cmp(&honest[*a]));
    let [first, second, ..] = order[..] else { return Ok(None) };
    let logits = logits.flatten_all()?;
    let difference = (logits.narrow(0, first, 1)? - logits.narrow(0, second, 1)?)?;
    Ok(Some(difference.sum_all()?))
}

/// Directions that make the margin smaller, by back-propagation through the whole model in candle;
/// `None` where a node has no operation of ours.
fn gradients(
    whole: &Whole,
    inputs: &[NamedTensor],
    honest: &Values,
    output: &str,
) -> Result<Option<HashMap<String, Tensor>>> {
    let operations: HashMap<&str, &CompiledOperation> = whole
        .model
        .operations()
        .iter()
        .map(|compiled| (compiled.operation.output(), compiled))
        .collect();
    let mut values: HashMap<String, Tensor> = HashMap::new();
    let given: Values = inputs.iter().map(|input| (input.name.clone(), input.clone())).collect();
    for input in inputs.iter().filter(|input| input.as_f32().is_some()) {
        values.insert(input.name.clone(), whole.sample(&input.name, &given)?);
    }
    let mut leaves: HashMap<String, Var> = HashMap::new();
    let claimed: Vec<&str> = whole.model.proved().map(|op| op.operation.output()).collect();
    for node in whole.graph().nodes().iter().filter(|node| node.op_type != "Constant") {
        let Some(name) = node.output.first() else { continue };
        if Operation::absorbed_by(whole.graph(), node).is_some() {
            continue;
        }
        let Some(compiled) = operations.get(name.as_str()) else { return Ok(None) };
        let x = compiled.operation.inputs().iter().map(|name| values.get(name).cloned());
        let Some(x) = x.collect::<Option<Vec<_>>>() else { return Ok(None) };
        let mut y = compiled.operation.forward(&x)?;
        if claimed.contains(&name.as_str()) {
            let leaf = Var::from_tensor(&y.zeros_like()?)?;
            y = (y + leaf.as_tensor())?;
            leaves.insert(name.clone(), leaf);
        }
        values.insert(name.clone(), y);
    }
    let Some(logits) = values.get(output) else { return Ok(None) };
    let Some(loss) = margin(logits, &flat(honest, output))? else { return Ok(None) };
    let gradients = loss.backward()?;
    let direction = |(name, leaf): (String, Var)| {
        let gradient = gradients.get(&leaf).cloned();
        let gradient = gradient.map_or_else(|| leaf.zeros_like(), |gradient| gradient.neg())?;
        Ok((name, gradient.detach()))
    };
    leaves.into_iter().map(direction).collect::<Result<_>>().map(Some)
}

/// Directions by two-sided random probes of all operations at once (Spall, Multivariate stochastic
/// approximation using a simultaneous perturbation gradient approximation, 1992).
fn searched(
    whole: &Whole,
    inputs: &[NamedTensor],
    honest: &Values,
    output: &str,
    random: &mut ChaCha20Rng,
) -> Result<HashMap<String, Tensor>> {
    let answer = flat(honest, output);
    let margin_of = |values: &Values| -> Result<f64> {
        let logits = whole.sample(output, values)?;
        Ok(match margin(&logits, &answer)? {
            Some(margin) => f64::from(margin.to_scalar::<f32>()?),
            None => 0.,
        })
    };
    let mut directions: HashMap<String, Tensor> = HashMap::new();
    for _ in 0..PROBES {
        let mut probe: HashMap<String, Tensor> = HashMap::new();
        let mut margins = vec![];
        for sign in [1., -1.] {
            let values = whole.by_steps(inputs, &mut |compiled, x| {
                let y = compiled.operation.forward(x)?;
                let name = compiled.operation.output();
                let noise = match probe.get(name) {
                    Some(noise) => noise.clone(),
                    None => seeded::normal(random, y.dims(), y.device())?,
                };
                probe.insert(name.to_owned(), noise.clone());
                // Large enough to show beside rounding.
                let size = f64::from(y.sqr()?.mean_all()?.to_scalar::<f32>()?).sqrt() * 1e-2;
                Ok((y + (noise * (size * sign))?)?)
            })?;
            margins.push(margin_of(&values)?);
        }
        for (name, noise) in probe {
            let towards = (noise * (margins[1] - margins[0]))?;
            let sum = match directions.get(&name) {
                Some(sum) => (sum + towards)?,
                None => towards,
            };
            directions.insert(name, sum);
        }
    }
    Ok(directions)
}
