//! No company without trust ever changed another's user: the club made customers of them, and set
//! passwords of those that gave it their current one.

use jcas::events::command::Command;
use jcas::events::event::Event;

use super::End;
use crate::commands;
use crate::ledger::{Checked, ensure};

pub(crate) fn check(end: &End<'_>) -> Checked {
    for user in &end.users {
        let creator = end.folded.users.get(user).and_then(jcas::events::state::UserState::creator);
        for recorded in end.of_user(*user) {
            let ours = recorded.header.cause.company == Some(commands::club());
            if !ours || creator.is_none() || creator == Some(commands::club()) {
                continue;
            }
            let number = commands::number(&recorded.header.cause).unwrap_or_default();
            let wish = end.ledger.entries.get(&number).and_then(|entry| entry.wish.as_ref());
            let allowed = match (&recorded.fact.event, wish.map(|wish| &wish.command)) {
                (Some(Event::CompanyJoined(_)), Some(Command::Join(_)))
                | (Some(Event::PasswordSet(_)), Some(Command::UpgradePassword(_))) => true,
                (Some(Event::PasswordSet(_)), Some(Command::SetPassword(set))) => {
                    set.proof.is_some()
                }
                _ => false,
            };
            ensure!(allowed, "the club did this to a user of {creator:?}: {recorded:?}");
        }
    }
    Ok(())
}
