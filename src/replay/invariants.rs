//! What must hold after every command, and the first event after which it no longer does.
//!
//! Most of this cannot fail while a log is whole and its rules are these. It fails where events are
//! missing, where a rule was changed, or where two regions decided things that do not go together;
//! that is what is looked for.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::events::account::Account;
use crate::events::event::Event;
use crate::events::ids::{BlindIndex, UserId};
use crate::events::record::{Fact, Header};
use crate::events::stamp::{Origin, Revision};
use crate::events::state::{Claims, UserState};

use super::fold::{ReplayError, Touched, fact_of, knowing_distrust, users_of};
use super::history::{History, Met};
use super::memory::MemoryState;

/// Something that must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// A user who could log in still can, unless disabled or erased.
    Credential,
    /// An identity is verified for one account at most.
    Owner,
    /// Whoever something is known of was registered.
    Registered,
    /// Whoever has sealed values has a key.
    Key,
    /// What is between two users both of them say.
    Link,
}

impl Invariant {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Credential, Self::Owner, Self::Registered, Self::Key, Self::Link];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Credential => "credential",
            Self::Owner => "owner",
            Self::Registered => "registered",
            Self::Key => "key",
            Self::Link => "link",
        }
    }

    /// What it says.
    pub const fn says(self) -> &'static str {
        match self {
            Self::Credential => "an active user who had a credential that counts still has one",
            Self::Owner => "an identity is verified for one account at most",
            Self::Registered => "whoever something is known of was registered",
            Self::Key => "whoever has sealed values has a key",
            Self::Link => "what is between two users both of them say",
        }
    }
}

/// An event after which something no longer holds.
#[derive(Debug, Clone)]
pub struct Broken {
    /// Everything about the event but its content.
    pub header: Header,
    /// The log it was met in, by its place among those given.
    pub source: usize,
    /// The user it no longer holds for.
    pub user: UserId,
    /// What is wrong.
    pub why: String,
}

/// The first event after which each of these no longer holds for some user, in the order of the
/// logs, and does not hold at their end either; none where there is no such user. A log keeps the
/// order of each life alone, so what one event leaves open another life's may mend that was
/// recorded before it. It is judged where a command ends. `progress` is told how many events were
/// folded.
pub fn bisect(
    history: &History,
    which: &[Invariant],
    mut progress: impl FnMut(u64),
) -> Result<Vec<(Invariant, Option<Broken>)>, ReplayError> {
    let mut count = 0_u64;
    knowing_distrust(|known| {
        let mut watch = Watch::new(which);
        let mut last: Option<Met> = None;
        for met in history.events() {
            let met = met?;
            count += 1;
            progress(count);
            if let Some(last) = last.take_if(|last| command(&last.header) != command(&met.header)) {
                watch.judge(&last);
            }
            let fact = fact_of(&met)?;
            if known.counts(&fact) {
                watch.fold(&fact);
            }
            last = Some(met);
        }
        if let Some(last) = &last {
            watch.judge(last);
        }
        let found = watch.state.registry.distrust.clone();
        Ok((watch.first_broken(), found))
    })
}

/// All events of a command have one revision.
const fn command(header: &Header) -> (Origin, Revision) {
    (header.origin, header.revision)
}

/// The state in the making, and what is asked of it.
struct Watch {
    which: Vec<Invariant>,
    state: MemoryState,
    /// Users that the command under way touched.
    touched: BTreeSet<UserId>,
    /// Users that could log in once.
    could: HashSet<UserId>,
    /// Who claims an identity.
    claimants: HashMap<BlindIndex, BTreeSet<UserId>>,
    /// What no longer holds, and of how many such findings each is.
    broken: HashMap<(Invariant, UserId), (u64, Broken)>,
    findings: u64,
}

impl Watch {
    fn new(which: &[Invariant]) -> Self {
        Self {
            which: which.to_vec(),
            state: MemoryState::default(),
            touched: BTreeSet::new(),
            could: HashSet::new(),
            claimants: HashMap::new(),
            broken: HashMap::new(),
            findings: 0,
        }
    }

