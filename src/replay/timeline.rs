//! One user's events, and what each of them did.

use std::collections::{BTreeSet, HashMap};

use crate::events::cell::{Effect, Mark};
use crate::events::event::Event;
use crate::events::evolve::evolve;
use crate::events::ids::UserId;
use crate::events::record::{Fact, Header, LogPosition, Subject};
use crate::events::registry::RegistryState;
use crate::events::stamp::EventRef;
use crate::events::state::UserState;

use super::fold::{ReplayError, Touched, fact_of, knowing_distrust, note_distrust, users_of};
use super::held::held_by;
use super::history::History;
use super::parts::{Part, parts, standing};

/// One event of a user.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The log it was met in, by its place among those given.
    pub source: usize,
    /// Where it lies there.
    pub position: LogPosition,
    /// Everything about it but its content.
    pub header: Header,
    /// What happened; none where the body is blanked or a newer version's.
    pub event: Option<Event>,
    /// What it did.
    pub did: Did,
}

/// What an event did to a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Did {
    /// It wrote these parts of the state, or tried to.
    Wrote(Vec<Written>),
    /// Nothing, for this reason.
    Nothing(&'static str),
}

/// What an event did to one part of a user's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The part.
    pub part: Part,
    /// What became of it.
    pub outcome: Outcome,
    /// The event that ended it later, if one did.
    pub until: Option<EventRef>,
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It prevailed, over this event if there was one before.
    Changed(Option<EventRef>),
    /// This event, with a greater stamp, stands; none where it is not in what was read.
    Lost(Option<EventRef>),
    /// It was there already.
    Known,
}

/// Something that was read about some users.
#[derive(Debug, Clone)]
pub struct Read {
    /// The log it was met in.
    pub source: usize,
    /// Where it lies there.
    pub position: LogPosition,
    /// Everything about it but its content.
    pub header: Header,
    /// What the fold takes.
    pub fact: Fact,
    /// Whether it counts: its life was not cut off, nor that of what it rests on.
    pub counts: bool,
    /// Whether it came to its log behind something recorded after the time asked for.
    pub is_late: bool,
}

/// What there is about some users, in the order in which it was recorded. Bodies of others are
/// not read, and events of others are passed over where the log has indexes. `progress` is told how
/// many events were passed.
pub fn about(
    history: &History,
    users: &BTreeSet<UserId>,
    mut progress: impl FnMut(u64),
) -> Result<Vec<Read>, ReplayError> {
    let mut passed = 0_u64;
    let mut read = knowing_distrust(|known| {
        let mut registry = RegistryState::default();
        let mut read = Vec::new();
        for met in history.events_of(users) {
            let met = met?;
            passed += 1;
            progress(passed);
            if matches!(met.header.subject, Subject::User(other) if !users.contains(&other)) {
                continue;
            }
            let fact = fact_of(&met)?;
            note_distrust(&mut registry, &fact);
            let touched = match users_of(&fact) {
                Touched::Registry => false,
                Touched::One(_) => true,
                Touched::Several(those) => those.iter().any(|user| users.contains(user)),
            };
            if touched {
                let (source, position) = (met.source, met.stored.position);
                let (counts, is_late) = (known.counts(&fact), met.is_late);
                read.push(Read { source, position, header: met.header, fact, counts, is_late });
            }
        }
        Ok((read, registry.distrust))
    })?;
    // Every node moves its clock on with what it hears: causes come before what they led to.
    read.sort_by_key(|it| (it.header.revision, it.header.origin, it.header.sequence));
    Ok(read)
}

/// A user's events, and what it came to be by them.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    /// The events, in the order in which they were recorded.
    pub entries: Vec<Entry>,
    /// The user's state after the last one.
    pub state: UserState,
}

/// The timeline of a user, in the order in which its events were recorded. `progress` is told how
/// many events were passed.
pub fn timeline(
    history: &History,
    user: UserId,
    progress: impl FnMut(u64),
) -> Result<Timeline, ReplayError> {
    let read = about(history, &BTreeSet::from([user]), progress)?;
    Ok(unrolled(user, read, |_| {}))
}

