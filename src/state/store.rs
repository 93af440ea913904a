//! The state by its meaning: users, who claims an identity, where keys and the registry's events
//! lie in the log.
//!
//! One caller at a time writes a given user (its shard). Readers may read at any time: between the
//! writes of one event they see an entry without its claim, which they check, or a claim without
//! its entry, which is not found yet.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use crate::events::account::Claimant;
use crate::events::cell::{Effect, Mark};
use crate::events::event::Event;
use crate::events::evolve::evolve;
use crate::events::ids::{BlindIndex, CompanyId, KeyedDigest, UserId, UserKeyId};
use crate::events::record::{Fact, LogPosition, Register};
use crate::events::stamp::{Origin, Revision};
use crate::events::state::{Claims, UserState};
use crate::events::state_hash::StateHasher;

use super::error::StateError;
use super::kv::{Change, Kv, Tree};
use super::layout::{self, IndexKey};
use super::reach::Reach;
use super::repeats::Repeat;

/// The state of one node. Clones are of the same one.
#[derive(Clone)]
pub struct Store {
    trees: Arc<RwLock<Arc<InUse>>>,
}

/// The trees that are in use, until others take their place.
struct InUse {
    kv: Arc<dyn Kv>,
    reach: Reach,
}

/// Trees in whose place others came. Somebody may still read them.
pub struct Retired(Arc<InUse>);

impl Retired {
    /// Whether nobody reads them any more.
    pub fn is_free(&self) -> bool {
        Arc::strong_count(&self.0) == 1 && Arc::strong_count(&self.0.kv) == 1
    }
}

/// How many users there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Users anything is known of, tombstones too.
    pub users: u64,
    /// Users that are registered and not erased.
    pub live: u64,
}

impl Store {
    /// The state in these trees.
    pub fn new(kv: Arc<dyn Kv>) -> Self {
        Self { trees: Arc::new(RwLock::new(Arc::new(InUse { kv, reach: Reach::default() }))) }
    }

