//! How many calls an API key may make, by kind: rates with room for bursts.
//!
//! Each is a virtual queue (GCRA): one reading a key and limit, the time at which everything taken
//! so far would have been dealt with at the limit's rate. Taking puts it off; what lies further
//! ahead of now than the burst is refused, and the difference is exactly how long to wait. What
//! turned out not to count is given back, which the crates for this cannot do.
//!
//! Time comes in; there is no clock here.

use std::time::Duration;

use crate::events::ids::ApiKeyId;

use super::bounded::{Table, Weigh};

/// API keys counted at a time. Keys are made by operators, so this many are never in use at once.
const KEYS_MAX: usize = 65_536;

/// So much at once, and so much a time.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// The time one takes to come back.
    interval: Duration,
    /// How many there are when nothing was taken lately.
    burst: u32,
}

impl Rate {
    /// So many a period, `burst` of them at once. Both are at least one.
    pub fn new(count: u32, period: Duration, burst: u32) -> Self {
        Self { interval: period / count.max(1), burst: burst.max(1) }
    }

    fn window(&self) -> Duration {
        self.interval.saturating_mul(self.burst)
    }
}

/// What was taken at a rate: when all of it will have come back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Taken(Duration);

impl Taken {
    /// Takes one, or says how long it is until one could be taken.
    pub(super) fn take(&mut self, now: Duration, rate: &Rate) -> Result<(), Duration> {
        let after = self.0.max(now).saturating_add(rate.interval);
        let limit = now.saturating_add(rate.window());
        if after > limit {
            return Err(after.saturating_sub(limit));
        }
        self.0 = after;
        Ok(())
    }

    /// Takes so many more, there or not: at most as much as a whole burst is owed.
    pub(super) fn owe(&mut self, now: Duration, rate: &Rate, count: u32) {
        let after = self.0.max(now).saturating_add(rate.interval.saturating_mul(count));
        self.0 = after.min(now.saturating_add(rate.window().saturating_mul(2)));
    }

    /// Gives one back.
    pub(super) fn give_back(&mut self, rate: &Rate) {
        self.0 = self.0.saturating_sub(rate.interval);
    }

    /// How many could be taken now.
    fn remaining(self, now: Duration, rate: &Rate) -> u32 {
        let ahead = self.0.saturating_sub(now);
        let room = rate.window().saturating_sub(ahead);
        let interval = rate.interval.as_nanos().max(1);
        u32::try_from(room.as_nanos() / interval).unwrap_or(rate.burst).min(rate.burst)
    }
}

impl Weigh for Taken {
    fn weight(&self, now: Duration) -> u64 {
        u64::try_from(self.0.saturating_sub(now).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// What an API key may do so much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Calls of any kind.
    Calls,
    /// Looking for an identity that is not there, or not to be seen.
    Misses,
    /// Claiming identities: registering users, and adding identities to them.
    Claims,
    /// Logins that fail.
    FailedLogins,
}

/// All of them.
const LIMITS: [Limit; 4] = [Limit::Calls, Limit::Misses, Limit::Claims, Limit::FailedLogins];

impl Limit {
    /// Its name in the headers and figures.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Calls => "default",
            Self::Misses => "misses",
            Self::Claims => "claims",
            Self::FailedLogins => "failed-logins",
        }
    }
}

/// The rate of each limit.
#[derive(Debug, Clone, Copy)]
pub struct Rates {
    /// Calls of any kind.
    pub calls: Rate,
    /// Look-ups that find nobody.
    pub misses: Rate,
    /// Registrations and claims.
    pub claims: Rate,
    /// Logins that fail.
    pub failed_logins: Rate,
}

impl Rates {
    const fn of(&self, limit: Limit) -> &Rate {
        match limit {
            Limit::Calls => &self.calls,
            Limit::Misses => &self.misses,
            Limit::Claims => &self.claims,
            Limit::FailedLogins => &self.failed_logins,
        }
    }
}

/// What one key took.
#[derive(Debug, Clone, Copy, Default)]
struct Key {
    calls: Taken,
    misses: Taken,
    claims: Taken,
    failed_logins: Taken,
}

impl Key {
    const fn of(&mut self, limit: Limit) -> &mut Taken {
        match limit {
            Limit::Calls => &mut self.calls,
            Limit::Misses => &mut self.misses,
            Limit::Claims => &mut self.claims,
            Limit::FailedLogins => &mut self.failed_logins,
        }
    }
}

impl Weigh for Key {
    fn weight(&self, now: Duration) -> u64 {
        let all = [self.calls, self.misses, self.claims, self.failed_logins];
        all.iter().map(|taken| taken.weight(now)).fold(0, u64::saturating_add)
    }
}

/// Too much was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// Of what.
    pub limit: Limit,
    /// When asking again will do.
    pub retry_after: Duration,
}

/// How a key stands with a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The limit.
    pub limit: Limit,
    /// The most there can be.
    pub quota: u32,
    /// The time in which all of it comes back.
    pub window: Duration,
    /// What is left.
    pub remaining: u32,
    /// When all of it will be there again.
    pub reset: Duration,
}

/// The limits of all keys.
#[derive(Debug)]
pub struct Limits {
    rates: Rates,
    keys: Table<ApiKeyId, Key>,
    refused: [(Limit, u64); LIMITS.len()],
}

impl Limits {
    /// Limits at these rates.
    pub fn new(rates: Rates) -> Self {
        let refused = LIMITS.map(|limit| (limit, 0));
        Self { rates, keys: Table::new(KEYS_MAX), refused }
    }

    /// Takes one from what a key may do.
    pub fn take(&mut self, now: Duration, key: ApiKeyId, limit: Limit) -> Result<(), Exceeded> {
        let rate = self.rates.of(limit);
        let taken = self.keys.update(now, key, |entry| entry.of(limit).take(now, rate));
        taken.map_err(|retry_after| {
            let count = self.refused.iter_mut().find(|(counted, _)| *counted == limit);
            if let Some((_, refused)) = count {
                *refused += 1;
            }
            Exceeded { limit, retry_after }
        })
    }

    /// Gives back what turned out not to count.
    pub fn give_back(&mut self, now: Duration, key: ApiKeyId, limit: Limit) {
        let rate = self.rates.of(limit);
        self.keys.update(now, key, |entry| entry.of(limit).give_back(rate));
    }

    /// Takes more for what turned out to count more.
    pub fn owe(&mut self, now: Duration, key: ApiKeyId, limit: Limit, count: u32) {
        let rate = self.rates.of(limit);
        self.keys.update(now, key, |entry| entry.of(limit).owe(now, rate, count));
    }

    /// How a key stands with a limit.
    pub fn standing(&self, now: Duration, key: ApiKeyId, limit: Limit) -> Standing {
        let rate = self.rates.of(limit);
        let taken = self.keys.get(&key).copied().unwrap_or_default().of(limit).to_owned();
        Standing {
            limit,
            quota: rate.burst,
            window: rate.window(),
            remaining: taken.remaining(now, rate),
            reset: taken.0.saturating_sub(now),
        }
    }

    /// What was refused so far, by limit.
    pub const fn refused(&self) -> [(Limit, u64); LIMITS.len()] {
        self.refused
    }
}

#[cfg(test)]
#[path = "limits_test.rs"]
mod tests;
