//! The arrays of one inference, from `.npy` and `.npz` files.

use std::fs;
use std::path::Path;

use nomopoly_build::arrays::{npz_bytes, read_npy, read_npz};
use nomopoly_build::runtime::{NamedTensor, TensorData};

use crate::arguments::InputArguments;
use crate::failure::Failure;
use crate::numbers::{shape, shortened};

/// Reads every array that the command line names.
///
/// # Errors
/// Naming the file, when it cannot be read or an input comes twice.
pub fn read(arguments: &InputArguments) -> Result<Vec<NamedTensor>, Failure> {
    let mut tensors = vec![];
    if let Some(path) = &arguments.inputs {
        tensors = arrays(path)?;
    }
    for (name, path) in &arguments.input {
        regular(path)?;
        tensors.push(read_npy(name, path).map_err(|reason| {
            Failure::problem(
                format!("cannot read input `{name}` from `{}`: {reason}", path.display()),
                "save it with numpy.save(file, array)",
            )
        })?);
    }
    for (index, tensor) in tensors.iter().enumerate() {
        if tensors[..index].iter().any(|other| other.name == tensor.name) {
            let name = &tensor.name;
            return Err(Failure::problem(
                format!("input `{name}` is given twice"),
                "give each input once, with --input or in the --inputs file",
            ));
        }
    }
    Ok(tensors)
}

/// Whether a path is one of a `.npz` file.
pub fn is_npz(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npz"))
}

/// The contents of a `.npz` file.
///
/// # Errors
/// Naming the file, when a tensor is of no type that NumPy has.
pub fn npz(path: &Path, tensors: &[NamedTensor]) -> Result<Vec<u8>, Failure> {
    npz_bytes(tensors).map_err(|reason| {
        let message = format!("cannot make `{}`: {reason}", path.display());
        Failure::problem(message, "NumPy has no such element type")
    })
}

/// Every array of a `.npz` file.
///
/// # Errors
/// Naming the file, when it cannot be read.
pub fn arrays(path: &Path) -> Result<Vec<NamedTensor>, Failure> {
    regular(path)?;
    read_npz(path).map_err(|reason| {
        Failure::problem(
            format!("cannot read `{}`: {reason}", path.display()),
            "save it with numpy.savez(file, name=array, ...)",
        )
    })
}

/// A pipe or folder would block or confuse its reader.
fn regular(path: &Path) -> Result<(), Failure> {
    let metadata = fs::metadata(path).map_err(Failure::io("read", path))?;
    if metadata.is_file() {
        Ok(())
    } else {
        Err(Failure::problem(
            format!("cannot read `{}`: it is not a regular file", path.display()),
            "give the path of a file",
        ))
    }
}

/// One line per tensor: name, shape, some values, and the largest one's index for vectors.
pub fn describe(tensors: &[NamedTensor]) -> String {
    tensors.iter().map(|tensor| format!("  {}\n", describe_one(tensor))).collect()
}

fn describe_one(tensor: &NamedTensor) -> String {
    const SHOWN: usize = 10;
    let values = values(&tensor.data);
    let mut text =
        format!("{} {} {}", shortened(&tensor.name, 40), tensor.data.dtype(), shape(&tensor.shape));
    let shown: Vec<String> = values
        .iter()
        .take(SHOWN)
        .map(
            |value| if value.fract() == 0. { format!("{value:.0}") } else { format!("{value:.4}") },
        )
        .collect();
    let more = if values.len() > SHOWN { ", …" } else { "" };
    text.push_str(&format!(": {}{more}", shown.join(", ")));
    let vector = tensor.shape.iter().filter(|dimension| **dimension != 1).count() == 1;
    let float = matches!(tensor.data, TensorData::F32(_) | TensorData::F64(_));
    if let Some((index, value)) = largest(&values).filter(|_| vector && float) {
        text.push_str(&format!("; largest at {index} ({value:.4})"));
    }
    text
}

/// Index and value of the largest element, the first of equals.
pub fn largest(values: &[f64]) -> Option<(usize, f64)> {
    let mut best: Option<(usize, f64)> = None;
    for (index, &value) in values.iter().enumerate() {
        if best.is_none_or(|(_, largest)| value > largest) {
            best = Some((index, value));
        }
    }
    best
}

fn values(data: &TensorData) -> Vec<f64> {
    macro_rules! wide {
        ($($variant:ident),*) => {
            match data {
                TensorData::F64(values) => values.to_vec(),
                TensorData::I64(values) => values.iter().map(|&v| v as f64).collect(),
                TensorData::U64(values) => values.iter().map(|&v| v as f64).collect(),
                TensorData::Bool(values) => values.iter().map(|&v| f64::from(u8::from(v))).collect(),
                $(TensorData::$variant(values) => values.iter().map(|&v| f64::from(v)).collect(),)*
                // Types that this version cannot show are still proved and checked.
                _ => vec![],
            }
        };
    }
    wide!(F32, I8, I16, I32, U8, U16, U32)
}

/// Tensors for JSON, with all values.
pub fn json(tensors: &[NamedTensor]) -> serde_json::Value {
    tensors
        .iter()
        .map(|tensor| {
            serde_json::json!({
                "name": tensor.name,
                "dtype": tensor.data.dtype(),
                "shape": tensor.shape,
                "values": values(&tensor.data),
            })
        })
        .collect()
}
