//! Arrays of bytes, read eight at a time.
//!
//! serde knows no array of bytes: it reads one as a tuple, element by element, and a header has
//! more than a hundred of them. The log's layout gives a byte of a tuple one byte and a 64-bit
//! float eight, as they are; so the same bytes are read as floats and taken apart again. The stored
//! format is that of the plain array, which the golden files and the test below pin.

use std::fmt;

use serde::Deserializer;
use serde::de::{Error as _, SeqAccess, Visitor};

/// Bytes in one read.
const AT_ONCE: usize = size_of::<f64>();

/// Reads an array whose length is a multiple of eight, as the log's codec lays it out.
pub(super) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
    deserializer: D,
) -> Result<[u8; N], D::Error> {
    const { assert!(N.is_multiple_of(AT_ONCE)) };
    deserializer.deserialize_tuple(N / AT_ONCE, Eights::<N>)
}

struct Eights<const N: usize>;

impl<'de, const N: usize> Visitor<'de> for Eights<N> {
    type Value = [u8; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{N} bytes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut bytes: A) -> Result<[u8; N], A::Error> {
        let mut array = [0; N];
        for (at, eight) in array.chunks_exact_mut(AT_ONCE).enumerate() {
            let read: Option<f64> = bytes.next_element()?;
            let read = read.ok_or_else(|| A::Error::invalid_length(at, &self))?;
            eight.copy_from_slice(&read.to_bits().to_le_bytes());
        }
        Ok(array)
    }
}

#[cfg(test)]
mod tests {
    use crate::events::codec;
    use crate::events::event::EventKind;
    use crate::events::ids::{BlindIndex, DeploymentId, Digest, IdentityKind};
    use crate::events::record::{Header, Register, Subject};
    use crate::events::stamp::{EffectiveTime, Incarnation, Origin, Revision};

    #[test]
    fn every_pattern_of_bytes_comes_back_as_it_was() {
        let incarnation = Incarnation { counter: 1, tag: 7 };
        let (region, node) = ("eu".parse().unwrap(), "n1".parse().unwrap());
        // Among them are floats that are no numbers, quiet and signalling, of both signs.
        for (one, other) in [(0x00, 0xff), (0xff, 0xf0), (0xf0, 0x7f), (0x7f, 0xff), (0x01, 0xf7)] {
            let mut digest = [one; 32];
            digest.iter_mut().skip(7).step_by(8).for_each(|byte| *byte = other);
            digest.iter_mut().skip(6).step_by(8).for_each(|byte| *byte = one ^ 0x08);
            let header = Header {
                deployment: DeploymentId([other; 16]),
                origin: Origin { region, node, incarnation },
                sequence: 1,
                previous: Digest(digest),
                subject: Subject::Deployment,
                register: Register::Life,
                revision: Revision::from_bits(1),
                effective: EffectiveTime::LOWEST,
                cause: crate::events::event::Cause::default(),
                kind: EventKind(40),
                schema: 1,
                body: Digest([one; 32]),
            };
            let bytes = codec::encode_header(&header).unwrap();
            assert_eq!(codec::decode_header(&bytes).unwrap(), header);
            let cut = bytes.len() - 5;
            assert!(codec::decode_header(&bytes[..cut]).is_err());
        }
        let index = BlindIndex { kind: IdentityKind::Email, version: 1, mac: Digest([0xff; 32]) };
        let text = serde_json::to_string(&index).unwrap();
        assert_eq!(serde_json::from_str::<BlindIndex>(&text).unwrap(), index);
    }
}
