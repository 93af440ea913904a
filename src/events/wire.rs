//! How a header names whom an event is about and what it writes: a number and a few bytes.
//!
//! A newer version may know subjects and registers that this one does not. Their events are stored
//! and passed on, so their headers must be read and written back to the byte: what is not known is
//! kept as it came.

use arrayvec::ArrayVec;
use serde::{Deserialize, Serialize};

use super::ids::{BranchKeyId, Slot, UserId, UserKeyId};
use super::pair::Pair;
use super::record::{Register, Subject};

/// Longest name of a subject or register, in bytes.
const NAME_BYTES_MAX: usize = 40;

/// A subject or register of a newer version, as it came.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unknown {
    number: u16,
    len: u8,
    name: [u8; NAME_BYTES_MAX],
}

impl std::fmt::Debug for Unknown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Unknown({})", self.number)
    }
}

impl Unknown {
    fn of(wire: &Wire) -> Self {
        let mut name = [0; NAME_BYTES_MAX];
        for (place, byte) in name.iter_mut().zip(&wire.name) {
            *place = *byte;
        }
        Self { number: wire.number, len: u8::try_from(wire.name.len()).unwrap_or(u8::MAX), name }
    }

    fn bytes(&self) -> &[u8] {
        self.name.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// The stored form.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Wire {
    number: u16,
    name: ArrayVec<u8, NAME_BYTES_MAX>,
}

/// A number that is known with a name it cannot have.
#[derive(Debug, thiserror::Error)]
#[error("the name of subject or register {0} is not valid")]
pub(super) struct InvalidWire(u16);

impl Wire {
    fn new(number: u16, name: &[u8]) -> Self {
        Self { number, name: name.iter().copied().take(NAME_BYTES_MAX).collect() }
    }

    fn bytes<const N: usize>(&self) -> Result<[u8; N], InvalidWire> {
        self.name.as_slice().try_into().map_err(|_| InvalidWire(self.number))
    }

    fn text<T: std::str::FromStr>(&self) -> Result<T, InvalidWire> {
        let text = std::str::from_utf8(&self.name).ok().and_then(|text| text.parse().ok());
        text.ok_or(InvalidWire(self.number))
    }

    fn unnamed<T>(&self, known: T) -> Result<T, InvalidWire> {
        if self.name.is_empty() { Ok(known) } else { Err(InvalidWire(self.number)) }
    }

    fn pair(&self) -> Result<Pair, InvalidWire> {
        let wrong = InvalidWire(self.number);
        let (Some(one), Some(other)) = (self.name.first_chunk(), self.name.last_chunk()) else {
            return Err(wrong);
        };
        let pair = Pair::new(UserId::from_bytes(*one), UserId::from_bytes(*other));
        let whole = self.name.len() == 32;
        pair.filter(|pair| whole && pair.users().0.as_bytes() == one).ok_or(wrong)
    }

    fn slot(&self) -> Result<Slot, InvalidWire> {
        let text = std::str::from_utf8(&self.name).ok();
        let (company, country) =
            text.and_then(|text| text.split_once('/')).ok_or(InvalidWire(self.number))?;
        match (company.parse(), country.parse()) {
            (Ok(company), Ok(country)) => Ok(Slot { company, country }),
            _ => Err(InvalidWire(self.number)),
        }
    }
}

impl From<Subject> for Wire {
    fn from(subject: Subject) -> Self {
        match subject {
            Subject::User(user) => Self::new(1, user.as_bytes()),
            Subject::Pair(pair) => {
                let (one, other) = pair.users();
                let bytes: ArrayVec<u8, 32> =
                    one.as_bytes().iter().chain(other.as_bytes()).copied().collect();
                Self::new(2, &bytes)
            }
            Subject::Company(company) => Self::new(3, company.as_str().as_bytes()),
            Subject::Deployment => Self::new(4, &[]),
            Subject::Other(unknown) => Self::new(unknown.number, unknown.bytes()),
        }
    }
}

impl TryFrom<Wire> for Subject {
    type Error = InvalidWire;