    fn in_use(&self) -> Arc<InUse> {
        Arc::clone(&self.trees.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The trees.
    pub fn kv(&self) -> Arc<dyn Kv> {
        Arc::clone(&self.in_use().kv)
    }

    /// Puts the trees of `fresh` in the place of these. While `last` brings them up to the log,
    /// nobody reads or writes here. Whoever was about to write to the old trees writes something
    /// that is durable in the log, and so in the new ones.
    pub fn exchange<E>(
        &self,
        fresh: &Self,
        last: impl FnOnce() -> Result<(), E>,
    ) -> Result<Retired, E> {
        let mut trees = self.trees.write().unwrap_or_else(PoisonError::into_inner);
        last()?;
        Ok(Retired(std::mem::replace(&mut *trees, fresh.in_use())))
    }

    /// Notes that what is written from now on may rest on anything in the log below `durable`. Due
    /// before events are written that became durable since.
    pub fn note_reach(&self, durable: LogPosition) -> Result<(), StateError> {
        let trees = self.in_use();
        trees.reach.note(&*trees.kv, durable)
    }

    /// The log position from which on the trees know of nothing.
    pub fn reach(&self) -> Result<LogPosition, StateError> {
        layout::reach(&*self.kv())
    }

    /// A user's state; none while no event of it was folded.
    pub fn user(&self, user: UserId) -> Result<Option<UserState>, StateError> {
        let row = self.kv().get(Tree::Users, user.as_bytes())?;
        row.map(|row| layout::decode_row(user, &row)).transpose()
    }

    /// Every user in the order of ids, read as they are taken.
    pub fn users(&self) -> impl Iterator<Item = Result<(UserId, UserState), StateError>> {
        self.users_from(UserId::from_bytes([0; 16]))
    }

    /// Those with this id or a greater one.
    pub fn users_from(
        &self,
        from: UserId,
    ) -> impl Iterator<Item = Result<(UserId, UserState), StateError>> {
        let kv = self.kv();
        kv.scan_from(Tree::Users, from.as_bytes()).map(move |pair| {
            // The trees stay as long as they are read.
            let _held = &kv;
            let (key, row) = pair?;
            let user = layout::row_user(&key)?;
            Ok((user, layout::decode_row(user, &row)?))
        })
    }

    /// Writes what folding `facts` into a user's state `before` has made of it: its row once, and
    /// the index entries of what the facts touch.
    ///
    /// The facts may have been written before, wholly or in part: entries are written and removed
    /// as `after` says, whether or not the row changed.
    pub fn apply<'a>(
        &self,
        user: UserId,
        before: Option<&UserState>,
        after: &UserState,
        facts: impl IntoIterator<Item = (&'a Fact, LogPosition)>,
    ) -> Result<(), StateError> {
        let facts: Vec<_> = facts.into_iter().collect();
        let (entries, is_late) = self.entries_of_tombstone(user, before, after, &facts)?;
        if (before != Some(after) || is_late) && !after.is_empty() {
            let row = layout::encode_row(user, after, &entries)?;
            self.kv().insert(Tree::Users, user.as_bytes(), &row)?;
        }
        let mut erased = false;
        let mut command: Option<CommandPlace> = None;
        for (fact, position) in facts {
            self.index(user, after, fact, position)?;
            self.note_erasure(user, after, fact, position)?;
            erased |= fact.register == Register::Erasure;
            match &mut command {
                Some(place) if place.holds(fact) => place.last = position,
                _ => {
                    if let Some(done) = command.replace(CommandPlace::of(fact, position)) {
                        self.keep_history(user, &done)?;
                    }
                }
            }
        }
        if let Some(last) = command {
            self.keep_history(user, &last)?;
        }
        if erased { self.remove_entries(user, &entries) } else { Ok(()) }
    }

    /// Reads a user, folds facts into it and writes it: what replay does. Returns the new state
    /// and what became of each fact.
    pub fn fold<'a>(
        &self,
        user: UserId,
        facts: impl IntoIterator<Item = (&'a Fact, LogPosition)> + Clone,
    ) -> Result<(UserState, Vec<Effect>), StateError> {
        let before = self.user(user)?;
        let mut after = before.clone().unwrap_or_default();
        let folded = facts.clone().into_iter();
        let effects = folded.map(|(fact, _)| evolve(&mut after, user, fact)).collect();
        self.apply(user, before.as_ref(), &after, facts)?;
        Ok((after, effects))
    }

    /// The entries that a tombstone's row lists: what the user claimed before, what the list held
    /// already, and what facts that come late say. And whether any did.
    ///
    /// The list is what a replay removes the entries by when the crash kept the tombstone and lost
    /// the removals. It is kept as long as the row is: dropping it would leave its bytes readable
    /// in the files all the same, and a rebuild after the claims were blanked makes none. So a
    /// list that is not empty says that these trees' files may still find the person.
    fn entries_of_tombstone(
        &self,
        user: UserId,
        before: Option<&UserState>,
        after: &UserState,
        facts: &[(&Fact, LogPosition)],
    ) -> Result<(BTreeSet<IndexKey>, bool), StateError> {
        if after.erased.is_none() {
            return Ok((BTreeSet::new(), false));
        }
        let mut entries = BTreeSet::new();
        if before.is_some_and(|before| before.erased.is_some()) {
            entries = self.listed(user)?;
        }
        let late = facts.iter().filter_map(|(fact, _)| index_of(fact));
        let listed = entries.len();
        entries.extend(late.map(BlindIndex::to_key));
        let is_late = entries.len() > listed;
        if let Some(before) = before {
            entries.extend(before.claims.keys().map(|index| index.to_key()));
        }
        Ok((entries, is_late))
    }

    /// The entries that a user's row lists.
    pub(super) fn listed(&self, user: UserId) -> Result<BTreeSet<IndexKey>, StateError> {
        match self.kv().get(Tree::Users, user.as_bytes())? {
            Some(row) => layout::row_entries(user, &row),
            None => Ok(BTreeSet::new()),
        }
    }

    /// Brings the index entries of what one fact touches in line with the state.
    fn index(
        &self,
        user: UserId,
        after: &UserState,
        fact: &Fact,
        position: LogPosition,
    ) -> Result<(), StateError> {
        if let Register::UserKey(key) = fact.register {
            let place = match after.keys.get(&key) {
                None => None,
                // Where several events bring one key, the one that prevails is its place.
                Some(mark) if *mark == Mark::of(fact) => Some(position),
                Some(_) => return Ok(()),
            };
            let change: Change<'_> = &|list| layout::with_key(list, key, place);
            return self.kv().update(Tree::Keys, user.as_bytes(), change);
        }
        let Some(index) = index_of(fact) else { return Ok(()) };
        if after.claims.get(&index).is_some_and(Claims::is_live) {
            let change: Change<'_> = &|list| layout::with_claimant(list, user).map(Some);
            self.kv().update(Tree::Claims, &index.to_key(), change)
        } else {
            self.remove_entry(&index.to_key(), user)
        }
    }

    fn remove_entry(&self, index: &IndexKey, user: UserId) -> Result<(), StateError> {
        self.kv().update(Tree::Claims, index, &|list| layout::without_claimant(list, user))
    }

    fn keep_history(&self, user: UserId, place: &CommandPlace) -> Result<(), StateError> {
        let CommandPlace { first, last, revision, .. } = *place;
        if let Some(key) = place.idempotency {
            self.keep_repeat(&Repeat { key, revision, user, first, last })?;
        }
        let at = layout::history_key(user, first);
        self.kv().insert(Tree::History, &at, &layout::position_bytes(last))
    }

    /// Where the log holds a user's events beyond a position, oldest first: the first and the last
    /// position of each command's, with other users' events possibly between them.
    pub fn history(
        &self,
        user: UserId,
        beyond: LogPosition,
    ) -> impl Iterator<Item = Result<(LogPosition, LogPosition), StateError>> {
        let pairs = self.kv().scan(Tree::History, user.as_bytes());
        let places = pairs.map(|pair| {
            let (key, value) = pair?;
            Ok((layout::history_first(&key)?, layout::position(Tree::History, &value)?))
        });
        places.filter(move |place| !matches!(place, Ok((_, last)) if *last <= beyond))
    }

    fn remove_entries(&self, user: UserId, of: &BTreeSet<IndexKey>) -> Result<(), StateError> {
        for index in of {
            self.remove_entry(index, user)?;
        }
        self.kv().remove(Tree::Keys, user.as_bytes())
    }

    /// Everyone with an entry for an identity. Whether they claim it, their states say.
    pub fn entered(&self, index: BlindIndex) -> Result<Vec<UserId>, StateError> {
        layout::claimants(self.kv().get(Tree::Claims, &index.to_key())?.as_deref())
    }

    /// Everyone who claims an identity, as a company's call sees them. Each entry is checked
    /// against its row.
    pub fn claimants(
        &self,
        index: BlindIndex,
        company: CompanyId,
    ) -> Result<Vec<Claimant>, StateError> {
        let mut claimants = Vec::new();
        for user in self.entered(index)? {
            let state = self.user(user)?.unwrap_or_default();
            claimants.extend(Claimant::of(user, &state, index, company));
        }
        Ok(claimants)
    }

    /// Where the log holds a user's keys.
    pub fn key_positions(&self, user: UserId) -> Result<Vec<(UserKeyId, LogPosition)>, StateError> {
        layout::keys(self.kv().get(Tree::Keys, user.as_bytes())?.as_deref())
    }

    /// Notes where the log holds an event of a company or of the deployment.
    pub fn record_registry(&self, position: LogPosition) -> Result<(), StateError> {
        self.kv().insert(Tree::Registry, &layout::position_bytes(position), &[])
    }

    /// Where the log holds the events of companies and of the deployment, in its order.
    pub fn registry_positions(&self) -> Result<Vec<LogPosition>, StateError> {
        let pairs = self.kv().scan(Tree::Registry, &[]);
        pairs.map(|pair| layout::position(Tree::Registry, &pair?.0)).collect()
    }

    /// Adds every user to a state hash and counts them. `progress` is told after each how many
    /// there were.
    pub fn state_hash_users(
        &self,
        hasher: &mut StateHasher,
        mut progress: impl FnMut(u64),
    ) -> Result<Counts, StateError> {
        let mut counts = Counts::default();
        for entry in self.users() {
            let (user, state) = entry?;
            hasher.user(user, &state);
            counts.add(&state);
            progress(counts.users);
        }
        Ok(counts)
    }

    /// Counts the users. It reads all of them: ask for it rarely.
    pub fn counts(&self) -> Result<Counts, StateError> {
        let mut counts = Counts::default();
        for entry in self.users() {
            counts.add(&entry?.1);
        }
        Ok(counts)
    }
}

/// The identity that a fact claims or releases.
const fn index_of(fact: &Fact) -> Option<BlindIndex> {
    match &fact.event {
        Some(Event::IdentityClaimed(claimed)) => Some(claimed.index),
        Some(Event::IdentityReleased(index)) => Some(*index),
        _ => None,
    }
}

/// Where the events of one command on one user lie. A command's events share origin and revision,
/// so the places are the same however many commands are folded at once.
struct CommandPlace {
    origin: Origin,
    revision: Revision,
    idempotency: Option<KeyedDigest>,
    first: LogPosition,
    last: LogPosition,
}

impl CommandPlace {
    const fn of(fact: &Fact, position: LogPosition) -> Self {
        let Fact { revision, idempotency, .. } = *fact;
        let origin = fact.reference.origin;
        Self { origin, revision, idempotency, first: position, last: position }
    }

    fn holds(&self, fact: &Fact) -> bool {
        fact.reference.origin == self.origin && fact.revision == self.revision
    }
}

impl Counts {
    fn add(&mut self, state: &UserState) {
        self.users += 1;
        self.live += u64::from(state.is_live());
    }
}
