//! Erasures carried out on this node's disk: the part of forgetting that cannot be taken back.
//!
//! ```text
//! note of a tombstone -> the grace passes -> scan of the log for what is left of those who are due
//!   -> blanked in the log -> the state folded anew -> confirmed -> note taken away
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

use crate::events::codec;
use crate::events::command::{Caller, Command};
use crate::events::event::Cause;
use crate::events::ids::{NodeName, UserId};
use crate::events::record::{LogPosition, Register, Subject};
use crate::log::LogError;
use crate::state::erasures::Erasure;
use crate::state::error::StateError;
use crate::state::store::Retired;

use super::checkpointer::{Checkpoints, wait_for};
use super::failure::{Failure, Unavailable};
use super::house::{Asked, House};
use super::rebuilding::{Around, Clean};
use super::recovery::RecoveryError;

/// Bodies that are blanked with one sync.
const BLANKED_AT_ONCE: usize = 4096;

/// So long is waited after something failed. Each attempt reads the whole log.
const PAUSE: Duration = Duration::from_secs(10);

/// The time over which the number of users is bounded.
const WINDOW: Duration = Duration::from_hours(1);

/// How erasures are carried out.
#[derive(Debug, Clone, Copy)]
pub struct ErasureRules {
    /// How long after its tombstone a user is blanked, in milliseconds.
    pub grace_ms: u64,
    /// At most so many users are blanked in an hour.
    pub per_hour: u64,
    /// At least so long lies between two rebuilds.
    pub rebuild_every: Duration,
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
    /// Where it shows how it stands.
    pub view: Arc<ErasureView>,
    /// What lies between two looks.
    pub memory: Memory,
}

/// What an eraser remembers from look to look.
#[derive(Default)]
pub struct Memory {
    asserted: bool,
    /// When the hour began, and how many users were blanked in it.
    window: Option<(Duration, u64)>,
    rebuilt: Option<Duration>,
    failed: Option<Duration>,
    held: BTreeSet<UserId>,
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
    /// A shard did not answer.
    #[error("a shard does not answer")]
    Shard(#[from] Unavailable),
    /// What is to be recorded was not.
    #[error("it could not be recorded: {0}")]
    NotRecorded(Failure),
}

/// Where the log still holds what is to be blanked, by user.
type Found = BTreeMap<UserId, Vec<LogPosition>>;

impl Eraser {
    /// Carries out what is due.
    pub fn look(
        &mut self,
        checkpoints: &mut Checkpoints,
        stopped: &dyn Fn() -> bool,
    ) -> Result<(), EraseError> {
        let now = checkpoints.clock.wall().monotonic();
        if self.memory.failed.is_some_and(|at| now.saturating_sub(at) < PAUSE) {
            return Ok(());
        }
        self.memory.failed = None;
        let looked = self.try_look(checkpoints, stopped);
        if looked.is_err() {
            self.memory.failed = Some(now);
        }
        looked
    }

