//! Sealing: what is written down is encrypted and bound to the place it belongs to.
//!
//! One construction serves four forms, which differ in version byte, key id and domain, so that a
//! value of one can never be taken for a value of another:
//!
//! | form | version | key id | holds |
//! |---|---|---|---|
//! | user value | 1 | 8 bytes | a credential, an identity, a profile field, under a [`UserKey`] |
//! | wrapped key | 2 | 16 bytes | a user key, under a [`BranchKey`] |
//! | branch value | 3 | 16 bytes | a company's pepper or signing secret, under a [`BranchKey`] |
//! | job value | 4 | 8 bytes | rows and verdicts of a bulk sync, under its [`JobKey`] |
//!
//! ```text
//! version 1 | key id 8 or 16 | salt 16 | AES-256-CBC, PKCS#7, a multiple of 16 | tag 32
//! tag = HMAC-SHA-256(mac key, domain | context | everything before the tag)
//! data key, iv, mac key = HKDF-SHA-256(key, salt, domain | label): fresh with every write
//! ```
//!
//! The tag is checked before anything is decrypted, and [`OpenError`] is the answer to every
//! failure, so that an attacker learns nothing from how opening failed.
//!
//! It must never know where a sealed value is stored, or who may see it.

use std::fmt;

use aes::Aes256;
use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit, block_padding::Pkcs7};
use hmac::Mac;
use sha2::{Digest, Sha256};
use thiserror::Error;
use zeroize::Zeroizing;

use super::keyed::{self, Derivation, KEY_BYTES, length_prefixed};
use super::random::{self, RandomError};

/// The longest clear value that is sealed, in bytes (64 KiB).
pub const MAX_CLEAR_BYTES: usize = 64 * 1024;

const SALT_BYTES: usize = 16;
const TAG_BYTES: usize = 32;
const BLOCK_BYTES: usize = 16;
/// PKCS#7 always adds at least one byte, at most a block.
const MAX_CIPHERTEXT_BYTES: usize = MAX_CLEAR_BYTES + BLOCK_BYTES;

/// A value could not be sealed.
#[derive(Debug, Error)]
pub enum SealError {
    /// The clear value is longer than [`MAX_CLEAR_BYTES`].
    #[error("the value is too long to be sealed")]
    TooLong,
    /// There was no salt to seal with.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// A sealed value did not open: wrong key, wrong context, damaged, or not a sealed value at all.
/// Deliberately one error without detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the sealed value does not open")]
pub struct OpenError;

/// Where a sealed value belongs. All of it is bound into the tag, none of it is stored in it: the
/// value opens only for who knows the place it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context<'a> {
    /// The deployment's id.
    pub deployment: [u8; 16],
    /// The user's id, or the company's for its own secrets.
    pub subject: [u8; 16],
    /// The register the value is written to, by its stable name.
    pub register: &'a [u8],
    /// The hash profile a legacy credential came with.
    pub profile: Option<[u8; 16]>,
}

impl Context<'_> {
    /// The bytes that go into the tag; every part is behind its length, so no two contexts agree.
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64 + self.register.len());
        length_prefixed(&mut bytes, &self.deployment);
        length_prefixed(&mut bytes, &self.subject);
        length_prefixed(&mut bytes, self.register);
        // No profile has length 0, which no profile's id has.
        length_prefixed(&mut bytes, self.profile.as_ref().map_or(&[], |id| id.as_slice()));
        bytes
    }
}

/// What tells the forms of sealed values apart.
struct Form<const ID: usize> {
    version: u8,
    domain: &'static [u8],
}

const USER_VALUE: Form<8> = Form { version: 1, domain: b"jcas sealed user value v1" };
const WRAPPED_KEY: Form<16> = Form { version: 2, domain: b"jcas wrapped user key v1" };
const BRANCH_VALUE: Form<16> = Form { version: 3, domain: b"jcas sealed branch value v1" };
const JOB_VALUE: Form<8> = Form { version: 4, domain: b"jcas sealed job value v1" };

