//! From a verdict to a report, and the comparison of outputs that no verdict is about.

use std::borrow::Cow;

use candle_core::{Device, Tensor};
use tract_onnx::prelude::Tensor as TractTensor;

use crate::artefact::Network;
use crate::operation_check::{OperationVerifier, Verdict};
use crate::report::{CheckedBy, OperationReport};
use crate::residual::{BOUNDED_TOLERANCE, UNTRAINED_TOLERANCE, is_bounded, tolerance_width};
use crate::tensor::{NamedTensor, TensorData, f32_values, to_sample};
use crate::{Error, Result};

/// How a verifier checks.
pub(crate) fn checked_by(verifier: &OperationVerifier) -> CheckedBy {
    match (&verifier.compiled().artefact.network, verifier.contracted()) {
        (Network::Mlp(_), _) => CheckedBy::Baseline,
        (_, Some(_)) => CheckedBy::Sketch,
        (_, None) => CheckedBy::Replay,
    }
}

/// The verdict on one claimed output with its proof vector; `x` is the value of each input.
pub(crate) fn verdict(
    verifier: &OperationVerifier,
    x: &[&TractTensor],
    output: &NamedTensor,
    vector: &[f32],
    device: &Device,
) -> Result<Verdict> {
    let operation = &verifier.compiled().operation;
    let name = operation.output();
    if let Some(output) = output.as_f32() {
        let named = operation.inputs().iter().zip(x);
        let values =
            named.map(|(name, x)| f32_values(name, x)).collect::<Result<Vec<Cow<'_, [f32]>>>>()?;
        let values: Vec<&[f32]> = values.iter().map(AsRef::as_ref).collect();
        if let Some(verdict) = verifier.verify_plain(&values, output, vector)? {
            return Ok(verdict);
        }
    }
    if !output.is_finite() {
        return Err(Error::NonFinite { tensor: name.to_owned() });
    }
    let named = operation.inputs().iter().zip(x);
    let x = named.map(|(name, x)| to_sample(name, x, device)).collect::<Result<Vec<_>>>()?;
    let y = to_sample(name, output.to_tract()?.as_ref(), device)?;
    let p = Tensor::from_slice(vector, (1, vector.len()), device)?;
    verifier.verify(&x, &y, &p)?.pop().ok_or_else(|| Error::Operation {
        operation: name.to_owned(),
        reason: "it was not judged".into(),
    })
}

/// The report of a verdict.
pub(crate) fn judged(
    name: &str,
    kind: &str,
    checked_by: CheckedBy,
    verdict: &Verdict,
) -> OperationReport {
    let accepted = verdict.accepted();
    let reason = (!accepted).then(|| match (verdict.residual, verdict.proof_residual) {
        (Some(output), Some(proof)) if proof > output => {
            format!("its proof vector is {proof:.3e} rounding units from the generator's")
        }
        (Some(output), _) => {
            format!("its output is up to {output:.3e} rounding units from the model's")
        }
        _ => format!("the baseline gives it the score {:.3}", verdict.score),
    });
    OperationReport {
        operation: name.to_owned(),
        kind: kind.to_owned(),
        checked_by,
        accepted,
        score: Some(verdict.score),
        residual: verdict.residual,
        certified_deviation: verdict.certified_deviation,
        reason,
    }
}

/// The report of an output that was compared with the recomputed one, and why it was refused.
pub(crate) fn recomputed(name: &str, kind: &str, refused: Option<String>) -> OperationReport {
    OperationReport {
        operation: name.to_owned(),
        kind: kind.to_owned(),
        checked_by: CheckedBy::Replay,
        accepted: refused.is_none(),
        score: None,
        residual: None,
        certified_deviation: None,
        reason: refused,
    }
}

/// [`tolerance_width`] of a model whose operations are verified like this.
pub(crate) fn width<'a>(operations: impl Iterator<Item = &'a OperationVerifier>) -> f64 {
    tolerance_width(operations.map(|own| own.compiled().artefact.header.options.envelope))
}

/// Compares a claimed output with the recomputed one: exactly for integers and for what the
/// transcript holds already, within rounding for floats of nodes without an artefact, of this ONNX
/// `op_type`; `width` widens that.
pub(crate) fn compare(
    claimed: &NamedTensor,
    truth: &NamedTensor,
    exact: bool,
    kind: &str,
    width: f64,
) -> std::result::Result<(), String> {
    let name = &claimed.name;
    if exact || !matches!(truth.data, TensorData::F32(_) | TensorData::F64(_)) {
        return if claimed.data == truth.data {
            Ok(())
        } else if exact {
            Err(format!("output `{name}` is not what the transcript says"))
        } else {
            Err(format!("output `{name}` is not what the transcript leads to"))
        };
    }
    let wide = |tensor: &NamedTensor| -> Vec<f64> {
        match &tensor.data {
            TensorData::F32(values) => values.iter().map(|&v| f64::from(v)).collect(),
            TensorData::F64(values) => values.to_vec(),
            _ => vec![],
        }
    };
    let (claimed, truth) = (wide(claimed), wide(truth));
    // An infinity would make the tolerance one.
    if truth.iter().any(|value| !value.is_finite()) {
        return Err(format!("output `{name}` is not finite where it is recomputed"));
    }
    let largest = truth.iter().fold(0f64, |largest, v| largest.max(v.abs()));
    let least = if is_bounded(kind) { BOUNDED_TOLERANCE } else { f64::from(f32::MIN_POSITIVE) };
    let tolerance = width * (UNTRAINED_TOLERANCE * largest).max(least);
    for (index, (claim, truth)) in claimed.iter().zip(&truth).enumerate() {
        let error = (claim - truth).abs();
        // A NaN is not within the tolerance.
        if error.is_nan() || error > tolerance {
            return Err(format!(
                "output `{name}` differs from the recomputed one by {error:.3e} at element {index}"
            ));
        }
    }
    Ok(())
}
