//! A KMS without a service: a region is an X25519 key pair, a wrapping is HPKE (RFC 9180).
//!
//! Base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305. The private half lies in
//! a file of the region's nodes, the public halves of all regions in the deployment's description.
//!
//! A wrapped key, version 1, 81 bytes:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 1 | version, 1; it stands for the suite above |
//! | 1 | 32 | HPKE's encapsulated key (`enc`) |
//! | 33 | 32 | the key, encrypted |
//! | 65 | 16 | Poly1305 tag |
//!
//! HPKE's `info` binds what the wrapping is for; `aad` is empty:
//!
//! | bytes | what |
//! |---|---|
//! | 17 | `jcas kms local v1` |
//! | 16 | deployment id |
//! | 1 | purpose ([`Purpose::number`](super::Purpose::number)) |
//! | 16 | branch key id |
//! | the rest | name of the region it is for |
//!
//! It must never know where its keys are kept.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use hpke::aead::{AeadTag, ChaCha20Poly1305};
use hpke::inout::InOutBuf;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{Deserializable, HpkeError, Kem, OpModeR, OpModeS, Serializable};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{EncryptionContext, KEY_BYTES, KeyMaterial, Kms, KmsError, KmsFuture, Sight};
use crate::events::ids::RegionId;

/// The version of new wrappings.
const VERSION: u8 = 1;

/// Bytes of an X25519 public key, and so of an encapsulated key.
const PUBLIC_BYTES: usize = 32;

/// Bytes of a Poly1305 tag.
const TAG_BYTES: usize = 16;

/// Bytes of a wrapped key.
pub const WRAPPED_BYTES: usize = 1 + PUBLIC_BYTES + KEY_BYTES + TAG_BYTES;

/// What every `info` begins with.
const LABEL: &[u8; 17] = b"jcas kms local v1";

type PrivateHalf = <X25519HkdfSha256 as Kem>::PrivateKey;
type PublicHalf = <X25519HkdfSha256 as Kem>::PublicKey;
type Encapsulated = <X25519HkdfSha256 as Kem>::EncappedKey;

/// The private half of a region's wrapping key. Wiped when dropped.
#[derive(Clone)]
pub struct WrappingSecret(PrivateHalf);

impl WrappingSecret {
    /// The key of these 32 random bytes, by RFC 9180's `DeriveKeyPair`. The same bytes are the same
    /// key for ever: they are what is stored.
    pub fn from_seed(seed: &[u8; KEY_BYTES]) -> Self {
        Self(X25519HkdfSha256::derive_keypair(seed).0)
    }

    /// The half that others wrap with.
    pub fn public(&self) -> WrappingPublicKey {
        WrappingPublicKey(X25519HkdfSha256::sk_to_pk(&self.0))
    }
}

impl fmt::Debug for WrappingSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WrappingSecret([redacted])")
    }
}

/// The public half of a region's wrapping key. As text it is hex.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WrappingPublicKey(PublicHalf);

/// A text is not the public half of a wrapping key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a wrapping key: it must be 64 hex digits")]
pub struct InvalidWrappingKey;

impl FromStr for WrappingPublicKey {
    type Err = InvalidWrappingKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = hex::decode(text).map_err(|_| InvalidWrappingKey)?;
        PublicHalf::from_bytes(&bytes).map(Self).map_err(|_| InvalidWrappingKey)
    }
}

impl TryFrom<String> for WrappingPublicKey {
    type Error = InvalidWrappingKey;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<WrappingPublicKey> for String {
    fn from(key: WrappingPublicKey) -> Self {
        key.to_string()
    }
}

impl fmt::Display for WrappingPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0.to_bytes()))
    }
}

impl fmt::Debug for WrappingPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The KMS of a region that keeps its key itself.
#[derive(Debug)]
pub struct LocalKms {
    region: RegionId,
    secret: WrappingSecret,
    /// Secrets the region had before, which open what was wrapped for them.
    former: Vec<WrappingSecret>,
    /// Every region that can be wrapped for, this one too.
    public: BTreeMap<RegionId, WrappingPublicKey>,
}

impl LocalKms {
    /// The KMS of `region`, which also wraps for `peers`. What `peers` says of the region itself
    /// does not count: its public half follows from its secret.
    pub fn new(
        region: RegionId,
        secret: WrappingSecret,
        peers: impl IntoIterator<Item = (RegionId, WrappingPublicKey)>,
    ) -> Self {
        let mut public: BTreeMap<_, _> = peers.into_iter().collect();
        public.insert(region, secret.public());
        Self { region, secret, former: Vec::new(), public }
    }

    /// Opens also what was wrapped for keys that the region had before.
    #[must_use]
    pub fn with_former(mut self, former: impl IntoIterator<Item = WrappingSecret>) -> Self {
        self.former.extend(former);
        self
    }

    /// The secrets that open, the one of now first.
    fn secrets(&self) -> impl Iterator<Item = &WrappingSecret> {
        std::iter::once(&self.secret).chain(&self.former)
    }

