//! The central secret: the one password hash JCAS makes itself, bcrypt at the deployment's cost.
//!
//! bcrypt reads 72 bytes and stops at a NUL. A longer password would match by its beginning alone,
//! so a new one is refused rather than cut, and a longer attempt never matches.
//!
//! It must never know whose secret it is, or which passwords a company thinks too weak.

use std::fmt;

use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use bcrypt_lanes::{Digest, Work};

use super::bcrypt::{self, Bcrypt, Begun, MAX_PASSWORD_BYTES, Unfinished};
use super::random::RandomError;

/// bcrypt's work factor: 2^cost rounds. Between 4 (bcrypt's least) and 14 (a second on one core):
/// a greater one, in a single imported row, could burn a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost(u32);

/// A bcrypt cost outside 4..=14.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("bcrypt cost {0} is outside 4..=14")]
pub struct CostOutOfBounds(pub u32);

impl Cost {
    /// The cost, if it is within 4..=14.
    pub fn new(cost: u32) -> Result<Self, CostOutOfBounds> {
        if (4..=14).contains(&cost) { Ok(Self(cost)) } else { Err(CostOutOfBounds(cost)) }
    }

    /// The exponent, 4..=14.
    pub fn get(self) -> u32 {
        self.0
    }

    /// What hashing at this cost takes, in microseconds on one core of the machine it was measured
    /// on.
    pub fn relative_cost(self) -> u32 {
        bcrypt::work(self)
    }
}

/// A password as a person typed it: any text, wiped when dropped. Whether it may become a new
/// secret is [`check_new`]'s question; an old one is verified whatever it is.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Password(String);

impl Password {
    /// Takes the text over; the caller keeps no other copy.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for hashing and for nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Password([redacted])")
    }
}

/// Why a password cannot be a new secret (`password_refused`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PasswordRefused {
    /// It has no characters.
    #[error("the password is empty")]
    Empty,
    /// It has U+0000, at which bcrypt would end it.
    #[error("the password contains a NUL character")]
    Nul,
    /// It is longer than the 72 bytes of UTF-8 that bcrypt reads.
    #[error("the password is longer than 72 bytes")]
    TooLong,
}

