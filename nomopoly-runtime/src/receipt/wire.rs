//! The wire format of everything about receipts: one schema, in the envelope of `crate::wire`.

use crate::Error;
use crate::wire::{Fault, Format};

/// Version of receipts, challenges, openings and stored inferences. Version 1 knew no parts of
/// tensors and hashed chunks of another size; it is refused by name.
pub const RECEIPT_SCHEMA: u32 = 2;

pub(super) const fn format(magic: &'static [u8; 8]) -> Format {
    Format { magic, schema: RECEIPT_SCHEMA }
}

macro_rules! on_the_wire {
    ($type:ident, $magic:literal, $what:literal) => {
        impl $type {
            /// The wire format.
            ///
            /// # Errors
            /// Never in practice: serialising plain data into memory.
            pub fn to_bytes(&self) -> crate::Result<Vec<u8>> {
                let sealed = super::wire::format($magic).seal(self);
                sealed.map_err(|reason| crate::Error::Stored { what: $what, reason })
            }

            /// Reads the wire format.
            ///
            /// # Errors
            /// [`Error::Stored`](crate::Error::Stored) for foreign, truncated or altered bytes, or
            /// another version's.
            pub fn from_bytes(bytes: &[u8]) -> crate::Result<Self> {
                let opened = super::wire::format($magic).open(bytes);
                opened.map_err(|fault| super::wire::stored(fault, $what))
            }
        }
    };
}
pub(super) use on_the_wire;

pub(super) fn stored(fault: Fault, what: &'static str) -> Error {
    let reason = match fault {
        Fault::Damaged(reason) => reason,
        Fault::Schema(got) => {
            format!("it has schema {got}, this version reads {RECEIPT_SCHEMA}")
        }
    };
    Error::Stored { what, reason }
}
