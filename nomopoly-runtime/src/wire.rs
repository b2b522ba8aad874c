//! The envelope of everything that travels as bytes: 8 bytes that name the format, its schema as
//! u32 little-endian, 32 bytes BLAKE3 of the body, body (postcard). The hash tells damage on the
//! way from cheating; it proves nothing.

use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

/// One kind of envelope.
pub(crate) struct Format {
    pub magic: &'static [u8; 8],
    pub schema: u32,
}

/// Why bytes are not of a format.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Damaged(String),
    Schema(u32),
}

const HEADER: usize = 8 + 4 + 32;

impl Format {
    pub fn seal(&self, body: &impl Serialize) -> Result<Vec<u8>, String> {
        // It may be a key.
        let body = postcard::to_stdvec(body).map_err(|error| error.to_string())?;
        let body = Zeroizing::new(body);
        let mut bytes = Vec::with_capacity(HEADER + body.len());
        bytes.extend_from_slice(self.magic);
        bytes.extend_from_slice(&self.schema.to_le_bytes());
        bytes.extend_from_slice(blake3::hash(&body).as_bytes());
        bytes.extend_from_slice(&body);
        Ok(bytes)
    }

    /// The body, once format and schema are right. Its hash is not checked yet.
    pub fn body<'a>(&self, bytes: &'a [u8]) -> Result<(&'a [u8; 32], &'a [u8]), Fault> {
        let ends = || Fault::Damaged("it ends in the header".into());
        let rest = bytes
            .strip_prefix(self.magic)
            .ok_or_else(|| Fault::Damaged("it does not start as one does".into()))?;
        let (schema, rest) = rest.split_first_chunk::<4>().ok_or_else(ends)?;
        let schema = u32::from_le_bytes(*schema);
        if schema != self.schema {
            return Err(Fault::Schema(schema));
        }
        rest.split_first_chunk::<32>().ok_or_else(ends)
    }

    pub fn open<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, Fault> {
        let damaged = |reason: &str| Fault::Damaged(reason.to_owned());
        let (hash, body) = self.body(bytes)?;
        if blake3::hash(body) != *hash {
            return Err(damaged("its checksum does not match: truncated or altered on the way"));
        }
        let (value, rest) = postcard::take_from_bytes::<T>(body)
            .map_err(|error| damaged(&format!("its body cannot be read: {error}")))?;
        if rest.is_empty() { Ok(value) } else { Err(damaged("bytes follow its end")) }
    }
}
