//! Regions' master keys in AWS KMS, or in what speaks its language: a client and a key a region.
//!
//! A wrapped key, version 2:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 1 | version, 2 |
//! | 1 | 2 | length of the name, big endian |
//! | 3 | that many | name (ARN) of the master key that wrapped it |
//! | then | the rest | what the KMS made |
//!
//! The encryption context has four members: `jcas:deployment`, `jcas:purpose`, `jcas:region` and
//! `jcas:branch-key`. The name only says which key to ask for; it must be one of the settings'.
//!
//! It must never take a deadline for an answer: who asks sets one ([`super::guard`]).

mod credentials;
mod failures;
mod http;
mod roles;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use aws_sdk_kms::Client;
use aws_sdk_kms::config::retry::RetryConfig;
use aws_sdk_kms::config::timeout::TimeoutConfig;
use aws_sdk_kms::config::{
    BehaviorVersion, Config, IdentityCache, Region, SharedCredentialsProvider, SharedIdentityCache,
    StalledStreamProtectionConfig,
};
use aws_sdk_kms::primitives::Blob;
use zeroize::Zeroizing;

use self::credentials::KeyFile;
use self::failures::{failure, odd};
use self::http::Carrier;
use super::{EncryptionContext, KeyMaterial, Kms, KmsError, KmsFuture, Sight};
use crate::events::ids::RegionId;

/// The version of wrappings that AWS KMS made.
const VERSION: u8 = 2;

/// A region's master key.
#[derive(Debug, Clone)]
pub struct MasterKey {
    /// The region of JCAS.
    pub region: RegionId,
    /// The key's id or ARN; no alias, since what an alias names may change.
    pub key: String,
    /// Keys it had before, which still open what they wrapped.
    pub former: Vec<String>,
    /// The region of AWS.
    pub aws_region: String,
    /// Where to ask; none for where AWS has it.
    pub endpoint: Option<String>,
}

/// What a client of AWS KMS is made of.
#[derive(Debug, Clone)]
pub struct AwsParts {
    /// The region whose wrappings are opened here.
    pub own: RegionId,
    /// Every region's master key.
    pub keys: Vec<MasterKey>,
    /// A file with credentials; none: those of the environment, and where it has none those of the
    /// role that it names.
    pub credentials: Option<PathBuf>,
    /// Whether the role may be that of the instance, which nothing in the environment names.
    pub instance_role: bool,
    /// Certificates to trust, PEM; none: the well-known ones.
    pub ca_file: Option<PathBuf>,
    /// How often a call is tried, in all.
    pub attempts: u32,
    /// How long one attempt may take.
    pub attempt_timeout: Duration,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum AwsSetUpError {
    /// The region has no master key.
    #[error("keys.aws.regions names no key for region {0}")]
    NoKey(RegionId),
    /// The certificates to trust cannot be used.
    #[error("{} cannot be used: {reason}", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// One region's key and the way to it.
struct Master {
    client: Client,
    key: String,
    former: Vec<String>,
}

/// AWS KMS as one region reaches it.
pub struct AwsKms {
    own: RegionId,
    masters: BTreeMap<RegionId, Master>,
}

impl AwsKms {
    /// A client a region. Nothing is asked yet.
    pub fn new(parts: &AwsParts) -> Result<Self, AwsSetUpError> {
        let carrier = Carrier::new(parts.ca_file.as_deref(), parts.attempt_timeout)?;
        let identity = Identity::of(parts, &carrier);
        let masters = parts.keys.iter().map(|key| {
            let client = client(parts, key, &identity, carrier.clone());
            let (name, former) = (key.key.clone(), key.former.clone());
            (key.region, Master { client, key: name, former })
        });
        let masters: BTreeMap<_, _> = masters.collect();
        if !masters.contains_key(&parts.own) {
            return Err(AwsSetUpError::NoKey(parts.own));
        }
        Ok(Self { own: parts.own, masters })
    }

    fn master(&self, region: RegionId) -> Result<&Master, KmsError> {
        self.masters.get(&region).ok_or(KmsError::NoSuchRegion(region))
    }

    async fn wrap(
        &self,
        region: RegionId,
        key: &KeyMaterial,
        context: &EncryptionContext,
    ) -> Result<Box<[u8]>, KmsError> {
        let master = self.master(region)?;
        let call = master.client.encrypt().key_id(&master.key);
        let call = call.set_encryption_context(Some(bound(context, region)));
        let answered = call.plaintext(Blob::new(key.expose().as_slice())).send().await;
        let answer = answered.map_err(|error| failure(region, &error))?;
        let (Some(name), Some(blob)) = (answer.key_id, answer.ciphertext_blob) else {
            return Err(odd(region, "its answer lacks the key's name or the wrapped key"));
        };
        written(&name, blob.as_ref()).ok_or_else(|| odd(region, "the key's name is too long"))
    }

    async fn unwrap(
        &self,
        wrapped: &[u8],
        context: &EncryptionContext,
    ) -> Result<KeyMaterial, KmsError> {
        let region = self.own;
        let master = self.master(region)?;
        let (name, blob) = read(wrapped).ok_or(KmsError::Malformed)?;
        if !master.is_own(name) {
            let problem = format!("it was wrapped by {name}, which the settings do not name");
            return Err(KmsError::Refused { region, source: problem.into() });
        }
        let call = master.client.decrypt().key_id(name).ciphertext_blob(Blob::new(blob));
        let call = call.set_encryption_context(Some(bound(context, region)));
        let answer = call.send().await.map_err(|error| failure(region, &error))?;
        let clear = answer.plaintext.ok_or_else(|| odd(region, "its answer lacks the key"))?;
        let clear = Zeroizing::new(clear.into_inner());
        let bytes = clear.as_slice().try_into().map_err(|_| KmsError::Malformed)?;
        Ok(KeyMaterial::new(bytes))
    }
}

impl Master {
    /// Whether a name is that of the region's key or of one it had before.
    fn is_own(&self, name: &str) -> bool {
        std::iter::once(&self.key).chain(&self.former).any(|key| names(key, name))
    }
}

impl Kms for AwsKms {
    fn region(&self) -> RegionId {
        self.own
    }

    fn wrap_key<'a>(
        &'a self,
        region: RegionId,
        key: &'a KeyMaterial,
        context: &'a EncryptionContext,
    ) -> KmsFuture<'a, Box<[u8]>> {
        Box::pin(self.wrap(region, key, context))
    }

