//! Password hashes that companies bring from their old shops.
//!
//! ```text
//! hash, salt, profile --admit--> LegacyHash          at the door and at every login
//! LegacyHash, password --verify--> yes or no         on the hash pool only
//! ```
//!
//! [`admit`] says no to whatever is malformed, unknown or too expensive, before it is stored and
//! again when it comes from a peer; so [`verify`] is total and its work is bounded.
//!
//! A format is one file with the functions of `Scheme` and `Parsed`, and one line in the
//! table below. A format that is recognised by its hash needs no profile; 32 bare hex digits are at
//! least six different formats, so those need one.
//!
//! This room must never know whose hash it holds, which company it came from, or that there is
//! something newer.

mod argon2;
mod aspnet;
mod authlogic;
mod bcrypt;
mod computation;
mod cost;
mod devise;
mod digest;
mod django;
pub mod doctor;
mod encoding;
mod firebase;
mod hashes;
mod joomla;
mod keycloak;
mod ldap;
mod magento1;
mod magento2;
mod md5crypt;
mod nopcommerce;
mod opencart;
mod oscommerce;
mod parameters;
mod passlib;
mod password;
mod pbkdf2;
mod phpass;
mod prestashop;
mod profile;
mod salted;
mod scrypt;
mod sha1crypt;
mod shacrypt;
mod shopware;
mod symfony;
mod wordpress68;
mod yescrypt;

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

pub use self::cost::Limits;
use self::cost::{MAX_MICROS_FOR_LENGTH, USUAL_PASSWORD_BYTES};
use self::password::{Position, Recipe};
pub use self::profile::{HashProfile, InvalidProfile};
use super::bcrypt::{Begun, Trial};
use super::secret::Password;

/// No format's hash is longer, in bytes.
pub const MAX_HASH_BYTES: usize = 1024;

/// The longest salt that is taken from its own column, in bytes.
pub const MAX_SALT_BYTES: usize = 256;

/// A longer password matches no imported hash, in bytes: no format allows more, and some hash the
/// whole of it in every round.
pub const MAX_PASSWORD_BYTES: usize = 4096;

/// Why a hash is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HashRejected {
    /// Its format is unknown, malformed, or not the profile's (`unsupported_hash`).
    #[error("the hash is of no supported format")]
    UnsupportedHash,
    /// Verifying it would cost too much (`hash_cost_out_of_bounds`).
    #[error("the cost of the hash is out of bounds")]
    CostOutOfBounds,
    /// Hash or salt are longer than any format's (`unsupported_hash`).
    #[error("the hash or its salt is too long")]
    TooLong,
    /// Its format keeps the salt in its own column, and none came (`unsupported_hash`).
    #[error("the hash needs a salt")]
    SaltRequired,
    /// A salt came that is not encoded as the profile says, or that the format has no use for
    /// (`unsupported_hash`).
    #[error("the salt does not belong to the hash")]
    SaltRefused,
}

/// A hash as a company wrote it, of bounded length.
#[derive(Clone, Copy)]
struct Stored<'a> {
    hash: &'a str,
    salt: Option<&'a str>,
    /// The profile's pepper, for schemes that key with it; empty when there is none.
    pepper: &'a [u8],
    limits: Limits,
}

impl<'a> Stored<'a> {
    fn new(hash: &'a str, salt: Option<&'a str>, limits: Limits) -> Result<Self, HashRejected> {
        let salt_bytes = salt.map_or(0, str::len);
        if hash.len() > MAX_HASH_BYTES || salt_bytes > MAX_SALT_BYTES {
            return Err(HashRejected::TooLong);
        }
        // No format writes anything else.
        if !hash.is_ascii() {
            return Err(HashRejected::UnsupportedHash);
        }
        // Of an empty column and an absent one, both mean that there is no salt.
        Ok(Self { hash, salt: salt.filter(|salt| !salt.is_empty()), pepper: &[], limits })
    }

    /// For formats that keep everything in the hash.
    fn without_salt(self) -> Result<&'a str, HashRejected> {
        if self.salt.is_some() { Err(HashRejected::SaltRefused) } else { Ok(self.hash) }
    }
}

/// A format: its own parameters, as a profile writes them.
trait Scheme {
    /// A hash of this format.
    type Hash: Parsed;

    /// Where a pepper goes when the profile does not say.
    const PEPPER: Position = Position::Prefix;

    /// Whether a hash is of this format by its looks alone, whatever the parameters.
    fn recognises(_hash: &str) -> bool {
        false
    }

    /// Whether the pepper is this scheme's key and not a part of the password.
    fn keys_with_pepper(&self) -> bool {
        false
    }