/// Folds what was read of a user. `after` is shown the state behind each event.
pub fn unrolled(user: UserId, read: Vec<Read>, mut after: impl FnMut(&UserState)) -> Timeline {
    let mut fold = UserFold::new(user);
    for read in read {
        fold.take(read);
        after(&fold.state);
    }
    let UserFold { mut entries, state, ends, .. } = fold;
    note_ends(&mut entries, ends);
    Timeline { entries, state }
}

/// Says of every write which later one replaced it.
fn note_ends(entries: &mut [Entry], mut ends: Ends) {
    for entry in &*entries {
        let Did::Wrote(parts) = &entry.did else { continue };
        for written in parts {
            if let Outcome::Changed(Some(before)) = written.outcome {
                let end = ends.entry((before, written.part.to_string()));
                end.or_insert_with(|| entry.header.reference());
            }
        }
    }
    for entry in entries {
        let reference = entry.header.reference();
        let Did::Wrote(parts) = &mut entry.did else { continue };
        for written in parts {
            written.until = ends.get(&(reference, written.part.to_string())).copied();
        }
    }
}

/// By event and part, the event that ended what the first wrote there.
type Ends = HashMap<(EventRef, String), EventRef>;

/// One user's state in the making.
struct UserFold {
    user: UserId,
    state: UserState,
    /// Which event a mark is of.
    events: HashMap<Mark, EventRef>,
    /// What stands in the parts.
    held: BTreeSet<(String, Mark)>,
    ends: Ends,
    entries: Vec<Entry>,
}

impl UserFold {
    fn new(user: UserId) -> Self {
        let (state, events, ends) = (UserState::default(), HashMap::new(), Ends::new());
        Self { user, state, events, held: BTreeSet::new(), ends, entries: Vec::new() }
    }

    fn take(&mut self, read: Read) {
        let Read { source, position, header, fact, counts, is_late: _ } = read;
        let did = if counts {
            self.fold(&fact)
        } else {
            Did::Nothing("its life was cut off, or what it rests on")
        };
        self.entries.push(Entry { source, position, header, event: fact.event, did });
    }

    fn fold(&mut self, fact: &Fact) -> Did {
        let parts = parts(self.user, fact);
        let mine = Mark::of(fact);
        let before: Vec<_> = parts.iter().map(|part| standing(&self.state, part, mine)).collect();
        let was_erased = self.state.erased.is_some();
        let effect = evolve(&mut self.state, self.user, fact);
        self.events.insert(mine, fact.reference);
        self.note_what_ended(fact.reference);
        if effect == Effect::Ignored {
            return Did::Nothing(match (was_erased, &fact.event) {
                (_, Some(Event::ErasureConfirmed(()))) => "a node has carried the erasure out",
                (true, _) => "the user is erased",
                (false, None) => "its body is blanked or of a newer version",
                (false, Some(_)) => "it says nothing of this user",
            });
        }
        let written = parts.into_iter().zip(before).map(|(part, before)| {
            let outcome = self.outcome(&part, before, mine, effect);
            Written { part, outcome, until: None }
        });
        Did::Wrote(written.collect())
    }

    /// Notes what stood before an event and does not behind it: replaced, released, lifted, erased.
    fn note_what_ended(&mut self, by: EventRef) {
        let held = held_by(&self.state).into_iter();
        let held = held.filter_map(|it| Some((it.part, it.mark?))).collect();
        for (part, mark) in std::mem::replace(&mut self.held, held) {
            if self.held.contains(&(part.clone(), mark)) {
                continue;
            }
            if let Some(event) = self.events.get(&mark) {
                self.ends.insert((*event, part), by);
            }
        }
    }

    fn outcome(&self, part: &Part, before: Option<Mark>, mine: Mark, effect: Effect) -> Outcome {
        let event = |mark: Mark| self.events.get(&mark).copied();
        // These two keep no mark of their own: the whole event has one effect.
        if matches!(part, Part::Enabling | Part::CredentialFloor) {
            return match effect {
                Effect::Prevailed => Outcome::Changed(None),
                _ => Outcome::Known,
            };
        }
        match standing(&self.state, part, mine) {
            Some(after) if after == mine && before == Some(mine) => Outcome::Known,
            Some(after) if after == mine => Outcome::Changed(before.and_then(event)),
            Some(after) => Outcome::Lost(event(after)),
            None => Outcome::Lost(None),
        }
    }
}
