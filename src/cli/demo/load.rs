//! Loading: companies, their hash profiles, and all their customers through the use cases, many at
//! once, so that one write to the disk carries many of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Context as _;
use futures_util::{StreamExt as _, stream};
use indicatif::{ProgressBar, ProgressStyle};
use zeroize::Zeroizing;

use crate::accounts::Accounts;
use crate::accounts::caller::Caller;
use crate::accounts::company::NewKey;
use crate::accounts::error::AccountError;
use crate::accounts::legacy::GivenHash;
use crate::accounts::register::Registration;
use crate::accounts::signing::WantedSigning;
use crate::events::ids::{Country, Slot, UserId};
use crate::events::policy::{Policies, Scope, Scopes, Signing};

use super::people::{Person, Sample, plain};

/// Registrations under way at once.
const AT_ONCE: usize = 128;

/// How long the demo's API keys hold: a day.
const KEY_LIFETIME_MS: u64 = 24 * 60 * 60 * 1000;

/// A company of the demo that can call.
pub(super) struct Company {
    /// Its id.
    pub(super) id: &'static str,
    /// Its API key of this run.
    pub(super) key: NewKey,
    caller: Caller,
}

impl Company {
    /// A country it is in.
    pub(super) fn country(&self) -> Option<Country> {
        self.caller.countries.first().copied()
    }
}

/// What became of the customers.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// New users.
    pub(super) registered: usize,
    /// Customers that an earlier run registered.
    pub(super) standing: usize,
    /// Accounts that were loaded closed.
    pub(super) closed: usize,
    /// Addresses that several companies have, each with a user of its own.
    pub(super) shared_addresses: usize,
    users_of: BTreeMap<String, BTreeSet<UserId>>,
}

/// Makes the company, or finds it as an earlier run left it, and gives it a key for this run.
pub(super) async fn company(accounts: &Accounts, sample: &Sample) -> anyhow::Result<Company> {
    let countries: Vec<Country> =
        sample.countries.iter().map(|code| code.parse()).collect::<Result<_, _>>()?;
    let company = sample.id.parse()?;
    accounts.put_company(company, countries.clone(), Signing::Optional).await?;
    for country in countries.iter().copied() {
        if let Some(profile) = sample.hash_profile {
            let (slot, name) = (Slot { company, country }, "default".parse()?);
            accounts.declare_profile(slot, name, profile.as_bytes()).await?;
        }
    }
    let scopes = Scopes::new(Scope::ALL);
    let expires = accounts.clock().unix_ms() + KEY_LIFETIME_MS;
    let key = accounts
        .issue_key(company, scopes.clone(), Some(expires), WantedSigning::AsTheCompanyMust)
        .await?;
    let caller = Caller {
        company,
        key: key.id,
        countries,
        scopes,
        policies: Policies::DEFAULT,
        cause: accounts.cause(company, key.id, "demo"),
        idempotency: None,
    };
    Ok(Company { id: sample.id, key, caller })
}

/// Registers everybody. Who is there already stays as they are.
pub(super) async fn people(
    accounts: &Arc<Accounts>,
    samples: Vec<Sample>,
    companies: &[Company],
) -> anyhow::Result<Loaded> {
    let bar = progress(samples.iter().map(|sample| sample.people.len()).sum());
    let mut loaded = Loaded::default();
    for (sample, company) in samples.into_iter().zip(companies) {
        let registering =
            sample.people.into_iter().map(|person| register(accounts, company, person));
        let mut registering = stream::iter(registering).buffer_unordered(AT_ONCE);
        while let Some(done) = registering.next().await {
            let context = || format!("a customer of {} could not be registered", company.id);
            loaded.count(done.with_context(context)?);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    let users = loaded.users_of.values();
    loaded.shared_addresses = users.filter(|users| users.len() > 1).count();
    Ok(loaded)
}

/// What became of one customer.
struct Done {
    user: Option<UserId>,
    email: Option<String>,
    new: bool,
    closed: bool,
}

impl Loaded {
    fn count(&mut self, done: Done) {
        let of = if done.new { &mut self.registered } else { &mut self.standing };
        *of += 1;
        self.closed += usize::from(done.closed);
        if let (Some(email), Some(user)) = (done.email, done.user) {
            self.users_of.entry(email).or_default().insert(user);
        }
    }
}

async fn register(
    accounts: &Arc<Accounts>,
    company: &Company,
    person: Person,
) -> Result<Done, AccountError> {
    let (email, closed) = (person.email.as_deref().map(plain), person.closed);
    let registration = Registration {
        country: person.country,
        email: person.email,
        phone: person.phone,
        email_verified: person.email_verified,
        phone_verified: false,
        password: None,
        legacy_hash: Some(GivenHash {
            hash: Zeroizing::new(person.hash),
            salt: person.salt.map(Zeroizing::new),
            profile: None,
            changed_at: None,
        }),
        profile: person.profile,
    };
    let (user, new) = match accounts.register(company.caller.clone(), registration).await {
        Ok(user) => (Some(user.user_id), true),
        Err(AccountError::IdentityTaken { user }) => (user, false),
        Err(error) => return Err(error),
    };
    if let (Some(user), true) = (user, closed) {
        accounts.set_status(&company.caller, user, false).await?;
    }
    Ok(Done { user, email, new, closed })
}

/// A bar on a terminal; nothing elsewhere, where the summary says it all.
fn progress(people: usize) -> ProgressBar {
    let bar = ProgressBar::new(people.try_into().unwrap_or(u64::MAX));
    let style = ProgressStyle::with_template("loading {bar:40} {pos}/{len} customers {eta}");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
