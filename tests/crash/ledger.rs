//! What the callers know: every command that was asked, what was answered, and how far the disk was
//! durable at that moment. Compared with what the log holds after a crash.

use std::collections::BTreeMap;

use jcas::actors::failure::{Failure, Unavailable};
use jcas::actors::registry::RegistryFailure;
use jcas::actors::shard::Answer;
use jcas::events::account::Seen;
use jcas::events::command::{Caller, Command, Context, Outcome, Rejection, Rest};
use jcas::events::decide::decide;
use jcas::events::decide_registry::{RegistryCommand, RegistryRejection, decide_registry};
use jcas::events::event::{Draft, Event};
use jcas::events::evolve::evolve;
use jcas::events::ids::UserId;
use jcas::events::record::{Fact, Header, LogPosition};
use jcas::events::registry::RegistryState;
use jcas::events::stamp::Revision;
use jcas::events::state::UserState;

use crate::commands;

/// A property that does not hold, in words.
pub(crate) type Checked<T = ()> = Result<T, String>;

/// Returns with a message unless something holds.
macro_rules! ensure {
    ($holds:expr, $($message:tt)+) => {
        if !$holds {
            return Err(format!($($message)+));
        }
    };
}
pub(crate) use ensure;

/// A record as the log holds it.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    pub(crate) position: LogPosition,
    pub(crate) header: Header,
    pub(crate) fact: Fact,
}

/// What was asked.
#[derive(Debug, Clone)]
pub(crate) enum Asked {
    User { user: UserId, command: Command, caller: Caller, if_seen: Option<Seen> },
    Registry(RegistryCommand),
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answered {
    /// Done, and what a reader of the user sees then.
    Done(Outcome, Option<Seen>),
    /// Refused.
    Refused(Option<Rejection>, Option<RegistryRejection>),
    /// Not done: nothing of it may ever show.
    NotDone,
    /// The node stopped meanwhile: it may have been done.
    Unknown,
}

impl From<Unavailable> for Answered {
    fn from(why: Unavailable) -> Self {
        match why {
            Unavailable::Overloaded
            | Unavailable::ReadOnly
            | Unavailable::ClockUnsafe
            | Unavailable::Storage => Self::NotDone,
            Unavailable::NotReady => Self::Unknown,
        }
    }
}

impl From<Result<Answer, Failure>> for Answered {
    fn from(result: Result<Answer, Failure>) -> Self {
        match result {
            Ok(answer) => Self::Done(answer.outcome, Some(answer.seen)),
            Err(Failure::Rejected(rejection)) => Self::Refused(Some(rejection), None),
            Err(Failure::Unavailable(why)) => Self::from(why),
        }
    }
}

impl From<Result<Outcome, RegistryFailure>> for Answered {
    fn from(result: Result<Outcome, RegistryFailure>) -> Self {
        match result {
            Ok(outcome) => Self::Done(outcome, None),
            Err(RegistryFailure::Rejected(rejection)) => Self::Refused(None, Some(rejection)),
            Err(RegistryFailure::Unavailable(why)) => Self::from(why),
        }
    }
}

/// One command.
#[derive(Debug)]
struct Entry {
    asked: Asked,
    answered: Option<(Answered, LogPosition)>,
}

/// Every command by its number. Numbers rise in the order of asking.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    entries: BTreeMap<u64, Entry>,
    /// What was found in the log last: it must stay.
    known: Vec<(LogPosition, Header)>,
}

/// What the log folds to, done here by the core alone.
#[derive(Default)]
pub(crate) struct Folded {
    pub(crate) users: BTreeMap<UserId, UserState>,
    pub(crate) registry: RegistryState,
}

/// What a command made of the state it was decided on.
enum Decided {
    Drafts(Vec<Draft>, Outcome),
    Refused(Option<Rejection>, Option<RegistryRejection>),
}

impl Ledger {
    /// Notes that a command is asked now.
    pub(crate) fn ask(&mut self, number: u64, asked: Asked) {
        self.entries.insert(number, Entry { asked, answered: None });
    }

    /// Notes an answer, and where the log was durable on the disk when it was sent.
    pub(crate) fn answer(&mut self, number: u64, answered: Answered, durable: LogPosition) {
        if let Some(entry) = self.entries.get_mut(&number) {
            entry.answered = Some((answered, durable));
        }
    }

    /// Whether a command was carried out and changed something.
    pub(crate) fn was_applied(&self, number: u64) -> bool {
        let answered = self.entries.get(&number).and_then(|entry| entry.answered.as_ref());
        matches!(answered, Some((Answered::Done(Outcome::Applied, _), _)))
    }

    /// Goes through a log and compares it with what was answered. Returns what it folds to.
    pub(crate) fn check(&mut self, log: &[Recorded]) -> Checked<Folded> {
        for (index, known) in self.known.iter().enumerate() {
            let found = log.get(index).map(|it| (&it.position, &it.header));
            ensure!(found == Some((&known.0, &known.1)), "{known:?} was in the log and is not");
        }
        self.known = log.iter().map(|it| (it.position, it.header.clone())).collect();
        let mut commands: BTreeMap<u64, Vec<&Recorded>> = BTreeMap::new();
        for recorded in log {
            match commands::number(&recorded.header.cause) {
                Some(number) => commands.entry(number).or_default().push(recorded),
                None => ensure!(recorded.header.sequence == 1, "nobody asked for {recorded:?}"),
            }
        }
        for number in commands.keys() {
            ensure!(self.entries.contains_key(number), "nobody asked for command {number}");
        }
        self.check_answers(&commands)?;
        Ok(fold(log))
    }

