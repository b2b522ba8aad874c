//! Attributes of pooling nodes with `ceil_mode`.
//!
//! tract and PyTorch drop a last window that would start in the padding at the end. ONNX says so
//! only since operator set 22; before, the same attributes give a longer output. An exported file
//! writes padding that means the operation's own output shape under both readings.

use std::collections::BTreeMap;

use nomopoly_manifest::{Attribute, OperationSpec};
use nomopoly_runtime::Result;

use super::node::{int, ints};

/// The attributes to write for a pooling operation.
///
/// # Errors
/// When a window attribute is missing. The one case that no padding expresses has no artefact:
/// see `average_pool.rs` of the runtime.
pub(super) fn attributes(spec: &OperationSpec) -> Result<BTreeMap<String, Attribute>> {
    let mut attributes = spec.attributes.clone();
    // AveragePool has them since operator set 19 only.
    if matches!(attributes.get("dilations"), Some(Attribute::Ints(all)) if all.iter().all(|d| *d == 1))
    {
        attributes.remove("dilations");
    }
    if int(spec, "ceil_mode")? == 0 {
        return Ok(attributes);
    }
    let [kernel, strides, dilations, pads] =
        ["kernel_shape", "strides", "dilations", "pads"].map(|name| ints(spec, name));
    let (kernel, strides, dilations, mut pads) = (kernel?, strides?, dilations?, pads?);
    let axes = kernel.len();
    let dim = |shape: &[usize], axis: usize| shape[axis + 2] as i64;
    let (input, output) = (&spec.input_shapes[0], &spec.output_shape);
    // Padding at the end with which the last window ends exactly where the padding does.
    let exact: Vec<i64> = (0..axes)
        .map(|a| {
            let span = (kernel[a] - 1) * dilations[a] + 1;
            (dim(output, a) - 1) * strides[a] + span - dim(input, a) - pads[a]
        })
        .collect();
    if exact.iter().any(|&end| end < 0) {
        // Even without padding the end is skipped: only rounding down says so.
        attributes.insert("ceil_mode".into(), Attribute::Int(0));
        for a in 0..axes {
            pads[axes + a] = exact[a].max(0);
        }
    } else {
        for a in 0..axes {
            pads[axes + a] = pads[axes + a].min(exact[a]);
        }
    }
    attributes.insert("pads".into(), Attribute::Ints(pads));
    Ok(attributes)
}
