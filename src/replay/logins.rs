//! Which credentials a login would have found at some time, and what stood before each other one.
//!
//! What a log does not hold, this does not know: attempts, limits, and whether a password was
//! right. Of one log alone it judges by what had come to that log's node; of several together by
//! all that was recorded.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::events::account::Account;
use crate::events::cell::Mark;
use crate::events::event::Event;
use crate::events::ids::{Digest, Slot, UserId};
use crate::events::record::Header;
use crate::events::stamp::{EventRef, Stamp};
use crate::events::state::UserState;

use super::fold::ReplayError;
use super::history::History;
use super::timeline::{Read, about, unrolled};

/// What a login by some user would have met.
#[derive(Debug)]
pub struct Login {
    /// The account's users, those that count for it.
    pub users: Vec<UserId>,
    /// Whether anything is known of the user.
    pub is_known: bool,
    /// Whether it was erased by then.
    pub is_erased: bool,
    /// Whether the account was a customer of the company.
    pub is_customer: bool,
    /// The disablings that stood.
    pub disabled_by: Vec<EventRef>,
    /// Every credential that was ever written by then, in the order in which it was.
    pub credentials: Vec<Tried>,
}

/// A credential.
#[derive(Debug)]
pub struct Tried {
    /// The event that wrote it.
    pub header: Header,
    /// Whose it is.
    pub user: UserId,
    /// Its place: none is the central one.
    pub slot: Option<Slot>,
    /// Whether it is a password rather than something imported.
    pub is_password: bool,
    /// Whether it would have counted.
    pub verdict: Verdict,
}

/// Whether a credential counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is tried.
    Counts,
    /// It was recorded by then, and came to this log later.
    Late,
    /// This event stands in its place; none where that is not in what was read.
    Replaced(Option<EventRef>),
    /// This event set the password that prevails over it.
    Shadowed(EventRef),
    /// The account was taken apart, and what it had up to then does not count.
    Unlinked(Option<EventRef>),
    /// Its life was cut off, or that of what it rests on.
    Distrusted,
    /// Its user was erased.
    Erased,
    /// The log has not its body.
    NoBody,
}

/// What a login with a slot's company and country would have met. The history ends at the time
/// asked for. `progress` is told how many events were passed.
pub fn login(
    history: &History,
    user: UserId,
    slot: Slot,
    mut progress: impl FnMut(u64),
) -> Result<Login, ReplayError> {
    let mut users = BTreeSet::from([user]);
    loop {
        let mut read = about(history, &users, &mut progress)?;
        for it in &mut read {
            it.is_late &= history.is_of_one_log();
        }
        let states = states(&users, &read);
        let linked: Vec<UserId> = states.values().flat_map(UserState::linked).collect();
        let known = users.len();
        users.extend(linked);
        if users.len() == known {
            return Ok(judged(user, slot, &states, &read));
        }
    }
}

fn states(users: &BTreeSet<UserId>, read: &[Read]) -> BTreeMap<UserId, UserState> {
    let of = |user: &UserId| {
        let about = |it: &&Read| touches(it, *user) && !it.is_late;
        let own: Vec<Read> = read.iter().filter(about).cloned().collect();
        (*user, unrolled(*user, own, |_| {}).state)
    };
    users.iter().map(of).collect()
}

fn touches(read: &Read, user: UserId) -> bool {
    let fact = &read.fact;
    fact.subject == crate::events::record::Subject::User(user)
        || fact.event.as_ref().is_some_and(|event| event.touched_users().contains(&user))
}

fn judged(user: UserId, slot: Slot, states: &BTreeMap<UserId, UserState>, read: &[Read]) -> Login {
    let account = Account::of(states);
    let credentials = account.credentials(Some(slot));
    let counting = credentials.iter().map(|it| it.mark.digest).collect();
    let password = credentials.iter().find(|it| it.is_password()).map(|it| it.mark);
    let events: HashMap<Digest, EventRef> =
        read.iter().map(|it| (it.fact.digest, it.fact.reference)).collect();
    let judge = Judge { states, counting, password, events, read };
    let live = states.values().filter(|state| state.is_live());
    let disablings = live.flat_map(|state| state.status.disablings.values());
    let of_user = states.get(&user);
    Login {
        users: states.keys().copied().collect(),
        is_known: of_user.is_some_and(|state| !state.is_empty()),
        is_erased: of_user.is_some_and(|state| state.erased.is_some()),
        is_customer: account.has_member_of(slot.company),
        disabled_by: disablings.filter_map(|it| judge.events.get(&it.digest).copied()).collect(),
        credentials: read.iter().filter_map(|it| judge.tried(it)).collect(),
    }
}

struct Judge<'a> {
    states: &'a BTreeMap<UserId, UserState>,
    /// Which credentials are tried, by their events' bodies.
    counting: HashSet<Digest>,
    /// The password that prevails, if there is one.
    password: Option<Mark>,
    events: HashMap<Digest, EventRef>,
    read: &'a [Read],
}

impl Judge<'_> {
    fn tried(&self, read: &Read) -> Option<Tried> {
        use crate::events::record::{Register, Subject};
        let Subject::User(user) = read.fact.subject else { return None };
        let slot = match read.fact.register {
            Register::Secret => None,
            Register::Legacy(slot) => Some(slot),
            _ => return None,
        };
        let is_password = slot.is_none() || read.fact.stamp.effective.is_change();
        let verdict = self.verdict(read, user, slot);
        Some(Tried { header: read.header.clone(), user, slot, is_password, verdict })
    }

    fn verdict(&self, read: &Read, user: UserId, slot: Option<Slot>) -> Verdict {
        if !read.counts {
            return Verdict::Distrusted;
        }
        if read.is_late {
            return Verdict::Late;
        }
        let Some(state) = self.states.get(&user) else { return Verdict::Replaced(None) };
        if state.erased.is_some() {
            return Verdict::Erased;
        }
        if read.fact.event.is_none() {
            return Verdict::NoBody;
        }
        if self.counting.contains(&read.fact.digest) {
            return Verdict::Counts;
        }
        let cell = match slot {
            None => state.secret.as_ref(),
            Some(slot) => state.legacy.get(&slot),
        };
        let stands = cell.map(|cell| cell.mark);
        if stands.is_none_or(|mark| mark.digest != read.fact.digest) {
            return Verdict::Replaced(stands.and_then(|it| self.events.get(&it.digest).copied()));
        }
        let floor = state.credential_floor.map(Stamp::with_upgrades);
        if let Some(floor) = floor.filter(|floor| read.fact.stamp <= *floor) {
            return Verdict::Unlinked(self.unlinking(user, floor));
        }
        let shadow = self.password.and_then(|mark| self.events.get(&mark.digest).copied());
        shadow.map_or(Verdict::Replaced(None), Verdict::Shadowed)
    }

    /// The event that put a user's credentials up to a stamp out of use.
    fn unlinking(&self, user: UserId, floor: Stamp) -> Option<EventRef> {
        let raised = |it: &&Read| match &it.fact.event {
            Some(Event::UsersUnlinked(unlinked)) => {
                let own = unlinked.floors.iter().filter(|(of, _)| *of == user);
                own.map(|(_, at)| at.with_upgrades()).any(|at| at == floor)
            }
            _ => false,
        };
        self.read.iter().find(raised).map(|it| it.fact.reference)
    }
}
