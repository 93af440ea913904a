//! Who asks, and what of the request is kept with the events it brings about.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use subtle::ConstantTimeEq as _;

use crate::crypto::pool::Share;
use crate::events::command::{self, Rejection};
use crate::events::event::Cause;
use crate::events::ids::{ApiKeyId, CompanyId, Country, KeyedDigest};
use crate::events::policy::{Policies, Policy, Scope, Scopes, Signing};

use super::company::PresentedKey;
use super::error::AccountError;
use super::repeat::Idempotency;
use super::signing::{Algorithm, algorithm_of};
use super::{Accounts, Loaded};

/// A company that was recognised by its API key.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The company.
    pub company: CompanyId,
    /// The key it used.
    pub key: ApiKeyId,
    /// Where it has customers.
    pub countries: Vec<Country>,
    /// What the key may do.
    pub scopes: Scopes,
    /// What the company may do.
    pub policies: Policies,
    /// What is kept of the request.
    pub cause: Cause,
    /// The idempotency key, where the call came with one. Only what may be repeated records it.
    pub idempotency: Option<Idempotency>,
}

/// A company that was recognised, before it is known what it asks.
#[derive(Debug)]
pub struct Recognised {
    /// Who asks. Its cause names company and key, and no request yet.
    pub caller: Caller,
    /// Whether the company must sign its calls.
    pub signing: Signing,
    /// How calls with this key are signed; none for keys that sign nothing.
    pub algorithm: Option<Algorithm>,
}

/// Why an API key was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeyRefused(pub &'static str);

impl Caller {
    /// The caller as rules see it.
    pub const fn as_company(&self) -> command::Caller {
        command::Caller::Company(self.company, self.policies)
    }

    /// Whose part of the hash pool its passwords are computed in: a number that tells companies
    /// apart and nothing more.
    pub(super) fn share(&self) -> Share {
        let mut hasher = DefaultHasher::new();
        self.company.hash(&mut hasher);
        Share::new(hasher.finish())
    }

    /// What is kept of a request that may be repeated: the idempotency key, too.
    pub(super) fn cause_of_once(&self) -> Cause {
        let cause = self.cause.clone();
        match self.idempotency {
            Some(idempotency) => idempotency.put_to(cause),
            None => cause,
        }
    }

    /// Refuses a call that the key has no scope for.
    pub fn require(&self, scope: Scope) -> Result<(), AccountError> {
        if self.scopes.allow(scope) { Ok(()) } else { Err(AccountError::ScopeMissing(scope)) }
    }

    /// Refuses a country that was not declared for the company.
    pub fn require_country(&self, country: Country) -> Result<(), AccountError> {
        if self.countries.contains(&country) {
            Ok(())
        } else {
            Err(AccountError::CountryNotAllowed(country))
        }
    }

    /// Refuses what the company's policy does not let it do with this account. The rules hold it
    /// to the same; here it is asked where the work before them is much, or nothing is written.
    pub fn require_policy(&self, policy: Policy, account: &Loaded) -> Result<(), AccountError> {
        if self.may(policy, account) {
            return Ok(());
        }
        Err(AccountError::Rejected(Rejection::PolicyDenied { policy }))
    }

    /// Whether the company's policy lets it do this with this account.
    pub fn may(&self, policy: Policy, account: &Loaded) -> bool {
        self.policies.reach(policy).covers(account.account().is_own_of(self.company))
    }
}

impl Accounts {
    /// The company an API key belongs to.
    pub fn recognise(&self, presented: PresentedKey) -> Result<Recognised, KeyRefused> {
        let registry = self.parts.house.registry();
        // An unknown key is compared as well, so that time does not tell which ids exist.
        let found = registry.api_key(presented.id);
        let digest = found.map_or([0; 32], |(key, _)| key.digest);
        let equal: bool = presented.digest.ct_eq(&digest).into();
        let Some((key, company)) = found.filter(|_| equal) else {
            return Err(KeyRefused("the API key is not known, or it was withdrawn"));
        };
        let now = self.parts.clock.unix_ms();
        if key.expires_unix_ms.is_some_and(|expires| expires <= now) {
            return Err(KeyRefused("the API key has expired"));
        }
        let cause = Cause { company: Some(key.company), key: Some(key.key), ..Cause::default() };
        let caller = Caller {
            company: key.company,
            key: key.key,
            countries: company.countries().to_vec(),
            scopes: key.scopes.clone(),
            policies: company.policies(),
            cause,
            idempotency: None,
        };
        let registered = company.registered.as_ref();
        let signing = registered.map_or(Signing::Required, |cell| cell.value.signing);
        let algorithm = key.signing.as_ref().map(algorithm_of);
        Ok(Recognised { caller, signing, algorithm })
    }

    /// What is kept of a request: who asked, and a keyed digest of the request's id.
    pub fn cause(&self, company: CompanyId, key: ApiKeyId, request_id: &str) -> Cause {
        let request = self.request_digest(request_id);
        Cause { company: Some(company), key: Some(key), request, ..Cause::default() }
    }

    /// What is kept of a request's id: a keyed digest.
    pub fn request_digest(&self, request_id: &str) -> Option<KeyedDigest> {
        let digest = self.request_ids.digest(request_id.as_bytes());
        digest.first_chunk().map(|bytes| KeyedDigest(*bytes))
    }
}
