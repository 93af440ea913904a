//! Which deliveries of a channel are not acknowledged yet, and how to acknowledge with few frames.

use std::collections::BTreeSet;

/// The deliveries of one channel that were handed on and not acknowledged.
#[derive(Debug, Default)]
pub(super) struct Tags {
    open: BTreeSet<u64>,
}

/// One acknowledgement to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ack {
    pub(super) tag: u64,
    /// Whether it is for all deliveries before, too.
    pub(super) multiple: bool,
}

impl Tags {
    /// A delivery was handed on.
    pub(super) fn handed(&mut self, tag: u64) {
        self.open.insert(tag);
    }

    /// These are of no more use to the broker: what to tell it. One frame for all up to the oldest
    /// delivery that is still open, one each for those behind it.
    pub(super) fn done(&mut self, tags: &[u64]) -> Vec<Ack> {
        let mut closed: Vec<u64> =
            tags.iter().copied().filter(|tag| self.open.remove(tag)).collect();
        closed.sort_unstable();
        let before = match self.open.first() {
            Some(first) => closed.partition_point(|tag| tag < first),
            None => closed.len(),
        };
        let (together, behind) = closed.split_at(before);
        let together = together.last().map(|tag| Ack { tag: *tag, multiple: true });
        let behind = behind.iter().map(|tag| Ack { tag: *tag, multiple: false });
        together.into_iter().chain(behind).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(handed: std::ops::RangeInclusive<u64>) -> Tags {
        let mut tags = Tags::default();
        handed.for_each(|tag| tags.handed(tag));
        tags
    }

    fn all_to(tag: u64) -> Ack {
        Ack { tag, multiple: true }
    }

    fn one(tag: u64) -> Ack {
        Ack { tag, multiple: false }
    }

    #[test]
    fn what_is_done_in_order_takes_one_frame() {
        let mut tags = tags(1..=5);
        assert_eq!(tags.done(&[2, 1, 3]), [all_to(3)]);
        assert_eq!(tags.done(&[4, 5]), [all_to(5)]);
        assert_eq!(tags.done(&[]), []);
    }

    #[test]
    fn what_is_open_is_never_acknowledged_with_what_is_behind_it() {
        let mut tags = tags(1..=5);
        assert_eq!(tags.done(&[1, 4, 3]), [all_to(1), one(3), one(4)]);
        assert_eq!(tags.done(&[5]), [one(5)]);
        assert_eq!(tags.done(&[2]), [all_to(2)]);
    }

    #[test]
    fn nothing_is_acknowledged_twice() {
        let mut tags = tags(1..=2);
        assert_eq!(tags.done(&[1, 1]), [all_to(1)]);
        assert_eq!(tags.done(&[1]), []);
        assert_eq!(tags.done(&[9]), []);
    }
}
