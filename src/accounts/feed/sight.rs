//! Whom a company hears of: accounts with a customer of its own in them.
//!
//! An erased user's memberships are gone from the state with everything else of it. The log still
//! says whose customer it was, and those companies are told that it was erased.

use std::collections::{BTreeMap, BTreeSet};

use crate::actors::shard_reads::Recorded;
use crate::events::event::Event;
use crate::events::ids::{CompanyId, UserId};
use crate::events::record::LogPosition;
use crate::events::stamp::{EffectiveTime, Origin, Revision, Stamp};
use crate::events::state::UserState;

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
    /// What bears the user's secret, and the passwords that companies said they changed.
    passwords: Vec<Stamp>,
}

impl Sight {
    /// Whether a hash that a company brought was a new password: one it changed, and newer than
    /// what was there when it came, as far as that still is there. What took the place of that
    /// since is told of itself.
    pub(super) fn was_password(&self, brought: Stamp) -> bool {
        let prevailed = |it: &Stamp| it.revision < brought.revision && *it > brought;
        brought.effective.is_change() && !self.passwords.iter().any(prevailed)
    }
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
            passwords: loaded.user().map(passwords).unwrap_or_default(),
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

fn passwords(user: &UserState) -> Vec<Stamp> {
    let changes = user.legacy.values().map(|cell| cell.mark.stamp);
    let changes = changes.filter(|stamp| stamp.effective.is_change());
    changes.chain(user.secret.iter().map(|cell| cell.mark.stamp)).collect()
}

fn membership(recorded: &Recorded) -> Option<(CompanyId, bool)> {
    match &recorded.event {
        Some(Event::CompanyJoined(company)) => Some((*company, true)),
        Some(Event::CompanyLeft(company)) => Some((*company, false)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::stamp::Incarnation;

    fn stamp(effective_ms: u64, recorded_ms: u64) -> Stamp {
        let incarnation = Incarnation { counter: 1, tag: 7 };
        let (region, node) = ("eu".parse().unwrap(), "n1".parse().unwrap());
        Stamp {
            effective: EffectiveTime::at(Revision::from_unix_ms(effective_ms)),
            revision: Revision::from_unix_ms(recorded_ms),
            origin: Origin { region, node, incarnation },
            generation: 0,
        }
    }

    fn beside(passwords: &[Stamp]) -> Sight {
        let (revision, linked) = (String::new(), Vec::new());
        Sight { revision, canonical: None, linked, erased: false, passwords: passwords.to_vec() }
    }

    #[test]
    fn a_brought_hash_was_a_password_unless_a_newer_one_was_there_before_it() {
        let change = stamp(5, 9);
        assert!(beside(&[]).was_password(change));
        assert!(beside(&[change, change.upgraded()]).was_password(change));
        assert!(beside(&[stamp(4, 4)]).was_password(change), "it prevailed over an older one");
        assert!(!beside(&[stamp(6, 6), change]).was_password(change), "a newer one was there");
        assert!(beside(&[stamp(12, 12)]).was_password(change), "a newer one came later");
        let verified = stamp(6, 6).upgraded();
        assert!(!beside(&[verified, stamp(12, 12)]).was_password(change));
        assert!(!beside(&[]).was_password(stamp(0, 9)), "an import is none");
    }
}
