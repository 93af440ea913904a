//! Guessing: how often passwords may be tried, by account and by where the attempts come from.
//!
//! ```text
//! begin(who is asked for) --> ticket --> try_account(whose it may be).. --> end(right, wrong..)
//!        |                                       |
//!        +--------- Refused { hindrance, retry_after } <--+
//! ```
//!
//! | count | of failures | leads to |
//! |---|---|---|
//! | way | for one identity or id as it was asked for | delays that grow, then a pause |
//! | known client | for a user, from a (company, network) that lately got in there | the same |
//! | account | for a user by whatever way | a pause, at the greatest number in a row |
//! | client | from one (company, network) at whatever account | a rate |
//!
//! An attempt by a known client rests on that client's count, not on those that others' failures
//! fill: so the owner gets in while somebody elsewhere is kept waiting. Everybody else shares the
//! way's count. That is looked at before anybody knows whether the identity exists, so it tells
//! nothing about that.
//!
//! One way may lead to several accounts. A client that is known at one of them is nobody at the
//! others: there it shares the way's count, and its getting in at its own resets nothing of theirs.
//!
//! Time comes in; there is no clock here. Nothing is kept on disk: a start begins anew.

mod count;

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::time::Duration;

use crate::events::ids::{BlindIndex, CompanyId, UserId};

use super::bounded::{Table, Weigh};
use super::limits::{Rate, Taken};

pub use self::count::Schedule;

use self::count::Count;

/// How long a client that got in is known.
const KNOWN_FOR: Duration = Duration::from_hours(24 * 30);

/// Failures in a row after which a known client is one like any other.
const KNOWN_FAILURES_MAX: u32 = 10;

/// What guessing is bounded by.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// What failures of an account lead to.
    pub schedule: Schedule,
    /// Failures in a row that an account can have before the pause, by all ways and from
    /// everywhere.
    pub failures_max: u32,
    /// Failures of one client.
    pub client: Rate,
    /// Entries of each count, but for known clients.
    pub tracked: usize,
    /// Known clients.
    pub known_clients: usize,
}

impl Rules {
    /// Failures in a row of those who are not known. The rest is left to the clients that are, so
    /// that nobody else can use it up.
    const fn shared_max(&self) -> u32 {
        let share = self.failures_max.saturating_mul(3) / 5;
        if share == 0 { 1 } else { share }
    }
}

/// Whom an attempt is for, as it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// An identity.
    Identity(BlindIndex),
    /// A user's id.
    User(UserId),
}

/// Where an address is. The addresses of one line in version 6 are its first half's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Network {
    V4([u8; 4]),
    V6([u8; 8]),
}

impl Network {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.octets()),
            IpAddr::V6(address) => {
                Self::V6(address.octets().first_chunk().copied().unwrap_or_default())
            }
        }
    }
}

/// An attempt that somebody wants to make.
#[derive(Debug, Clone, Copy)]
pub struct Guess {
    way: Way,
    company: CompanyId,
    network: Option<Network>,
}

impl Guess {
    /// An attempt through a company, by its customer at this address.
    pub fn new(way: Way, company: CompanyId, client: Option<IpAddr>) -> Self {
        Self { way, company, network: client.map(Network::of) }
    }
}

/// An attempt under way. It has to be ended.
#[derive(Debug)]
#[must_use]
pub struct Ticket {
    guess: Guess,
    shared: bool,
    /// The accounts it was tried at, and whether as a known client.
    tried: Vec<(UserId, bool)>,
}

impl Ticket {
    /// Whether it counts with everybody else's, and not as a known client's alone.
    pub const fn is_shared(&self) -> bool {
        self.shared
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The password was right.
    Right {
        /// Whose it was.
        user: UserId,
        /// Whether the way leads to nobody else.
        sole: bool,
    },
    /// It was not, or there is nobody who could have one.
    Wrong,
    /// It was not looked at.
    Undone,
}

/// Why an attempt may not be made now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hindrance {
    /// Attempts for this account failed, or are under way.
    Account,
    /// Attempts by this client failed.
    Client,
}

