//! Companies, their API keys and their hash profiles: what operators set up.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::actors::registry::RegistryFailure;
use crate::clock;
use crate::crypto::legacy::HashProfile;
use crate::events::command::Outcome;
use crate::events::decide_registry::{RegistryCommand, RegistryRejection};
use crate::events::event::{
    ApiKeyIssued, Cause, CompanyRegistered, HashProfileDeclared, OriginDistrusted, PolicySet,
};
use crate::events::ids::{ApiKeyId, CompanyId, Country, HashProfileId, ProfileName, Slot};
use crate::events::policy::{Policies, Scopes, Signing};

use super::Accounts;
use super::error::AccountError;
use super::signing::{Algorithm, WantedSigning, algorithm_of};
use super::vault::KeyFailure;

/// Why an operator's command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum CompanyError {
    /// The rules refuse it.
    #[error(transparent)]
    Rejected(#[from] RegistryRejection),
    /// The hash profile is not one.
    #[error("not a hash profile: {0}")]
    Profile(String),
    /// The node could not do it now, or a key could not be made or opened.
    #[error(transparent)]
    Account(#[from] AccountError),
}

impl From<RegistryFailure> for CompanyError {
    fn from(failure: RegistryFailure) -> Self {
        match failure {
            RegistryFailure::Rejected(rejection) => Self::Rejected(rejection),
            RegistryFailure::Unavailable(unavailable) => Self::Account(unavailable.into()),
        }
    }
}

/// A new API key. Its texts are shown once and kept nowhere in clear.
pub struct NewKey {
    /// The public half.
    pub id: ApiKeyId,
    /// The whole key, as a company sends it.
    pub text: Zeroizing<String>,
    /// How its calls are signed, if they are.
    pub algorithm: Option<Algorithm>,
    /// The secret they are signed with, where JCAS made it.
    pub signing_secret: Option<Zeroizing<String>>,
}

/// An API key's public half and the digest of its secret one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PresentedKey {
    /// The public half.
    pub id: ApiKeyId,
    /// SHA-256 of the secret half.
    pub digest: [u8; 32],
}

impl PresentedKey {
    /// Takes a key apart as it was sent: `jcas_<key id>_<secret>`.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix("jcas_")?.split_once('_')?;
        Some(Self { id: id.parse().ok()?, digest: Sha256::digest(secret).into() })
    }
}

impl Accounts {
    /// Makes a company or changes its countries and signing.
    pub async fn put_company(
        &self,
        company: CompanyId,
        countries: Vec<Country>,
        signing: Signing,
    ) -> Result<Outcome, CompanyError> {
        let put = CompanyRegistered { company, countries, signing };
        self.administer(RegistryCommand::PutCompany(put)).await
    }

    /// Sets what a company may do.
    pub async fn set_policies(
        &self,
        company: CompanyId,
        policies: Policies,
    ) -> Result<Outcome, CompanyError> {
        self.administer(RegistryCommand::SetPolicies(PolicySet { company, policies })).await
    }

    /// Gives a company an API key.
    pub async fn issue_key(
        &self,
        company: CompanyId,
        scopes: Scopes,
        expires_unix_ms: Option<u64>,
        wanted: WantedSigning,
    ) -> Result<NewKey, CompanyError> {
        let no_randomness = |_| AccountError::Keys(KeyFailure::Unavailable("no randomness"));
        let entropy = self.parts.entropy.as_ref();
        let name: [u8; 8] = clock::random(entropy).map_err(no_randomness)?;
        let secret: [u8; 32] = clock::random(entropy).map_err(no_randomness)?;
        let secret = Zeroizing::new(URL_SAFE_NO_PAD.encode(secret).replace('_', "."));
        let id: ApiKeyId =
            hex::encode(name).parse().map_err(|_| AccountError::NotFound("a key id was"))?;
        let text = Zeroizing::new(format!("jcas_{id}_{}", secret.as_str()));
        let digest = Sha256::digest(secret.as_bytes()).into();
        let (signing, signing_secret) = self.new_signing(company, id, wanted).await?;
        let algorithm = signing.as_ref().map(algorithm_of);
        let issued = ApiKeyIssued { company, key: id, digest, scopes, expires_unix_ms, signing };
        self.administer(RegistryCommand::IssueKey(issued)).await?;
        Ok(NewKey { id, text, algorithm, signing_secret })
    }

    /// Withdraws an API key.
    pub async fn revoke_key(
        &self,
        company: CompanyId,
        key: ApiKeyId,
    ) -> Result<Outcome, CompanyError> {
        self.administer(RegistryCommand::RevokeKey(company, key)).await
    }

    /// Declares how a (company, country) computed its hashes. The same content again changes
    /// nothing.
    pub async fn declare_profile(
        &self,
        slot: Slot,
        name: ProfileName,
        json: &[u8],
    ) -> Result<HashProfileId, CompanyError> {
        let profile = HashProfile::from_json(json)
            .map_err(|error| CompanyError::Profile(error.to_string()))?;
        let canonical =
            profile.canonical_bytes().map_err(|error| CompanyError::Profile(error.to_string()))?;
        let digest = self.parts.index_key.keyed_digest("hash-profile", &canonical);
        let id = HashProfileId(digest.first_chunk().copied().unwrap_or_default());
        let (company, place) = (slot.company.as_str(), "hash-profile");
        let vault = &self.parts.vault;
        let (branch, sealed) =
            vault.seal_for_company(company, place, &canonical).await.map_err(AccountError::from)?;
        let declared = HashProfileDeclared { slot, name, id, branch, sealed };
        self.administer(RegistryCommand::DeclareProfile(declared)).await?;
        Ok(id)
    }

    /// A declared profile, as its company reads it.
    pub async fn read_profile(
        &self,
        slot: Slot,
        name: ProfileName,
    ) -> Result<(HashProfileId, Arc<HashProfile>), AccountError> {
        let registry = self.parts.house.registry();
        let company = registry.state.companies.get(&slot.company);
        let declared = company.and_then(|it| it.profiles.get(&(slot.country, name)));
        let id = declared.ok_or(AccountError::NotFound("the hash profile was"))?.value;
        Ok((id, self.profile(slot, id).await?))
    }

    /// Cuts a life off. Whoever calls has verified that the operator signed it.
    pub async fn distrust(&self, cut: OriginDistrusted) -> Result<Outcome, CompanyError> {
        self.administer(RegistryCommand::Distrust(cut)).await
    }

    async fn administer(&self, command: RegistryCommand) -> Result<Outcome, CompanyError> {
        Ok(self.parts.house.administer(command, Cause::default()).await?)
    }
}

impl CompanyError {
    /// Whether the company itself is not known.
    pub const fn is_unknown_company(&self) -> bool {
        matches!(self, Self::Rejected(RegistryRejection::UnknownCompany(_)))
    }
}
