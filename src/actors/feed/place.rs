//! How far a reader has come, in words that every node understands.
//!
//! Nodes' logs hold the same events in different orders, so a place is a vector: per life of a node
//! the last event that was had. A place that is told names a node's newest lives only, with a
//! digest over where the earlier ones end. A node that has them end there knows them had; at any
//! other the reader is given them again, which does no harm.
//!
//! Beside the vector a place says where its last nodes left the reader in their own logs. That
//! counts for the very life that said so, since another may have another log.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::events::codec;
use crate::events::ids::{NodeName, UserId};
use crate::events::record::LogPosition;
use crate::events::stamp::{EventRef, Incarnation, Origin};
use crate::log::Vector;

/// The version of told places that this program writes.
const VERSION: u8 = 1;

/// Lives of a node that are told one by one.
const LIVES_MAX: usize = 3;

/// Nodes that left the reader somewhere.
const LEFT_MAX: usize = 4;

/// How far a reader has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    had: BTreeMap<Origin, u64>,
    within: Option<(EventRef, UserId)>,
    left: Vec<(Origin, LogPosition)>,
}

/// A node, its newest lives, each with the last event that was had, and a digest of the earlier.
type ToldNode = (String, Vec<(u32, u32, u64)>, u64);

/// A place as it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    v: u8,
    nodes: Vec<ToldNode>,
    within: Option<(String, u64, UserId)>,
    left: Vec<(String, u64)>,
}

impl Place {
    /// Whether an event was had.
    pub fn has(&self, origin: &Origin, sequence: u64) -> bool {
        self.had.get(origin).is_some_and(|last| sequence <= *last)
    }

    /// An event was had, and all before it of its life.
    pub fn take(&mut self, event: &EventRef) {
        let last = self.had.entry(event.origin).or_default();
        *last = event.sequence.max(*last);
        if self.within.is_some_and(|(first, _)| first == *event) {
            self.within = None;
        }
    }

    /// Takes nothing for had that a log does not hold yet, since a reader of its node sees nothing
    /// of it: what a change is told of there is read without it, so it is told again when it comes.
    pub fn confine(&mut self, vector: &Vector, own: &Origin) {
        let before = self.had.clone();
        let held = |origin: &Origin| vector.get(origin).map_or(0, |end| end.sequence);
        self.had.iter_mut().for_each(|(origin, last)| *last = held(origin).min(*last));
        self.had.retain(|_, last| *last > 0);
        if self.had != before {
            self.left.retain(|(life, _)| life == own);
        }
    }

    /// Of what begins with this event, all was had that is about users up to this one.
    pub fn within(&mut self, first: EventRef, user: UserId) {
        self.within = Some((first, user));
    }

    /// Whether what is about this user was had of what begins with this event.
    pub fn has_of(&self, first: &EventRef, user: UserId) -> bool {
        self.within.is_some_and(|(event, last)| event == *first && user <= last)
    }

    /// Everything before a position of a life's log was had.
    pub fn leave(&mut self, life: Origin, at: LogPosition) {
        self.left.retain(|(known, _)| known.name() != life.name());
        self.left.insert(0, (life, at));
        self.left.truncate(LEFT_MAX);
    }

    /// Where a life left the reader.
    pub fn left_at(&self, life: &Origin) -> Option<LogPosition> {
        self.left.iter().find(|(known, _)| known == life).map(|(_, at)| *at)
    }

    /// The place in words.
    pub fn told(&self) -> Told {
        let mut nodes: BTreeMap<NodeName, Vec<(Incarnation, u64)>> = BTreeMap::new();
        for (origin, last) in &self.had {
            nodes.entry(origin.name()).or_default().push((origin.incarnation, *last));
        }
        let tell = |(node, lives): (NodeName, Vec<(Incarnation, u64)>)| {
            let (earlier, newest) = lives.split_at(lives.len().saturating_sub(LIVES_MAX));
            let newest = newest.iter().map(|(life, last)| (life.counter, life.tag, *last));
            (node.to_string(), newest.collect(), digest(earlier.iter().copied()))
        };
        let within = self.within.map(|(first, user)| {
            let EventRef { origin, sequence } = first;
            (origin.to_string(), sequence, user)
        });
        let left = self.left.iter().map(|(life, at)| (life.to_string(), at.to_bits()));
        let nodes = nodes.into_iter().map(tell).collect();
        Told { v: VERSION, nodes, within, left: left.collect() }
    }

    /// The place that was told, at a node whose log ends at `vector`.
    pub fn of(told: Told, vector: &Vector) -> Option<Self> {
        let Told { v: VERSION, nodes, within, left } = told else { return None };
        let mut place = Self::default();
        for (node, lives, earlier) in nodes {
            let name: NodeName = node.parse().ok()?;
            let life = |counter, tag| Origin {
                region: name.region,
                node: name.node,
                incarnation: Incarnation { counter, tag },
            };
            place
                .had
                .extend(lives.iter().map(|(counter, tag, last)| (life(*counter, *tag), *last)));
            let Some((counter, tag, _)) = lives.first() else { continue };
            let before = vector.range(life(0, 0)..life(*counter, *tag));
            let before = before.map(|(origin, end)| (*origin, end.sequence));
            if digest(before.clone().map(|(life, last)| (life.incarnation, last))) == earlier {
                place.had.extend(before);
            }
        }
        if let Some((origin, sequence, user)) = within {
            place.within = Some((EventRef { origin: origin.parse().ok()?, sequence }, user));
        }
        for (life, at) in left {
            place.left.push((life.parse().ok()?, LogPosition::from_bits(at)));
        }
        Some(place)
    }
}