    fn try_from(wire: Wire) -> Result<Self, InvalidWire> {
        match wire.number {
            1 => Ok(Self::User(UserId::from_bytes(wire.bytes()?))),
            2 => Ok(Self::Pair(wire.pair()?)),
            3 => Ok(Self::Company(wire.text()?)),
            4 => wire.unnamed(Self::Deployment),
            _ => Ok(Self::Other(Unknown::of(&wire))),
        }
    }
}

impl From<Register> for Wire {
    fn from(register: Register) -> Self {
        match register {
            Register::Registration => Self::new(1, &[]),
            Register::Status => Self::new(2, &[]),
            Register::Secret => Self::new(3, &[]),
            Register::Legacy(slot) => Self::new(4, slot.to_string().as_bytes()),
            Register::Identity => Self::new(5, &[]),
            Register::Profile => Self::new(6, &[]),
            Register::Membership(company) => Self::new(7, company.as_str().as_bytes()),
            Register::UserKey(key) => Self::new(8, &key.0),
            Register::Link => Self::new(9, &[]),
            Register::Erasure => Self::new(10, &[]),
            Register::ErasureConfirmed => Self::new(11, &[]),
            Register::Company => Self::new(20, &[]),
            Register::Policy => Self::new(21, &[]),
            Register::ApiKey(key) => Self::new(22, key.as_str().as_bytes()),
            Register::HashProfile(country) => Self::new(23, country.as_str().as_bytes()),
            Register::Life => Self::new(30, &[]),
            Register::BranchKey(key) => Self::new(31, &key.0),
            Register::Trust => Self::new(32, &[]),
            Register::Other(unknown) => Self::new(unknown.number, unknown.bytes()),
        }
    }
}

impl TryFrom<Wire> for Register {
    type Error = InvalidWire;

    fn try_from(wire: Wire) -> Result<Self, InvalidWire> {
        match wire.number {
            1 => wire.unnamed(Self::Registration),
            2 => wire.unnamed(Self::Status),
            3 => wire.unnamed(Self::Secret),
            4 => Ok(Self::Legacy(wire.slot()?)),
            5 => wire.unnamed(Self::Identity),
            6 => wire.unnamed(Self::Profile),
            7 => Ok(Self::Membership(wire.text()?)),
            8 => Ok(Self::UserKey(UserKeyId(wire.bytes()?))),
            9 => wire.unnamed(Self::Link),
            10 => wire.unnamed(Self::Erasure),
            11 => wire.unnamed(Self::ErasureConfirmed),
            20 => wire.unnamed(Self::Company),
            21 => wire.unnamed(Self::Policy),
            22 => Ok(Self::ApiKey(wire.text()?)),
            23 => Ok(Self::HashProfile(wire.text()?)),
            30 => wire.unnamed(Self::Life),
            31 => Ok(Self::BranchKey(BranchKeyId(wire.bytes()?))),
            32 => wire.unnamed(Self::Trust),
            _ => Ok(Self::Other(Unknown::of(&wire))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_newer_version_names_comes_back_to_the_byte() {
        let wire = Wire::new(999, b"something new");
        let back = Wire::from(Register::try_from(wire.clone()).unwrap());
        assert_eq!((back.number, back.name), (wire.number, wire.name.clone()));
        let back = Wire::from(Subject::try_from(wire.clone()).unwrap());
        assert_eq!((back.number, back.name), (wire.number, wire.name));
    }

    #[test]
    fn a_known_number_with_an_impossible_name_is_refused() {
        for number in [1, 2, 3, 4, 5, 7, 8, 22, 23, 31] {
            assert!(Register::try_from(Wire::new(number, b"?")).is_err(), "register {number}");
        }
        for number in [1, 2, 3, 4] {
            assert!(Subject::try_from(Wire::new(number, b"?")).is_err(), "subject {number}");
        }
        let doubled = [7_u8; 32];
        assert!(Subject::try_from(Wire::new(2, &doubled)).is_err(), "a pair with itself");
    }
}