/// An attempt may not be made now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub hindrance: Hindrance,
    /// When it may be.
    pub retry_after: Duration,
}

/// A client that got in by a way, or at an account. Only the latter has failures.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    count: Count,
    until: Duration,
}

impl Weigh for Known {
    fn weight(&self, now: Duration) -> u64 {
        self.until.saturating_sub(now).as_secs()
    }
}

/// What is counted, and how much of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Ways with failures.
    pub ways: usize,
    /// Users with failures.
    pub accounts: usize,
    /// Clients with failures.
    pub clients: usize,
    /// Clients that got in lately.
    pub known_clients: usize,
    /// Attempts refused for what failed at their account.
    pub refused_account: u64,
    /// Attempts refused for what failed from their client.
    pub refused_client: u64,
}

/// The counts.
#[derive(Debug)]
pub struct Guessing {
    rules: Rules,
    ways: Table<Way, Count>,
    accounts: Table<UserId, Count>,
    clients: Table<(CompanyId, Network), Taken>,
    /// By keyed hashes of company and network with the way, and with the user: there are many.
    known: Table<u64, Known>,
    hasher: RandomState,
    refused_account: u64,
    refused_client: u64,
}

impl Guessing {
    /// Counts by these rules.
    pub fn new(rules: Rules) -> Self {
        Self {
            ways: Table::new(rules.tracked),
            accounts: Table::new(rules.tracked),
            clients: Table::new(rules.tracked),
            known: Table::new(rules.known_clients),
            hasher: RandomState::new(),
            refused_account: 0,
            refused_client: 0,
            rules,
        }
    }

    /// An attempt begins, before it is known whether there is anybody of that name.
    pub fn begin(&mut self, now: Duration, guess: Guess) -> Result<Ticket, Refused> {
        let mut ticket = Ticket { guess, shared: false, tried: Vec::new() };
        // Where this client got in by this way it has yet to be seen at which account.
        if !self.is_known(now, self.way_key(&guess)) {
            self.share(now, &mut ticket)?;
        }
        Ok(ticket)
    }

    /// Has an attempt count with everybody else's: where there is nobody of that name, or nobody
    /// whose known client it is.
    pub fn share(&mut self, now: Duration, ticket: &mut Ticket) -> Result<(), Refused> {
        if ticket.shared {
            return Ok(());
        }
        let (limit, guess) = (self.rules.shared_max(), &ticket.guess);
        let count = self.ways.get(&guess.way);
        let wait = count.and_then(|count| count.wait(now, &self.rules.schedule, limit));
        if let Some(wait) = wait {
            return Err(self.refuse_account(wait));
        }
        if let Some(network) = guess.network {
            let (key, rate) = ((guess.company, network), self.rules.client);
            let taken = self.clients.update(now, key, |taken| taken.take(now, &rate));
            if let Err(retry_after) = taken {
                self.refused_client += 1;
                return Err(Refused { hindrance: Hindrance::Client, retry_after });
            }
        }
        self.ways.update(now, guess.way, Count::begin);
        ticket.shared = true;
        Ok(())
    }

    /// The attempt is made at an account. Where that is refused it may go on to another one.
    pub fn try_account(
        &mut self,
        now: Duration,
        ticket: &mut Ticket,
        user: UserId,
    ) -> Result<(), Refused> {
        let key = self.account_key(&ticket.guess, user);
        let known = self.is_known(now, key);
        let limit = if known { self.rules.failures_max } else { self.rules.shared_max() };
        if known {
            let wait = self
                .known
                .get(&key)
                .and_then(|it| it.count.wait(now, &self.rules.schedule, KNOWN_FAILURES_MAX));
            if let Some(wait) = wait {
                return Err(self.refuse_account(wait));
            }
        } else {
            self.share(now, ticket)?;
        }
        let count = self.accounts.get(&user);
        if let Some(wait) = count.and_then(|count| count.stopped(now, limit)) {
            return Err(self.refuse_account(wait));
        }
        if known {
            self.known.update(now, key, |it| it.count.begin());
        }
        self.accounts.update(now, user, Count::begin);
        ticket.tried.push((user, known));
        Ok(())
    }

