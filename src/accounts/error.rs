//! Why a use case ended without what was asked.

use std::time::Duration;

use crate::actors::{Failure, Unavailable};
use crate::crypto::legacy::HashRejected;
use crate::crypto::secret::PasswordRefused;
use crate::events::command::Rejection;
use crate::events::ids::{Country, NodeId, UserId};
use crate::events::policy::Scope;

use super::limits::Exceeded;
use super::vault::KeyFailure;

/// A field of a request that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// Its name, with dots for what is inside.
    pub field: String,
    /// A word for programs.
    pub code: &'static str,
    /// A sentence for people. It never repeats what was sent.
    pub detail: String,
}

/// A sentence, or an error that says one.
pub struct FieldDetail(String);

impl<T: std::fmt::Display> From<T> for FieldDetail {
    fn from(said: T) -> Self {
        Self(said.to_string())
    }
}

impl FieldError {
    /// A field that is wrong for this reason.
    pub fn new(field: &str, code: &'static str, detail: impl Into<FieldDetail>) -> Self {
        Self { field: field.to_owned(), code, detail: detail.into().0 }
    }
}

/// Why a use case ended without what was asked.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// Fields are wrong; all of them are named.
    #[error("some fields are not valid")]
    InvalidFields(Vec<FieldError>),
    /// The country is not one of the company's.
    #[error("country {0} is not declared for this company")]
    CountryNotAllowed(Country),
    /// A national phone number came without a country.
    #[error("a national phone number needs a country")]
    PhoneCountryRequired,
    /// A hash is of no known format, or its profile is not declared.
    #[error("{0}")]
    UnsupportedHash(&'static str),
    /// A hash would cost too much to verify.
    #[error("the hash's cost is out of bounds")]
    HashCostOutOfBounds,
    /// The password cannot be one.
    #[error(transparent)]
    PasswordRefused(#[from] PasswordRefused),
    /// Unknown user or wrong password: nobody is told which.
    #[error("no user has this identity and password")]
    InvalidCredentials,
    /// Passwords were guessed too often, whoever it was.
    #[error("too many attempts failed; this one was not looked at")]
    TooManyAttempts {
        /// When the next may be made.
        retry_after: Duration,
    },
    /// The API key did something too often.
    #[error("the API key is over its limit \"{}\"", .0.limit.as_str())]
    RateLimited(Exceeded),
    /// The password is right and the user shut out.
    #[error("the user is disabled")]
    UserDisabled,
    /// The key has no scope for this call.
    #[error("the API key has no scope \"{0}\"")]
    ScopeMissing(Scope),
    /// There is no such user.
    #[error("there is no such user")]
    UserNotFound,
    /// The user was erased.
    #[error("the user was erased")]
    UserErased,
    /// Nothing with this name is here.
    #[error("{0} not found")]
    NotFound(&'static str),
    /// A call came with an idempotency key that another call was carried out with.
    #[error("the idempotency key was used with another request")]
    IdempotencyKeyReused,
    /// A list's cursor was not given out.
    #[error("the cursor was not given out by this list")]
    InvalidCursor,
    /// Somebody who cannot be displaced has an identity; the id is told to those who may read it.
    #[error("the identity belongs to another user")]
    IdentityTaken {
        /// That user, where the company may read it.
        user: Option<UserId>,
    },
    /// The rules refuse it.
    #[error(transparent)]
    Rejected(Rejection),
    /// The hash pool has more to do than it can.
    #[error("more passwords wait to be checked than can be")]
    PoolFull {
        /// When it is worth trying again.
        retry_after: Duration,
    },
    /// A hash could not be computed.
    #[error("the password could not be hashed")]
    HashFailed,
    /// A key cannot be opened, or a value does not open with it.
    #[error(transparent)]
    Keys(KeyFailure),
    /// There is no such job of the company.
    #[error("there is no such job; jobs are kept for a time only")]
    JobNotFound,
    /// Another node has the job.
    #[error("the job is at node {0}, which is not reached from here; ask there")]
    JobNodeUnreachable(NodeId),
    /// A part of an upload begins elsewhere than the last one ended.
    #[error("the next part begins at {offset}")]
    UploadOffset {
        /// Where the last part ended.
        offset: u64,
    },
    /// Another part of the upload is coming, or it is being read.
    #[error("another part of the upload is on its way; ask for the offset again")]
    UploadBusy,
    /// A stream of rows is longer than any may be.
    #[error("{0}")]
    SyncTooLong(&'static str),
    /// The company has as much of bulk syncs as it may.
    #[error("{0}; try again when one of them is done")]
    SyncQuota(&'static str),
    /// All companies' bulk syncs take what there is.
    #[error("there is no more room for bulk syncs now")]
    SpoolFull,
    /// The node cannot do it now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl AccountError {
    /// One wrong field.
    pub fn field(field: &str, code: &'static str, detail: impl Into<FieldDetail>) -> Self {
        Self::InvalidFields(vec![FieldError::new(field, code, detail)])
    }
}

impl From<KeyFailure> for AccountError {
    fn from(failure: KeyFailure) -> Self {
        match failure {
            KeyFailure::Actor(unavailable) => Self::Unavailable(unavailable),
            failure => Self::Keys(failure),
        }
    }
}

impl From<Failure> for AccountError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Rejected(Rejection::UserNotFound) => Self::UserNotFound,
            Failure::Rejected(Rejection::UserErased) => Self::UserErased,
            Failure::Rejected(rejection) => Self::Rejected(rejection),
            Failure::Unavailable(unavailable) => Self::Unavailable(unavailable),
        }
    }
}

impl From<HashRejected> for AccountError {
    fn from(rejected: HashRejected) -> Self {
        match rejected {
            HashRejected::CostOutOfBounds => Self::HashCostOutOfBounds,
            HashRejected::UnsupportedHash => {
                Self::UnsupportedHash("the hash is of no format known without a hash profile")
            }
            HashRejected::TooLong => Self::UnsupportedHash("the hash or its salt is too long"),
            HashRejected::SaltRequired => {
                Self::UnsupportedHash("the hash's format needs a salt, and none came")
            }
            HashRejected::SaltRefused => {
                Self::UnsupportedHash("the salt does not belong to a hash of this format")
            }
        }
    }
}