/// Defines a key of 32 secret bytes that is named by a digest of itself. Two types, because a
/// branch key where a user key is due must not compile.
macro_rules! sealing_key {
    ($(#[$doc:meta])* $name:ident, $id_bytes:literal, $id_domain:literal) => {
        $(#[$doc])*
        pub struct $name {
            secret: Zeroizing<[u8; KEY_BYTES]>,
            id: [u8; $id_bytes],
        }

        impl $name {
            /// A fresh key from the operating system's randomness.
            pub fn generate() -> Result<Self, RandomError> {
                Ok(Self::named(random::bytes()?))
            }

            /// The key in `secret`, which must be uniformly random.
            pub fn from_bytes(secret: [u8; KEY_BYTES]) -> Self {
                Self::named(Zeroizing::new(secret))
            }

            /// The key's name: the first bytes of SHA-256 over a domain and the key. It can be
            /// shown and stored in clear.
            pub fn id(&self) -> [u8; $id_bytes] {
                self.id
            }

            fn named(secret: Zeroizing<[u8; KEY_BYTES]>) -> Self {
                let digest = Sha256::new()
                    .chain_update($id_domain)
                    .chain_update(secret.as_slice())
                    .finalize();
                let mut id = [0; $id_bytes];
                for (to, from) in id.iter_mut().zip(digest) {
                    *to = from;
                }
                Self { secret, id }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, concat!(stringify!($name), "({}, [redacted])"), hex::encode(self.id))
            }
        }
    };
}

sealing_key! {
    /// Seals the values of one user. A user has one or more; every sealed value names its own.
    UserKey, 8, b"jcas user key id"
}

sealing_key! {
    /// One a node and month: wraps user keys and seals companies' secrets.
    BranchKey, 16, b"jcas branch key id"
}

sealing_key! {
    /// Seals what a bulk sync keeps on disk until it is done: one a job, in the file beside it only
    /// sealed under a branch key.
    JobKey, 8, b"jcas job key id"
}

impl JobKey {
    /// The secret bytes, to be sealed under a branch key and for nothing else.
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.secret
    }

    /// Seals a part of what the job keeps, for `context` only.
    pub fn seal(&self, context: &Context<'_>, clear: &[u8]) -> Result<Vec<u8>, SealError> {
        JOB_VALUE.seal(&self.secret, self.id, context, clear)
    }

    /// Opens what [`JobKey::seal`] made under the same key and context.
    pub fn open(
        &self,
        context: &Context<'_>,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        JOB_VALUE.open(&self.secret, self.id, context, sealed)
    }
}

/// Seals `clear` under `key`, for `context` only.
pub fn seal(key: &UserKey, context: &Context<'_>, clear: &[u8]) -> Result<Vec<u8>, SealError> {
    USER_VALUE.seal(&key.secret, key.id, context, clear)
}

/// Opens what [`seal`] made under the same key and context.
pub fn open(
    key: &UserKey,
    context: &Context<'_>,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    USER_VALUE.open(&key.secret, key.id, context, sealed)
}

/// Which user key a sealed user value names; none when it is not one. Nothing is verified: it
/// says which key to try, not that the key will open it.
pub fn key_of(sealed: &[u8]) -> Option<[u8; 8]> {
    USER_VALUE.split(sealed).map(|parts| *parts.key_id)
}

/// Which branch key a wrapped user key or a sealed branch value names; none when it is neither.
pub fn branch_of(sealed: &[u8]) -> Option<[u8; 16]> {
    let parts = WRAPPED_KEY.split(sealed).or_else(|| BRANCH_VALUE.split(sealed));
    parts.map(|parts| *parts.key_id)
}

/// A short mark of `clear`, the same for the same value in the same register of the same user, and
/// unrelated otherwise: it tells `unchanged` without opening anything.
pub fn fingerprint(key: &UserKey, register: &[u8], clear: &[u8]) -> [u8; 16] {
    let derivation = Derivation::new(b"", &key.secret);
    let tag = keyed::tag(&derivation.key(&[b"jcas fingerprint v1", register]), &[clear]);
    let mut mark = [0; 16];
    for (to, from) in mark.iter_mut().zip(tag) {
        *to = from;
    }
    mark
}

impl BranchKey {
    /// The secret bytes, for the KMS to wrap and for nothing else.
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.secret
    }

    /// Wraps a user's key, for `context` only.
    pub fn wrap(&self, context: &Context<'_>, key: &UserKey) -> Result<Vec<u8>, SealError> {
        WRAPPED_KEY.seal(&self.secret, self.id, context, key.secret.as_slice())
    }

    /// Opens what [`BranchKey::wrap`] made under the same key and context.
    pub fn unwrap_user_key(
        &self,
        context: &Context<'_>,
        wrapped: &[u8],
    ) -> Result<UserKey, OpenError> {
        let clear = WRAPPED_KEY.open(&self.secret, self.id, context, wrapped)?;
        let secret = <[u8; KEY_BYTES]>::try_from(clear.as_slice()).map_err(|_| OpenError)?;
        Ok(UserKey::named(Zeroizing::new(secret)))
    }

    /// Seals a company's secret, for `context` only.
    pub fn seal(&self, context: &Context<'_>, clear: &[u8]) -> Result<Vec<u8>, SealError> {
        BRANCH_VALUE.seal(&self.secret, self.id, context, clear)
    }

    /// Opens what [`BranchKey::seal`] made under the same key and context.
    pub fn open(
        &self,
        context: &Context<'_>,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        BRANCH_VALUE.open(&self.secret, self.id, context, sealed)
    }
}

