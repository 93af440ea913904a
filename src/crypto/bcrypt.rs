//! One bcrypt hash: taken apart within bounds, computed, compared.
//!
//! The shape is `$2b$10$` + 22 characters of salt + 31 of digest, as `crypt(5)` and OpenBSD write
//! it. `$2a$`, `$2b$` and `$2y$` are the same computation for every password this system meets;
//! `$2x$` marks hashes of a broken implementation with sign extension and is refused.
//!
//! This file is the only one that calls the `bcrypt` crate: interleaved lanes will replace the
//! one line in [`Bcrypt::digest_of`]. It must never know whether a hash is a user's secret or an
//! imported one.

use std::fmt;

use ::bcrypt as reference;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bcrypt_lanes::{Digest, Work};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::random::{self, RandomError};
use super::secret::Cost;

/// bcrypt reads this many bytes of a password and no more.
pub(super) const MAX_PASSWORD_BYTES: usize = 72;

/// A bcrypt at cost 0 would take about this long, in microseconds on one core (measured: 57 ms at
/// cost 10); each cost doubles it.
const MICROS_AT_COST_0: u32 = 56;

const HASH_BYTES: usize = 60;
const SALT_CHARACTERS: usize = 22;

/// bcrypt's own base 64. Its last characters carry unused bits which some old libraries set, so
/// they are not held against a hash.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::BCRYPT,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// Why a text is not a bcrypt hash that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotBcrypt {
    /// It has not the shape of one, or is of the refused variant `$2x$`.
    Malformed,
    /// It is one, with a cost outside the bounds of [`Cost`].
    CostOutOfBounds,
}

/// A bcrypt hash, taken apart.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub(super) struct Bcrypt {
    #[zeroize(skip)]
    cost: Cost,
    salt: [u8; 16],
    digest: [u8; 23],
}

impl Bcrypt {
    /// Takes a hash apart. Total: no text makes it panic, however it is shaped.
    pub(super) fn parse(text: &str) -> Result<Self, NotBcrypt> {
        if text.len() != HASH_BYTES || !text.is_ascii() {
            return Err(NotBcrypt::Malformed);
        }
        let rest = ["$2a$", "$2b$", "$2y$"]
            .iter()
            .find_map(|prefix| text.strip_prefix(prefix))
            .ok_or(NotBcrypt::Malformed)?;
        let (cost, rest) = rest.split_once('$').ok_or(NotBcrypt::Malformed)?;
        // By hand, because `parse` would take `+9` as well.
        let &[tens @ b'0'..=b'9', ones @ b'0'..=b'9'] = cost.as_bytes() else {
            return Err(NotBcrypt::Malformed);
        };
        let (salt, digest) = rest.split_at_checked(SALT_CHARACTERS).ok_or(NotBcrypt::Malformed)?;
        let (salt, digest) = (decode(salt)?, decode(digest)?);
        let cost = Cost::new(u32::from(tens - b'0') * 10 + u32::from(ones - b'0'))
            .map_err(|_| NotBcrypt::CostOutOfBounds)?;
        Ok(Self { cost, salt, digest })
    }

    /// Hashes `password` (its first 72 bytes) anew.
    pub(super) fn of(password: &[u8], cost: Cost) -> Result<Self, RandomError> {
        let mut hash = Self { cost, salt: *random::bytes()?, digest: [0; 23] };
        hash.digest = *hash.digest_of(password);
        Ok(hash)
    }

    /// A hash that no password is known to match, made without computing anything.
    pub(super) fn decoy(cost: Cost) -> Result<Self, RandomError> {
        Ok(Self { cost, salt: *random::bytes()?, digest: *random::bytes()? })
    }

    /// Whether `password` (its first 72 bytes) has this hash. A password with a NUL has none:
    /// implementations disagree on what it means, and to some `a NUL b` is `a`.
    pub(super) fn verify(&self, password: &[u8]) -> bool {
        !password.contains(&0) && self.digest_of(password).ct_eq(&self.digest).into()
    }

