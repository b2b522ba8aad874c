//! Proving and verifying one operation: what a whole-model proof is made of, and what training
//! and audits measure.

use std::sync::Arc;

use candle_core::{Device, Tensor};
use nomopoly_manifest::{Architecture, Check};
use rand_distr::{Distribution, StandardNormal};

use crate::artefact::{Artefact, Network};
use crate::kernels::sum_of_squares;
use crate::key::VerifierKey;
use crate::onnx::Graph;
use crate::operations::Operation;
use crate::operations::linear::{Contracted, PlainSketch};
use crate::residual::{
    FEATURES, FeatureVector, MEAN_SQUARE_FLOOR, Prepared, features, proof_residual,
};
use crate::{Error, Result};

mod parts;

/// An operation with its artefact, checked to belong together.
#[derive(Debug, Clone)]
pub struct CompiledOperation {
    pub operation: Arc<Operation>,
    pub artefact: Arc<Artefact>,
}

impl CompiledOperation {
    /// Joins an operation and its artefact.
    ///
    /// # Errors
    /// [`Error::Artefact`] when the artefact was compiled for another operation, other weights or
    /// is not what its id says.
    pub fn new(operation: Arc<Operation>, artefact: Arc<Artefact>) -> Result<Self> {
        let header = &artefact.header;
        if operation.id(&header.options)? != *artefact.id.as_bytes()
            || header.operation != *operation.spec()
        {
            return Err(Error::Artefact {
                artefact: header.entry.clone(),
                reason: format!(
                    "it was compiled for other weights, shapes or attributes than those of `{}`",
                    operation.output()
                ),
            });
        }
        Ok(Self { operation, artefact })
    }

    /// Runs the generator on outputs `[B, ...]`: proof vectors `[B, proof_dim]`.
    ///
    /// # Errors
    /// When a shape does not fit.
    pub fn prove(&self, output: &Tensor) -> Result<Tensor> {
        self.artefact.generator.proof(output)
    }

    /// The same compiled operation of the same model bound to other shapes: weights, head and the
    /// generator's weights are shared.
    ///
    /// # Errors
    /// [`Error::Operation`] when it has another form there, or the baseline perceptron judges it,
    /// which takes one shape.
    pub(crate) fn at(&self, graph: &Graph) -> Result<Self> {
        if matches!(self.artefact.network, Network::Mlp(_)) {
            return Err(Error::Operation {
                operation: self.operation.output().to_owned(),
                reason: "the baseline perceptron judges the shapes it was compiled for, no others"
                    .into(),
            });
        }
        let operation = self.operation.at(graph)?;
        let spec = operation.spec();
        let generator = self.artefact.generator.at(&spec.output_shape)?;
        let artefact = Artefact { generator, ..self.artefact.as_ref().clone() };
        Ok(Self { operation: Arc::new(operation), artefact: Arc::new(artefact) })
    }

    /// Whether the output is revealed in a transcript rather than recomputed by the verifier.
    pub fn in_transcript(&self) -> bool {
        let header = &self.artefact.header;
        header.check == Check::Sketch || header.options.architecture == Architecture::Mlp
    }
}

/// The judgement of one claim about one operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// 0 to 1; accepted at 0.5 and above.
    pub score: f64,
    /// Largest output residual in rounding units; absent for the baseline.
    pub residual: Option<f64>,
    /// Largest residual of the proof vector in rounding units; absent for the baseline, and where
    /// only parts of an output were looked at.
    pub proof_residual: Option<f64>,
    /// Smallest relative deviation that would be rejected for this very input with probability
    /// 1 - 2^-soundness_bits; absent for the baseline.
    pub certified_deviation: Option<f64>,
}

impl Verdict {
    pub fn accepted(&self) -> bool {
        self.score >= 0.5
    }
}

/// The verifier of one operation, with its secret vectors expanded and the weights contracted.
#[derive(Clone)]
pub struct OperationVerifier {
    compiled: CompiledOperation,
    contracted: Option<Contracted>,
    /// The sketch in the CPU's memory, where there is one.
    plain: Option<Arc<dyn PlainSketch>>,
    /// Smallest certified deviation of an input whose spread is 1; the deviation is proportional
    /// to the spread.
    certified_per_spread: f64,
}

/// A batch of inputs as one verifier sees them: everything that does not depend on a claim.
pub struct PreparedInputs {
    inputs: Vec<Tensor>,
    /// Absent for the baseline, which looks at no residuals.
    prepared: Option<Prepared>,
}