    fn wrap_with(
        &self,
        region: RegionId,
        key: &KeyMaterial,
        context: &EncryptionContext,
        source: impl FnMut(&mut [u8]) -> Result<(), getrandom::Error>,
    ) -> Result<Box<[u8]>, KmsError> {
        let public = self.public.get(&region).ok_or(KmsError::NoSuchRegion(region))?;
        let mut random = Draw { source, failed: None };
        let sealed = seal(&public.0, &info(context, region), key, &mut random);
        // Checked first: what was sealed without randomness must not be looked at.
        if let Some(failed) = random.failed {
            return Err(KmsError::Unavailable { region, source: Box::new(failed) });
        }
        sealed.map_err(|source| KmsError::Refused { region, source: Box::new(source) })
    }
}

impl Kms for LocalKms {
    fn region(&self) -> RegionId {
        self.region
    }

    fn wrap_key<'a>(
        &'a self,
        region: RegionId,
        key: &'a KeyMaterial,
        context: &'a EncryptionContext,
    ) -> KmsFuture<'a, Box<[u8]>> {
        Box::pin(async move { self.wrap_with(region, key, context, getrandom::fill) })
    }

    fn unwrap_key<'a>(
        &'a self,
        wrapped: &'a [u8],
        context: &'a EncryptionContext,
    ) -> KmsFuture<'a, KeyMaterial> {
        Box::pin(async move {
            let info = info(context, self.region);
            let opened = self.secrets().find_map(|secret| open(&secret.0, &info, wrapped));
            opened.ok_or(KmsError::Malformed)
        })
    }

    fn sight(&self, wrapped: &[u8], context: &EncryptionContext) -> Sight {
        let opened = open(&self.secret.0, &info(context, self.region), wrapped);
        opened.map_or(Sight::Former, Sight::Opens)
    }
}

/// What a wrapping is bound to. Only the last part varies in length, so no two contexts share one.
fn info(context: &EncryptionContext, region: RegionId) -> Vec<u8> {
    let purpose = [context.purpose.number()];
    let parts: [&[u8]; 5] =
        [LABEL, &context.deployment.0, &purpose, &context.key.0, region.as_str().as_bytes()];
    parts.concat()
}

/// Encrypts `key` to the holder of `public`'s private half and writes it as a wrapped key.
fn seal(
    public: &PublicHalf,
    info: &[u8],
    key: &KeyMaterial,
    random: &mut impl hpke::rand_core::CryptoRng,
) -> Result<Box<[u8]>, HpkeError> {
    let (encapsulated, mut sender) = hpke::setup_sender_with_rng::<
        ChaCha20Poly1305,
        HkdfSha256,
        X25519HkdfSha256,
    >(&OpModeS::Base, public, info, random)?;
    // Encrypted in place; wiped all the same, in case it is left half encrypted.
    let mut buffer = Zeroizing::new(*key.expose());
    let tag = sender.seal_inout_detached(InOutBuf::from(buffer.as_mut_slice()), &[])?;

    let mut wrapped = Vec::with_capacity(WRAPPED_BYTES);
    wrapped.push(VERSION);
    wrapped.extend_from_slice(&encapsulated.to_bytes());
    wrapped.extend_from_slice(buffer.as_slice());
    wrapped.extend_from_slice(&tag.to_bytes());
    Ok(wrapped.into_boxed_slice())
}

/// Reads a wrapped key and decrypts it; `None` for every reason why it does not open.
fn open(secret: &PrivateHalf, info: &[u8], wrapped: &[u8]) -> Option<KeyMaterial> {
    let (version, rest) = wrapped.split_first()?;
    let (encapsulated, rest) = rest.split_first_chunk::<PUBLIC_BYTES>()?;
    let (encrypted, tag) = rest.split_first_chunk::<KEY_BYTES>()?;
    if *version != VERSION {
        return None;
    }
    let encapsulated = Encapsulated::from_bytes(encapsulated).ok()?;
    let tag = AeadTag::<ChaCha20Poly1305>::from_bytes(tag).ok()?;
    let mut receiver = hpke::setup_receiver::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Base,
        secret,
        &encapsulated,
        info,
    )
    .ok()?;
    let mut key = KeyMaterial::new(encrypted);
    let buffer = InOutBuf::from(key.0.as_mut_slice());
    receiver.open_inout_detached(buffer, &[], &tag).ok()?;
    Some(key)
}

/// Randomness for hpke, which takes only a source that cannot fail. A failure is remembered here,
/// and who draws looks at it before anything made of the draw is used; hpke's own source panics.
struct Draw<F> {
    source: F,
    failed: Option<getrandom::Error>,
}

impl<F: FnMut(&mut [u8]) -> Result<(), getrandom::Error>> Draw<F> {
    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        if let Err(error) = (self.source)(bytes) {
            self.failed = Some(error);
        }
    }
}

impl<F: FnMut(&mut [u8]) -> Result<(), getrandom::Error>> TryRng for Draw<F> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(u32::from_le_bytes(self.bytes()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(u64::from_le_bytes(self.bytes()))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        self.fill(bytes);
        Ok(())
    }
}

impl<F: FnMut(&mut [u8]) -> Result<(), getrandom::Error>> TryCryptoRng for Draw<F> {}

#[cfg(test)]
#[path = "local_test.rs"]
mod tests;
