//! Nothing that was answered is lost, but what was on no other disk when a disk was replaced by an
//! old copy of itself. What was refused, or not done, is nowhere. Of a command there is all or
//! nothing.

use jcas::events::command::Outcome;

use super::End;
use crate::ledger::{Answered, Checked, ensure};

pub(crate) fn check(end: &End<'_>) -> Checked {
    for (number, entry) in &end.ledger.entries {
        let there = entry.events.iter().filter(|event| end.union.contains_key(event)).count();
        let all = entry.events.len();
        let excused = entry.events.iter().all(|event| end.ledger.may_miss(event));
        ensure!(there == all || there == 0, "of command {number} {there} of {all} events are left");
        match entry.answered {
            Some(Answered::Done(Outcome::Applied)) => {
                ensure!(all > 0, "command {number} was answered and never was in a log");
                ensure!(there == all || excused, "command {number} was answered and is lost");
            }
            Some(Answered::Refused | Answered::Denied | Answered::NotDone) => {
                ensure!(all == 0, "command {number} was not done and is in a log");
            }
            Some(Answered::Done(_) | Answered::Unknown) | None => {}
        }
    }
    for event in end.ledger.seen.keys() {
        let there = end.union.contains_key(event);
        ensure!(there || end.ledger.may_miss(event), "{event:?} was durable and is nowhere");
    }
    Ok(())
}
