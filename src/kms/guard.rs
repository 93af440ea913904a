//! Asks a KMS with care: every call has a deadline and is counted, and a KMS that is silent is left
//! alone for a while, so that its silence costs one deadline and not one a call.
//!
//! ```text
//!   asked --no answer--> silent: refused at once --the pause is over--> one call may try
//!     ^                    ^                                                |
//!     |                    +--no answer: the pause doubles------------------+
//!     +--an answer, also a refusal-------------------------------------------+
//! ```
//!
//! It must never know what is wrapped.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::{EncryptionContext, KeyMaterial, Kms, KmsError, KmsFuture, Sight};
use crate::clock::Clock;
use crate::events::ids::RegionId;

/// How a KMS is asked.
#[derive(Debug, Clone, Copy)]
pub struct Care {
    /// How long one call may take, attempts and all.
    pub deadline: Duration,
    /// How long a KMS that did not answer is left alone, the first time; each further time twice as
    /// long, ...
    pub first_pause: Duration,
    /// ... and never longer than this.
    pub longest_pause: Duration,
}

/// What is asked of a KMS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// To wrap a key.
    Wrap,
    /// To open a wrapped key.
    Unwrap,
}

impl Call {
    /// The word for it in figures.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Wrap => "wrap",
            Self::Unwrap => "unwrap",
        }
    }
}

/// How the KMS of one region is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct KmsStanding {
    /// Keys it was asked to wrap since the start.
    pub wraps: u64,
    /// Keys it was asked to open since the start.
    pub unwraps: u64,
    /// Of these calls, those it did not answer.
    pub unanswered: u64,
    /// Of these calls, those it refused.
    pub refused: u64,
    /// Calls that were not made, since it was silent shortly before.
    pub spared: u64,
    /// While it is silent: how long until it is asked again, in milliseconds.
    pub silent_for_ms: Option<u64>,
    /// What went wrong last, until a call goes well again.
    pub error: Option<String>,
}

#[derive(Debug, Default)]
struct Region {
    standing: KmsStanding,
    /// Calls without an answer since the last one that had one.
    silences: u32,
    /// Not to be asked before this.
    until: Option<Duration>,
}

/// A KMS behind its deadline, its counts and its pauses.
pub struct Guarded {
    inner: Arc<dyn Kms>,
    care: Care,
    clock: Arc<dyn Clock>,
    regions: Mutex<BTreeMap<RegionId, Region>>,
}

/// A KMS was not asked.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("it did not answer shortly before and is left alone for {0:?}")]
struct LeftAlone(Duration);

/// A KMS did not answer in time.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("no answer within {0:?}")]
struct NoAnswer(Duration);

impl Guarded {
    /// `inner`, asked with care.
    pub fn new(inner: Arc<dyn Kms>, care: Care, clock: Arc<dyn Clock>) -> Self {
        Self { inner, care, clock, regions: Mutex::default() }
    }

    /// How it is asked.
    pub const fn care(&self) -> Care {
        self.care
    }

    /// How the KMS of each region that was asked is.
    pub fn standing(&self) -> BTreeMap<RegionId, KmsStanding> {
        let now = self.clock.monotonic();
        let shown = |region: &Region| KmsStanding {
            silent_for_ms: region.until.map(|until| millis(until.saturating_sub(now))),
            ..region.standing.clone()
        };
        self.regions().iter().map(|(name, region)| (*name, shown(region))).collect()
    }

    /// Whether the KMS of a region gave no answer when it was asked last.
    pub fn is_silent(&self, region: RegionId) -> bool {
        self.regions().get(&region).is_some_and(|region| region.until.is_some())
    }

    /// Whether the KMS of a region would not be asked now.
    pub fn is_resting(&self, region: RegionId) -> bool {
        let now = self.clock.monotonic();
        let regions = self.regions();
        regions.get(&region).and_then(|region| region.until).is_some_and(|until| now < until)
    }

    fn regions(&self) -> MutexGuard<'_, BTreeMap<RegionId, Region>> {
        self.regions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask<T>(
        &self,
        region: RegionId,
        call: Call,
        asked: KmsFuture<'_, T>,
    ) -> Result<T, KmsError> {
        if let Err(alone) = self.admit(region, call) {
            return Err(KmsError::Unavailable { region, source: Box::new(alone) });
        }
        let deadline = self.care.deadline;
        let answered = tokio::time::timeout(deadline, asked).await.unwrap_or_else(|_| {
            Err(KmsError::Unavailable { region, source: Box::new(NoAnswer(deadline)) })
        });
        self.note(region, call, answered.as_ref().err());
        answered
    }

    /// Whether a call may be made now.
    fn admit(&self, region: RegionId, call: Call) -> Result<(), LeftAlone> {
        let now = self.clock.monotonic();
        let mut regions = self.regions();
        let region = regions.entry(region).or_default();
        if let Some(until) = region.until {
            if now < until {
                region.standing.spared += 1;
                return Err(LeftAlone(until.saturating_sub(now)));
            }
            // One call tries; the others wait until its deadline is over, even if it is given up.
            region.until = Some(now + self.care.deadline);
        }
        match call {
            Call::Wrap => region.standing.wraps += 1,
            Call::Unwrap => region.standing.unwraps += 1,
        }
        Ok(())
    }

    fn note(&self, name: RegionId, call: Call, error: Option<&KmsError>) {
        let now = self.clock.monotonic();
        let mut regions = self.regions();
        let region = regions.entry(name).or_default();
        region.standing.error = error.map(KmsError::chain);
        let result = match error {
            None => "ok",
            Some(KmsError::Unavailable { .. }) => "unanswered",
            Some(_) => "refused",
        };
        metrics::counter!(
            "jcas_kms_calls_total",
            "region" => name.as_str().to_owned(), "call" => call.as_str(), "result" => result
        )
        .increment(1);
        if let Some(KmsError::Unavailable { .. }) = error {
            region.standing.unanswered += 1;
            region.until = Some(now + self.pause(region.silences));
            region.silences = region.silences.saturating_add(1);
        } else {
            region.standing.refused += u64::from(error.is_some());
            region.until = None;
            region.silences = 0;
        }
    }

    /// The pause after so many silences before this one.
    fn pause(&self, silences: u32) -> Duration {
        let doubled = 1_u32.checked_shl(silences).unwrap_or(u32::MAX);
        self.care.first_pause.saturating_mul(doubled).min(self.care.longest_pause)
    }
}

impl Kms for Guarded {
    fn region(&self) -> RegionId {
        self.inner.region()
    }

    fn wrap_key<'a>(
        &'a self,
        region: RegionId,
        key: &'a KeyMaterial,
        context: &'a EncryptionContext,
    ) -> KmsFuture<'a, Box<[u8]>> {
        Box::pin(self.ask(region, Call::Wrap, self.inner.wrap_key(region, key, context)))
    }

    fn unwrap_key<'a>(
        &'a self,
        wrapped: &'a [u8],
        context: &'a EncryptionContext,
    ) -> KmsFuture<'a, KeyMaterial> {
        let asked = self.inner.unwrap_key(wrapped, context);
        Box::pin(self.ask(self.region(), Call::Unwrap, asked))
    }

    fn sight(&self, wrapped: &[u8], context: &EncryptionContext) -> Sight {
        self.inner.sight(wrapped, context)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "guard_test.rs"]
mod tests;
