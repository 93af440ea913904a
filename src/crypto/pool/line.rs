//! A fair line: whoever was served least is next.
//!
//! Jobs stand in line by share. A share is served its own jobs in the order they came; between the
//! shares counts how much work each was served so far, so that one with a thousand jobs waiting
//! holds up another's single job by no more than what is being computed. A share that comes back
//! after a pause is not owed for the time it asked for nothing.
//!
//! Work is in microseconds. It is charged as estimated when a job's turn comes and put right when
//! it is known what the job took.

use std::collections::{BTreeSet, HashMap, VecDeque};

use super::Share;

/// Jobs that wait, by share.
pub(super) struct Line<T> {
    shares: HashMap<Share, Standing<T>>,
    /// Those with jobs waiting, the least served first.
    order: BTreeSet<(u64, Share)>,
    /// What the share whose turn came last had been served before.
    level: u64,
    waiting: usize,
    work: u64,
    running: usize,
}

/// One share in a line.
struct Standing<T> {
    served: u64,
    jobs: VecDeque<(u64, T)>,
    work: u64,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        let (shares, order) = (HashMap::new(), BTreeSet::new());
        Self { shares, order, level: 0, waiting: 0, work: 0, running: 0 }
    }
}

impl<T> Line<T> {
    /// Jobs that wait.
    pub(super) const fn waiting(&self) -> usize {
        self.waiting
    }

    /// The work of the jobs that wait.
    pub(super) const fn work(&self) -> u64 {
        self.work
    }

    /// Shares that have jobs waiting.
    pub(super) fn shares(&self) -> usize {
        self.order.len()
    }

    /// Jobs of a share that wait.
    pub(super) fn waiting_of(&self, share: Share) -> usize {
        self.shares.get(&share).map_or(0, |standing| standing.jobs.len())
    }

    /// The work that would be begun before a job that `share` puts in line now.
    pub(super) fn work_before(&self, share: Share) -> u64 {
        let (served, own) =
            self.shares.get(&share).map_or((0, 0), |standing| (standing.served, standing.work));
        let turn = served.max(self.level).saturating_add(own);
        let before = self.order.iter().take_while(|(served, _)| *served < turn);
        let others = before.filter(|(_, other)| *other != share).map(|(served, other)| {
            let work = self.shares.get(other).map_or(0, |standing| standing.work);
            work.min(turn - served)
        });
        others.fold(own, u64::saturating_add)
    }

    /// Puts a job in line.
    pub(super) fn push(&mut self, share: Share, work: u64, job: T) {
        let level = self.level;
        let standing = self.shares.entry(share).or_insert_with(|| Standing {
            served: level,
            jobs: VecDeque::new(),
            work: 0,
        });
        if standing.jobs.is_empty() {
            standing.served = standing.served.max(level);
            self.order.insert((standing.served, share));
        }
        standing.jobs.push_back((work, job));
        standing.work = standing.work.saturating_add(work);
        self.work = self.work.saturating_add(work);
        self.waiting += 1;
    }

    /// Takes the job whose turn it is, and charges its share for it.
    pub(super) fn take(&mut self) -> Option<(Share, u64, T)> {
        let (served, share) = self.order.pop_first()?;
        let standing = self.shares.get_mut(&share)?;
        let (work, job) = standing.jobs.pop_front()?;
        self.level = self.level.max(served);
        standing.served = served.saturating_add(work);
        standing.work = standing.work.saturating_sub(work);
        if !standing.jobs.is_empty() {
            self.order.insert((standing.served, share));
        }
        self.work = self.work.saturating_sub(work);
        self.waiting -= 1;
        self.running += 1;
        Some((share, work, job))
    }

    /// Puts right what a share was charged for a job that was taken: it `took` this much.
    pub(super) fn settle(&mut self, share: Share, charged: u64, took: u64) {
        self.running = self.running.saturating_sub(1);
        if let Some(standing) = self.shares.get_mut(&share) {
            let queued = self.order.remove(&(standing.served, share));
            standing.served = standing.served.saturating_sub(charged).saturating_add(took);
            if queued {
                self.order.insert((standing.served, share));
            }
        }
        if self.waiting == 0 && self.running == 0 {
            // Nobody waits: nobody is owed.
            self.shares.clear();
            self.level = 0;
        }
    }

