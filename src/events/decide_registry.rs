//! The rules for companies, their keys and profiles, and what the node records of itself.

use super::command::Outcome;
use super::event::{
    ApiKeyIssued, ApiKeyRevoked, BranchKeyCreated, BranchKeyWrapped, Cause, CompanyRegistered,
    Draft, Event, HashProfileDeclared, OriginDistrusted, OriginOpened, PolicySet,
};
use super::ids::{ApiKeyId, BranchKeyId, CompanyId, RegionId};
use super::record::Subject;
use super::registry::RegistryState;
use super::stamp::{EffectiveTime, Revision};

/// How often a region may say of one branch key that none of its wrappings opens to it. A region
/// that cannot open what is made for it would else be given wrappings for ever.
const DISOWNED_MAX: usize = 3;

/// Everything that can be asked of the registry.
#[derive(Debug, Clone)]
pub enum RegistryCommand {
    /// Make a company, or change its countries or signing.
    PutCompany(CompanyRegistered),
    /// Set what a company may do.
    SetPolicies(PolicySet),
    /// Give a company an API key.
    IssueKey(ApiKeyIssued),
    /// Withdraw an API key.
    RevokeKey(CompanyId, ApiKeyId),
    /// Say how a company computed its hashes.
    DeclareProfile(HashProfileDeclared),
    /// Record a new branch key.
    CreateBranchKey(BranchKeyCreated),
    /// Record a branch key's wrapping for a region that has none.
    WrapBranchKey(BranchKeyWrapped),
    /// Record one more wrapping of a branch key for a region that has some: its master key changed.
    RenewBranchKey(BranchKeyWrapped),
    /// Record that none of a region's wrappings of a branch key opens to it, so that others give it
    /// another one. Only the region itself can tell.
    DisownBranchKey(BranchKeyId, RegionId),
    /// Record that this life began.
    OpenOrigin(OriginOpened),
    /// Cut a life off. Whoever asks has verified that the operator signed it.
    Distrust(OriginDistrusted),
}

/// Why a command was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RegistryRejection {
    /// There is no such company.
    #[error("there is no company \"{0}\"")]
    UnknownCompany(CompanyId),
    /// The company has no such key, or it was withdrawn before.
    #[error("the company has no standing key \"{0}\"")]
    UnknownKey(ApiKeyId),
    /// A key with this id was issued before.
    #[error("the key id \"{0}\" is taken")]
    KeyTaken(ApiKeyId),
    /// The country is not one of the company's.
    #[error("the country is not one declared for the company")]
    CountryUndeclared,
    /// A company has customers somewhere.
    #[error("a company needs at least one country")]
    NoCountry,
}

/// Decides one command. `now` is the reading it is recorded at.
pub fn decide_registry(
    state: &RegistryState,
    command: RegistryCommand,
    now: Revision,
    cause: Cause,
) -> Result<(Vec<Draft>, Outcome), RegistryRejection> {
    let known = |id: CompanyId| {
        let company = state.companies.get(&id).filter(|company| company.registered.is_some());
        company.ok_or(RegistryRejection::UnknownCompany(id))
    };
    let unchanged = Ok((Vec::new(), Outcome::Unchanged));
    let (subject, event) = match command {
        RegistryCommand::PutCompany(mut put) => {
            put.countries.sort_unstable();
            put.countries.dedup();
            if put.countries.is_empty() {
                return Err(RegistryRejection::NoCountry);
            }
            let standing = known(put.company).ok().and_then(|company| company.registered.as_ref());
            if standing.is_some_and(|cell| cell.value == put) {
                return unchanged;
            }
            (Subject::Company(put.company), Event::CompanyRegistered(put))
        }
        RegistryCommand::SetPolicies(set) => {
            if known(set.company)?.policies() == set.policies {
                return unchanged;
            }
            (Subject::Company(set.company), Event::PolicySet(set))
        }
        RegistryCommand::IssueKey(issued) => {
            known(issued.company)?;
            if state.companies.values().any(|company| company.keys.contains_key(&issued.key)) {
                return Err(RegistryRejection::KeyTaken(issued.key));
            }
            (Subject::Company(issued.company), Event::ApiKeyIssued(issued))
        }
        RegistryCommand::RevokeKey(company, key) => {
            if !known(company)?.live_keys().any(|issued| issued.key == key) {
                return Err(RegistryRejection::UnknownKey(key));
            }
            (Subject::Company(company), Event::ApiKeyRevoked(ApiKeyRevoked { company, key }))
        }
        RegistryCommand::DeclareProfile(declared) => {
            let company = known(declared.slot.company)?;
            if !company.countries().contains(&declared.slot.country) {
                return Err(RegistryRejection::CountryUndeclared);
            }
            let at = (declared.slot.country, declared.name);
            if company.profiles.get(&at).is_some_and(|cell| cell.value == declared.id) {
                return unchanged;
            }
            (Subject::Company(declared.slot.company), Event::HashProfileDeclared(declared))
        }
        RegistryCommand::CreateBranchKey(created) => {
            (Subject::Deployment, Event::BranchKeyCreated(created))
        }
        RegistryCommand::WrapBranchKey(wrapped) => {
            let known = state.branch_keys.get(&wrapped.key);
            if known.is_some_and(|key| !key.is_hole(wrapped.region)) {
                return unchanged;
            }
            (Subject::Deployment, Event::BranchKeyWrapped(wrapped))
        }
        RegistryCommand::RenewBranchKey(wrapped) => {
            (Subject::Deployment, Event::BranchKeyWrapped(wrapped))
        }
        RegistryCommand::DisownBranchKey(key, region) => {
            let known = state.branch_keys.get(&key).filter(|key| !key.is_hole(region));
            if known.is_none_or(|key| key.disowned(region) >= DISOWNED_MAX) {
                return unchanged;
            }
            let wrapped = BranchKeyWrapped { key, region, wrapped: Box::default() };
            (Subject::Deployment, Event::BranchKeyWrapped(wrapped))
        }
        RegistryCommand::OpenOrigin(opened) => (Subject::Deployment, Event::OriginOpened(opened)),
        RegistryCommand::Distrust(cut) => {
            if state.distrust.has(&cut) {
                return unchanged;
            }
            (Subject::Deployment, Event::OriginDistrusted(cut))
        }
    };
    let effective = EffectiveTime::at(now);
    Ok((vec![Draft { subject, revision: now, effective, cause, event }], Outcome::Applied))
}
