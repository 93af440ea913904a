//! Guessing: how often passwords may be tried, by account and by where the attempts come from.
//!
//! ```text
//! begin(who is asked for) --> ticket --> of_account(whose it is) --> end(right, wrong, undone)
//!        |                                    |
//!        +------------ Refused { kind, retry_after } <--+
//! ```
//!
//! | count | of failures | leads to |
//! |---|---|---|
//! | way | for one identity or id as it was asked for | delays that grow, then a pause |
//! | known client | the same, of one (company, network) that got in lately | the same |
//! | account | for a user by whatever way | a pause, at the greatest number in a row |
//! | client | from one (company, network) at whatever account | a rate |
//!
//! An attempt by a known client rests on that client's count, not on those that others' failures
//! fill: so the owner gets in while somebody elsewhere is kept waiting. Everybody else shares the
//! way's count. That is looked at before anybody knows whether the identity exists, so it tells
//! nothing about that.
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
    known: bool,
    account: Option<UserId>,
}

impl Ticket {
    /// Whether it is of a client that got in lately.
    pub const fn is_of_known_client(&self) -> bool {
        self.known
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The password was right.
    Right,
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

/// A client that got in.
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
    /// By a keyed hash of way, company and network: there are many.
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
        let ticket = |known| Ticket { guess, known, account: None };
        let schedule = self.rules.schedule;
        let client = self.client_key(&guess);
        if let Some(known) = self.known.get_mut(&client).filter(|known| known.until > now) {
            let wait = known.count.wait(now, &schedule, KNOWN_FAILURES_MAX);
            if wait.is_none() {
                known.count.begin();
            }
            return wait.map_or(Ok(ticket(true)), |wait| Err(self.refuse_account(wait)));
        }
        let limit = self.rules.shared_max();
        let count = self.ways.get(&guess.way);
        if let Some(wait) = count.and_then(|count| count.wait(now, &schedule, limit)) {
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
        Ok(ticket(false))
    }

    /// Whose account it is, once that is known. Where this is refused the ticket is to be ended as
    /// undone.
    pub fn of_account(
        &mut self,
        now: Duration,
        ticket: &mut Ticket,
        user: UserId,
    ) -> Result<(), Refused> {
        let limit = if ticket.known { self.rules.failures_max } else { self.rules.shared_max() };
        let count = self.accounts.get(&user);
        if let Some(wait) = count.and_then(|count| count.stopped(now, limit)) {
            return Err(self.refuse_account(wait));
        }
        self.accounts.update(now, user, Count::begin);
        ticket.account = Some(user);
        Ok(())
    }

    /// An attempt ended.
    #[expect(clippy::needless_pass_by_value, reason = "a ticket is used up")]
    pub fn end(&mut self, now: Duration, ticket: Ticket, ended: Ended) {
        let schedule = self.rules.schedule;
        let change = |count: &mut Count| match ended {
            Ended::Right => count.succeed(),
            Ended::Wrong => count.fail(now, &schedule),
            Ended::Undone => count.undo(),
        };
        if let Some(user) = ticket.account {
            self.accounts.update(now, user, change);
        }
        let guess = &ticket.guess;
        let client = self.client_key(guess);
        if ticket.known {
            let count = self.known.update(now, client, |known| {
                change(&mut known.count);
                known.count
            });
            if count.failures(now) >= KNOWN_FAILURES_MAX {
                // It goes on as everybody else does, and as if it had never been known: nobody
                // learns from its delays that somebody got in.
                self.known.remove(&client);
                self.ways.update(now, guess.way, |shared| shared.absorb(now, &count));
            }
        } else {
            self.ways.update(now, guess.way, change);
            if let (Some(network), true) = (guess.network, ended != Ended::Wrong) {
                let (key, rate) = ((guess.company, network), self.rules.client);
                self.clients.update(now, key, |taken| taken.give_back(&rate));
            }
        }
        if ended == Ended::Right {
            self.known.update(now, client, |known| known.until = now.saturating_add(KNOWN_FOR));
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

    fn client_key(&self, guess: &Guess) -> u64 {
        self.hasher.hash_one((guess.way, guess.company, guess.network))
    }

    const fn refuse_account(&mut self, retry_after: Duration) -> Refused {
        self.refused_account += 1;
        Refused { hindrance: Hindrance::Account, retry_after }
    }
}

#[cfg(test)]
#[path = "guessing_test.rs"]
mod tests;