    /// Takes all that wait out of line.
    pub(super) fn clear(&mut self) {
        *self = Self { running: self.running, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Share = Share::new(1);
    const B: Share = Share::new(2);
    const C: Share = Share::new(3);

    /// Takes a job and settles it as estimated.
    fn serve(line: &mut Line<&'static str>) -> &'static str {
        let (share, work, job) = line.take().unwrap();
        line.settle(share, work, work);
        job
    }

    #[test]
    fn a_share_that_comes_late_is_next_and_the_others_take_turns() {
        let mut line = Line::default();
        for job in ["a1", "a2", "a3", "a4", "a5"] {
            line.push(A, 10, job);
        }
        assert_eq!((serve(&mut line), serve(&mut line)), ("a1", "a2"));
        line.push(B, 10, "b1");
        line.push(B, 10, "b2");
        let rest: Vec<_> = (0..5).map(|_| serve(&mut line)).collect();
        assert_eq!(rest, ["b1", "a3", "b2", "a4", "a5"]);
        assert!(line.take().is_none());
    }

    #[test]
    fn turns_are_by_work_and_not_by_number() {
        let mut line = Line::default();
        for job in ["a1", "a2"] {
            line.push(A, 40, job);
        }
        for job in ["b1", "b2", "b3", "b4", "b5"] {
            line.push(B, 10, job);
        }
        let all: Vec<_> = (0..7).map(|_| serve(&mut line)).collect();
        assert_eq!(all, ["a1", "b1", "b2", "b3", "b4", "a2", "b5"]);
    }

    #[test]
    fn what_a_job_really_took_is_what_counts() {
        let mut line = Line::default();
        for job in ["a1", "a2"] {
            line.push(A, 1, job);
        }
        for job in ["b1", "b2", "b3"] {
            line.push(B, 10, job);
        }
        let (share, charged, job) = line.take().unwrap();
        assert_eq!(job, "a1");
        line.settle(share, charged, 25);
        let rest: Vec<_> = (0..4).map(|_| serve(&mut line)).collect();
        assert_eq!(rest, ["b1", "b2", "b3", "a2"]);
    }

    #[test]
    fn a_pause_is_no_credit() {
        let mut line = Line::default();
        line.push(B, 10, "b");
        for job in ["a1", "a2", "a3"] {
            line.push(A, 100, job);
        }
        while line.waiting_of(A) > 1 {
            serve(&mut line);
        }
        // B asked for nothing while A was served 200: it takes turns from here on.
        for job in ["b1", "b2", "b3"] {
            line.push(B, 100, job);
        }
        let rest: Vec<_> = (0..4).map(|_| serve(&mut line)).collect();
        assert_eq!(rest, ["b1", "a3", "b2", "b3"]);
    }

    #[test]
    fn the_work_before_a_job_is_its_own_and_what_others_are_served_meanwhile() {
        let mut line = Line::default();
        assert_eq!(line.work_before(A), 0);
        for _ in 0..10 {
            line.push(A, 10, "a");
        }
        assert_eq!(line.work_before(A), 100);
        assert_eq!(line.work_before(B), 0, "B is next whatever A has waiting");
        line.push(B, 10, "b");
        assert_eq!(line.work_before(B), 20, "its own, and as much of A's");
        line.push(C, 5, "c");
        assert_eq!(line.work_before(A), 115);
        assert_eq!(line.work_before(B), 25);
        assert_eq!(line.work(), 115);
    }

    #[test]
    fn an_idle_line_remembers_nobody() {
        let mut line = Line::default();
        line.push(A, 10, "a");
        serve(&mut line);
        assert!(line.shares.is_empty());
        assert_eq!((line.level, line.work, line.waiting, line.running), (0, 0, 0, 0));
    }

    #[test]
    fn everything_put_in_line_comes_out_once() {
        let mut line = Line::default();
        let mut seed = 0x5eed_u64;
        let (mut put, mut got) = (0, 0);
        for _ in 0..10_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            if seed >> 63 == 0 {
                line.push(Share::new(seed >> 40 & 7), seed >> 33 & 63, "x");
                put += 1;
            } else if let Some((share, charged, _)) = line.take() {
                line.settle(share, charged, seed >> 20 & 127);
                got += 1;
            }
            assert_eq!(put - got, line.waiting());
            let works: u64 = line.shares.values().map(|standing| standing.work).sum();
            assert_eq!(works, line.work());
        }
        while line.take().is_some() {
            got += 1;
        }
        assert_eq!(put, got);
    }
}
