//! Tensors whose bytes lie in files beside the model: read them in, and nothing else.

use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use tract_onnx::pb;

use super::tensor_data::{is_external, raw_len};
use crate::error::{Error, Result};

/// Calls `f` on every tensor of a graph in a fixed order: initialisers, then the attributes of
/// each node, and of the graphs inside them.
pub(crate) fn for_each_tensor(
    graph: &mut pb::GraphProto,
    f: &mut impl FnMut(&mut pb::TensorProto) -> Result<()>,
) -> Result<()> {
    graph.initializer.iter_mut().try_for_each(&mut *f)?;
    for node in &mut graph.node {
        for attribute in &mut node.attribute {
            attribute.t.iter_mut().chain(&mut attribute.tensors).try_for_each(&mut *f)?;
            for inner in attribute.g.iter_mut().chain(&mut attribute.graphs) {
                for_each_tensor(inner, f)?;
            }
        }
    }
    Ok(())
}

/// Where the files beside a model are.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Beside<'a> {
    /// On disk, in the model's folder.
    Folder(&'a Path),
    /// In memory, by location: those of a model that is part of a program.
    Memory(&'a [(&'a str, &'a [u8])]),
}

/// Replaces every reference to a file by the bytes it refers to, and adds each one's length
/// (eight bytes, little-endian) and bytes to `hasher`, in the order of [`for_each_tensor`].
/// Returns the locations, each once, in that order.
///
/// # Errors
/// [`Error::ExternalData`] names the tensor and the file, for a path that leaves the model's
/// folder, a missing file, or a range that is not in it or does not fit the tensor's shape.
pub(crate) fn resolve(
    model: &str,
    graph: &mut pb::GraphProto,
    beside: Beside,
    hasher: &mut blake3::Hasher,
) -> Result<Vec<String>> {
    let mut locations: Vec<String> = vec![];
    for_each_tensor(graph, &mut |tensor| {
        if !is_external(tensor) {
            return Ok(());
        }
        let error = |reason: String| Error::ExternalData {
            model: model.to_string(),
            tensor: tensor.name.clone(),
            reason,
        };
        let (location, bytes) = read(tensor, beside).map_err(error)?;
        if !locations.contains(&location) {
            locations.push(location);
        }
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(&bytes);
        tensor.raw_data = bytes;
        tensor.data_location = None;
        tensor.external_data.clear();
        Ok(())
    })?;
    Ok(locations)
}

/// The location of an external tensor, and its bytes.
fn read(tensor: &pb::TensorProto, beside: Beside) -> Result<(String, Vec<u8>), String> {
    if !tensor.raw_data.is_empty() {
        return Err("it also holds bytes of its own".to_string());
    }
    let entry = |key: &str| {
        tensor.external_data.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_str())
    };
    let number = |key: &str| match entry(key) {
        None => Ok(None),
        Some(text) => text
            .parse::<u64>()
            .map(Some)
            .map_err(|_| format!("{key} is `{text}`, expected a number of bytes")),
    };
    let location = entry("location").ok_or("it names no file")?;
    let in_file = |what: String| format!("{what} ({location})");

    let mut source: Box<dyn ReadSeek> = match beside {
        Beside::Folder(folder) => {
            let path = inside(folder, location)?;
            let file =
                File::open(&path).map_err(|e| in_file(format!("cannot open the file: {e}")))?;
            let metadata =
                file.metadata().map_err(|e| in_file(format!("cannot read the file: {e}")))?;
            if !metadata.is_file() {
                return Err(in_file("not a regular file".to_string()));
            }
            Box::new(file)
        }
        Beside::Memory([]) => {
            return Err("its bytes lie in another file; load the model from a path".to_string());
        }
        Beside::Memory(files) => {
            let file = files.iter().find(|(name, _)| *name == location);
            let (_, bytes) = file.ok_or_else(|| in_file("the file is not there".to_string()))?;
            Box::new(Cursor::new(*bytes))
        }
    };
    let cannot_read = |e: std::io::Error| in_file(format!("cannot read the file: {e}"));
    let size = source.seek(SeekFrom::End(0)).map_err(cannot_read)?;
    let offset = number("offset")?.unwrap_or(0);
    let rest = size.checked_sub(offset).ok_or_else(|| {
        in_file(format!("offset {offset} is past the end of the file, {size} bytes"))
    })?;
    let length = number("length")?.unwrap_or(rest);
    if length > rest {
        return Err(in_file(format!(
            "offset {offset} and length {length} run past the end of the file, {size} bytes"
        )));
    }
    // Checked before reading, so that a model cannot ask for more memory than its shape needs.
    let (_, expected) = raw_len(tensor)?;
    if length != expected as u64 {
        return Err(in_file(format!(
            "dimensions {:?} need {expected} bytes, got {length}",
            tensor.dims
        )));
    }
    let mut bytes = Vec::with_capacity(expected);
    source
        .seek(SeekFrom::Start(offset))
        .and_then(|_| source.take(length).read_to_end(&mut bytes))
        .map_err(cannot_read)?;
    if bytes.len() != expected {
        return Err(in_file("the file became shorter while it was read".to_string()));
    }
    Ok((location.to_owned(), bytes))
}

