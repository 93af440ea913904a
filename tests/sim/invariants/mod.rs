//! What must hold, one a file.
//!
//! Some of it is looked at all the time: that what is answered is durable, that no number of a life
//! is two events, that readings rise (`ledger`). The rest is looked at when all is healed, on what
//! every node then holds, against what the callers were told and against plain folds made here.

pub(crate) mod answered;
pub(crate) mod convergence;
pub(crate) mod erased;
pub(crate) mod future;
pub(crate) mod links;
pub(crate) mod numbers;
pub(crate) mod owners;
pub(crate) mod passwords;
pub(crate) mod refusals;
pub(crate) mod revisions;
pub(crate) mod state;
pub(crate) mod trust;
pub(crate) mod upgrades;

use std::collections::BTreeMap;

use jcas::events::ids::UserId;
use jcas::events::record::Subject;
use jcas::events::stamp::EventRef;

use crate::ledger::{Checked, Ledger, Recorded};
use crate::life::Life;
use crate::points::Points;
use crate::world::World;

/// What all nodes hold at the end.
pub(crate) struct End<'a> {
    /// Every running node.
    pub(crate) lives: Vec<&'a Life>,
    /// Each node's log.
    pub(crate) logs: Vec<Vec<Recorded>>,
    /// All events of all logs.
    pub(crate) union: BTreeMap<EventRef, Recorded>,
    /// What they fold to.
    pub(crate) folded: state::Folded,
    pub(crate) ledger: &'a Ledger,
    pub(crate) users: Vec<UserId>,
}

impl End<'_> {
    /// The events about a user, in no order that matters.
    pub(crate) fn of_user(&self, user: UserId) -> impl Iterator<Item = &Recorded> {
        let about = move |it: &&Recorded| it.header.subject == Subject::User(user);
        self.union.values().filter(about)
    }
}

/// Compares everything with everything.
pub(crate) fn check(world: &mut World) -> Checked {
    let mut points = Points::default();
    let logs = world.machines.iter().map(|machine| state::read_log(&machine.disk));
    let logs = logs.collect::<Checked<Vec<_>>>()?;
    let mut union = BTreeMap::new();
    for recorded in logs.iter().flatten() {
        union.entry(recorded.header.reference()).or_insert_with(|| recorded.clone());
    }
    let folded = state::fold_in_any_order(&union, &mut world.random);
    let lives = world.machines.iter().filter_map(|machine| machine.life.as_ref()).collect();
    let (ledger, users) = (&world.ledger, folded.users.keys().copied().collect());
    let end = End { lives, logs, union, folded, ledger, users };
    answered::check(&end)?;
    numbers::check(&end)?;
    revisions::check(&end)?;
    convergence::check(&end)?;
    passwords::check(&end)?;
    upgrades::check(&end, &mut points)?;
    owners::check(&end, &mut points)?;
    trust::check(&end)?;
    links::check(&end, &mut points)?;
    erased::check(&end, &mut points)?;
    for life in &end.lives {
        refusals::check_life(life)?;
        refusals::check_acknowledged(life, &world.deployment.net)?;
    }
    world.points.add(&points);
    Ok(())
}