impl OperationVerifier {
    /// Expands the key and contracts the weights.
    ///
    /// # Errors
    /// When the artefact asks for a sketch of an operation that has none.
    pub fn new(compiled: CompiledOperation, key: &VerifierKey, device: &Device) -> Result<Self> {
        let header = &compiled.artefact.header;
        let sketched = matches!(compiled.artefact.network, Network::Residual(_))
            && header.check == Check::Sketch;
        let mut contracted = None;
        if sketched {
            let linear = compiled.operation.linear().ok_or_else(|| Error::Artefact {
                artefact: header.entry.clone(),
                reason: "it asks for a sketch of an operation that is not linear".into(),
            })?;
            let vectors =
                secret_vectors(key, &header.id, linear.features(), header.sketches, device)?;
            contracted = Some(linear.contract(&vectors)?);
        }
        Self::assemble(compiled, contracted)
    }

    /// The same verifiers with another key: all of them or none.
    pub(crate) fn rotated(all: &[Self], key: &VerifierKey, device: &Device) -> Result<Vec<Self>> {
        all.iter().map(|verifier| Self::new(verifier.compiled.clone(), key, device)).collect()
    }

    /// The same verifier for the same operation at other shapes: the secret vectors are of features,
    /// the contracted weights of features and inputs, and neither of positions.
    pub(crate) fn at(&self, compiled: CompiledOperation) -> Result<Self> {
        Self::assemble(compiled, self.contracted.clone())
    }

    /// A verifier of a sketched operation whose weights someone else contracted.
    pub(crate) fn with_contracted(
        compiled: CompiledOperation,
        contracted: Contracted,
    ) -> Result<Self> {
        Self::assemble(compiled, Some(contracted))
    }

    fn assemble(compiled: CompiledOperation, contracted: Option<Contracted>) -> Result<Self> {
        let header = &compiled.artefact.header;
        let certified_per_spread = match &compiled.artefact.network {
            Network::Residual(head) => crate::certificate::deviation_at(
                if contracted.is_some() { header.sketches } else { 0 },
                head.threshold(),
                1.,
                f64::from(header.options.soundness_bits),
            ),
            Network::Mlp(_) => f64::INFINITY,
        };
        let plain = match (compiled.operation.linear(), &contracted) {
            (Some(linear), Some(contracted)) => linear.plain(contracted)?.map(Arc::from),
            _ => None,
        };
        Ok(Self { compiled, contracted, plain, certified_per_spread })
    }

    pub fn compiled(&self) -> &CompiledOperation {
        &self.compiled
    }

    /// The contracted weights, for export; secret with the key that they came from.
    pub fn contracted(&self) -> Option<&Contracted> {
        self.contracted.as_ref()
    }

    /// What can be worked out before a claim arrives. `inputs` are `[B, ...]` each.
    ///
    /// # Errors
    /// When a shape does not fit.
    pub fn prepare(&self, inputs: &[Tensor]) -> Result<PreparedInputs> {
        let prepared = match &self.compiled.artefact.network {
            Network::Residual(_) => {
                Some(Prepared::new(&self.compiled.operation, inputs, self.contracted.as_ref())?)
            }
            Network::Mlp(_) => None,
        };
        Ok(PreparedInputs { inputs: inputs.to_vec(), prepared })
    }

    /// Judges claims about a batch: inputs `[B, ...]`, claimed outputs `[B, ...]`, proof vectors
    /// `[B, proof_dim]`; one verdict per sample. Claims that are not finite score 0.
    ///
    /// # Errors
    /// When a shape does not fit.
    pub fn verify(
        &self,
        inputs: &[Tensor],
        output: &Tensor,
        proof: &Tensor,
    ) -> Result<Vec<Verdict>> {
        self.judge(&self.prepare(inputs)?, output, proof)
    }