    fn unwrap_key<'a>(
        &'a self,
        wrapped: &'a [u8],
        context: &'a EncryptionContext,
    ) -> KmsFuture<'a, KeyMaterial> {
        Box::pin(self.unwrap(wrapped, context))
    }

    fn sight(&self, wrapped: &[u8], _: &EncryptionContext) -> Sight {
        let master = self.masters.get(&self.own);
        match read(wrapped).filter(|(name, _)| master.is_some_and(|it| names(&it.key, name))) {
            Some(_) => Sight::Named,
            None => Sight::Former,
        }
    }
}

/// Who this node is to the KMS of every region.
struct Identity {
    provider: SharedCredentialsProvider,
    cache: SharedIdentityCache,
}

impl Identity {
    /// What is given is read anew for every call; what is fetched is kept until shortly before its
    /// end.
    fn of(parts: &AwsParts, carrier: &Carrier) -> Self {
        let given = KeyFile::new(parts.credentials.clone());
        let mut own = parts.keys.iter().filter(|key| key.region == parts.own);
        let own = own.next().map(|key| key.aws_region.as_str()).unwrap_or_default();
        let role = || roles::role(parts.instance_role, own, carrier);
        match if given.is_named() { None } else { role() } {
            Some(role) => Self {
                provider: SharedCredentialsProvider::new(role),
                cache: IdentityCache::lazy().load_timeout(parts.attempt_timeout).build(),
            },
            None => Self {
                provider: SharedCredentialsProvider::new(given),
                cache: SharedIdentityCache::new(IdentityCache::no_cache()),
            },
        }
    }
}

fn client(parts: &AwsParts, key: &MasterKey, identity: &Identity, carrier: Carrier) -> Client {
    let mut config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(key.aws_region.clone()))
        .credentials_provider(identity.provider.clone())
        .identity_cache(identity.cache.clone())
        .http_client(carrier)
        .retry_config(RetryConfig::standard().with_max_attempts(parts.attempts))
        .timeout_config(
            TimeoutConfig::builder().operation_attempt_timeout(parts.attempt_timeout).build(),
        )
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if let Some(endpoint) = &key.endpoint {
        config = config.endpoint_url(endpoint);
    }
    Client::from_conf(config.build())
}

/// What a wrapping is bound to, as text.
fn bound(context: &EncryptionContext, region: RegionId) -> HashMap<String, String> {
    let members = [
        ("deployment", context.deployment.to_string()),
        ("purpose", context.purpose.as_str().to_owned()),
        ("region", region.to_string()),
        ("branch-key", context.key.to_string()),
    ];
    members.into_iter().map(|(name, value)| (format!("jcas:{name}"), value)).collect()
}

/// Whether the `key` of the settings, an id or an ARN, is the one with this ARN.
fn names(key: &str, arn: &str) -> bool {
    arn == key || arn.rsplit_once('/').is_some_and(|(_, id)| id == key)
}

fn written(name: &str, blob: &[u8]) -> Option<Box<[u8]>> {
    let length = u16::try_from(name.len()).ok()?.to_be_bytes();
    Some([&[VERSION], length.as_slice(), name.as_bytes(), blob].concat().into())
}

/// The name of the master key, and what the KMS made.
fn read(wrapped: &[u8]) -> Option<(&str, &[u8])> {
    let (version, rest) = wrapped.split_first()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (name, blob) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    (*version == VERSION).then_some((std::str::from_utf8(name).ok()?, blob))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapping_names_its_key() {
        let arn = "arn:aws:kms:eu-central-1:1:key/0a-1b";
        let wrapped = written(arn, b"made").unwrap();
        assert_eq!(read(&wrapped), Some((arn, b"made".as_slice())));
        assert!(names("0a-1b", arn) && names(arn, arn) && !names("1b", arn) && !names("", arn));
        for damaged in [&wrapped[..0], &wrapped[..2], &wrapped[..9], &[1, 0, 0, 7], &[]] {
            assert_eq!(read(damaged), None);
        }
    }
}
