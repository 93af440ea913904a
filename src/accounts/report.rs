//! How far a company's customers have moved over: by country, what hashes they came with, who has a
//! secret and who never came.
//!
//! It is put together in pages, each of so many users of the node in the order of their ids, so
//! that no call holds the node for long. Whoever asks adds the pages up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::events::account::Account;
use crate::events::ids::{CompanyId, Country, Slot, UserId};
use crate::events::state::{Credential, UserState};

use super::Accounts;
use super::error::AccountError;

/// The scheme of a hash that cannot be read here now: its key or its hash profile is not here, or
/// another node admitted what this one does not.
const UNREADABLE: &str = "unreadable";

/// How far customers have moved over.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Report {
    /// All of them, each counted once.
    pub all: Tally,
    /// By country. A customer known in two counts in both.
    pub countries: BTreeMap<Country, CountryTally>,
    /// Those of whom the company said no country: others brought them.
    pub without_country: Tally,
}

/// How many customers. A person of several linked users is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// All of them.
    pub customers: u64,
    /// They logged in, here or at another company, or a password was set: they have a hash of
    /// this service's own.
    pub with_secret: u64,
    /// The others.
    pub never_came: u64,
    /// No password lets them in: nobody brought a hash, or they were taken apart from somebody.
    pub without_password: u64,
}

/// The customers of a country.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CountryTally {
    /// How many.
    #[serde(flatten)]
    pub tally: Tally,
    /// The hashes that the company brought for the country, by scheme.
    pub schemes: BTreeMap<String, SchemeTally>,
}

/// The hashes of a scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SchemeTally {
    /// All of them.
    pub hashes: u64,
    /// Those of customers who never came.
    pub never_came: u64,
}

/// A part of a report.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Page {
    /// What was counted.
    pub report: Report,
    /// How many users were looked at, other companies' too.
    pub users: u64,
    /// Behind whom the next part goes on; none after the last one.
    pub next: Option<UserId>,
}

impl Report {
    /// Adds another part.
    pub fn add(&mut self, part: Self) {
        self.all.add(part.all);
        self.without_country.add(part.without_country);
        for (country, counted) in part.countries {
            let sum = self.countries.entry(country).or_default();
            sum.tally.add(counted.tally);
            for (scheme, counted) in counted.schemes {
                let sum = sum.schemes.entry(scheme).or_default();
                sum.hashes += counted.hashes;
                sum.never_came += counted.never_came;
            }
        }
    }

    fn count(&mut self, customer: &Customer) {
        let one = customer.tally();
        self.all.add(one);
        for country in &customer.countries {
            self.countries.entry(*country).or_default().tally.add(one);
        }
        if customer.countries.is_empty() {
            self.without_country.add(one);
        }
        for (country, scheme) in &customer.hashes {
            let schemes = &mut self.countries.entry(*country).or_default().schemes;
            let sum = schemes.entry((*scheme).to_owned()).or_default();
            sum.hashes += 1;
            sum.never_came += one.never_came;
        }
    }
}

impl Tally {
    const fn add(&mut self, other: Self) {
        self.customers += other.customers;
        self.with_secret += other.with_secret;
        self.never_came += other.never_came;
        self.without_password += other.without_password;
    }
}

/// What counts of one person.
struct Customer {
    countries: BTreeSet<Country>,
    hashes: Vec<(Country, &'static str)>,
    has_secret: bool,
    has_password: bool,
}

impl Customer {
    fn tally(&self) -> Tally {
        Tally {
            customers: 1,
            with_secret: u64::from(self.has_secret),
            never_came: u64::from(!self.has_secret),
            without_password: u64::from(!self.has_password),
        }
    }
}

impl Accounts {
    /// A part of the report on a company's customers: of at most `users_max` users behind `after`.
    pub async fn report(
        &self,
        company: CompanyId,
        after: Option<UserId>,
        users_max: usize,
    ) -> Result<Page, AccountError> {
        if !self.parts.house.registry().state.companies.contains_key(&company) {
            return Err(AccountError::NotFound("the company was"));
        }
        let found = self.parts.house.members(company, after, users_max).await?;
        let mut page = Page { users: found.users, next: found.next, ..Page::default() };
        for (user, state) in found.members {
            if let Some(customer) = self.customer(company, user, state).await? {
                page.report.count(&customer);
            }
            // Opened from memory, hashes would keep everybody else from this thread.
            tokio::task::yield_now().await;
        }
        Ok(page)
    }

    /// What counts of a company's customer; none where another user of the account speaks for the
    /// person.
    async fn customer(
        &self,
        company: CompanyId,
        user: UserId,
        state: Arc<UserState>,
    ) -> Result<Option<Customer>, AccountError> {
        let is_alone = state.linked().next().is_none();
        let users = if is_alone {
            BTreeMap::from([(user, state)])
        } else {
            self.load_any(user).await?.users
        };
        let live = || users.iter().filter(|(_, state)| state.is_live());
        let speaker = live().find(|(_, state)| state.is_member(company)).map(|(id, _)| *id);
        if speaker != Some(user) {
            return Ok(None);
        }
        let mut customer = Customer {
            countries: BTreeSet::new(),
            hashes: Vec::new(),
            has_secret: live().any(|(_, state)| state.secret.is_some()),
            has_password: !Account::of(&users).credentials(None).is_empty(),
        };
        for (id, state) in live() {
            let registered = state.registered.as_ref().map(|cell| &cell.value);
            let own = registered.filter(|it| it.company == company);
            customer.countries.extend(own.map(|it| it.country));
            for (slot, cell) in state.legacy.iter().filter(|(slot, _)| slot.company == company) {
                let scheme = self.scheme(*id, *slot, &cell.value).await?;
                customer.countries.insert(slot.country);
                customer.hashes.push((slot.country, scheme));
            }
        }
        Ok(Some(customer))
    }

    /// The scheme of a company's hash: it is sealed with the hash.
    async fn scheme(
        &self,
        user: UserId,
        slot: Slot,
        credential: &Credential,
    ) -> Result<&'static str, AccountError> {
        let opened = match self.parts.vault.keys_of(user).await {
            Ok(keys) => {
                let stored = (&credential.hash, credential.profile);
                self.open_legacy(user, &keys, slot, stored).await
            }
            Err(failure) => Err(failure.into()),
        };
        match opened {
            Ok(hash) => Ok(hash.scheme()),
            Err(AccountError::Unavailable(unavailable)) => Err(unavailable.into()),
            Err(_) => Ok(UNREADABLE),
        }
    }
}
