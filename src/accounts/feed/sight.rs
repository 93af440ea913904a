//! Whom a company hears of: accounts with a customer of its own in them.
//!
//! An erased user's memberships are gone from the state with everything else of it. The log still
//! says whose customer it was, and those companies are told that it was erased.

use std::collections::{BTreeMap, BTreeSet};

use crate::actors::shard_reads::Recorded;
use crate::events::event::Event;
use crate::events::ids::{CompanyId, UserId};
use crate::events::record::LogPosition;
use crate::events::stamp::{EffectiveTime, Origin, Revision};

use crate::accounts::{Accounts, Loaded, Unavailable};

/// Events of an erased user that are read at one time.
const PAGE: usize = 1000;

/// A user as a company that hears of it sees it.
#[derive(Debug, Clone)]
pub(super) struct Sight {
    /// What a reader of the account sees.
    pub(super) revision: String,
    /// The account's canonical id; none where all of it is erased.
    pub(super) canonical: Option<UserId>,
    /// The other ids of the account.
    pub(super) linked: Vec<UserId>,
    /// Whether this user is erased.
    pub(super) erased: bool,
}

impl Accounts {
    /// A user as a company sees it; none where the company does not hear of it.
    pub(super) async fn sight(
        &self,
        company: CompanyId,
        user: UserId,
    ) -> Result<Option<Sight>, Unavailable> {
        let loaded = self.load_any(user).await?;
        let account = loaded.account();
        let erased = is_erased(&loaded);
        let hears = account.has_member_of(company)
            || (erased && self.customers_were(user).await?.contains(&company));
        Ok(hears.then(|| Sight {
            revision: account.seen().to_string(),
            canonical: account.canonical(),
            linked: account.linked_ids(),
            erased,
        }))
    }

    /// The companies that hear of a user.
    pub(super) async fn who_hears(&self, user: UserId) -> Result<BTreeSet<CompanyId>, Unavailable> {
        let loaded = self.load_any(user).await?;
        let mut companies = BTreeSet::new();
        if is_erased(&loaded) {
            companies.extend(self.customers_were(user).await?);
        }
        companies.extend(loaded.account().companies());
        Ok(companies)
    }

    /// The companies whose customer an erased user was.
    async fn customers_were(&self, user: UserId) -> Result<BTreeSet<CompanyId>, Unavailable> {
        let mut newest: BTreeMap<CompanyId, (Place, bool)> = BTreeMap::new();
        let mut after = LogPosition::START;
        loop {
            let page = self.parts.house.read_history(user, after, PAGE).await?;
            for recorded in &page {
                after = recorded.position;
                let Some((company, joined)) = membership(recorded) else { continue };
                let header = &recorded.header;
                let place = (header.effective, header.revision, header.origin);
                let standing = newest.entry(company).or_insert((place, joined));
                if place > standing.0 {
                    *standing = (place, joined);
                }
            }
            if page.len() < PAGE {
                let joined = newest.into_iter().filter(|(_, (_, joined))| *joined);
                return Ok(joined.map(|(company, _)| company).collect());
            }
        }
    }
}

/// What decides between rival events.
type Place = (EffectiveTime, Revision, Origin);

fn is_erased(loaded: &Loaded) -> bool {
    loaded.user().is_some_and(|state| state.erased.is_some())
}

fn membership(recorded: &Recorded) -> Option<(CompanyId, bool)> {
    match &recorded.event {
        Some(Event::CompanyJoined(company)) => Some((*company, true)),
        Some(Event::CompanyLeft(company)) => Some((*company, false)),
        _ => None,
    }
}
