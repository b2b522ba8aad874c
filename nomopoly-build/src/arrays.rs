//! Reading `.npy` and `.npz` files.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use nomopoly_runtime::{NamedTensor, TensorData};
use npyz::{DType, NpyFile, Order, TypeChar};

/// Reads one array of a `.npy` file.
///
/// # Errors
/// In words: the file cannot be read, is not an array, has Fortran order or an element type that
/// models do not take.
pub fn read_npy(name: &str, path: &Path) -> Result<NamedTensor, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    parse(name, BufReader::new(file))
}

/// Reads every array of a `.npz` file, in the order of their names.
///
/// # Errors
/// As [`read_npy`].
pub fn read_npz(path: &Path) -> Result<Vec<NamedTensor>, String> {
    let mut archive = npyz::npz::NpzArchive::open(path).map_err(|error| error.to_string())?;
    let mut names: Vec<String> = archive.array_names().map(str::to_owned).collect();
    names.sort();
    names
        .into_iter()
        .map(|name| {
            let array = archive.by_name(&name).map_err(|error| format!("`{name}`: {error}"))?;
            let array = array.ok_or_else(|| format!("`{name}` is not in it"))?;
            convert(&name, array).map_err(|error| format!("`{name}`: {error}"))
        })
        .collect()
}

fn parse(name: &str, reader: impl Read) -> Result<NamedTensor, String> {
    convert(name, NpyFile::new(reader).map_err(|error| error.to_string())?)
}

fn convert<R: Read>(name: &str, array: NpyFile<R>) -> Result<NamedTensor, String> {
    if array.order() == Order::Fortran && array.shape().len() > 1 {
        return Err("it is in Fortran order; save it with numpy.ascontiguousarray".into());
    }
    let shape: Vec<usize> = array
        .shape()
        .iter()
        .map(|&d| usize::try_from(d).map_err(|error| error.to_string()))
        .collect::<Result<_, _>>()?;
    let DType::Plain(dtype) = array.dtype() else {
        return Err("it has structured elements".into());
    };
    macro_rules! read {
        ($variant:ident, $rust:ty) => {
            TensorData::$variant(
                array
                    .data::<$rust>()
                    .map_err(|error| error.to_string())?
                    .collect::<Result<Vec<_>, _>>()
                    .map_err(|error| format!("it is truncated: {error}"))?,
            )
        };
    }
    let data = match (dtype.type_char(), dtype.size_field()) {
        (TypeChar::Float, 4) => read!(F32, f32),
        (TypeChar::Float, 8) => read!(F64, f64),
        (TypeChar::Int, 1) => read!(I8, i8),
        (TypeChar::Int, 2) => read!(I16, i16),
        (TypeChar::Int, 4) => read!(I32, i32),
        (TypeChar::Int, 8) => read!(I64, i64),
        (TypeChar::Uint, 1) => read!(U8, u8),
        (TypeChar::Uint, 2) => read!(U16, u16),
        (TypeChar::Uint, 4) => read!(U32, u32),
        (TypeChar::Uint, 8) => read!(U64, u64),
        (TypeChar::Bool, _) => read!(Bool, bool),
        _ => return Err(format!("its element type {dtype} is not supported")),
    };
    Ok(NamedTensor { name: name.to_owned(), shape, data })
}
