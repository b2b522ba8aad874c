//! Reading `.npy` and `.npz` files, and writing the latter.

use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::path::Path;

use nomopoly_runtime::{NamedTensor, TensorData};
use npyz::npz::NpzWriter;
use npyz::zip::{CompressionMethod, write::FileOptions};
use npyz::{DType, NpyFile, Order, TypeChar, WriterBuilder as _};

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
    let mut rest = MOST_BYTES;
    names
        .into_iter()
        .map(|name| {
            let file = npyz::npz::file_name_from_array_name(&name);
            let array = archive.zip_archive().by_name(&file);
            let array = array.map_err(|error| format!("`{name}`: {error}"))?;
            // A small archive may unpack to more than any memory.
            let mut array = array.take(rest + 1);
            let tensor = parse(&name, &mut array);
            if array.limit() == 0 {
                return Err(format!("`{name}`: the arrays unpack to more than {MOST_BYTES} bytes"));
            }
            rest = array.limit() - 1;
            tensor.map_err(|error| format!("`{name}`: {error}"))
        })
        .collect()
}

/// A `.npz` file, not compressed.
///
/// # Errors
/// In words: an element type that NumPy does not have.
pub fn npz_bytes(tensors: &[NamedTensor]) -> Result<Vec<u8>, String> {
    let mut bytes = Cursor::new(vec![]);
    {
        let mut archive = NpzWriter::new(&mut bytes);
        for NamedTensor { name, shape, data } in tensors {
            let shape: Vec<u64> = shape.iter().map(|d| *d as u64).collect();
            let text = |error: std::io::Error| format!("`{name}`: {error}");
            let options = FileOptions::default()
                .large_file(true)
                .compression_method(CompressionMethod::Stored);
            macro_rules! write {
                ($values:expr) => {{
                    let array = archive.array(name, options).map_err(text)?;
                    let mut array = array.default_dtype().shape(&shape).begin_nd().map_err(text)?;
                    array.extend($values.iter().copied()).map_err(text)?;
                    array.finish().map_err(text)?;
                }};
            }
            match data {
                TensorData::F32(values) => write!(values),
                TensorData::F64(values) => write!(values),
                TensorData::I8(values) => write!(values),
                TensorData::I16(values) => write!(values),
                TensorData::I32(values) => write!(values),
                TensorData::I64(values) => write!(values),
                TensorData::U8(values) => write!(values),
                TensorData::U16(values) => write!(values),
                TensorData::U32(values) => write!(values),
                TensorData::U64(values) => write!(values),
                TensorData::Bool(values) => write!(values),
                other => return Err(format!("`{name}` has element type {}", other.dtype())),
            }
        }
    }
    Ok(bytes.into_inner())
}

/// Most bytes that the arrays of one `.npz` file may unpack to: 4 GiB.
const MOST_BYTES: u64 = 4 << 30;

fn parse(name: &str, reader: impl Read) -> Result<NamedTensor, String> {
    let array = NpyFile::new(with_sound_header(reader)?).map_err(|error| error.to_string())?;
    convert(name, array)
}

/// The same bytes, once their header is known to be one that npyz reads without overflow: it
/// multiplies the shape unchecked and descends into brackets without a limit.
fn with_sound_header<R: Read>(mut reader: R) -> Result<impl Read, String> {
    /// Longest header that is read; NumPy writes about 100 bytes.
    const LONGEST: u64 = 1 << 16;
    let mut start = vec![];
    reader.by_ref().take(LONGEST).read_to_end(&mut start).map_err(|error| error.to_string())?;
    let header = match start.as_slice() {
        [0x93, b'N', b'U', b'M', b'P', b'Y', 1, _, low, high, rest @ ..] => {
            let length = usize::from(u16::from_le_bytes([*low, *high]));
            rest.get(..length).ok_or("it ends in its header")?
        }
        [0x93, b'N', b'U', b'M', b'P', b'Y', 2 | 3, _, a, b, c, d, rest @ ..] => {
            let length = u32::from_le_bytes([*a, *b, *c, *d]);
            let length = usize::try_from(length).map_err(|error| error.to_string())?;
            rest.get(..length).ok_or("it ends in its header, or that is longer than any")?
        }
        _ => return Err("it does not start as a NumPy array does".into()),
    };
    if header.iter().filter(|byte| matches!(byte, b'(' | b'[' | b'{')).count() > 32 {
        return Err("it has structured elements".into());
    }
    // Every number of the header is taken for a dimension. A zero must not hide an overflow.
    let header = String::from_utf8_lossy(header);
    let words = header.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let mut elements = 1u64;
    for number in words.filter(|word| word.starts_with(|c: char| c.is_ascii_digit())) {
        let dimension: u64 =
            number.parse().map_err(|_| format!("`{number}` in its header is no dimension"))?;
        elements = elements
            .checked_mul(dimension.max(1))
            .filter(|elements| *elements <= i64::MAX as u64 / 16)
            .ok_or("its shape has more elements than any array")?;
    }
    Ok(Cursor::new(start).chain(reader))
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
                    .collect::<Result<_, _>>()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let header =
            format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
        let length = (header.len() as u16).to_le_bytes();
        [b"\x93NUMPY\x01\x00", length.as_slice(), header.as_bytes(), data].concat()
    }

    #[test]
    fn an_array_is_read() {
        let bytes = npy("<i2", "(2, 1)", &[1, 0, 255, 255]);
        let tensor = parse("x", bytes.as_slice()).unwrap();
        assert_eq!((tensor.shape, tensor.data), (vec![2, 1], TensorData::I16(vec![1, -1].into())));
        assert!(parse("x", npy("|b1", "()", &[1]).as_slice()).unwrap().shape.is_empty());
    }

    #[test]
    fn headers_that_would_overflow_are_errors() {
        for shape in [
            "(4294967296, 4294967296, 16)",
            "(0, 4294967296, 4294967296, 16)",
            "(99999999999999999999999999,)",
            "(0xffffffffffff, 0xffffffff)",
            "(1,), 'shape': (4294967296, 4294967296, 16)",
            "(1, -2)",
            "((1,),)",
            &"(".repeat(60_000),
        ] {
            assert!(parse("x", npy("<f4", shape, &[0; 64]).as_slice()).is_err(), "{shape}");
        }
        for length in 0..12 {
            assert!(parse("x", &npy("<f4", "(1,)", &[0; 4])[..length]).is_err(), "{length}");
        }
        let error = parse("x", npy("<f4", "(1000000000000,)", &[0; 64]).as_slice()).unwrap_err();
        assert!(error.contains("truncated"), "{error}");
    }
}
