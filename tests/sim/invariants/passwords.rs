//! No superseded password works, at any node, and every live user that ever had a password can log
//! in with the right one.
//!
//! Which one is right follows here from what was asked, not from stamps: the newest password that
//! was set or reported as changed, or one of the imports while there is none.

use std::collections::{BTreeMap, BTreeSet};

use jcas::events::account::Account;
use jcas::events::command::{AddLegacyHash, Command};
use jcas::events::event::Event;
use jcas::events::ids::{Slot, UserId};
use jcas::events::stamp::{EffectiveTime, Origin, Revision};

use super::End;
use crate::commands::{self, password};
use crate::ledger::{Checked, Recorded, ensure, text};

/// When a password counts as made, and where.
type Made = (EffectiveTime, Revision, Origin);

/// What is right for one user.
#[derive(Default)]
struct Right {
    /// The newest secret or change.
    newest: Option<(Made, u64)>,
    /// The newest import of each slot.
    imports: BTreeMap<Slot, (Made, u64)>,
    /// At and below which nothing counts since the user was taken apart from others.
    floor: Option<Made>,
}

impl Right {
    fn password(&mut self, made: Made, password: u64) {
        if self.newest.is_none_or(|(newest, _)| made > newest) {
            self.newest = Some((made, password));
        }
    }

    fn legacy(&mut self, recorded: &Recorded, asked: &AddLegacyHash, changed: Option<u64>) {
        let (now, origin) = (recorded.header.revision, recorded.header.origin);
        let password = password(&asked.hash);
        if let Some(at_ms) = changed {
            let at = EffectiveTime::claimed(at_ms, now);
            self.password((at, now, origin), password);
        } else {
            let made = (EffectiveTime::LOWEST, now, origin);
            let standing = self.imports.entry(asked.slot).or_insert((made, password));
            if made > standing.0 {
                *standing = (made, password);
            }
        }
    }

    fn works(&self) -> BTreeSet<u64> {
        let counts = |(made, _): &&(Made, u64)| self.floor.is_none_or(|floor| *made > floor);
        match self.newest.as_ref().filter(counts) {
            Some((_, password)) => BTreeSet::from([*password]),
            None => self.imports.values().filter(counts).map(|(_, password)| *password).collect(),
        }
    }
}

/// What is right by what was asked and is left.
fn right(end: &End<'_>, user: UserId) -> Checked<Right> {
    let mut right = Right::default();
    let mut upgrades = Vec::new();
    for recorded in end.of_user(user) {
        let Some(event) = &recorded.fact.event else { continue };
        let number = commands::number(&recorded.header.cause).ok_or("an event without a cause")?;
        let wish = end.ledger.entries.get(&number).and_then(|entry| entry.wish.as_ref());
        let Some(wish) = wish else { return Err(format!("nobody asked for {recorded:?}")) };
        let (now, origin) = (recorded.header.revision, recorded.header.origin);
        let made = (EffectiveTime::at(now), now, origin);
        match (event, &wish.command) {
            (Event::PasswordSet(_), Command::SetPassword(asked)) => {
                right.password(made, password(&asked.secret));
            }
            (Event::PasswordSet(_), Command::Register(asked)) => {
                let asked = asked.secret.as_ref().ok_or("a secret that nobody gave")?;
                right.password(made, password(asked));
            }
            (Event::PasswordSet(_), Command::UpgradePassword(asked)) => upgrades.push(asked),
            (Event::LegacyHashAdded(_), Command::AddLegacyHash(asked)) => {
                right.legacy(recorded, asked, asked.changed_at_unix_ms);
            }
            (Event::LegacyHashAdded(_), Command::Register(asked)) => {
                let asked = asked.legacy.as_ref().ok_or("a hash that nobody gave")?;
                right.legacy(recorded, asked, asked.changed_at_unix_ms);
            }
            _ => {}
        }
    }
    // A re-hash is as old as what it re-hashed, and says the same password.
    for asked in upgrades {
        let base = asked.verified.stamp;
        let made = (base.effective, base.revision, base.origin);
        right.password(made, password(&asked.secret));
    }
    for recorded in end.union.values() {
        let Some(Event::UsersUnlinked(unlinked)) = &recorded.fact.event else { continue };
        for (_, floor) in unlinked.floors.iter().filter(|(of, _)| *of == user) {
            let floor = (floor.effective, floor.revision, floor.origin);
            right.floor = right.floor.max(Some(floor));
        }
    }
    Ok(right)
}

pub(crate) fn check(end: &End<'_>) -> Checked {
    for user in &end.users {
        let expected = right(end, *user)?.works();
        for life in &end.lives {
            let state = life.checkpoints.store.user(*user).map_err(text)?.unwrap_or_default();
            let live = state.is_live();
            let users = [(*user, state)].into_iter().collect();
            let works = Account::of(&users).credentials(None);
            let works: BTreeSet<u64> =
                works.iter().map(|it| password(&it.credential.hash)).collect();
            ensure!(
                !live || works == expected,
                "{}: of {user} {works:?} work, and {expected:?} should",
                life.own
            );
        }
    }
    Ok(())
}
