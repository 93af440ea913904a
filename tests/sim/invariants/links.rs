//! What is between two users is what was said last, of all that was said anywhere, and the system's
//! conclusion only where nobody said anything. Nobody who is not trusted says it of others' users.

use std::collections::BTreeMap;

use jcas::events::event::Event;
use jcas::events::ids::{Digest, UserId};
use jcas::events::pair::Pair;
use jcas::events::record::Subject;
use jcas::events::stamp::{EffectiveTime, Origin, Revision};
use jcas::events::state::Link;

use super::End;
use crate::commands;
use crate::ledger::{Checked, Recorded, ensure, text};
use crate::points::{Point, Points};

/// What decides between two things that were said.
type Said = (EffectiveTime, Revision, Origin, Digest);

/// What an event says, pair by pair.
fn said(recorded: &Recorded) -> Vec<(Pair, Link)> {
    match &recorded.fact.event {
        Some(Event::UsersLinked(it)) => vec![(it.pair, Link::Linked { automatic: it.automatic })],
        Some(Event::UsersUnlinked(it)) => {
            it.pairs.iter().map(|pair| (*pair, Link::Unlinked)).collect()
        }
        Some(Event::LinkDeclined(pair)) => vec![(*pair, Link::Declined)],
        _ => Vec::new(),
    }
}

/// What should be between each two, from the events alone.
fn expected(end: &End<'_>) -> BTreeMap<Pair, (Said, Link)> {
    let mut expected: BTreeMap<Pair, (Said, Link)> = BTreeMap::new();
    for recorded in end.union.values() {
        let header = &recorded.header;
        let at = (header.effective, header.revision, header.origin, header.body);
        for (pair, link) in said(recorded) {
            let standing = expected.entry(pair).or_insert((at, link));
            if at > standing.0 {
                *standing = (at, link);
            }
        }
    }
    expected
}

pub(crate) fn check(end: &End<'_>, points: &mut Points) -> Checked {
    let expected = expected(end);
    for (pair, (_, link)) in &expected {
        let everything = end.union.values().flat_map(said).filter(|(of, _)| of == pair);
        let by_itself = Link::Linked { automatic: true };
        let (by_system, by_people): (Vec<_>, Vec<_>) =
            everything.partition(|(_, link)| *link == by_itself);
        let overruled = by_people.is_empty() || *link != by_itself;
        ensure!(overruled, "{pair:?}: the system overruled {by_people:?}");
        points.hits(Point::Linked, u64::from(matches!(link, Link::Linked { .. })));
        points.hits(Point::LinkedByItself, u64::from(!by_system.is_empty()));
        points.hits(Point::Severed, u64::from(*link == Link::Unlinked));
        let (one, other) = pair.users();
        for life in &end.lives {
            let link_of = |user: UserId, with: UserId| {
                let state = life.checkpoints.store.user(user).map_err(text)?;
                Ok::<_, String>(state.and_then(|it| it.links.get(&with).map(|cell| cell.value)))
            };
            for found in [link_of(one, other)?, link_of(other, one)?] {
                ensure!(
                    found == Some(*link),
                    "{}: between {pair:?} is {found:?} and should be {link:?}",
                    life.own
                );
            }
        }
    }
    check_trust(end)
}

fn check_trust(end: &End<'_>) -> Checked {
    for recorded in end.union.values() {
        let header = &recorded.header;
        let is_pair = matches!(header.subject, Subject::Pair(_));
        if !is_pair || header.cause.company != Some(commands::club()) {
            continue;
        }
        for user in recorded.fact.event.iter().flat_map(Event::touched_users) {
            let state = end.folded.users.get(&user);
            let creator = state.and_then(jcas::events::state::UserState::creator);
            let own = creator.is_none_or(|creator| creator == commands::club());
            ensure!(own, "the club did this to a user of {creator:?}: {recorded:?}");
        }
    }
    Ok(())
}