trait ReadSeek: Read + Seek {}

impl<T: Read + Seek> ReadSeek for T {}

/// The file that `location` names, if it is in `folder`: a model from elsewhere must not make
/// its loader read other files, neither by its path nor through a symbolic link.
fn inside(folder: &Path, location: &str) -> Result<PathBuf, String> {
    let relative = Path::new(location);
    let plain = |c: Component| matches!(c, Component::Normal(_) | Component::CurDir);
    if location.is_empty() || !relative.components().all(plain) {
        return Err(format!("`{location}` is not a path inside the model's folder"));
    }
    let canonical = |path: &Path| {
        path.canonicalize().map_err(|e| format!("cannot find `{location}` beside the model: {e}"))
    };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let folder = canonical(folder)?;
    let path = canonical(&folder.join(relative))?;
    if path.starts_with(&folder) {
        Ok(path)
    } else {
        Err(format!("`{location}` is a link that leaves the model's folder"))
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::onnx::Model;
    use crate::onnx::test_models::{numbers, small_net};

    /// The small network with `w1` in a file, as the given entries say.
    fn external(entries: &[(&str, &str)]) -> Vec<u8> {
        let mut proto = small_net();
        let tensor = &mut proto.graph.as_mut().unwrap().initializer[2];
        tensor.raw_data.clear();
        tensor.data_location = Some(pb::tensor_proto::DataLocation::External as i32);
        tensor.external_data = entries
            .iter()
            .map(|(k, v)| pb::StringStringEntryProto { key: k.to_string(), value: v.to_string() })
            .collect();
        proto.encode_to_vec()
    }

    fn load(folder: &Path, entries: &[(&str, &str)]) -> Result<Model> {
        let path = folder.join("model.onnx");
        std::fs::write(&path, external(entries)).unwrap();
        Model::load(&path)
    }

    #[test]
    fn bytes_beside_the_model_are_read_and_count_in_the_digest() {
        let folder = tempfile::tempdir().unwrap();
        let weights: Vec<u8> = numbers(135, 3).iter().flat_map(|v| v.to_le_bytes()).collect();
        let mut file = vec![7u8; 16];
        file.extend(&weights);
        file.extend([9u8; 5]);
        std::fs::write(folder.path().join("data.bin"), &file).unwrap();
        let entries = [("location", "data.bin"), ("offset", "16"), ("length", "540")];
        let model = load(folder.path(), &entries).unwrap();
        let tensor = &model.proto().graph.as_ref().unwrap().initializer[2];
        assert_eq!(tensor.raw_data, weights);
        assert!(!is_external(tensor));

        let mut hasher = blake3::Hasher::new();
        hasher.update(&external(&entries));
        hasher.update(&540u64.to_le_bytes());
        hasher.update(&weights);
        assert_eq!(model.digest().as_bytes(), hasher.finalize().as_bytes());

        let parts: [(&str, &[u8]); 1] = [("data.bin", &file)];
        let embedded = Model::from_parts("m", &external(&entries), &parts).unwrap();
        assert_eq!(embedded.digest(), model.digest());
        assert_eq!(embedded.external_files(), ["data.bin"]);
        assert!(Model::from_parts("m", &external(&entries), &[("other", &file)]).is_err());

        file[16] ^= 1;
        std::fs::write(folder.path().join("data.bin"), &file).unwrap();
        assert_ne!(load(folder.path(), &entries).unwrap().digest(), model.digest());
    }

    #[test]
    fn every_way_out_of_the_folder_is_refused() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("model");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(outer.path().join("secret"), [0u8; 540]).unwrap();
        std::fs::write(folder.join("short"), [0u8; 20]).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink("../secret", folder.join("link")).unwrap();
        let absolute = outer.path().join("secret");
        let max = u64::MAX.to_string();
        let cases: &[&[(&str, &str)]] = &[
            &[],
            &[("location", "")],
            &[("location", "missing")],
            &[("location", "../secret")],
            &[("location", "a/../../secret")],
            &[("location", absolute.to_str().unwrap())],
            &[("location", "link")],
            &[("location", ".")],
            &[("location", "short")],
            &[("location", "short"), ("offset", "21")],
            &[("location", "short"), ("offset", "1"), ("length", &max)],
            &[("location", "short"), ("length", "540")],
            &[("location", "short"), ("offset", "-1")],
        ];
        for entries in cases {
            let error = load(&folder, entries).unwrap_err();
            assert!(
                matches!(&error, Error::ExternalData { tensor, .. } if tensor == "w1"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_model_without_a_folder_has_no_external_data() {
        let error = Model::from_bytes("m", &external(&[("location", "data.bin")])).unwrap_err();
        assert!(error.to_string().contains("load the model from a path"), "{error}");
    }
}
