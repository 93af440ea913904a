//! Erasures carried out on this node's disk: the part of forgetting that cannot be taken back.
//!
//! ```text
//! note of a tombstone -> the grace passes -> scan of the log for what is left of those who are due
//!   -> blanked in the log -> the state folded anew -> rows of earlier bulk syncs gone, verdicts
//!   without them -> confirmed -> note taken away
//! ```
//!
//! Each step may be done again: after a crash, and where a copy from before was restored, it begins
//! at the note. A scan and a rebuild are for all users who are due. At most so many users an hour
//! are blanked, so that a caller who erases everybody is noticed before it is too late; what is
//! held back is shown.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::events::command::{Caller, Command};
use crate::events::event::Cause;
use crate::events::ids::{NodeName, UserId};
use crate::events::record::{LogPosition, Register};
use crate::log::LogError;
use crate::state::erasures::Erasure;
use crate::state::error::StateError;
use crate::state::store::Retired;

use super::checkpointer::{Checkpoints, wait_for};
use super::eraser_bounds::{Hour, NoRoom, Pauses, require_room};
use super::eraser_scan::{Found, blanked_here, left_in_log};
use super::failure::{Failure, Unavailable};
use super::house::{Asked, House};
use super::rebuilding::Around;
use super::recovery::RecoveryError;

/// Bodies that are blanked with one sync.
const BLANKED_AT_ONCE: usize = 4096;

/// How erasures are carried out.
#[derive(Debug, Clone, Copy)]
pub struct ErasureRules {
    /// How long after its tombstone a user is blanked, in milliseconds.
    pub grace_ms: u64,
    /// At most so many users are blanked in an hour.
    pub per_hour: u64,
    /// At least so long lies between two rebuilds.
    pub rebuild_every: Duration,
    /// The device is not filled beyond this, in percent: the log would take no more events.
    pub fill_percent: u8,
}

/// How erasures stand on this node.
#[derive(Debug, Default)]
pub struct ErasureView {
    /// Erased users that are not carried out yet.
    pub pending: AtomicU64,
    /// Of these, users who are due and over the bound.
    pub held_back: AtomicU64,
    /// Users blanked in this life.
    pub done: AtomicU64,
}

/// What carries erasures out.
pub struct Eraser {
    /// The node, as it confirms.
    pub own: NodeName,
    /// The actors.
    pub house: House,
    /// How it is done.
    pub rules: ErasureRules,
    /// Forgets what is kept in memory of a user's keys.
    pub forget: Arc<dyn Fn(UserId) + Send + Sync>,
    /// When the oldest bulk sync came whose rows are still kept, in milliseconds since 1970: they
    /// may be about anybody who was there then.
    pub rows_since: Arc<dyn Fn() -> Option<u64> + Send + Sync>,
    /// Takes users out of what bulk syncs keep when they are over. False: not now.
    pub forget_in_verdicts: Arc<dyn Fn(BTreeSet<UserId>) -> bool + Send + Sync>,
    /// Where it shows how it stands.
    pub view: Arc<ErasureView>,
    /// What lies between two looks.
    pub memory: Memory,
}

/// What an eraser remembers from look to look.
#[derive(Default)]
pub struct Memory {
    asserted: bool,
    /// When the state was last folded anew.
    rebuilt: Option<Duration>,
    pauses: Pauses,
    /// It was folded anew, and that has not been confirmed yet.
    unconfirmed: bool,
    held: BTreeSet<UserId>,
    /// Users who count as blanked, but are not done with.
    counted: BTreeSet<UserId>,
    /// Users of whom only rows of a bulk sync may be left.
    in_rows: BTreeSet<UserId>,
    retired: Option<Retired>,
}

