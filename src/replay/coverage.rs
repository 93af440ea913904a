//! Which events were met, by origin and number: duplicates, gaps and forks show by it.

use std::collections::BTreeMap;

use crate::events::codec;
use crate::events::ids::Digest;
use crate::events::record::Header;
use crate::events::registry::RegistryState;
use crate::events::stamp::{EventRef, Origin};

/// What an event is to those met before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meeting {
    /// It was not met before.
    New,
    /// It was.
    Again,
    /// Its origin's life tells another story here than in an earlier log.
    Forked,
}

/// Consecutive events of one origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) from: u64,
    pub(super) to: u64,
    /// The start of the digest of the header before the first; nothing where only one log is read.
    pub(super) before: u64,
    /// The start of each header's digest; nothing where only one log is read.
    pub(super) prints: Vec<u64>,
}

/// The events of one origin that were met.
#[derive(Debug, Clone)]
pub(super) struct Lane {
    pub(super) origin: Origin,
    /// In order, and with holes between them.
    pub(super) runs: Vec<Run>,
    /// Per log, whether it left the story that an earlier log tells.
    left: Vec<bool>,
}

/// An origin's life with two stories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fork {
    /// The first event met that differs.
    pub at: EventRef,
    /// The log whose events of this life are left out from there on, by its place among those
    /// given. The story of the logs before it counts.
    pub source: usize,
}

/// Numbers of an origin of which no event was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Whose events.
    pub origin: Origin,
    /// The first one that is missing.
    pub from: u64,
    /// The last one.
    pub to: u64,
}

/// The events that were met.
#[derive(Debug, Clone, Default)]
pub struct Coverage {
    lanes: Vec<Lane>,
    by_origin: BTreeMap<Origin, usize>,
    /// The lane of the last event: mostly that of the next one, too.
    last: usize,
    /// Whether headers are told apart by their digests too.
    compared: bool,
    /// Events that were met before.
    pub duplicates: u64,
    /// Lives with two stories.
    pub forks: Vec<Fork>,
    /// Events left out since they are of another story.
    pub forked: u64,
}

fn print(digest: &Digest) -> u64 {
    digest.0.first_chunk().map_or(0, |start| u64::from_le_bytes(*start))
}

impl Coverage {
    pub(super) fn new(compared: bool) -> Self {
        Self { compared, ..Self::default() }
    }

    /// Notes an event of the log at this place among those given.
    pub(super) fn meet(&mut self, source: usize, header: &Header, bytes: &[u8]) -> Meeting {
        let at = self.lane_of(&header.origin);
        let Some(lane) = self.lanes.get_mut(at) else { return Meeting::New };
        if lane.left.get(source).copied().unwrap_or(false) {
            self.forked += 1;
            return Meeting::Forked;
        }
        let own = if self.compared { print(&codec::digest(bytes)) } else { 0 };
        let before = print(&header.previous);
        let meeting = lane.meet(header.sequence, self.compared.then_some((own, before)));
        match meeting {
            Meeting::New => {}
            Meeting::Again => self.duplicates += 1,
            Meeting::Forked => {
                lane.left.resize(lane.left.len().max(source + 1), false);
                lane.left.get_mut(source).into_iter().for_each(|left| *left = true);
                self.forks.push(Fork { at: header.reference(), source });
                self.forked += 1;
            }
        }
        meeting
    }

    fn lane_of(&mut self, origin: &Origin) -> usize {
        if self.lanes.get(self.last).is_none_or(|lane| lane.origin != *origin) {
            self.last = *self.by_origin.entry(*origin).or_insert_with(|| {
                self.lanes.push(Lane { origin: *origin, runs: Vec::new(), left: Vec::new() });
                self.lanes.len() - 1
            });
        }
        self.last
    }

    pub(super) fn lanes(&self) -> impl Iterator<Item = &Lane> {
        self.by_origin.values().filter_map(|at| self.lanes.get(*at))
    }

    /// The origins met, in order, and the last event of each.
    pub fn origins(&self) -> impl Iterator<Item = (Origin, u64)> {
        self.lanes().map(|lane| (lane.origin, lane.runs.last().map_or(0, |run| run.to)))
    }

    /// What is missing below what was met, also at the end of lives that a later life names.
    pub fn gaps(&self, registry: &RegistryState) -> Vec<Gap> {
        let mut ends: BTreeMap<Origin, u64> = BTreeMap::new();
        for cell in registry.lives.values() {
            if let Some(life) = &cell.value.previous {
                let end = ends.entry(life.origin).or_default();
                *end = life.sequence.max(*end);
            }
        }
        for lane in self.lanes() {
            ends.entry(lane.origin).or_default();
        }
        let none = Vec::new();
        let mut gaps = Vec::new();
        for (origin, end) in ends {
            let lane = self.by_origin.get(&origin).and_then(|at| self.lanes.get(*at));
            let mut next = 1;
            for run in lane.map_or(&none, |lane| &lane.runs) {
                if run.from > next {
                    gaps.push(Gap { origin, from: next, to: run.from - 1 });
                }
                next = run.to.saturating_add(1);
            }
            if end >= next {
                gaps.push(Gap { origin, from: next, to: end });
            }
        }
        gaps
    }
}

