//! What changed with a company's customers, as its calls read it.
//!
//! Read from the log, by a cursor that any node takes.

mod cursor;
mod kind;
mod sight;

pub use kind::Kind;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use crate::actors::feed::{Group, Place};
use crate::events::ids::{CompanyId, UserId};
use crate::events::policy::Scope;
use crate::events::record::LogPosition;
use crate::events::stamp::{EventRef, Revision};

use super::caller::Caller;
use super::error::AccountError;
use super::view::rfc3339;
use super::{Accounts, Unavailable};

use self::kind::{kind_of, kinds, touched};
use self::sight::Sight;

/// Parts of the log that one call reads at most: the next call goes on behind them.
const PARTS_MAX: usize = 10;

/// Events of a user that are read at one time.
const HISTORY_PAGE: usize = 100;

/// How often at most those who wait are looked after.
const WAKE_EVERY: Duration = Duration::from_millis(20);

/// What one command changed of a user.
#[derive(Debug, Serialize)]
pub struct Change {
    /// Where to read on once this was taken in.
    pub cursor: String,
    /// The user.
    pub user_id: UserId,
    /// What a reader of the account sees now.
    pub revision: String,
    /// What happened.
    pub kinds: Vec<Kind>,
    /// When it was recorded, RFC 3339.
    pub at: String,
    /// With `linked` and `unlinked`: the canonical id of the user's account now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canonical_id: Option<UserId>,
    /// With `linked` and `unlinked`: the account's other ids now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linked_ids: Option<Vec<UserId>>,
}

/// A page of changes.
#[derive(Debug, Serialize)]
pub struct Changes {
    /// The changes, in the order of this node's log.
    pub changes: Vec<Change>,
    /// Where to read on.
    pub next: String,
    /// Whether there may be more at once.
    pub has_more: bool,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Where to read on; none from the beginning.
    pub after: Option<&'a str>,
    /// At most so many.
    pub limit: usize,
    /// How long to wait for the first one.
    pub wait: Duration,
}

/// A page under construction.
struct Page<'a> {
    company: CompanyId,
    limit: usize,
    place: Place,
    changes: Vec<Change>,
    /// Where the log is to be read on.
    at: LogPosition,
    sights: HashMap<UserId, Option<Sight>>,
    accounts: &'a Accounts,
}

impl Accounts {
    /// What changed with the caller's customers after a cursor.
    pub async fn changes(
        &self,
        caller: &Caller,
        asked: Asked<'_>,
    ) -> Result<Changes, AccountError> {
        caller.require(Scope::Read)?;
        let company = caller.company;
        let mut place = match asked.after {
            None => Place::default(),
            Some(cursor) => self.place(company, cursor).ok_or(AccountError::InvalidCursor)?,
        };
        if asked.wait.is_zero() {
            return Ok(self.page(company, place, asked.limit).await?.0);
        }
        let deadline = Instant::now() + asked.wait;
        // Before anything is read: what comes after that rings.
        let waiter = self.parts.feed.waiting().join(company);
        let mut waiter = waiter.ok_or(Unavailable::Overloaded)?;
        loop {
            let (page, left) = self.page(company, place, asked.limit).await?;
            let over = self.parts.feed.waiting().is_closed() || Instant::now() >= deadline;
            if over || page.has_more || !page.changes.is_empty() {
                return Ok(page);
            }
            place = left;
            if timeout_at(deadline, waiter.rung()).await.is_err() {
                return Ok(page);
            }
        }
    }

    async fn page(
        &self,
        company: CompanyId,
        place: Place,
        limit: usize,
    ) -> Result<(Changes, Place), AccountError> {
        let feed = &self.parts.feed;
        let (end, vector) = feed.end().await;
        let had = Arc::new(feed.confined(&place, &vector));
        let at = feed.find(&had).await?;
        let mut page = Page {
            company,
            limit,
            place: Place::clone(&had),
            changes: Vec::new(),
            at,
            sights: HashMap::new(),
            accounts: self,
        };
        let mut parts = 0;
        while page.at < end && parts < PARTS_MAX && page.changes.len() < limit {
            let chunk = feed.chunk(&had, page.at, end).await?;
            if page.take(chunk.groups).await? {
                page.at = chunk.next;
            }
            parts += 1;
        }
        page.place.leave(feed.own(), page.at);
        let (next, has_more) = (self.cursor(company, &page.place), page.at < end);
        Ok((Changes { changes: page.changes, next, has_more }, page.place))
    }

    /// Wakes those who wait for what they hear of, until nobody is to wait any more.
    pub async fn follow_changes(self: Arc<Self>) {
        let feed = &self.parts.feed;
        let (bell, mut at) = (feed.bell(), feed.durable());
        while !feed.waiting().is_closed() {
            bell.notified().await;
            // Read before looking who waits: who joins later reads up to there by itself.
            let durable = feed.durable();
            while at < durable && !feed.waiting().is_empty() {
                if let Err(error) = self.wake(&mut at).await {
                    tracing::warn!(%error, "those who wait for changes are woken later");
                }
                tokio::time::sleep(WAKE_EVERY).await;
            }
            at = at.max(durable);
        }
    }