    /// Checks the parameters when a profile is declared; `peppered` says whether it has a pepper.
    fn validate(&self, _peppered: bool) -> Result<(), InvalidProfile> {
        Ok(())
    }

    /// Takes a hash apart and checks its shape and its cost.
    fn parse(&self, stored: Stored<'_>) -> Result<Self::Hash, HashRejected>;
}

/// A hash taken apart, ready to be verified any number of times.
trait Parsed {
    /// Whether `password`, as its recipe prepared it, has this hash. Compares in constant time.
    fn verify(&self, password: &[u8]) -> bool;

    /// As [`Self::verify`]; a format that is a bcrypt leaves the computing to the lanes.
    fn begin(&self, password: &[u8]) -> Begun {
        Begun::Known(self.verify(password))
    }

    /// What verifying a password of this length takes, in microseconds on one core of the machine
    /// it was measured on; at least 1.
    fn cost(&self, password_bytes: usize) -> u32;
}

/// Makes the table of formats: the parameters of each under its name, and its hashes.
macro_rules! schemes {
    ($($name:literal => $variant:ident in $file:ident),+ $(,)?) => {
        /// A profile's scheme with its own parameters.
        #[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "scheme")]
        enum AnyScheme {
            $(#[serde(rename = $name)] $variant($file::$variant),)+
        }

        impl AnyScheme {
            #[cfg(test)]
            const NAMES: [&str; [$($name),+].len()] = [$($name),+];

            /// The format that a hash shows by its looks, with that format's usual parameters.
            fn recognise(hash: &str) -> Option<Self> {
                $(if $file::$variant::recognises(hash) {
                    return Some(Self::$variant($file::$variant::default()));
                })+
                None
            }

            fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name,)+ }
            }

            fn keys_with_pepper(&self) -> bool {
                match self { $(Self::$variant(scheme) => scheme.keys_with_pepper(),)+ }
            }

            fn validate(&self, peppered: bool) -> Result<(), InvalidProfile> {
                match self { $(Self::$variant(scheme) => scheme.validate(peppered),)+ }
            }

            fn pepper_position(&self) -> Position {
                match self { $(Self::$variant(_) => $file::$variant::PEPPER,)+ }
            }

            fn parse(&self, stored: Stored<'_>) -> Result<AnyHash, HashRejected> {
                match self {
                    $(Self::$variant(scheme) => scheme.parse(stored).map(AnyHash::$variant),)+
                }
            }
        }

        /// A hash of any format.
        #[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
        enum AnyHash {
            $($variant(<$file::$variant as Scheme>::Hash),)+
        }

        impl AnyHash {
            fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name,)+ }
            }

            fn verify(&self, password: &[u8]) -> bool {
                match self { $(Self::$variant(hash) => Parsed::verify(hash, password),)+ }
            }

            fn begin(&self, password: &[u8]) -> Begun {
                match self { $(Self::$variant(hash) => Parsed::begin(hash, password),)+ }
            }

            fn cost(&self, password_bytes: usize) -> u32 {
                match self { $(Self::$variant(hash) => Parsed::cost(hash, password_bytes),)+ }
            }
        }
    };
}

schemes! {
    "bcrypt" => Bcrypt in bcrypt,
    "wordpress68" => Wordpress68 in wordpress68,
    "phpass" => Phpass in phpass,
    "drupal7" => Drupal7 in phpass,
    "drupal7-md5wrap" => Drupal7Md5Wrap in phpass,
    "django" => Django in django,
    "joomla-sha256" => JoomlaSha256 in joomla,
    "ldap" => Ldap in ldap,
    "md5crypt" => Md5Crypt in md5crypt,
    "apr1" => Apr1 in md5crypt,
    "sha1crypt" => Sha1Crypt in sha1crypt,
    "sha256crypt" => Sha256Crypt in shacrypt,
    "sha512crypt" => Sha512Crypt in shacrypt,
    "yescrypt" => Yescrypt in yescrypt,
    "scrypt7" => Scrypt7 in yescrypt,
    "argon2" => Argon2 in argon2,
    "passlib-pbkdf2" => PasslibPbkdf2 in passlib,
    "magento2" => Magento2 in magento2,
    "keycloak" => Keycloak in keycloak,
    "magento1" => Magento1 in magento1,
    "prestashop" => Prestashop in prestashop,
    "opencart" => Opencart in opencart,
    "joomla-md5" => JoomlaMd5 in joomla,
    "oscommerce" => Oscommerce in oscommerce,
    "shopware-md5" => ShopwareMd5 in shopware,
    "shopware-sha256" => ShopwareSha256 in shopware,
    "symfony-message-digest" => SymfonyMessageDigest in symfony,
    "symfony-pbkdf2" => SymfonyPbkdf2 in symfony,
    "aspnet-identity" => AspnetIdentity in aspnet,
    "nopcommerce" => Nopcommerce in nopcommerce,
    "devise" => Devise in devise,
    "authlogic" => Authlogic in authlogic,
    "firebase-scrypt" => FirebaseScrypt in firebase,
    "digest" => Digest in digest,
}

