//! The use cases: what a company asks for, from clear text to answer.
//!
//! Clear text comes in here and goes no further: identities become blind indexes, values are
//! sealed, passwords are hashed on the pool, and actors are given commands that hold none of it.
//! Answers are opened here on the way back.
//!
//! | file | holds |
//! |---|---|
//! | `caller` | who asks, and what of the request is kept |
//! | `guessing` `limits` `bounded` | how often passwords may be tried, and calls made |
//! | `attempt` `limited` | the same at work: a password that is tried, a call that counts |
//! | `error` | why a use case ended without what was asked |
//! | `feed` | what changed, for those who ask |
//! | `given` | members of requests that may be left out |
//! | `identity` | e-mail and phone, from what was typed to a blind index |
//! | `vault` | the key ladder: sealing and opening |
//! | `repeat` | calls with an idempotency key, carried out once |
//! | `view` | a user as a company sees it |
//! | `register` `login` `change` `history` `link` | one use case or a family of them each |
//! | `erasure` `export` | a person is forgotten, or told all that is held |
//! | `replication` | writes that wait for other nodes |
//! | `doctor` | how was this hash made? |
//! | `company` | companies, keys and hash profiles |
//! | `report` | how far a company's customers have moved over |
//! | `signing` | what calls are signed with |
//! | `sync` | bulk syncs: streams of rows, jobs, verdicts |
//!
//! This room must never know HTTP, files or sled.

mod attempt;
mod bounded;
pub mod caller;
pub mod change;
pub mod company;
pub mod doctor;
pub mod erasure;
pub mod error;
pub mod export;
pub mod feed;
pub mod given;
pub mod guessing;
pub mod history;
pub mod identity;
pub mod legacy;
mod limited;
pub mod limits;
pub mod link;
pub mod login;
pub mod register;
pub mod repeat;
pub mod replication;
pub mod report;
pub mod signing;
pub mod sync;
pub mod vault;
pub mod view;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;
use tracing::Instrument as _;

use crate::actors::House;
use crate::actors::feed::Feed;
use crate::actors::house::Asked;
use crate::actors::linker::Linker;
use crate::actors::shard::Answer;
use crate::clock::{Clock, Entropy};
use crate::crypto::blind::{IndexKey, Subkey};
use crate::crypto::normalise::Renumbering;
use crate::crypto::pool::{Computed, HashPool, Job, Outcome, Priority, Share};
use crate::crypto::secret::{Cost, SecretHash};
use crate::events::account::{Account, Seen};
use crate::events::command::{Command, Rest};
use crate::events::decide_link::LINKED_USERS_MAX;
use crate::events::ids::{ApiKeyId, UserId};
use crate::events::state::UserState;
use crate::tokens::UsedTokens;

/// What callers of the use cases hand in, and what may keep the node from answering them.
pub use crate::actors::Unavailable;
pub use crate::crypto::secret::Password;

use self::caller::Caller;
use self::error::AccountError;
use self::guessing::Guessing;
use self::limits::Limits;
use self::vault::{Place, UserKeys, Vault};

/// Everything the use cases are made of.
pub struct AccountsParts {
    /// The actors.
    pub house: House,
    /// Keys and seals.
    pub vault: Vault,
    /// Where password hashes are computed.
    pub pool: HashPool,
    /// The key of blind indexes.
    pub index_key: IndexKey,
    /// The signed tokens that were used.
    pub tokens: Arc<UsedTokens>,
    /// How writes are followed to other nodes.
    pub following: replication::Following,
    /// The log as companies hear of it.
    pub feed: Arc<Feed>,
    /// What records links.
    pub linker: Linker,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Randomness for ids and keys.
    pub entropy: Arc<dyn Entropy>,
    /// How hashing and guessing are bounded.
    pub settings: Settings,
}

/// How hashing and guessing are bounded.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The cost of new bcrypt hashes.
    pub cost: Cost,
    /// How much work one login may be.
    pub verify_budget: crate::crypto::pool::Budget,
    /// How much of imported hashes is admitted.
    pub limits: crate::crypto::legacy::Limits,
    /// Failed logins are answered at a multiple of this time.
    pub failure_quantum: Duration,
    /// How often passwords may be tried.
    pub guessing: guessing::Rules,
    /// How often an API key may do what.
    pub rates: limits::Rates,
    /// Prefixes of phone numbers that countries changed.
    pub renumberings: Vec<Renumbering>,
}

/// The use cases of a node.
pub struct Accounts {
    parts: AccountsParts,
    profiles: legacy::ProfileCache,
    /// What calls are verified with, opened. Keys that fall out are wiped.
    token_keys: quick_cache::sync::Cache<ApiKeyId, Arc<signing::TokenKey>>,
    /// Held by the one diagnosis that runs.
    diagnosing: tokio::sync::Semaphore,
    guessing: Mutex<Guessing>,
    limits: Mutex<Limits>,
    /// For what is digested with every call.
    request_ids: Subkey,
    token_ids: Subkey,
    cursors: Subkey,
    upload_digests: Subkey,
    syncs: sync::Syncs,
}

/// The users of one account as they are on disk, and which of them was asked for.
#[derive(Debug)]
pub struct Loaded {
    /// The id that was asked for.
    pub requested: UserId,
    users: BTreeMap<UserId, Arc<UserState>>,
}