    /// An attempt ended.
    #[expect(clippy::needless_pass_by_value, reason = "a ticket is used up")]
    pub fn end(&mut self, now: Duration, ticket: Ticket, ended: Ended) {
        let (guess, schedule) = (&ticket.guess, self.rules.schedule);
        for (user, known) in &ticket.tried {
            let change = |count: &mut Count| match ended {
                Ended::Right { user: whose, .. } if whose == *user => count.succeed(),
                // Whoever has a password of their own was not guessing at those before them.
                Ended::Right { .. } | Ended::Undone => count.undo(),
                Ended::Wrong => count.fail(now, &schedule),
            };
            self.accounts.update(now, *user, change);
            if *known {
                self.end_known(now, guess, *user, change);
            }
        }
        if ticket.shared {
            self.ways.update(now, guess.way, |count| match ended {
                Ended::Right { sole: true, .. } => count.succeed(),
                // It was one of several: what failed may have been meant for another.
                Ended::Right { .. } | Ended::Undone => count.undo(),
                Ended::Wrong => count.fail(now, &schedule),
            });
            if let (Some(network), true) = (guess.network, ended != Ended::Wrong) {
                let (key, rate) = ((guess.company, network), self.rules.client);
                self.clients.update(now, key, |taken| taken.give_back(&rate));
            }
        }
        if let Ended::Right { user, .. } = ended {
            for key in [self.way_key(guess), self.account_key(guess, user)] {
                self.known.update(now, key, |it| it.until = now.saturating_add(KNOWN_FOR));
            }
        }
    }

    fn end_known(
        &mut self,
        now: Duration,
        guess: &Guess,
        user: UserId,
        change: impl FnOnce(&mut Count),
    ) {
        let key = self.account_key(guess, user);
        let count = self.known.update(now, key, |known| {
            change(&mut known.count);
            known.count
        });
        if count.failures(now) >= KNOWN_FAILURES_MAX {
            // It goes on as everybody else does, and as if it had never been known: nobody learns
            // from its delays that somebody got in.
            self.known.remove(&key);
            self.ways.update(now, guess.way, |shared| shared.absorb(now, &count));
        }
    }

    /// An account was given a new password by somebody who may: what failed before counts no more.
    pub fn forgive(&mut self, now: Duration, user: UserId, ways: impl IntoIterator<Item = Way>) {
        if self.accounts.get(&user).is_some() {
            self.accounts.update(now, user, Count::forgive);
        }
        for way in ways {
            if self.ways.get(&way).is_some() {
                self.ways.update(now, way, Count::forgive);
            }
        }
    }

    /// What is counted now.
    pub const fn snapshot(&self) -> Snapshot {
        Snapshot {
            ways: self.ways.len(),
            accounts: self.accounts.len(),
            clients: self.clients.len(),
            known_clients: self.known.len(),
            refused_account: self.refused_account,
            refused_client: self.refused_client,
        }
    }

    fn is_known(&self, now: Duration, key: u64) -> bool {
        self.known.get(&key).is_some_and(|known| known.until > now)
    }

    fn way_key(&self, guess: &Guess) -> u64 {
        self.hasher.hash_one((guess.way, guess.company, guess.network))
    }

    fn account_key(&self, guess: &Guess, user: UserId) -> u64 {
        self.hasher.hash_one((user, guess.company, guess.network))
    }

    const fn refuse_account(&mut self, retry_after: Duration) -> Refused {
        self.refused_account += 1;
        Refused { hindrance: Hindrance::Account, retry_after }
    }
}

#[cfg(test)]
#[path = "guessing_test.rs"]
mod tests;