    fn try_look(
        &mut self,
        checkpoints: &mut Checkpoints,
        stopped: &dyn Fn() -> bool,
    ) -> Result<(), EraseError> {
        if !self.remove_retired(checkpoints)? {
            return Ok(());
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
        let now_ms = checkpoints.clock.wall().unix_ms();
        let grace = self.rules.grace_ms;
        let is_due = |notes: &[Erasure]| {
            let first = notes.iter().map(|note| note.erased.unix_ms()).min();
            first.is_some_and(|at| at.saturating_add(grace) <= now_ms)
        };
        let due: BTreeSet<_> =
            notes.iter().filter(|(_, of)| is_due(of)).map(|(user, _)| *user).collect();
        self.memory.held.retain(|user| due.contains(user));
        self.carry_out(&due, checkpoints, stopped)?;
        self.view.held_back.store(self.memory.held.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn carry_out(
        &mut self,
        due: &BTreeSet<UserId>,
        checkpoints: &mut Checkpoints,
        stopped: &dyn Fn() -> bool,
    ) -> Result<(), EraseError> {
        let now = checkpoints.clock.wall().monotonic();
        let allowed = self.allowed(now);
        let soon = |at: Duration| now.saturating_sub(at) < self.rules.rebuild_every;
        let nothing_new = allowed == 0 && due.is_subset(&self.memory.held);
        if due.is_empty() || nothing_new || self.memory.rebuilt.is_some_and(soon) {
            return Ok(());
        }
        let below = checkpoints.log.durable();
        let Some(found) = left_in_log(checkpoints, due, below, stopped)? else { return Ok(()) };
        let (mut users, mut blanked) = (due.clone(), 0);
        self.memory.held.clear();
        for user in due {
            let is_left = found.contains_key(user) || checkpoints.store.finds_erased(*user)?;
            if is_left && blanked == allowed {
                users.remove(user);
                self.memory.held.insert(*user);
            } else if is_left {
                blanked += 1;
            }
        }
        self.warn_of_held(allowed);
        let positions = found.iter().filter(|(user, _)| users.contains(user));
        let positions: Vec<_> = positions.flat_map(|(_, at)| at.iter().copied()).collect();
        for some in positions.chunks(BLANKED_AT_ONCE) {
            checkpoints.log.blank(some)?;
        }
        if blanked > 0 {
            if !self.rebuild(Clean { users: &users, below }, checkpoints, stopped)? {
                self.memory.failed = Some(now);
                return Ok(());
            }
            self.memory.rebuilt = Some(now);
            self.count(now, blanked);
            // Nothing is confirmed while the old trees lie on the disk.
            if !self.remove_retired(checkpoints)? {
                return Ok(());
            }
        }
        self.confirm(&users, &found, checkpoints)?;
        for note in checkpoints.store.erasures()? {
            if users.contains(&note.user) && note.position < below {
                checkpoints.store.forget_erasure(&note)?;
            }
        }
        Ok(())
    }

    /// Folds the state anew. False: not now.
    fn rebuild(
        &mut self,
        clean: Clean<'_>,
        checkpoints: &mut Checkpoints,
        stopped: &dyn Fn() -> bool,
    ) -> Result<bool, EraseError> {
        let settle = || matches!(wait_for(self.house.settle()), Some(Ok(())));
        let distrust = &self.house.registry().state.distrust;
        let around = Around { distrust, clean, settle: &settle, stopped };
        let rebuilt = checkpoints.rebuild(&around)?;
        let is_rebuilt = rebuilt.is_some();
        if is_rebuilt {
            tracing::info!(
                users = clean.users.len(),
                "the state was folded anew without erased users"
            );
            self.memory.retired = rebuilt.map(|rebuilt| rebuilt.retired);
        }
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
    /// So whoever holds a user without the key says again that the user is erased: then all nodes
    /// hold the same. Without a life that is cut off there is no such user.
    fn assert_tombstones(
        &self,
        checkpoints: &Checkpoints,
        stopped: &dyn Fn() -> bool,
    ) -> Result<(), EraseError> {
        if self.house.registry().state.distrust.is_empty() {
            return Ok(());
        }
        let mut without_key = BTreeSet::new();
        for stored in checkpoints.log.reader().scan(LogPosition::START, None) {
            let stored = stored?;
            let position = stored.position;
            let header = codec::decode_header(&stored.record.header)
                .map_err(|source| RecoveryError::Record { position, source })?;
            if let (Subject::User(user), Register::UserKey(_), None) =
                (header.subject, header.register, &stored.record.body)
            {
                without_key.insert(user);
            }
            if stopped() {
                return Ok(());
            }
        }
        for user in without_key {
            if checkpoints.store.user(user)?.is_none_or(|state| state.erased.is_none()) {
                tracing::warn!(%user, "a user whose key was blanked is erased again");
                self.ask(user, Command::Erase)?;
            }
        }
        Ok(())
    }

    /// How many users may be blanked now.
    fn allowed(&mut self, now: Duration) -> u64 {
        match self.memory.window {
            Some((since, count)) if now.saturating_sub(since) < WINDOW => {
                self.rules.per_hour.saturating_sub(count)
            }
            _ => {
                self.memory.window = None;
                self.rules.per_hour
            }
        }
    }

    fn count(&mut self, now: Duration, blanked: u64) {
        let (since, count) = self.memory.window.unwrap_or((now, 0));
        self.memory.window = Some((since, count.saturating_add(blanked)));
        self.view.done.fetch_add(blanked, Ordering::Relaxed);
        tracing::info!(users = blanked, "erased users were blanked");
    }

    fn warn_of_held(&self, allowed: u64) {
        let (held, per_hour) = (self.memory.held.len(), self.rules.per_hour);
        if held > 0 && allowed > 0 {
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

/// What the log below a position still holds of users that erasure blanks. None: the node stops.
fn left_in_log(
    checkpoints: &Checkpoints,
    users: &BTreeSet<UserId>,
    below: LogPosition,
    stopped: &dyn Fn() -> bool,
) -> Result<Option<Found>, EraseError> {
    let mut found = Found::new();
    for stored in checkpoints.log.reader().scan(LogPosition::START, Some(below)) {
        let stored = stored?;
        let position = stored.position;
        let header = codec::decode_header(&stored.record.header)
            .map_err(|source| RecoveryError::Record { position, source })?;
        if let Subject::User(user) = header.subject
            && header.kind.is_blanked_by_erasure()
            && stored.record.body.is_some()
            && users.contains(&user)
        {
            found.entry(user).or_default().push(position);
        }
        if stopped() {
            return Ok(None);
        }
    }
    Ok(Some(found))
}