    fn fold(&mut self, fact: &Fact) {
        match users_of(fact) {
            Touched::Registry => {}
            Touched::One(user) => {
                self.touched.insert(user);
                if let Some(Event::IdentityClaimed(claimed)) = &fact.event {
                    self.claimants.entry(claimed.index).or_default().insert(user);
                }
            }
            Touched::Several(users) => self.touched.extend(users),
        }
        self.state.fold(fact);
    }

    /// Looks at what a command touched, at its last event.
    fn judge(&mut self, last: &Met) {
        for user in std::mem::take(&mut self.touched) {
            for invariant in self.which.clone() {
                let Some(why) = self.wrong(invariant, user) else {
                    self.broken.remove(&(invariant, user));
                    continue;
                };
                self.findings += 1;
                let number = self.findings;
                self.broken.entry((invariant, user)).or_insert_with(|| {
                    let (header, source) = (last.header.clone(), last.source);
                    (number, Broken { header, source, user, why })
                });
            }
        }
    }

    /// What no longer holds at the end. What is about several users may have been mended by an
    /// event about another one.
    fn first_broken(mut self) -> Vec<(Invariant, Option<Broken>)> {
        let mut broken: Vec<_> = std::mem::take(&mut self.broken).into_iter().collect();
        broken.sort_by_key(|(_, (number, _))| *number);
        broken.retain(|((invariant, user), _)| self.wrong(*invariant, *user).is_some());
        let mut first: HashMap<Invariant, Broken> = HashMap::new();
        for ((invariant, _), (_, found)) in broken {
            first.entry(invariant).or_insert(found);
        }
        self.which.iter().map(|it| (*it, first.remove(it))).collect()
    }

    /// What is wrong with a user, if anything is.
    fn wrong(&mut self, invariant: Invariant, user: UserId) -> Option<String> {
        let state = self.state.user(user).filter(|state| state.erased.is_none())?;
        match invariant {
            Invariant::Credential => {
                let one = std::collections::BTreeMap::from([(user, state)]);
                let can = !Account::of(&one).credentials(None).is_empty();
                if can {
                    self.could.insert(user);
                    return None;
                }
                let lost = state.is_live() && state.status.is_active();
                let lost = lost && self.could.contains(&user);
                lost.then(|| "no credential of the user counts any more".to_owned())
            }
            Invariant::Owner => self.rival(user, state),
            Invariant::Registered => {
                let is_known = !state.is_empty() && state.registered.is_none();
                is_known.then(|| "events of the user are here, but not its registration".to_owned())
            }
            Invariant::Key => {
                let sealed = state.secret.is_some()
                    || state.legacy.iter().next().is_some()
                    || state.identities().next().is_some()
                    || state.fields().next().is_some();
                let no_key = state.keys.iter().next().is_none();
                (sealed && no_key).then(|| "sealed values are here, but no key".to_owned())
            }
            Invariant::Link => state.links.iter().find_map(|(other, cell)| {
                let back = self.state.user(*other).and_then(|state| state.links.get(&user));
                let same = back.is_some_and(|back| back.value == cell.value);
                (!same).then(|| format!("user {other} says something else of the two"))
            }),
        }
    }

    /// Another account for which an identity of the user is verified too.
    fn rival(&self, user: UserId, state: &UserState) -> Option<String> {
        let verified = state.identities().filter(|(_, claims)| claims.is_verified());
        for (index, _) in verified {
            for other in self.claimants.get(index).into_iter().flatten() {
                let Some(rival) = self.state.user(*other).filter(|it| it.is_live()) else {
                    continue;
                };
                let verified = rival.claims.get(index).is_some_and(Claims::is_verified);
                if *other != user && verified && !self.is_linked(user, *other) {
                    let kind = index.kind.as_str();
                    return Some(format!("the {kind} is verified for user {other} too"));
                }
            }
        }
        None
    }

    /// Whether links lead from one user to another.
    fn is_linked(&self, user: UserId, other: UserId) -> bool {
        let (mut known, mut next) = (BTreeSet::from([user]), vec![user]);
        while let Some(user) = next.pop() {
            let linked = self.state.user(user).into_iter().flat_map(UserState::linked);
            next.extend(linked.filter(|linked| known.insert(*linked)));
        }
        known.contains(&other)
    }
}