impl Lane {
    /// Notes a number. `prints` are of the event's header and of the one before it; none where
    /// nothing is compared.
    fn meet(&mut self, sequence: u64, prints: Option<(u64, u64)>) -> Meeting {
        // The run that begins at or before the number: mostly the last one.
        let after = match self.runs.last() {
            Some(last) if last.from <= sequence => self.runs.len(),
            _ => self.runs.partition_point(|run| run.from <= sequence),
        };
        // What follows in a run that was met before must follow this very event.
        let above = self.runs.get(after).filter(|run| run.from == sequence.saturating_add(1));
        let elsewhere = prints.is_some_and(|(own, _)| above.is_some_and(|run| run.before != own));
        let below = after.checked_sub(1).and_then(|at| self.runs.get_mut(at));
        let own: Vec<u64> = match (below, prints) {
            (Some(run), prints) if run.to >= sequence => {
                let known = usize::try_from(sequence - run.from).ok();
                let known = known.and_then(|at| run.prints.get(at));
                let same = prints.is_none_or(|(own, _)| known == Some(&own));
                return if same { Meeting::Again } else { Meeting::Forked };
            }
            (Some(run), prints) if run.to.saturating_add(1) == sequence => {
                if prints.is_some_and(|(_, before)| run.prints.last() != Some(&before)) {
                    return Meeting::Forked;
                }
                if elsewhere {
                    return Meeting::Forked;
                }
                run.to = sequence;
                run.prints.extend(prints.map(|(own, _)| own));
                self.join(after);
                return Meeting::New;
            }
            _ if elsewhere => return Meeting::Forked,
            (_, prints) => prints.map(|(own, _)| own).into_iter().collect(),
        };
        let before = prints.map_or(0, |(_, before)| before);
        self.runs.insert(after, Run { from: sequence, to: sequence, before, prints: own });
        self.join(after + 1);
        Meeting::New
    }

    /// The print of the event with a number, if it was met.
    pub(super) fn print_of(&self, sequence: u64) -> Option<u64> {
        let at = self.runs.partition_point(|run| run.from <= sequence).checked_sub(1)?;
        let run = self.runs.get(at).filter(|run| run.to >= sequence)?;
        run.prints.get(usize::try_from(sequence - run.from).ok()?).copied()
    }

    /// Makes one run of the one at this place and the one before it, if they touch.
    fn join(&mut self, at: usize) {
        let Some(before) = at.checked_sub(1) else { return };
        let ends = self.runs.get(before).map(|run| run.to.saturating_add(1));
        if ends.is_none() || self.runs.get(at).map(|run| run.from) != ends {
            return;
        }
        let next = self.runs.remove(at);
        if let Some(run) = self.runs.get_mut(before) {
            run.to = next.to;
            run.prints.extend(next.prints);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::stamp::Incarnation;

    fn lane() -> Lane {
        let incarnation = Incarnation { counter: 1, tag: 7 };
        let (region, node) = ("eu".parse().unwrap(), "n1".parse().unwrap());
        let origin = Origin { region, node, incarnation };
        Lane { origin, runs: Vec::new(), left: Vec::new() }
    }

    /// The prints of the true story.
    const fn story(sequence: u64) -> (u64, u64) {
        (sequence * 10, (sequence - 1) * 10)
    }

    #[test]
    fn numbers_in_any_order_make_runs_that_join() {
        let mut lane = lane();
        for sequence in [5, 6, 1, 3, 2, 9, 4] {
            assert_eq!(lane.meet(sequence, Some(story(sequence))), Meeting::New, "{sequence}");
        }
        let runs: Vec<_> = lane.runs.iter().map(|run| (run.from, run.to)).collect();
        assert_eq!(runs, [(1, 6), (9, 9)]);
        assert_eq!(lane.runs[0].prints, [10, 20, 30, 40, 50, 60]);
        for sequence in [1, 4, 6, 9] {
            assert_eq!(lane.meet(sequence, Some(story(sequence))), Meeting::Again, "{sequence}");
        }
    }

    #[test]
    fn another_story_shows_within_what_is_known_and_behind_it() {
        let mut lane = lane();
        for sequence in 1..=4 {
            assert_eq!(lane.meet(sequence, Some(story(sequence))), Meeting::New);
        }
        assert_eq!(lane.meet(3, Some((31, 20))), Meeting::Forked);
        assert_eq!(lane.meet(5, Some((51, 41))), Meeting::Forked);
        assert_eq!(lane.meet(5, Some(story(5))), Meeting::New);
    }

    #[test]
    fn another_story_shows_whichever_part_of_it_is_met_first() {
        // 1 to 4 of one story, and 5 to 6 of another one, in either order.
        let (other, follows) = (|it: u64| (it * 10 + 1, (it - 1) * 10 + 1), [5, 6]);
        let mut lane_one = lane();
        for sequence in 1..=4 {
            assert_eq!(lane_one.meet(sequence, Some(story(sequence))), Meeting::New);
        }
        assert_eq!(lane_one.meet(5, Some(other(5))), Meeting::Forked);
        let mut turned = lane();
        for sequence in follows {
            assert_eq!(turned.meet(sequence, Some(other(sequence))), Meeting::New);
        }
        for sequence in 1..=3 {
            assert_eq!(turned.meet(sequence, Some(story(sequence))), Meeting::New);
        }
        assert_eq!(turned.meet(4, Some(story(4))), Meeting::Forked);
        assert_eq!((turned.print_of(3), turned.print_of(4)), (Some(30), None));
        assert_eq!(turned.print_of(5), Some(51));
        // With nothing before it in its run, too.
        let mut alone = lane();
        assert_eq!(alone.meet(5, Some(other(5))), Meeting::New);
        assert_eq!(alone.meet(4, Some(story(4))), Meeting::Forked);
    }

    #[test]
    fn without_prints_nothing_is_compared() {
        let mut lane = lane();
        assert_eq!(lane.meet(1, None), Meeting::New);
        assert_eq!(lane.meet(1, None), Meeting::Again);
        assert_eq!(lane.meet(2, None), Meeting::New);
    }
}
