//! What calls are signed with: keys of companies, opened and kept ready, and tokens used once.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::clock;
use crate::events::event::SigningKey;
use crate::events::ids::{ApiKeyId, CompanyId};
use crate::events::message::UsedToken;
use crate::events::policy::Signing;
use crate::tokens::Token;

use super::Accounts;
use super::caller::{Caller, Recognised};
use super::error::AccountError;
use super::vault::KeyFailure;

/// What callers of this room sign and verify with, and what a token may be.
pub use crate::crypto::jws::{Algorithm, AnswerKeys, ClientKey, NotAKey, PublicJwk, TokenKey};
pub use crate::tokens::{LEEWAY_MS, LIFETIME_MS, Spent};

/// How many opened keys are kept. More companies than this call all the same; a key is opened again
/// then, which asks nobody.
pub(super) const OPENED_MAX: usize = 4096;

/// How the calls of a new API key are to be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WantedSigning {
    /// As the company must: HS256 where its calls must be signed, else not at all.
    AsTheCompanyMust,
    /// They are not.
    Unsigned,
    /// HS256 under a new secret.
    Hs256,
    /// EdDSA; the company keeps the private half of this key.
    EdDsa([u8; 32]),
}

/// A new API key's way of signing, and its secret where it has one.
pub(super) type NewSigning = (Option<SigningKey>, Option<Zeroizing<String>>);

/// Where a signing secret is sealed to.
fn place(key: ApiKeyId) -> String {
    format!("signing-secret/{key}")
}

/// The algorithm of calls signed with a key.
pub const fn algorithm_of(key: &SigningKey) -> Algorithm {
    match key {
        SigningKey::Hs256 { .. } => Algorithm::Hs256,
        SigningKey::EdDsa(_) => Algorithm::EdDsa,
    }
}

impl Accounts {
    /// What a new API key's calls are signed with.
    pub(super) async fn new_signing(
        &self,
        company: CompanyId,
        key: ApiKeyId,
        wanted: WantedSigning,
    ) -> Result<NewSigning, AccountError> {
        let hs256 = match wanted {
            WantedSigning::EdDsa(public) => return Ok((Some(SigningKey::EdDsa(public)), None)),
            WantedSigning::Unsigned => false,
            WantedSigning::Hs256 => true,
            WantedSigning::AsTheCompanyMust => self.must_sign(company),
        };
        if !hs256 {
            return Ok((None, None));
        }
        let random = clock::random::<32>(self.parts.entropy.as_ref()).map(Zeroizing::new);
        let random = random.map_err(|_| KeyFailure::Unavailable("no randomness"))?;
        // The secret is this text: what a company's language takes as a key without decoding it.
        let secret = Zeroizing::new(hex::encode(random.as_slice()));
        let (name, place) = (company.as_str(), place(key));
        let vault = &self.parts.vault;
        let (branch, sealed) = vault.seal_for_company(name, &place, secret.as_bytes()).await?;
        Ok((Some(SigningKey::Hs256 { branch, sealed }), Some(secret)))
    }

    fn must_sign(&self, company: CompanyId) -> bool {
        let registry = self.parts.house.registry();
        let registered =
            registry.state.companies.get(&company).and_then(|it| it.registered.as_ref());
        registered.is_some_and(|cell| cell.value.signing == Signing::Required)
    }

    /// What the calls of a company's API key are verified with; none for keys that sign nothing.
    pub async fn token_key(
        &self,
        recognised: &Recognised,
    ) -> Result<Option<Arc<TokenKey>>, AccountError> {
        let Caller { company, key, .. } = recognised.caller;
        if recognised.algorithm.is_none() {
            return Ok(None);
        }
        // A key's way of signing never changes.
        if let Some(opened) = self.token_keys.get(&key) {
            return Ok(Some(opened));
        }
        let registry = self.parts.house.registry();
        let issued = registry.api_key(key).and_then(|(issued, _)| issued.signing.as_ref());
        let signing = issued.ok_or(KeyFailure::Unavailable("the API key was withdrawn"))?;
        let opened = match signing {
            SigningKey::EdDsa(public) => TokenKey::ed_dsa(public),
            SigningKey::Hs256 { branch, sealed } => {
                let (name, place) = (company.as_str(), place(key));
                let vault = &self.parts.vault;
                TokenKey::hs256(&vault.open_for_company(name, &place, *branch, sealed).await?)
            }
        };
        let opened = Arc::new(opened);
        self.token_keys.insert(key, Arc::clone(&opened));
        Ok(Some(opened))
    }

    /// Uses a token of a caller's, by its `jti`. `issued` and `ends` are in Unix milliseconds; it
    /// ends when it is refused as expired, leeway included.
    pub fn spend(&self, caller: &Caller, jti: &str, (issued, ends): (u64, u64)) -> Spent {
        let text = format!("{} {jti}", caller.key);
        let digest = self.token_ids.digest(text.as_bytes());
        let digest = digest.first_chunk().copied().unwrap_or_default();
        let token = Token { digest, company: caller.company, issued, ends };
        let spent = self.parts.tokens.spend(&token, self.parts.clock.unix_ms());
        if spent == Spent::Now
            && let Some(replica) = &self.parts.following.replica
        {
            replica.tell_token(UsedToken {
                name: digest,
                company: caller.company,
                issued_ms: issued,
                ends_ms: ends,
            });
        }
        spent
    }

    /// How many used tokens are remembered.
    pub fn tokens_remembered(&self) -> usize {
        self.parts.tokens.len()
    }
}
