//! Calls with an idempotency key: the repeat of a write that recorded something is given the first
//! answer.
//!
//! Nothing of the answer is kept. The events of the first call carry a keyed digest of the key and
//! of the request; an index says where they lie, and folded alone they are what the first answer
//! was made of. So the answer is the same after a crash, after later changes and wherever the
//! events are.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::actors::Unavailable;
use crate::actors::directory::{Begun, Repeat};
use crate::events::event::{Cause, REPEATS_KEPT_MS};
use crate::events::ids::{CompanyId, KeyedDigest};

use super::caller::Caller;
use super::error::AccountError;
use super::{Accounts, Loaded};

/// Longest that a repeat waits for a call with the same key that is under way.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// An idempotency key and what came with it, as they are recorded: keyed digests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Idempotency {
    key: KeyedDigest,
    content: KeyedDigest,
}

impl Idempotency {
    /// A cause with this in it.
    pub(super) const fn put_to(self, mut cause: Cause) -> Cause {
        cause.idempotency = Some(self.key);
        cause.content = Some(self.content);
        cause
    }
}

/// A call that asks to be carried out once.
#[derive(Debug)]
pub(super) enum Once {
    /// It was not before. Whoever repeats it waits until this is dropped.
    First(Option<Begun>),
    /// It was: the user as the call recorded it.
    Repeated(Loaded),
}

impl Accounts {
    /// What is recorded of a company's idempotency key and of the request that came with it.
    ///
    /// The key goes into the digest of the request as well: requests hold passwords, and who has
    /// a log and the deployment's key, but not what the caller made up, can try none against it.
    pub fn idempotency(&self, company: CompanyId, key: &str, request: &[u8]) -> Idempotency {
        let company = company.to_string();
        let digest = |domain, last: &[u8]| {
            let parts = [company.as_bytes(), &[0], key.as_bytes(), &[0], last].concat();
            let whole = self.parts.index_key.keyed_digest(domain, &parts);
            KeyedDigest(whole.first_chunk().copied().unwrap_or_default())
        };
        let (key, content) = (digest("idempotency-key", b""), digest("request", request));
        Idempotency { key, content }
    }

    /// Looks whether a call was carried out before, and keeps repeats of it waiting. Call it last
    /// before the work: what the caller may not do it may not repeat either.
    pub(super) async fn once(&self, caller: &Caller) -> Result<Once, AccountError> {
        let Some(Idempotency { key, content }) = caller.idempotency else {
            return Ok(Once::First(None));
        };
        let waited = tokio::time::timeout(WAIT_MAX, self.parts.house.begin(key)).await;
        let begun = waited.map_err(|_| Unavailable::Overloaded)??;
        let oldest = self.parts.clock.unix_ms().saturating_sub(REPEATS_KEPT_MS);
        let young = |repeat: &&Repeat| repeat.revision.unix_ms() >= oldest;
        let Some(repeat) = begun.repeats.iter().find(young) else {
            return Ok(Once::First(Some(begun)));
        };
        let recalled = self.parts.house.read_repeat(*repeat).await?;
        if recalled.content != Some(content) {
            return Err(AccountError::IdempotencyKeyReused);
        }
        // Only for what it refuses: a user that was erased is shown to nobody.
        let requested = self.load(repeat.user).await?.requested;
        let users = BTreeMap::from([(requested, recalled.state)]);
        Ok(Once::Repeated(Loaded { requested, users }))
    }
}