/// Why an erasure was not carried out. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// The log could not be read or blanked.
    #[error("the log cannot be blanked")]
    Log(#[from] LogError),
    /// The state could not be read or written.
    #[error("the state cannot be used")]
    State(#[from] StateError),
    /// The state could not be folded anew.
    #[error("the state cannot be folded anew")]
    Rebuild(#[from] RecoveryError),
    /// A second state beside the one in use would fill the disk.
    #[error(transparent)]
    Room(#[from] NoRoom),
    /// A shard did not answer.
    #[error("a shard does not answer")]
    Shard(#[from] Unavailable),
    /// What is to be recorded was not.
    #[error("it could not be recorded: {0}")]
    NotRecorded(Failure),
}

/// What came of a look.
enum Looked {
    /// All that can be done now.
    Done,
    /// It could not be finished, and is begun anew after a pause.
    GaveUp,
}

impl Eraser {
    /// Carries out what is due.
    pub fn look(
        &mut self,
        checkpoints: &mut Checkpoints,
        stopped: &dyn Fn() -> bool,
    ) -> Result<(), EraseError> {
        let wall = Arc::clone(checkpoints.clock.wall());
        if self.memory.pauses.is_one(wall.monotonic()) {
            return Ok(());
        }
        let looked = self.try_look(checkpoints, stopped);
        // From the end of the attempt: one that is long must not be all that the node does.
        self.memory.pauses.ended(matches!(looked, Ok(Looked::Done)), wall.monotonic());
        looked.map(|_| ())
    }

    fn try_look(
        &mut self,
        checkpoints: &mut Checkpoints,
        stopped: &dyn Fn() -> bool,
    ) -> Result<Looked, EraseError> {
        if !self.remove_retired(checkpoints)? {
            return Ok(Looked::Done);
        }
        if !self.memory.asserted {
            self.assert_tombstones(checkpoints, stopped)?;
            self.memory.asserted = true;
        }
        let mut notes: BTreeMap<UserId, Vec<Erasure>> = BTreeMap::new();
        for note in checkpoints.store.erasures()? {
            notes.entry(note.user).or_default().push(note);
        }
        self.view.pending.store(notes.len() as u64, Ordering::Relaxed);
        for user in notes.keys() {
            (self.forget)(*user);
        }
        let (mut due, in_rows) = self.due(&notes, checkpoints.clock.wall().unix_ms());
        self.memory.held.retain(|user| due.contains(user));
        self.memory.counted.retain(|user| due.contains(user));
        // Where only such rows are left there is nothing to look for until they are gone.
        self.memory.in_rows.retain(|user| in_rows.contains(user));
        due.retain(|user| !self.memory.in_rows.contains(user));
        let looked = self.carry_out((&due, &in_rows), checkpoints, stopped)?;
        self.view.held_back.store(self.memory.held.len() as u64, Ordering::Relaxed);
        Ok(looked)
    }

    /// Who is to be blanked by now, and of these who may be in rows that are still kept.
    fn due(
        &self,
        notes: &BTreeMap<UserId, Vec<Erasure>>,
        now_ms: u64,
    ) -> (BTreeSet<UserId>, BTreeSet<UserId>) {
        let rows_since = (self.rows_since)();
        let (mut due, mut in_rows) = (BTreeSet::new(), BTreeSet::new());
        for (user, of) in notes {
            let first = of.iter().map(|note| note.erased.unix_ms()).min();
            let Some(erased_ms) = first else { continue };
            if erased_ms.saturating_add(self.rules.grace_ms) > now_ms {
                continue;
            }
            due.insert(*user);
            if rows_since.is_some_and(|since| since <= erased_ms) {
                in_rows.insert(*user);
            }
        }
        (due, in_rows)
    }

    fn carry_out(
        &mut self,
        (due, in_rows): (&BTreeSet<UserId>, &BTreeSet<UserId>),
        checkpoints: &mut Checkpoints,
        stopped: &dyn Fn() -> bool,
    ) -> Result<Looked, EraseError> {
        let wall = Arc::clone(checkpoints.clock.wall());
        let hour = Hour::of(checkpoints.store.blanked()?, wall.unix_ms(), self.rules.per_hour);
        let soon = |at: Duration| wall.monotonic().saturating_sub(at) < self.rules.rebuild_every;
        let waits = self.memory.rebuilt.is_some_and(soon) && !self.memory.unconfirmed;
        let nothing_new = hour.left() == 0 && due.is_subset(&self.memory.held);
        if due.is_empty() || nothing_new || waits {
            return Ok(Looked::Done);
        }
        require_room(checkpoints, self.rules.fill_percent)?;
        let below = checkpoints.log.durable();
        let Some(found) = left_in_log(checkpoints, due, below, stopped)? else {
            return Ok(Looked::Done);
        };
        let mut users = due.clone();
        self.memory.held = self.over(hour, &found);
        self.warn_of_held(hour);
        users.retain(|user| !self.memory.held.contains(user));
        let mut is_left = false;
        for user in &users {
            is_left |= found.contains_key(user) || checkpoints.store.finds_erased(*user)?;
        }
        self.blank(hour, &users, &found, checkpoints)?;
        if is_left {
            if !self.rebuild(below, checkpoints, stopped)? {
                return Ok(Looked::GaveUp);
            }
            self.memory.rebuilt = Some(wall.monotonic());
            self.memory.unconfirmed = true;
            tracing::info!(users = users.len(), "the state was folded anew without erased users");
            // Nothing is confirmed while the old trees lie on the disk.
            if !self.remove_retired(checkpoints)? {
                return Ok(Looked::Done);
            }
        }
        let confirmed: BTreeSet<_> = users.difference(in_rows).copied().collect();
        if !(self.forget_in_verdicts)(confirmed.clone()) {
            return Ok(Looked::GaveUp);
        }
        self.confirm(&confirmed, &found, checkpoints)?;
        self.memory.in_rows.extend(users.intersection(in_rows));
        for note in checkpoints.store.erasures()? {
            if confirmed.contains(&note.user) && note.position < below {
                checkpoints.store.forget_erasure(&note)?;
            }
        }
        self.memory.unconfirmed = false;
        Ok(Looked::Done)
    }

    /// Users who would be more than may be blanked in this hour.
    fn over(&self, hour: Hour, found: &Found) -> BTreeSet<UserId> {
        let counting = found.keys().filter(|user| !self.memory.counted.contains(user));
        let may = usize::try_from(hour.left()).unwrap_or(usize::MAX);
        counting.skip(may).copied().collect()
    }

    /// Blanks what was found of users. They are counted before, durably: a node that is killed and
    /// started over and over blanks no more for it.
    fn blank(
        &mut self,
        hour: Hour,
        users: &BTreeSet<UserId>,
        found: &Found,
        checkpoints: &Checkpoints,
    ) -> Result<(), EraseError> {
        let found: BTreeMap<_, _> = found.iter().filter(|(user, _)| users.contains(user)).collect();
        let counting: BTreeSet<UserId> = found.keys().copied().copied().collect();
        let more = counting.difference(&self.memory.counted).count() as u64;
        if more > 0 {
            checkpoints.store.note_blanked(hour.and(more))?;
            self.memory.counted.extend(counting);
        }
        let positions: Vec<_> = found.values().flat_map(|at| at.iter().copied()).collect();
        for some in positions.chunks(BLANKED_AT_ONCE) {
            checkpoints.log.blank(some)?;
        }
        if more > 0 {
            self.view.done.fetch_add(more, Ordering::Relaxed);
            tracing::info!(users = more, "erased users were blanked");
        }
        Ok(())
    }

    /// Folds the state anew. False: not now.
    fn rebuild(
        &mut self,
        read_below: LogPosition,
        checkpoints: &mut Checkpoints,
        stopped: &dyn Fn() -> bool,
    ) -> Result<bool, EraseError> {
        let settle = || matches!(wait_for(self.house.settle()), Some(Ok(())));
        let distrust = &self.house.registry().state.distrust;
        let around = Around { distrust, read_below, settle: &settle, stopped };
        let rebuilt = checkpoints.rebuild(&around)?;
        let is_rebuilt = rebuilt.is_some();
        self.memory.retired = rebuilt.map(|rebuilt| rebuilt.retired);
        Ok(is_rebuilt)
    }

    /// Says that nothing is left here. Where it was said before it is said again only if something
    /// was left all the same: in a copy that was restored, or of what came late.
    fn confirm(
        &self,
        users: &BTreeSet<UserId>,
        found: &Found,
        checkpoints: &Checkpoints,
    ) -> Result<(), EraseError> {
        for user in users {
            // A tombstone that no longer counts is nothing to confirm.
            let state = checkpoints.store.user(*user)?.unwrap_or_default();
            if state.erased.is_none() || self.has_confirmed(*user)? && !found.contains_key(user) {
                continue;
            }
            self.ask(*user, Command::ConfirmErasure)?;
        }
        Ok(())
    }

    fn has_confirmed(&self, user: UserId) -> Result<bool, EraseError> {
        let history = self.house.read_history(user, LogPosition::START, usize::MAX);
        let events = wait_for(history).unwrap_or(Err(Unavailable::NotReady))?;
        let mut confirming =
            events.iter().filter(|it| it.header.register == Register::ErasureConfirmed);
        Ok(confirming.any(|it| it.header.origin.name() == self.own))
    }

    fn ask(&self, user: UserId, command: Command) -> Result<(), EraseError> {
        let (caller, cause) = (Caller::System, Cause::default());
        let rest = crate::events::command::Rest::NONE;
        let asked = Asked { command, caller, cause, if_seen: None, rest };
        let answer = wait_for(self.house.ask(user, asked));
        answer.unwrap_or(Err(Unavailable::NotReady.into())).map_err(EraseError::NotRecorded)?;
        Ok(())
    }

    /// A tombstone of a life that was cut off does not count; but what was blanked for it is gone.
    /// So whoever blanked a user's key says again that the user is erased: then all nodes hold the
    /// same. Without a life that is cut off there is no such user. A key that came here without a
    /// body says nothing: who left it out may have had any reason.
    fn assert_tombstones(
        &self,
        checkpoints: &Checkpoints,
        stopped: &dyn Fn() -> bool,
    ) -> Result<(), EraseError> {
        if self.house.registry().state.distrust.is_empty() {
            return Ok(());
        }
        let Some(without_key) = blanked_here(checkpoints, stopped)? else { return Ok(()) };
        for user in without_key {
            if checkpoints.store.user(user)?.is_none_or(|state| state.erased.is_none()) {
                tracing::warn!(%user, "a user whose key was blanked is erased again");
                self.ask(user, Command::Erase)?;
            }
        }
        Ok(())
    }

    fn warn_of_held(&self, hour: Hour) {
        let (held, per_hour) = (self.memory.held.len(), self.rules.per_hour);
        if held > 0 && hour.left() > 0 {
            tracing::warn!(held, per_hour, "more users are erased than may be blanked in an hour");
        }
    }

    /// Takes trees that are no longer used away once nobody reads them. False: somebody does.
    fn remove_retired(&mut self, checkpoints: &Checkpoints) -> Result<bool, EraseError> {
        if self.memory.retired.as_ref().is_some_and(|retired| !retired.is_free()) {
            return Ok(false);
        }
        if self.memory.retired.take().is_some() {
            checkpoints.folder.remove_all_but(Some(checkpoints.generation))?;
        }
        Ok(true)
    }
}