    /// Wakes those who hear of what lies behind `at` and is in the state.
    async fn wake(&self, at: &mut LogPosition) -> Result<(), Unavailable> {
        let feed = &self.parts.feed;
        let nothing = Arc::new(Place::default());
        let end = feed.applied().await;
        while *at < end {
            let chunk = feed.chunk(&nothing, *at, end).await?;
            let users: BTreeSet<UserId> = chunk.groups.iter().flat_map(touched).collect();
            for user in users {
                for company in self.who_hears(user).await? {
                    feed.waiting().wake(company);
                }
            }
            *at = chunk.next;
        }
        Ok(())
    }

    /// How many wait for changes.
    pub fn waiting_for_changes(&self) -> usize {
        self.parts.feed.waiting().len()
    }

    /// Answers everybody who waits for changes, and lets nobody wait any more.
    pub fn stop_waiting(&self) {
        self.parts.feed.close();
    }
}

impl Page<'_> {
    /// Takes commands in. Says whether all of them were: where not, the page is full.
    async fn take(&mut self, groups: Vec<Group>) -> Result<bool, Unavailable> {
        for mut group in groups {
            if self.changes.len() >= self.limit {
                self.at = group.start;
                return Ok(false);
            }
            let registry = self.accounts.parts.house.registry();
            let events: Vec<_> = group.facts.iter().map(|fact| fact.reference).collect();
            group.facts.retain(|fact| registry.state.distrust.counts(fact));
            if !self.take_users(&group, events.first().copied()).await? {
                return Ok(false);
            }
            for event in &events {
                self.place.take(event);
            }
            // A change told before is behind the whole command only if it was its last.
            if let Some(last) = self.changes.last_mut().filter(|last| last.cursor.is_empty()) {
                self.place.leave(self.accounts.parts.feed.own(), group.end);
                last.cursor = self.accounts.cursor(self.company, &self.place);
            }
        }
        Ok(true)
    }

    /// Tells of each user of a command. The last change has no cursor yet: it is behind the
    /// command.
    async fn take_users(
        &mut self,
        group: &Group,
        first: Option<EventRef>,
    ) -> Result<bool, Unavailable> {
        let Some(first) = first else { return Ok(true) };
        let mut before: Option<UserId> = None;
        for user in touched(group) {
            if self.place.has_of(&first, user) {
                continue;
            }
            let Some(change) = self.change(group, user).await? else { continue };
            if let (Some(last), Some(before)) = (self.changes.last_mut(), before) {
                self.place.within(first, before);
                self.place.leave(self.accounts.parts.feed.own(), group.start);
                last.cursor = self.accounts.cursor(self.company, &self.place);
            }
            if self.changes.len() >= self.limit {
                self.at = group.start;
                return Ok(false);
            }
            before = Some(user);
            self.changes.push(change);
        }
        Ok(true)
    }

    /// What a command changed of a user; none where the company does not hear of it.
    async fn change(&mut self, group: &Group, user: UserId) -> Result<Option<Change>, Unavailable> {
        if kinds(group, user, self.company, |_| false).is_empty() {
            return Ok(None);
        }
        let sight = if let Some(known) = self.sights.get(&user) {
            known.clone()
        } else {
            let sight = self.accounts.sight(self.company, user).await?;
            self.sights.insert(user, sight.clone());
            sight
        };
        let Some(sight) = sight else { return Ok(None) };
        let mut kinds = kinds(group, user, self.company, |stamp| sight.was_password(stamp));
        if sight.erased {
            kinds.retain(|kind| *kind == Kind::Erased);
        }
        let recorded = group.facts.first().filter(|_| !kinds.is_empty());
        let Some(recorded) = recorded else { return Ok(None) };
        // From here on the company hears of the user.
        if kinds.contains(&Kind::Registered) || kinds.contains(&Kind::Linked) {
            kinds.extend(self.passed(user, recorded.revision, &sight).await?);
        }
        let links = kinds.contains(&Kind::Linked) || kinds.contains(&Kind::Unlinked);
        Ok(Some(Change {
            cursor: String::new(),
            user_id: user,
            revision: sight.revision,
            kinds: kinds.into_iter().collect(),
            at: rfc3339(recorded.revision.unix_ms()),
            canonical_id: sight.canonical.filter(|_| links),
            linked_ids: links.then_some(sight.linked),
        }))
    }

    /// What later events of a user did that the reader has passed. Nodes hear of each other's
    /// events in different orders, so some came where the company did not hear of the user yet.
    async fn passed(
        &self,
        user: UserId,
        revision: Revision,
        sight: &Sight,
    ) -> Result<BTreeSet<Kind>, Unavailable> {
        let (mut kinds, mut after) = (BTreeSet::new(), LogPosition::START);
        loop {
            let page = self.accounts.parts.house.read_history(user, after, HISTORY_PAGE).await?;
            for recorded in &page {
                let header = &recorded.header;
                after = recorded.position;
                if header.revision > revision && self.place.has(&header.origin, header.sequence) {
                    let was_password = |stamp| sight.was_password(stamp);
                    kinds.extend(kind_of(recorded, self.company, was_password));
                }
            }
            if page.len() < HISTORY_PAGE {
                return Ok(kinds);
            }
        }
    }
}