    /// As [`Self::verify`], with the computing left to the caller.
    pub(super) fn begin(&self, password: &[u8]) -> Begun {
        if password.contains(&0) {
            return Begun::Known(false);
        }
        let work = Work::new(self.cost.get(), self.salt, password);
        Begun::Trial(Trial { work, expected: Zeroizing::new(self.digest) })
    }

    /// The cost it was computed with.
    pub(super) fn cost(&self) -> Cost {
        self.cost
    }

    /// Written out as `$2b$`.
    pub(super) fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(HASH_BYTES));
        text.push_str("$2b$");
        text.extend(
            [self.cost.get() / 10, self.cost.get() % 10]
                .map(|digit| char::from_digit(digit, 10).unwrap_or_default()),
        );
        text.push('$');
        BASE64.encode_string(self.salt, &mut text);
        BASE64.encode_string(self.digest, &mut text);
        text
    }

    fn digest_of(&self, password: &[u8]) -> Zeroizing<[u8; 23]> {
        // The format reads the password with the NUL that ends it, as far as that has room.
        let mut key = Zeroizing::new([0; MAX_PASSWORD_BYTES]);
        for (to, from) in key.iter_mut().zip(password) {
            *to = *from;
        }
        let used = (password.len() + 1).min(MAX_PASSWORD_BYTES);
        let key = key.get(..used).unwrap_or(key.as_slice());
        let mut output = Zeroizing::new([0; 23]);
        // Of the 24 bytes computed, the format keeps 23.
        for (to, from) in output.iter_mut().zip(reference::bcrypt(self.cost.get(), self.salt, key))
        {
            *to = from;
        }
        output
    }
}

/// A bcrypt to be computed, and the digest that says yes. [`Bcrypt::verify`] in two halves, so that
/// several can be computed side by side.
pub(super) struct Trial {
    work: Work,
    expected: Zeroizing<[u8; 23]>,
}

impl Trial {
    /// What is to be computed.
    pub(super) fn work(&self) -> &Work {
        &self.work
    }

    /// Whether this is what was to come of it.
    pub(super) fn agrees(&self, computed: &Digest) -> bool {
        let (kept, _) = computed.split_at(self.expected.len());
        kept.ct_eq(self.expected.as_slice()).into()
    }
}

/// What verifying a password against a hash begins with.
pub(super) enum Begun {
    /// It is known already.
    Known(bool),
    /// This says it.
    Trial(Trial),
}

/// A new hash that lacks its digest. [`Bcrypt::of`] in two halves.
pub(super) struct Unfinished {
    cost: Cost,
    salt: [u8; 16],
}

impl Unfinished {
    /// A new salt.
    pub(super) fn new(cost: Cost) -> Result<Self, RandomError> {
        Ok(Self { cost, salt: *random::bytes()? })
    }

    /// What is to be computed for `password` (its first 72 bytes).
    pub(super) fn work(&self, password: &[u8]) -> Work {
        Work::new(self.cost.get(), self.salt, password)
    }

    /// The hash, with what came of it.
    pub(super) fn finish(self, computed: &Digest) -> Bcrypt {
        let mut digest = [0; 23];
        for (to, from) in digest.iter_mut().zip(computed.iter()) {
            *to = *from;
        }
        Bcrypt { cost: self.cost, salt: self.salt, digest }
    }
}

/// What one bcrypt at `cost` takes on one core, in microseconds.
pub(super) fn work(cost: Cost) -> u32 {
    MICROS_AT_COST_0 << cost.get()
}

fn decode<const N: usize>(text: &str) -> Result<[u8; N], NotBcrypt> {
    let mut bytes = [0; N];
    match BASE64.decode_slice(text, &mut bytes) {
        Ok(length) if length == N => Ok(bytes),
        _ => Err(NotBcrypt::Malformed),
    }
}