    /// Decides everything once more on what survived and was durable when it was answered: an
    /// answer that rested on anything else shows.
    fn check_answers(&self, commands: &BTreeMap<u64, Vec<&Recorded>>) -> Checked {
        let mut survived = Survived::default();
        for (number, entry) in &self.entries {
            let records = commands.get(number).map_or(&[][..], Vec::as_slice);
            let check = match &entry.answered {
                None | Some((Answered::Unknown, _)) => {
                    survived.check_unanswered(*number, &entry.asked, records)
                }
                Some((Answered::NotDone, _)) if records.is_empty() => Ok(()),
                Some((Answered::NotDone, _)) => Err(format!("it is in the log: {records:?}")),
                Some((answered, durable)) => {
                    survived.check_answered(*number, &entry.asked, records, answered, *durable)
                }
            };
            check.map_err(|error| {
                format!("{error}; command {number} {:?}: {:?}", entry.asked, entry.answered)
            })?;
        }
        Ok(())
    }
}

/// What the events that survived fold to, command by command.
#[derive(Default)]
struct Survived<'a> {
    /// All of them: what the next command of the same life was decided on.
    ahead: Folded,
    /// Those that were durable when the last answer was sent.
    durable: Folded,
    /// The others. Nobody was told of them: they may have come to count at any time since, as
    /// after a sync that failed.
    late: Vec<&'a Recorded>,
}

impl<'a> Survived<'a> {
    fn check_unanswered(
        &mut self,
        number: u64,
        asked: &Asked,
        records: &[&'a Recorded],
    ) -> Checked {
        if records.is_empty() {
            return Ok(());
        }
        compare(&asked.decide(&self.ahead, number, records), records)?;
        for record in records {
            self.ahead.fold(record);
        }
        self.late.extend(records);
        Ok(())
    }

    fn check_answered(
        &mut self,
        number: u64,
        asked: &Asked,
        records: &[&'a Recorded],
        answered: &Answered,
        durable: LogPosition,
    ) -> Checked {
        let (counted, late) =
            std::mem::take(&mut self.late).into_iter().partition(|it| it.position < durable);
        self.late = late;
        let counted: Vec<&Recorded> = counted;
        for record in counted {
            self.durable.fold(record);
        }
        let decided = asked.decide(&self.durable, number, records);
        compare(&decided, records)?;
        for record in records {
            ensure!(record.position < durable, "it was answered before it was durable");
            self.ahead.fold(record);
            self.durable.fold(record);
        }
        let expected = match decided {
            Decided::Refused(user, registry) => Answered::Refused(user, registry),
            Decided::Drafts(_, outcome) => {
                let nobody = UserState::default();
                let seen = |user| Seen::of(user, self.durable.users.get(&user).unwrap_or(&nobody));
                Answered::Done(outcome, asked.user().map(seen))
            }
        };
        ensure!(*answered == expected, "{expected:?} would be right");
        Ok(())
    }
}

impl Asked {
    fn user(&self) -> Option<UserId> {
        match self {
            Self::User { user, .. } => Some(*user),
            Self::Registry(_) => None,
        }
    }

    /// Decides the command again, at the reading it was recorded at.
    fn decide(&self, folded: &Folded, number: u64, records: &[&Recorded]) -> Decided {
        let late = Revision::from_unix_ms(commands::EARLY_MS * 2);
        let now = records.first().map_or(late, |it| it.header.revision);
        let cause = commands::cause(number);
        match self.clone() {
            Self::User { user, command, caller, if_seen } => {
                let context = Context { now, caller, cause, if_seen, rest: Rest::NONE };
                let nobody = UserState::default();
                let state = folded.users.get(&user).unwrap_or(&nobody);
                match decide(state, user, command, &context) {
                    Ok(decision) => Decided::Drafts(decision.drafts, decision.outcome),
                    Err(rejection) => Decided::Refused(Some(rejection), None),
                }
            }
            Self::Registry(command) => match decide_registry(&folded.registry, command, now, cause)
            {
                Ok((drafts, outcome)) => Decided::Drafts(drafts, outcome),
                Err(rejection) => Decided::Refused(None, Some(rejection)),
            },
        }
    }
}

/// The log holds exactly what follows from what was decided.
fn compare(decided: &Decided, records: &[&Recorded]) -> Checked {
    let drafts = match decided {
        Decided::Drafts(drafts, _) => drafts.as_slice(),
        Decided::Refused(..) => &[],
    };
    let (expected, found) = (drafts.len(), records.len());
    ensure!(expected == found, "{found} events of it are in the log, {expected} follow from it");
    for (draft, record) in drafts.iter().zip(records) {
        let header = &record.header;
        let same = (header.subject, header.effective) == (draft.subject, draft.effective);
        let blanked =
            matches!(draft.event, Event::UserKeyCreated(_)) && record.fact.event.is_none();
        let event = blanked || record.fact.event.as_ref() == Some(&draft.event);
        ensure!(same && event, "{record:?} is in the log, {draft:?} follows from it");
    }
    Ok(())
}

impl Folded {
    fn fold(&mut self, recorded: &Recorded) {
        use jcas::events::record::Subject;
        match recorded.fact.subject {
            Subject::User(user) => {
                evolve(self.users.entry(user).or_default(), user, &recorded.fact);
            }
            _ => {
                self.registry.evolve(&recorded.fact);
            }
        }
    }
}

fn fold(log: &[Recorded]) -> Folded {
    let mut folded = Folded::default();
    for recorded in log {
        folded.fold(recorded);
    }
    folded
}