    /// As [`OperationVerifier::verify`], about inputs that were prepared by this verifier.
    ///
    /// # Errors
    /// When a shape does not fit.
    pub fn judge(
        &self,
        inputs: &PreparedInputs,
        output: &Tensor,
        proof: &Tensor,
    ) -> Result<Vec<Verdict>> {
        let (Network::Residual(head), Some(prepared)) =
            (&self.compiled.artefact.network, &inputs.prepared)
        else {
            let logits = self.logits(inputs, output, proof)?.to_vec1::<f32>()?;
            // A rectifier turns NaN into 0: the claim itself is looked at.
            let claim = output.reshape((output.dim(0)?, ()))?.abs()?.sum(1)?;
            let finite = (claim + proof.abs()?.sum(1)?)?.to_vec1::<f32>()?;
            let logit = |(logit, finite): (f32, f32)| {
                mlp_verdict(if finite.is_finite() { logit } else { f32::NAN })
            };
            return Ok(logits.into_iter().zip(finite).map(logit).collect());
        };
        let (residual, proof_residual) = self.residuals(prepared, output, proof)?;
        // The maximum of a row skips NaN, its sum does not: overflow anywhere is a rejection.
        let finite = (residual.sum(1)? + proof_residual.sum(1)?)?.to_vec1::<f32>()?;
        let rows = features(&residual, &proof_residual)?.to_vec2::<f32>()?;
        let spreads = prepared.spread(&self.compiled.operation, output)?;
        // Nothing is far from anything in a unit that is larger than any number.
        let measurable = prepared.has_finite_units()?;
        Ok(rows
            .into_iter()
            .zip(finite)
            .zip(spreads)
            .map(|((row, finite), spread)| {
                let features: FeatureVector = std::array::from_fn(|i| row[i]);
                debug_assert_eq!(row.len(), FEATURES);
                let sound = measurable && finite.is_finite();
                let score = if sound { head.score(&features) } else { 0. };
                Verdict {
                    score,
                    residual: Some(f64::from(features[0]).exp_m1()),
                    proof_residual: Some(f64::from(features[2]).exp_m1()),
                    certified_deviation: Some(self.certified(spread)),
                }
            })
            .collect())
    }

    /// As [`OperationVerifier::verify`] for one sample in the CPU's memory, without copying it:
    /// inputs, claimed output and proof vector, each row-major and of the operation's sizes. `None`
    /// where this takes tensors: operations that are not sketched, other devices, rare forms.
    ///
    /// # Errors
    /// When a size does not fit, and [`Error::NonFinite`] for a claimed output with an element that is
    /// no number.
    pub fn verify_plain(
        &self,
        inputs: &[&[f32]],
        output: &[f32],
        proof: &[f32],
    ) -> Result<Option<Verdict>> {
        let Artefact { generator, network, .. } = self.compiled.artefact.as_ref();
        let (Network::Residual(head), Some(sketch)) = (network, &self.plain) else {
            return Ok(None);
        };
        let spec = self.compiled.operation.spec();
        let len: usize = spec.input_shapes[0].iter().product();
        if inputs.len() != 1 || inputs[0].len() != len {
            return Err(Error::Shape {
                tensor: format!("input of {}", self.compiled.operation.output()),
                got: inputs.iter().map(|input| input.len()).collect(),
                expected: vec![len],
            });
        }
        // The generator checks the size of the output.
        let expected = generator.proof_of(output)?;
        let output_squares = sum_of_squares(output);
        if !output_squares.is_finite() {
            return Err(Error::NonFinite { tensor: self.compiled.operation.output().to_owned() });
        }
        let sums = sketch.look(inputs[0], output);
        let (mut largest, mut squares) = (0f32, 0f64);
        for (claimed, expected) in proof.iter().zip(&expected) {
            let residual = (claimed - expected).abs() / generator.proof_unit() as f32;
            largest = largest.max(residual);
            squares += f64::from(residual) * f64::from(residual);
        }
        let rms = |squares: f64, count: usize| {
            ((squares / count.max(1) as f64 + MEAN_SQUARE_FLOOR).sqrt() as f32).ln_1p()
        };
        let features: FeatureVector = [
            sums.largest.ln_1p(),
            rms(sums.squares, sums.count),
            largest.ln_1p(),
            rms(squares, expected.len()),
        ];
        // A maximum skips NaN, a sum does not.
        let finite = (sums.squares + squares + sums.unit_squares).is_finite();
        let fits = proof.len() == expected.len();
        let spread = (sums.unit_squares / output_squares).sqrt();
        Ok(Some(Verdict {
            score: if finite && fits { head.score(&features) } else { 0. },
            residual: Some(f64::from(sums.largest)),
            proof_residual: Some(f64::from(largest)),
            certified_deviation: Some(self.certified(spread)),
        }))
    }

    /// The deviation that is certified for an input of this spread; a spread that is no number
    /// certifies nothing.
    fn certified(&self, spread: f64) -> f64 {
        let certified = self.certified_per_spread * spread;
        if certified.is_finite() { certified } else { f64::INFINITY }
    }

