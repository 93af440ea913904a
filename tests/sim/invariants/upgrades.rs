//! An upgrade never prevails over a change that it had not seen.

use jcas::events::event::Event;

use super::End;
use crate::ledger::{Checked, ensure};
use crate::points::{Point, Points};

pub(crate) fn check(end: &End<'_>, points: &mut Points) -> Checked {
    for user in &end.users {
        let Some(state) = end.folded.users.get(user) else { continue };
        let secret = state.secret.as_ref().map(|cell| cell.mark.digest);
        for recorded in end.of_user(*user) {
            let Some(Event::PasswordSet(set)) = &recorded.fact.event else { continue };
            let Some(upgrade) = &set.upgrade else { continue };
            let base = &upgrade.verified;
            let newer = end.of_user(*user).find(|other| {
                let header = &other.header;
                let secret = match &other.fact.event {
                    Some(Event::PasswordSet(set)) => set.upgrade.is_none(),
                    _ => false,
                };
                let at = (header.effective, header.revision, header.origin);
                secret && at > (base.effective, base.revision, base.origin)
            });
            let stands = secret == Some(recorded.fact.digest);
            if let Some(newer) = newer {
                points.hits(Point::UpgradeLost, u64::from(!stands));
                ensure!(
                    !stands,
                    "{:?} prevails over {:?}, which is newer than what it upgrades",
                    recorded.header,
                    newer.header
                );
            }
        }
    }
    Ok(())
}