/// Of where earlier lives end; zero where there are none.
fn digest(lives: impl Iterator<Item = (Incarnation, u64)>) -> u64 {
    let mut bytes = Vec::new();
    for (life, last) in lives {
        bytes.extend_from_slice(&life.counter.to_be_bytes());
        bytes.extend_from_slice(&life.tag.to_be_bytes());
        bytes.extend_from_slice(&last.to_be_bytes());
    }
    if bytes.is_empty() {
        return 0;
    }
    codec::digest(&bytes).0.first_chunk().map_or(0, |start| u64::from_be_bytes(*start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::ids::Digest;
    use crate::log::ChainEnd;

    fn life(node: &str, counter: u32) -> Origin {
        let name: NodeName = node.parse().unwrap();
        let incarnation = Incarnation { counter, tag: 7 };
        Origin { region: name.region, node: name.node, incarnation }
    }

    fn vector(ends: &[(Origin, u64)]) -> Vector {
        let end = |sequence| ChainEnd { sequence, head: Digest::ZERO };
        ends.iter().map(|(origin, last)| (*origin, end(*last))).collect()
    }

    fn had(ends: &[(Origin, u64)]) -> Place {
        let mut place = Place::default();
        for (origin, sequence) in ends {
            place.take(&EventRef { origin: *origin, sequence: *sequence });
        }
        place
    }

    #[test]
    fn a_place_is_told_and_understood_again() {
        let ends = [(life("eu/n1", 1), 9), (life("eu/n1", 2), 4), (life("us/n1", 1), 3)];
        let mut place = had(&ends);
        place.within(EventRef { origin: life("us/n1", 1), sequence: 4 }, UserId::new(5, [1; 10]));
        place.leave(life("eu/n1", 2), LogPosition::new(1, 700));
        assert_eq!(Place::of(place.told(), &Vector::new()), Some(place));
    }

    #[test]
    fn earlier_lives_are_had_where_they_end_alike_and_given_again_elsewhere() {
        let ends: Vec<_> = (1..=6).map(|counter| (life("eu/n1", counter), 10)).collect();
        let told = had(&ends).told();
        assert_eq!(told.nodes[0].1.len(), LIVES_MAX);
        let same = Place::of(told.clone(), &vector(&ends)).unwrap();
        assert!(ends.iter().all(|(origin, last)| same.has(origin, *last)));
        let mut more = ends.clone();
        more[0].1 = 11;
        let other = Place::of(told, &vector(&more)).unwrap();
        assert!(!other.has(&ends[0].0, 1), "who had less of it may not be taken to have had it");
        assert!(other.has(&ends[5].0, 10));
    }

    #[test]
    fn a_life_between_those_that_were_had_is_not_had() {
        let place = had(&[(life("eu/n1", 1), 3), (life("eu/n1", 3), 5)]);
        let place = Place::of(place.told(), &Vector::new()).unwrap();
        assert!(!place.has(&life("eu/n1", 2), 1));
        assert!(!place.has(&life("eu/n1", 1), 4));
    }

    #[test]
    fn a_node_that_has_less_than_the_reader_takes_the_rest_for_not_had() {
        let (here, there) = (life("eu/n1", 1), life("us/n1", 1));
        let mut place = had(&[(here, 4), (there, 9)]);
        place.leave(there, LogPosition::new(1, 90));
        place.leave(here, LogPosition::new(1, 64));
        let before = place.clone();
        place.confine(&vector(&[(here, 5), (there, 9)]), &here);
        assert_eq!(place, before);
        place.confine(&vector(&[(here, 5), (there, 7)]), &here);
        assert!(place.has(&there, 7) && !place.has(&there, 8) && place.has(&here, 4));
        assert_eq!(place.left_at(&here), Some(LogPosition::new(1, 64)));
        assert_eq!(place.left_at(&there), None, "what it is not known to have had lies before");
        place.confine(&vector(&[(here, 5)]), &here);
        assert_eq!(place.told().nodes.len(), 1);
    }

    #[test]
    fn what_is_about_a_user_is_had_until_the_command_is() {
        let first = EventRef { origin: life("eu/n1", 1), sequence: 4 };
        let (one, other) = (UserId::new(1, [1; 10]), UserId::new(2, [1; 10]));
        let mut place = Place::default();
        place.within(first, one);
        assert!(place.has_of(&first, one) && !place.has_of(&first, other));
        place.take(&EventRef { sequence: 3, ..first });
        assert!(place.has_of(&first, one));
        place.take(&first);
        assert!(!place.has_of(&first, one) && place.has(&first.origin, 4));
    }

    #[test]
    fn where_a_life_left_a_reader_says_nothing_to_another() {
        let mut place = Place::default();
        place.leave(life("eu/n1", 1), LogPosition::new(1, 64));
        assert_eq!(place.left_at(&life("eu/n1", 2)), None);
        place.leave(life("eu/n1", 2), LogPosition::new(1, 90));
        assert_eq!(place.left_at(&life("eu/n1", 1)), None);
        assert_eq!(place.left_at(&life("eu/n1", 2)), Some(LogPosition::new(1, 90)));
    }
}
