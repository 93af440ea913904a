//! Who asks, and what of the request is kept with the events it brings about.

use crate::events::command;
use crate::events::event::Cause;
use crate::events::ids::{ApiKeyId, CompanyId, Country, KeyedDigest};
use crate::events::policy::{Policies, Reach, Scope, Scopes};

use super::Accounts;
use super::error::AccountError;

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
}

impl Caller {
    /// The caller as rules see it.
    pub const fn as_company(&self) -> command::Caller {
        command::Caller::Company(self.company, self.policies)
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

    /// Whether the company may see a user: one it created, or anybody's where its policy says so.
    pub const fn may_read(&self, own: bool) -> bool {
        match self.policies.read {
            Reach::All => true,
            Reach::Own => own,
            Reach::Off => false,
        }
    }
}

impl Accounts {
    /// What is kept of a request: who asked, and a keyed digest of the request's id.
    pub fn cause(&self, company: CompanyId, key: ApiKeyId, request_id: &str) -> Cause {
        let digest = self.parts.index_key.keyed_digest("request-id", request_id.as_bytes());
        let request = digest.first_chunk().map(|bytes| KeyedDigest(*bytes));
        Cause { company: Some(company), key: Some(key), request, ..Cause::default() }
    }
}
