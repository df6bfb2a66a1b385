//! Frames as bytes: `MessagePack` with named fields, so that a reader skips what it does not know
//! and has a default for what an older writer left out.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Largest frame, in bytes. A larger one is neither sent nor read: the request fails, the link
/// lives on.
pub(crate) const FRAME_BYTES_MAX: usize = 16 << 20;

/// A frame that cannot be sent or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    /// Over [`FRAME_BYTES_MAX`].
    #[error("a frame of {0} bytes is too large")]
    TooLarge(usize),
    /// Not of this contract.
    #[error("not a frame of the contract: {0}")]
    Malformed(String),
}

/// A value as `MessagePack` with named fields.
///
/// # Errors
/// [`FrameError::TooLarge`], or a value that has no form in `MessagePack`.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, FrameError> {
    let bytes =
        rmp_serde::to_vec_named(value).map_err(|error| FrameError::Malformed(error.to_string()))?;
    if bytes.len() < FRAME_BYTES_MAX {
        Ok(bytes)
    } else {
        Err(FrameError::TooLarge(bytes.len()))
    }
}

/// The value in these bytes; unknown fields are skipped.
///
/// # Errors
/// [`FrameError::Malformed`].
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FrameError> {
    rmp_serde::from_slice(bytes).map_err(|error| FrameError::Malformed(error.to_string()))
}

/// Bytes as `MessagePack`'s own, not as a list of numbers.
pub(crate) mod raw {
    use std::fmt;

    use bytes::Bytes;
    use serde::de::{Deserializer, Error, Visitor};
    use serde::ser::Serializer;

    /// Writes them.
    ///
    /// # Errors
    /// Those of the writer.
    pub(crate) fn serialize<S: Serializer>(bytes: &Bytes, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes)
    }

    /// Reads them.
    ///
    /// # Errors
    /// Those of the reader.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        from.deserialize_byte_buf(Taken)
    }

    struct Taken;

    impl Visitor<'_> for Taken {
        type Value = Bytes;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes")
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
            Ok(Bytes::copy_from_slice(bytes))
        }

        fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
            Ok(Bytes::from(bytes))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_a_frame_is_not_written() {
        let text = "x".repeat(FRAME_BYTES_MAX);
        assert!(matches!(encode(&text), Err(FrameError::TooLarge(_))));
    }
}