impl fmt::Debug for Bcrypt {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Bcrypt(cost {}, [redacted])", self.cost.get())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HASH: &str = "$2y$10$abcdefghijklmnopqrstuuGGgFFcYeueaAql8Z7U7CnCTRw4DR77W";

    #[test]
    fn a_hash_reads_and_writes() {
        let hash = Bcrypt::parse(HASH).unwrap();
        assert_eq!(hash.cost().get(), 10);
        assert_eq!(hash.to_text().as_str(), HASH.replace("$2y$", "$2b$"));
        for variant in ["$2a$", "$2b$"] {
            assert_eq!(Bcrypt::parse(&HASH.replace("$2y$", variant)).unwrap(), hash);
        }
    }

    #[test]
    fn it_agrees_with_the_crate() {
        let cost = Cost::new(4).unwrap();
        let lengths = [0, 1, 5, 71, 72, 73, 200];
        for password in lengths.map(|length| "p".repeat(length)) {
            let ours = Bcrypt::of(password.as_bytes(), cost).unwrap();
            assert!(reference::verify(&password, &ours.to_text()).unwrap());
            let theirs = reference::hash(&password, 4).unwrap();
            assert!(Bcrypt::parse(&theirs).unwrap().verify(password.as_bytes()));
        }
    }

    #[test]
    fn set_padding_bits_are_forgiven() {
        // The salt's 22nd character carries two bits; `u` is 0b11_0000, `v` sets one below them.
        let odd = HASH.replacen("stuuGG", "stuvGG", 1);
        assert_eq!(Bcrypt::parse(&odd).unwrap(), Bcrypt::parse(HASH).unwrap());
    }

    #[test]
    fn other_shapes_are_refused() {
        let malformed = [
            "",
            "$2x$10$abcdefghijklmnopqrstuuGGgFFcYeueaAql8Z7U7CnCTRw4DR77W",
            "$2$10$abcdefghijklmnopqrstuuGGgFFcYeueaAql8Z7U7CnCTRw4DR77Wx",
            "$2y$+9$abcdefghijklmnopqrstuuGGgFFcYeueaAql8Z7U7CnCTRw4DR77W",
            "$2y$9$abcdefghijklmnopqrstuuGGgFFcYeueaAql8Z7U7CnCTRw4DR77Wxx",
            "$2y$10$abcdefghijklmnopqrstuuGGgFFcYeueaAql8Z7U7CnCTRw4DR77",
            "$2y$10$abcdefghijklmnopqrstuuGGgFFcYeueaAql8Z7U7CnCTRw4DR77W:",
            "$2y$10$abcdefghijklmnopqrstu=GGgFFcYeueaAql8Z7U7CnCTRw4DR77W",
            "$2y$10$abcdefghijklmnopqrst\u{e9}\u{e9}GFFcYeueaAql8Z7U7CnCTRw4DR77W",
        ];
        for text in malformed {
            assert_eq!(Bcrypt::parse(text), Err(NotBcrypt::Malformed), "{text}");
        }
        for cost in ["00", "03", "15", "31", "99"] {
            let text = HASH.replace("$10$", &format!("${cost}$"));
            assert_eq!(Bcrypt::parse(&text), Err(NotBcrypt::CostOutOfBounds), "{text}");
        }
    }

    #[test]
    fn nul_matches_nothing() {
        let hash = Bcrypt::of(b"a", Cost::new(4).unwrap()).unwrap();
        assert!(hash.verify(b"a"));
        assert!(!hash.verify(b"a\0a"));
        assert!(!hash.verify(b"a\0"));
    }

    #[test]
    fn debug_is_redacted() {
        let hash = Bcrypt::parse(HASH).unwrap();
        assert_eq!(format!("{hash:?}"), "Bcrypt(cost 10, [redacted])");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,80}") {
            let _ = Bcrypt::parse(&text);
        }

        #[test]
        fn nothing_bcrypt_shaped_panics(tail in "\\PC{53}") {
            let _ = Bcrypt::parse(&format!("$2b$10${tail}"));
        }
    }
}