/// The keys of one write.
struct DataKeys {
    cipher: Zeroizing<[u8; KEY_BYTES]>,
    iv: Zeroizing<[u8; BLOCK_BYTES]>,
    mac: Zeroizing<[u8; KEY_BYTES]>,
}

/// A sealed value taken apart by lengths; nothing is verified yet.
struct Parts<'a, const ID: usize> {
    key_id: &'a [u8; ID],
    salt: &'a [u8; SALT_BYTES],
    ciphertext: &'a [u8],
    /// Everything before the tag.
    tagged: &'a [u8],
    tag: &'a [u8; TAG_BYTES],
}

impl<const ID: usize> Form<ID> {
    fn seal(
        &self,
        secret: &[u8; KEY_BYTES],
        key_id: [u8; ID],
        context: &Context<'_>,
        clear: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        if clear.len() > MAX_CLEAR_BYTES {
            return Err(SealError::TooLong);
        }
        Ok(self.seal_with_salt(secret, key_id, context, clear, &*random::bytes()?))
    }

    /// Sealing without its one source of chance, so that tests can pin the format.
    fn seal_with_salt(
        &self,
        secret: &[u8; KEY_BYTES],
        key_id: [u8; ID],
        context: &Context<'_>,
        clear: &[u8],
        salt: &[u8; SALT_BYTES],
    ) -> Vec<u8> {
        let keys = self.data_keys(secret, salt);
        let cipher = cbc::Encryptor::<Aes256>::new(&(*keys.cipher).into(), &(*keys.iv).into());
        let ciphertext = cipher.encrypt_padded_vec::<Pkcs7>(clear);

        let mut sealed = Vec::with_capacity(1 + ID + SALT_BYTES + ciphertext.len() + TAG_BYTES);
        sealed.push(self.version);
        sealed.extend_from_slice(&key_id);
        sealed.extend_from_slice(salt);
        sealed.extend_from_slice(&ciphertext);
        let tag = self.mac(&keys, context, &sealed).finalize().into_bytes();
        sealed.extend_from_slice(&tag);
        sealed
    }

    fn open(
        &self,
        secret: &[u8; KEY_BYTES],
        key_id: [u8; ID],
        context: &Context<'_>,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let parts = self.split(sealed).ok_or(OpenError)?;
        if *parts.key_id != key_id {
            return Err(OpenError);
        }
        let keys = self.data_keys(secret, parts.salt);
        // Constant time; and before a single byte is decrypted.
        self.mac(&keys, context, parts.tagged).verify_slice(parts.tag).map_err(|_| OpenError)?;
        let cipher = cbc::Decryptor::<Aes256>::new(&(*keys.cipher).into(), &(*keys.iv).into());
        let clear = cipher.decrypt_padded_vec::<Pkcs7>(parts.ciphertext);
        clear.map(Zeroizing::new).map_err(|_| OpenError)
    }

    fn split<'a>(&self, sealed: &'a [u8]) -> Option<Parts<'a, ID>> {
        let (tagged, tag) = sealed.split_last_chunk()?;
        let (version, rest) = tagged.split_first()?;
        let (key_id, rest) = rest.split_first_chunk()?;
        let (salt, ciphertext) = rest.split_first_chunk()?;
        let whole_blocks = ciphertext.len().is_multiple_of(BLOCK_BYTES) && !ciphertext.is_empty();
        let ours =
            *version == self.version && whole_blocks && ciphertext.len() <= MAX_CIPHERTEXT_BYTES;
        ours.then_some(Parts { key_id, salt, ciphertext, tagged, tag })
    }

    fn data_keys(&self, secret: &[u8; KEY_BYTES], salt: &[u8; SALT_BYTES]) -> DataKeys {
        let derivation = Derivation::new(salt, secret);
        DataKeys {
            cipher: derivation.key(&[self.domain, b": cipher"]),
            iv: derivation.iv(&[self.domain, b": iv"]),
            mac: derivation.key(&[self.domain, b": mac"]),
        }
    }

    fn mac(&self, keys: &DataKeys, context: &Context<'_>, tagged: &[u8]) -> keyed::HmacSha256 {
        let mut preamble = Vec::new();
        length_prefixed(&mut preamble, self.domain);
        keyed::hmac(&keys.mac)
            .chain_update(preamble)
            .chain_update(context.encode())
            .chain_update(tagged)
    }
}

#[cfg(test)]
#[path = "sealing_test.rs"]
mod tests;
