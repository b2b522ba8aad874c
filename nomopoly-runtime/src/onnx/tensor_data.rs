//! The contents of a tensor message: does the data fit the declared shape, is it finite.

use tract_onnx::pb::TensorProto;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};

/// No dimension of a real tensor comes near this; a larger one would overflow strides.
const MAX_DIM: i64 = 1 << 40;

pub(crate) fn is_external(tensor: &TensorProto) -> bool {
    tensor.data_location == Some(DataLocation::External as i32)
}

/// The element type and the number of bytes that the declared shape takes in raw form.
///
/// # Errors
/// A sentence for a negative or overflowing dimension, or a type without a fixed size.
pub(crate) fn raw_len(tensor: &TensorProto) -> Result<(DataType, usize), String> {
    let (dtype, count) = declared(tensor)?;
    let bytes = match dtype {
        DataType::Int4 | DataType::Uint4 | DataType::Float4e2m1 => Some(count.div_ceil(2)),
        _ => count
            .checked_mul(element_bytes(dtype).ok_or_else(|| {
                format!("element type {} has no fixed size", dtype.as_str_name())
            })?),
    };
    let bytes = bytes.ok_or_else(|| format!("dimensions {:?} overflow", tensor.dims))?;
    Ok((dtype, bytes))
}

/// Checks that the tensor holds as many values as its dimensions say.
///
/// # Errors
/// A sentence that says what was expected and what came.
pub(crate) fn check(tensor: &TensorProto) -> Result<(), String> {
    let (dtype, count) = declared(tensor)?;
    if !tensor.raw_data.is_empty() {
        let (_, expected) = raw_len(tensor)?;
        let got = tensor.raw_data.len();
        return if got == expected {
            Ok(())
        } else {
            Err(format!("dimensions {:?} need {expected} bytes, got {got}", tensor.dims))
        };
    }
    let got = match dtype {
        DataType::Float => tensor.float_data.len(),
        DataType::Double => tensor.double_data.len(),
        DataType::Int64 => tensor.int64_data.len(),
        DataType::Uint32 | DataType::Uint64 => tensor.uint64_data.len(),
        DataType::String => tensor.string_data.len(),
        _ => tensor.int32_data.len(),
    };
    let expected = match dtype {
        DataType::Int4 | DataType::Uint4 | DataType::Float4e2m1 => count.div_ceil(2),
        _ => count,
    };
    if got == expected {
        Ok(())
    } else {
        Err(format!("dimensions {:?} need {expected} values, got {got}", tensor.dims))
    }
}

/// Rewrites as raw bytes the data of the two types that tract looks for in the wrong field:
/// ONNX keeps uint32 and uint64 in `uint64_data`. Call after [`check`].
pub(crate) fn normalise(tensor: &mut TensorProto) {
    if !tensor.raw_data.is_empty() {
        return;
    }
    let values = std::mem::take(&mut tensor.uint64_data);
    if tensor.data_type == DataType::Uint64 as i32 {
        tensor.raw_data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    } else if tensor.data_type == DataType::Uint32 as i32 {
        tensor.raw_data = values.iter().flat_map(|&value| (value as u32).to_le_bytes()).collect();
    }
}

/// What is not finite in a tensor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct NonFinite {
    pub nan: bool,
    pub infinite: bool,
}

impl NonFinite {
    fn see(&mut self, value: f64) {
        self.nan |= value.is_nan();
        self.infinite |= value.is_infinite();
    }

    /// A 16-bit float by its bits; `mantissa` is the number of mantissa bits.
    fn see_bits(&mut self, bits: u16, mantissa: u32) {
        let fraction = (1u16 << mantissa) - 1;
        let exponent = 0x7fff & !fraction;
        if bits & exponent == exponent {
            if bits & fraction == 0 { self.infinite = true } else { self.nan = true }
        }
    }
}

/// Looks for NaN and infinity in a float tensor; other element types have none.
pub(crate) fn non_finite(tensor: &TensorProto) -> NonFinite {
    let mut found = NonFinite::default();
    let raw = &tensor.raw_data;
    match DataType::try_from(tensor.data_type) {
        Ok(DataType::Float) => {
            tensor.float_data.iter().for_each(|&v| found.see(f64::from(v)));
            let (words, _) = raw.as_chunks::<4>();
            words.iter().for_each(|&w| found.see(f64::from(f32::from_le_bytes(w))));
        }
        Ok(DataType::Double) => {
            tensor.double_data.iter().for_each(|&v| found.see(v));
            let (words, _) = raw.as_chunks::<8>();
            words.iter().for_each(|&w| found.see(f64::from_le_bytes(w)));
        }
        Ok(dtype @ (DataType::Float16 | DataType::Bfloat16)) => {
            let mantissa = if dtype == DataType::Float16 { 10 } else { 7 };
            tensor.int32_data.iter().for_each(|&v| found.see_bits(v as u16, mantissa));
            let (words, _) = raw.as_chunks::<2>();
            words.iter().for_each(|&w| found.see_bits(u16::from_le_bytes(w), mantissa));
        }
        _ => {}
    }
    found
}