/// A secret could not be made.
#[derive(Debug, Error)]
pub enum HashError {
    /// The password cannot be a secret.
    #[error(transparent)]
    Refused(#[from] PasswordRefused),
    /// There was no salt to hash with.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// A text is not a secret this system made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a secret's hash, or its cost is outside 4..=14")]
pub struct NotASecret;

/// The hash of a central secret, taken apart and within bounds.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretHash(Bcrypt);

impl SecretHash {
    /// Reads what [`SecretHash::to_text`] wrote, also when a peer did.
    pub fn parse(text: &str) -> Result<Self, NotASecret> {
        Bcrypt::parse(text).map(Self).map_err(|_| NotASecret)
    }

    /// A hash that nothing matches, at `cost`: verifying it makes an unknown user take as long as
    /// a known one. Costs nothing to make.
    pub fn decoy(cost: Cost) -> Result<Self, RandomError> {
        Bcrypt::decoy(cost).map(Self)
    }

    /// Written as bcrypt (`$2b$`, 60 characters), to be sealed.
    pub fn to_text(&self) -> Zeroizing<String> {
        self.0.to_text()
    }

    /// The cost it was made at.
    pub fn cost(&self) -> Cost {
        self.0.cost()
    }

    /// What verifying it takes, in microseconds on one core of the machine it was measured on.
    pub fn relative_cost(&self) -> u32 {
        bcrypt::work(self.0.cost())
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SecretHash(cost {}, [redacted])", self.cost().get())
    }
}

/// Whether `password` may become a secret.
pub fn check_new(password: &Password) -> Result<(), PasswordRefused> {
    let bytes = password.expose().as_bytes();
    if bytes.is_empty() {
        Err(PasswordRefused::Empty)
    } else if bytes.contains(&0) {
        Err(PasswordRefused::Nul)
    } else if bytes.len() > MAX_PASSWORD_BYTES {
        Err(PasswordRefused::TooLong)
    } else {
        Ok(())
    }
}

/// Makes a new secret of `password`. Takes 57 ms of a core at cost 10 and twice as long with each
/// cost above: on the hash pool only.
pub fn hash(password: &Password, cost: Cost) -> Result<SecretHash, HashError> {
    check_new(password)?;
    Ok(SecretHash(Bcrypt::of(password.expose().as_bytes(), cost)?))
}

/// Whether `password` is the one `hash` was made of. Takes as long as making it, except for what
/// [`check_new`] refuses: that never became a secret, and the one who asks knows it himself.
pub fn verify(password: &Password, hash: &SecretHash) -> bool {
    check_new(password).is_ok() && hash.0.verify(password.expose().as_bytes())
}

/// [`verify`] in two halves, with the computing between them left to the hash pool's lanes.
pub(super) fn begin_verify(password: &Password, hash: &SecretHash) -> Begun {
    if check_new(password).is_ok() {
        hash.0.begin(password.expose().as_bytes())
    } else {
        Begun::Known(false)
    }
}

/// A secret on its way: [`hash`] in two halves.
pub(super) struct Making(Unfinished);

impl Making {
    /// Draws the salt and says what is to be computed.
    pub(super) fn begin(password: &Password, cost: Cost) -> Result<(Self, Work), HashError> {
        check_new(password)?;
        let unfinished = Unfinished::new(cost)?;
        let work = unfinished.work(password.expose().as_bytes());
        Ok((Self(unfinished), work))
    }

    /// The secret, with what was computed.
    pub(super) fn finish(self, computed: &Digest) -> SecretHash {
        SecretHash(self.0.finish(computed))
    }
}

/// Whether a secret was made at less than the current cost. A higher one is kept: regions that are
/// configured differently would otherwise re-hash the same users in turns for ever.
pub fn needs_rehash(hash: &SecretHash, current: Cost) -> bool {
    hash.cost() < current
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cheap() -> Cost {
        Cost::new(4).unwrap()
    }

    fn password(text: impl Into<String>) -> Password {
        Password::new(text.into())
    }

    #[test]
    fn costs_are_bounded() {
        assert_eq!(Cost::new(3), Err(CostOutOfBounds(3)));
        assert_eq!(Cost::new(4).unwrap().get(), 4);
        assert_eq!(Cost::new(14).unwrap().get(), 14);
        assert_eq!(Cost::new(15), Err(CostOutOfBounds(15)));
        assert_eq!(Cost::new(u32::MAX), Err(CostOutOfBounds(u32::MAX)));
    }

    #[test]
    fn new_passwords_are_checked() {
        assert_eq!(check_new(&password("")), Err(PasswordRefused::Empty));
        assert_eq!(check_new(&password("a\0b")), Err(PasswordRefused::Nul));
        assert_eq!(check_new(&password("p".repeat(73))), Err(PasswordRefused::TooLong));
        assert_eq!(check_new(&password("\u{e9}".repeat(37))), Err(PasswordRefused::TooLong));
        assert_eq!(check_new(&password("p".repeat(72))), Ok(()));
        assert_eq!(check_new(&password("\u{e9}".repeat(36))), Ok(()));
        assert!(matches!(hash(&password(""), cheap()), Err(HashError::Refused(_))));
    }

    #[test]
    fn the_right_password_verifies_and_no_other() {
        let made = hash(&password("correct horse"), cheap()).unwrap();
        let stored = SecretHash::parse(&made.to_text()).unwrap();
        assert_eq!(stored, made);
        assert!(verify(&password("correct horse"), &stored));
        assert!(!verify(&password("correct horsf"), &stored));
        assert!(!verify(&password(""), &stored));
        assert!(!verify(&password("correct horse\0correct horse"), &stored));
    }

    #[test]
    fn what_bcrypt_would_cut_off_counts() {
        let made = hash(&password("p".repeat(72)), cheap()).unwrap();
        assert!(verify(&password("p".repeat(72)), &made));
        assert!(!verify(&password("p".repeat(73)), &made));
        assert!(!verify(&password("p".repeat(71)), &made));
    }

    #[test]
    fn equal_passwords_have_different_hashes() {
        let twice = [(); 2].map(|()| hash(&password("same"), cheap()).unwrap());
        assert_ne!(twice[0], twice[1]);
    }

    #[test]
    fn only_a_rise_in_cost_makes_a_rehash() {
        let made = hash(&password("p"), Cost::new(5).unwrap()).unwrap();
        assert!(needs_rehash(&made, Cost::new(6).unwrap()));
        assert!(!needs_rehash(&made, Cost::new(5).unwrap()));
        assert!(!needs_rehash(&made, Cost::new(4).unwrap()));
    }

    #[test]
    fn a_decoy_costs_the_same_and_matches_nothing() {
        let decoy = SecretHash::decoy(cheap()).unwrap();
        assert!(!verify(&password("correct horse"), &decoy));
        assert_eq!(decoy.relative_cost(), hash(&password("p"), cheap()).unwrap().relative_cost());
    }

    #[test]
    fn debug_is_redacted() {
        assert_eq!(format!("{:?}", password("hunter2")), "Password([redacted])");
        let shown = format!("{:?}", SecretHash::decoy(cheap()).unwrap());
        assert_eq!(shown, "SecretHash(cost 4, [redacted])");
    }
}