impl Loaded {
    /// The account.
    pub const fn account(&self) -> Account<'_, Arc<UserState>> {
        Account::of(&self.users)
    }

    /// The user that was asked for.
    pub fn user(&self) -> Option<&UserState> {
        self.users.get(&self.requested).map(AsRef::as_ref)
    }

    /// What the users beside one say of the account.
    fn rest_of(&self, user: UserId) -> Rest {
        let creator = self.users.get(&user).and_then(|state| state.creator());
        let others = || self.users.iter().filter(|(id, _)| **id != user);
        let seen = others().map(|(id, state)| Seen::of(*id, state)).fold(Seen::NOTHING, Seen::and);
        let of_others = others().any(|(_, state)| state.is_live() && state.creator() != creator);
        Rest { seen, of_others }
    }
}

/// Has something carried out by itself, so that a caller who hangs up does not leave it halfway.
/// What it logs names the call all the same.
fn by_itself<F>(work: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(work.in_current_span())
}

impl Accounts {
    /// The use cases made of these parts.
    pub fn new(parts: AccountsParts, sync: sync::SyncParts) -> Self {
        let guessing = Mutex::new(Guessing::new(parts.settings.guessing));
        let limits = Mutex::new(Limits::new(parts.settings.rates));
        Self {
            request_ids: parts.index_key.subkey("request-id"),
            token_ids: parts.index_key.subkey("jti"),
            cursors: parts.index_key.subkey("feed cursor"),
            upload_digests: parts.index_key.subkey("upload digest"),
            syncs: sync::Syncs::new(sync),
            parts,
            profiles: legacy::ProfileCache::new(256),
            token_keys: quick_cache::sync::Cache::new(signing::OPENED_MAX),
            diagnosing: tokio::sync::Semaphore::new(1),
            guessing,
            limits,
        }
    }

    /// The actors beneath.
    pub const fn house(&self) -> &House {
        &self.parts.house
    }

    /// The key ladder.
    pub const fn vault(&self) -> &Vault {
        &self.parts.vault
    }

    /// The hash pool.
    pub const fn pool(&self) -> &HashPool {
        &self.parts.pool
    }

    /// What time it is.
    pub fn clock(&self) -> &dyn Clock {
        self.parts.clock.as_ref()
    }

    /// A live user and those it is linked with.
    async fn load(&self, requested: UserId) -> Result<Loaded, AccountError> {
        let loaded = self.load_any(requested).await?;
        match loaded.user() {
            Some(state) if state.erased.is_some() => Err(AccountError::UserErased),
            Some(state) if state.is_live() => Ok(loaded),
            _ => Err(AccountError::UserNotFound),
        }
    }

    /// A user, erased or not known, and those it is linked with.
    async fn load_any(&self, requested: UserId) -> Result<Loaded, Unavailable> {
        let mut users = BTreeMap::new();
        let mut found = vec![requested];
        while let Some(user) = found.pop() {
            if users.contains_key(&user) || users.len() >= LINKED_USERS_MAX {
                continue;
            }
            let state = self.parts.house.read(user).await?;
            found.extend(state.linked());
            users.insert(user, state);
        }
        Ok(Loaded { requested, users })
    }

    /// Sends a command for one user of an account, and says what a reader of the account sees then.
    async fn ask(
        &self,
        caller: &Caller,
        loaded: &Loaded,
        if_seen: Option<Seen>,
        command: Command,
    ) -> Result<(Answer, Seen), AccountError> {
        self.ask_of(caller, loaded, loaded.requested, if_seen, command).await
    }

    /// The same for any user of the account.
    async fn ask_of(
        &self,
        caller: &Caller,
        loaded: &Loaded,
        user: UserId,
        if_seen: Option<Seen>,
        command: Command,
    ) -> Result<(Answer, Seen), AccountError> {
        let rest = loaded.rest_of(user);
        let asked = Asked {
            command,
            caller: caller.as_company(),
            cause: caller.cause.clone(),
            if_seen,
            rest,
        };
        let answer = self.parts.house.ask(user, asked).await?;
        let seen = answer.seen.and(rest.seen);
        Ok((answer, seen))
    }

    /// Hashes a new password on the pool.
    async fn hash(&self, caller: &Caller, password: Password) -> Result<SecretHash, AccountError> {
        let cost = self.parts.settings.cost;
        match self.compute(caller, Job::Hash { password, cost }).await?.outcome {
            Outcome::Hashed(hash) => Ok(hash),
            Outcome::Refused(refused) => Err(AccountError::PasswordRefused(refused)),
            _ => Err(AccountError::HashFailed),
        }
    }

    /// Runs one job on the pool, in the company's part of it.
    async fn compute(&self, caller: &Caller, job: Job) -> Result<Computed, AccountError> {
        self.compute_for(caller.share(), job).await
    }

    async fn compute_for(&self, share: Share, job: Job) -> Result<Computed, AccountError> {
        let running = self
            .parts
            .pool
            .try_submit(share, Priority::Login, job)
            .map_err(|full| AccountError::PoolFull { retry_after: full.retry_after })?;
        running.await.map_err(|_| AccountError::HashFailed)
    }

    fn seal_secret(
        &self,
        user: UserId,
        keys: &UserKeys,
        hash: &SecretHash,
    ) -> Result<crate::events::event::Sealed, AccountError> {
        let text = hash.to_text();
        Ok(self.parts.vault.seal(user, keys, Place::Secret, text.as_bytes())?)
    }
}