/// An admitted hash, with what is to be done to a password before it is compared.
#[derive(Clone, PartialEq, Eq)]
pub struct LegacyHash {
    hash: AnyHash,
    recipe: Recipe,
}

impl LegacyHash {
    /// The format's name.
    pub fn scheme(&self) -> &'static str {
        self.hash.name()
    }

    /// What verifying a password of usual length takes at most, in microseconds on one core of the
    /// machine it was measured on. Cheap ones are worth trying first.
    pub fn relative_cost(&self) -> u32 {
        self.hash.cost(USUAL_PASSWORD_BYTES).saturating_mul(self.recipe.attempts())
    }

    /// The same for this password, which may be long.
    pub fn cost_for(&self, password: &Password) -> u32 {
        let forms = self.prepare(password);
        forms.iter().fold(0, |sum: u32, bytes| sum.saturating_add(self.hash.cost(bytes.len())))
    }

    /// The forms of a password that are worth comparing.
    fn prepare(&self, password: &Password) -> Vec<Zeroizing<Vec<u8>>> {
        if password.expose().len() > MAX_PASSWORD_BYTES {
            return Vec::new();
        }
        let mut forms = self.recipe.prepare(password.expose());
        let most = self.hash.cost(USUAL_PASSWORD_BYTES).max(MAX_MICROS_FOR_LENGTH);
        forms.retain(|bytes| self.hash.cost(bytes.len()) <= most);
        forms
    }
}

impl fmt::Debug for LegacyHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "LegacyHash({}, [redacted])", self.hash.name())
    }
}

/// Checks a hash at the door: its format, its shape, its cost. `salt` is the content of its own
/// column; `profile` the hash profile it came with; `limits` what the operator lets in.
///
/// The profile's scheme is asked first. A hash that is not of it but describes itself is taken for
/// what it is, since shops move on and keep one column; what the shop does to every password it
/// receives still holds then, but the old scheme's pepper does not.
pub fn admit(
    hash: &str,
    salt: Option<&str>,
    profile: Option<&HashProfile>,
    limits: Limits,
) -> Result<LegacyHash, HashRejected> {
    let stored = Stored::new(hash, salt, limits)?;
    let Some(profile) = profile else { return self_described(stored, Recipe::default()) };
    match profile.parse(stored) {
        Ok(hash) => Ok(LegacyHash { hash, recipe: profile.recipe() }),
        Err(HashRejected::UnsupportedHash) => {
            self_described(stored, profile.recipe().without_pepper())
        }
        Err(rejected) => Err(rejected),
    }
}

fn self_described(stored: Stored<'_>, recipe: Recipe) -> Result<LegacyHash, HashRejected> {
    let scheme = AnyScheme::recognise(stored.hash).ok_or(HashRejected::UnsupportedHash)?;
    // The column may hold the salts of older rows' formats; this hash has its own.
    let hash = scheme.parse(Stored { salt: None, ..stored })?;
    Ok(LegacyHash { hash, recipe })
}

/// Whether `password` has this hash. May take long: on the hash pool only.
pub fn verify(hash: &LegacyHash, password: &Password) -> bool {
    hash.prepare(password).iter().any(|bytes| hash.hash.verify(bytes))
}

/// What verifying a password against a hash comes down to.
pub(super) enum Trials {
    /// It is known already: the format is no bcrypt.
    Known(bool),
    /// One for each way the shop may have read the password, the likeliest last; any of them says
    /// yes.
    Bcrypts(Vec<Trial>),
}

/// As [`verify`], with bcrypts left to the hash pool's lanes. Of other formats it computes what
/// there is to compute.
pub(super) fn begin_verify(hash: &LegacyHash, password: &Password) -> Trials {
    let mut trials = Vec::new();
    for bytes in &hash.prepare(password) {
        match hash.hash.begin(bytes) {
            Begun::Known(true) => return Trials::Known(true),
            Begun::Known(false) => {}
            Begun::Trial(trial) => trials.push(trial),
        }
    }
    trials.reverse();
    if trials.is_empty() { Trials::Known(false) } else { Trials::Bcrypts(trials) }
}

#[cfg(test)]
#[path = "hostile_test.rs"]
mod hostile;
#[cfg(test)]
#[path = "legacy_test.rs"]
mod tests;