    /// Judges some parts of one sample's output by their sketch alone. `output` is `[1, ...]` with
    /// anything finite outside of the parts, which are runs `(first element, count)` of whole output
    /// channels or rows, row-major. The proof vector takes no part: it is of the whole output.
    ///
    /// The secret vectors are set to zero in the channels that are not looked at. What is left is a
    /// sketch of fewer terms in the unit of all, so the rounding of honest channels is smaller in
    /// distribution, and that of rows no larger than in the whole. The certificate holds for a
    /// deviation within the parts, relative to the norm of the parts.
    ///
    /// # Errors
    /// When a shape does not fit, the operation has no sketch, or parts are not whole channels or
    /// rows.
    pub fn judge_parts(
        &self,
        inputs: &[Tensor],
        output: &Tensor,
        parts: &[(usize, usize)],
    ) -> Result<Verdict> {
        let operation = &self.compiled.operation;
        let unfit = |reason: &str| Error::Operation {
            operation: operation.output().to_owned(),
            reason: reason.to_owned(),
        };
        let (Some(linear), Some(contracted), Network::Residual(head)) =
            (operation.linear(), &self.contracted, &self.compiled.artefact.network)
        else {
            return Err(unfit("it is not checked by sketch: parts of it cannot be checked"));
        };
        let looks = parts::of(linear, &operation.spec().output_shape, parts)
            .ok_or_else(|| unfit("a part is not of whole output channels or rows"))?;
        let (mut residuals, mut unit_squares, mut squares) = (vec![], 0., 0.);
        for look in looks {
            let looked_at = look.sketch(linear, contracted, &inputs[0], output)?;
            unit_squares += looked_at.unit_square;
            squares += looked_at.output_square;
            residuals.push(looked_at.residual);
        }
        let residual = Tensor::cat(&residuals, 1)?;
        let largest = residual.max_all()?.to_scalar::<f32>()?;
        // The maximum counts alone, as in the certificate: the head's bound on the root mean square is
        // one of whole outputs, and the few residuals of a part may be of one size.
        let mut features = crate::residual::floor_features();
        features[0] = largest.ln_1p();
        // The maximum skips NaN, the sum does not.
        let finite = residual.sum_all()?.to_scalar::<f32>()?.is_finite();
        let spread = (unit_squares / squares).sqrt();
        Ok(Verdict {
            score: if finite { head.score(&features) } else { 0. },
            residual: Some(f64::from(largest)),
            proof_residual: None,
            certified_deviation: Some(self.certified(spread)),
        })
    }

    /// Logits `[B]` of claims, accepted at 0 and above: the head's formula on tensors, through
    /// which gradients reach output and proof. For audits; [`OperationVerifier::judge`] decides.
    ///
    /// # Errors
    /// When a shape does not fit.
    pub fn logits(
        &self,
        inputs: &PreparedInputs,
        output: &Tensor,
        proof: &Tensor,
    ) -> Result<Tensor> {
        match (&self.compiled.artefact.network, self.features(inputs, output, proof)?) {
            (Network::Residual(head), Some(features)) => head.logits(&features),
            (Network::Mlp(mlp), _) => {
                Ok(mlp.logits(&inputs.inputs, output, proof)?.flatten_all()?)
            }
            (Network::Residual(_), None) => Err(Error::Operation {
                operation: self.compiled.operation.output().to_owned(),
                reason: "its inputs were prepared by another verifier".into(),
            }),
        }
    }

    /// What the head sees of claims, `[B, FEATURES]`; `None` for the baseline.
    ///
    /// # Errors
    /// When a shape does not fit.
    pub fn features(
        &self,
        inputs: &PreparedInputs,
        output: &Tensor,
        proof: &Tensor,
    ) -> Result<Option<Tensor>> {
        let Some(prepared) = &inputs.prepared else { return Ok(None) };
        let (residual, proof_residual) = self.residuals(prepared, output, proof)?;
        Ok(Some(features(&residual, &proof_residual)?))
    }

    /// Residuals of outputs `[B, n]` and proofs `[B, proof_dim]` in rounding units.
    fn residuals(
        &self,
        prepared: &Prepared,
        output: &Tensor,
        proof: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        let CompiledOperation { operation, artefact } = &self.compiled;
        let residual = prepared.output_residual(operation, self.contracted.as_ref(), output)?;
        let generator = &artefact.generator;
        let expected = generator.proof(output)?;
        Ok((residual, proof_residual(generator, &expected, proof)?))
    }
}

fn mlp_verdict(logit: f32) -> Verdict {
    let score = if logit.is_nan() { 0. } else { 1. / (1. + f64::from(-logit).exp()) };
    Verdict { score, residual: None, proof_residual: None, certified_deviation: None }
}

/// `[features, k]` standard Gaussians of a key for one artefact.
///
/// # Errors
/// When the device cannot hold them.
pub fn secret_vectors(
    key: &VerifierKey,
    id: &str,
    features: usize,
    sketches: u32,
    device: &Device,
) -> Result<Tensor> {
    let mut stream = key.stream(id);
    let count = features * sketches as usize;
    let values: Vec<f32> = (0..count).map(|_| StandardNormal.sample(&mut stream)).collect();
    Ok(Tensor::from_vec(values, (features, sketches as usize), device)?)
}