/// The element type and the number of elements that the dimensions declare.
fn declared(tensor: &TensorProto) -> Result<(DataType, usize), String> {
    let dtype = match DataType::try_from(tensor.data_type) {
        Ok(DataType::Undefined) | Err(_) => {
            return Err(format!("unknown element type {}", tensor.data_type));
        }
        Ok(dtype @ (DataType::Complex64 | DataType::Complex128)) => {
            return Err(format!("element type {} is not supported", dtype.as_str_name()));
        }
        Ok(dtype) => dtype,
    };
    // Zeros are left out of this product, so that [0, huge, huge] is refused as well.
    let mut extent = 1usize;
    for &dim in &tensor.dims {
        if !(0..=MAX_DIM).contains(&dim) {
            return Err(format!("dimension {dim} is out of range"));
        }
        extent = extent
            .checked_mul((dim as usize).max(1))
            .filter(|&extent| extent <= MAX_DIM as usize)
            .ok_or_else(|| format!("dimensions {:?} overflow", tensor.dims))?;
    }
    Ok((dtype, if tensor.dims.contains(&0) { 0 } else { extent }))
}

fn element_bytes(dtype: DataType) -> Option<usize> {
    match dtype {
        DataType::Double | DataType::Int64 | DataType::Uint64 => Some(8),
        DataType::Float | DataType::Int32 | DataType::Uint32 => Some(4),
        DataType::Float16 | DataType::Bfloat16 | DataType::Int16 | DataType::Uint16 => Some(2),
        DataType::Bool
        | DataType::Int8
        | DataType::Uint8
        | DataType::Float8e4m3fn
        | DataType::Float8e4m3fnuz
        | DataType::Float8e5m2
        | DataType::Float8e5m2fnuz => Some(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::builder::{raw_tensor, tensor_f32};

    #[test]
    fn shapes_that_do_not_fit_the_data_are_refused() {
        assert_eq!(check(&tensor_f32("w", &[2, 3], &[0.0; 6])), Ok(()));
        assert!(check(&tensor_f32("w", &[2, 3], &[0.0; 5])).is_err());
        let huge = [i64::MAX, i64::MAX, 4, -1, 1 << 41];
        for dims in [&huge[..1], &huge[..2], &huge[3..4], &[1 << 39, 1 << 39, 0], &huge[4..]] {
            let tensor = TensorProto { dims: dims.to_vec(), ..tensor_f32("w", &[], &[0.0]) };
            assert!(check(&tensor).is_err(), "{dims:?}");
        }
        assert_eq!(check(&tensor_f32("empty", &[0, 4], &[])), Ok(()));
        let unknown = TensorProto { data_type: 99, ..tensor_f32("w", &[1], &[0.0]) };
        assert!(check(&unknown).is_err());
    }

    #[test]
    fn not_finite_values_are_found_in_every_float_type() {
        let nan = NonFinite { nan: true, infinite: false };
        let inf = NonFinite { nan: false, infinite: true };
        assert_eq!(non_finite(&tensor_f32("w", &[2], &[1.0, f32::NAN])), nan);
        assert_eq!(non_finite(&tensor_f32("w", &[2], &[f32::MAX, f32::MIN])), NonFinite::default());
        assert_eq!(non_finite(&tensor_f32("w", &[1], &[f32::NEG_INFINITY])), inf);
        for (dtype, infinite, quiet, largest) in [
            (DataType::Float16, 0xfc00u16, 0x7e00u16, 0x7bffu16),
            (DataType::Bfloat16, 0xff80, 0x7fc0, 0x7f7f),
        ] {
            let of =
                |bits: u16| non_finite(&raw_tensor("w", &[1], dtype, bits.to_le_bytes().to_vec()));
            assert_eq!(of(infinite), inf);
            assert_eq!(of(quiet), nan);
            assert_eq!(of(largest), NonFinite::default());
        }
    }

    #[test]
    fn unsigned_values_move_to_the_raw_field() {
        let mut tensor = TensorProto {
            dims: vec![2],
            data_type: DataType::Uint32 as i32,
            uint64_data: vec![1, 0xffff_fffe],
            ..Default::default()
        };
        assert_eq!(check(&tensor), Ok(()));
        normalise(&mut tensor);
        assert_eq!(tensor.raw_data, [1, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff]);
        assert_eq!(check(&tensor), Ok(()));
    }
}
