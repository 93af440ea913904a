//! Messages that a broker was given and has not confirmed.
//!
//! A message that no queue took comes back before it is confirmed. The client library gives it to
//! whichever confirmation is resolved next, of several that are confirmed together in no order; so
//! a message may look accepted whose return another one has got. It is certain that by the time a
//! message is confirmed, its return was given to a confirmation that was resolved no later. Hence:
//! nothing is taken for accepted before all others were looked at, and what was given somebody's
//! return is not taken for accepted either.

use std::collections::BTreeSet;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use crate::replication::link::LinkError;

/// What the broker said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// It has it, and gave nothing back with that.
    Accepted,
    /// It confirmed, and gave back the message of this number, or one that has none.
    GaveBack(Option<u64>),
    /// It does not take it.
    Refused,
    /// The connection was lost.
    Lost,
}

/// What becomes an answer.
pub(super) type Answering = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// Messages under way, oldest first. `T` is what the sender keeps of each.
pub(super) struct Confirms<T> {
    waiting: VecDeque<Waiting<T>>,
    /// Messages that came back and whose own confirmation is not there yet.
    returned: BTreeSet<u64>,
    next: u64,
    any_accepted: bool,
}

struct Waiting<T> {
    number: u64,
    since: Instant,
    kept: T,
    answering: Answering,
    answer: Option<Answer>,
}

impl<T> Default for Confirms<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), returned: BTreeSet::new(), next: 1, any_accepted: false }
    }
}

impl<T> Confirms<T> {
    /// The number of the next message.
    pub(super) const fn next_number(&self) -> u64 {
        self.next
    }

    /// A message is given to the broker: the one with [`Self::next_number`].
    pub(super) fn push(&mut self, now: Instant, kept: T, answering: Answering) {
        let number = self.next;
        self.next += 1;
        self.waiting.push_back(Waiting { number, since: now, kept, answering, answer: None });
    }

    /// Whether the broker ever accepted one.
    pub(super) const fn any_accepted(&self) -> bool {
        self.any_accepted
    }

    /// Since when the oldest waits.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.waiting.front().map(|first| first.since)
    }

    /// Everything that waits, oldest first; nothing waits any more.
    pub(super) fn take_all(&mut self) -> Vec<T> {
        self.returned.clear();
        self.waiting.drain(..).map(|it| it.kept).collect()
    }

    /// Ready when at least one message was answered: those that were, oldest first.
    pub(super) fn poll_answered(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Vec<(T, Result<(), LinkError>)>> {
        while self.poll_all(context) {}
        let mut answered = Vec::new();
        let mut waiting = VecDeque::with_capacity(self.waiting.len());
        for it in self.waiting.drain(..) {
            let Some(answer) = it.answer else {
                waiting.push_back(it);
                continue;
            };
            let came_back = self.returned.remove(&it.number);
            let result = match answer {
                Answer::Lost => Err(LinkError::Down),
                Answer::Refused => Err(LinkError::Refused),
                Answer::Accepted if !came_back => Ok(()),
                Answer::Accepted | Answer::GaveBack(_) => Err(LinkError::Returned),
            };
            self.any_accepted |= result.is_ok();
            answered.push((it.kept, result));
        }
        self.waiting = waiting;
        if answered.is_empty() { Poll::Pending } else { Poll::Ready(answered) }
    }

    /// Looks at each once. Says whether any was answered: then others may have been since.
    fn poll_all(&mut self, context: &mut Context<'_>) -> bool {
        let mut any = false;
        let mut given_back = Vec::new();
        for it in self.waiting.iter_mut().filter(|it| it.answer.is_none()) {
            if let Poll::Ready(answer) = it.answering.as_mut().poll(context) {
                it.answer = Some(answer);
                any = true;
                if let Answer::GaveBack(Some(number)) = answer {
                    given_back.push(number);
                }
            }
        }
        given_back.retain(|number| self.waiting.iter().any(|it| it.number == *number));
        self.returned.extend(given_back);
        any
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::sync::oneshot;

    use super::*;

    fn world(count: u64) -> (Confirms<u64>, Vec<Option<oneshot::Sender<Answer>>>) {
        let mut confirms = Confirms::default();
        let mut senders = Vec::new();
        for number in 1..=count {
            assert_eq!(confirms.next_number(), number);
            let (sender, receiver) = oneshot::channel();
            let answering = async { receiver.await.unwrap_or(Answer::Lost) };
            confirms.push(Instant::now(), number, Box::pin(answering));
            senders.push(Some(sender));
        }
        (confirms, senders)
    }

    fn look(confirms: &mut Confirms<u64>) -> Vec<(u64, Result<(), LinkError>)> {
        match confirms.poll_answered(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answered) => answered,
            Poll::Pending => Vec::new(),
        }
    }

    fn answer(senders: &mut [Option<oneshot::Sender<Answer>>], number: usize, answer: Answer) {
        senders[number - 1].take().unwrap().send(answer).unwrap();
    }

    #[test]
    fn only_a_confirmation_that_gives_nothing_back_is_acceptance() {
        let (mut confirms, mut senders) = world(5);
        assert_eq!(look(&mut confirms), []);
        answer(&mut senders, 1, Answer::Accepted);
        answer(&mut senders, 3, Answer::Refused);
        answer(&mut senders, 4, Answer::GaveBack(Some(4)));
        drop(senders[4].take());
        let expected = [
            (1, Ok(())),
            (3, Err(LinkError::Refused)),
            (4, Err(LinkError::Returned)),
            (5, Err(LinkError::Down)),
        ];
        assert_eq!(look(&mut confirms), expected);
        assert_eq!(confirms.take_all(), [2]);
    }

    #[test]
    fn a_return_given_to_another_confirmation_counts_for_its_own_message() {
        // Confirmed together, in no order: 1 gets what is 3's.
        let (mut confirms, mut senders) = world(3);
        answer(&mut senders, 3, Answer::Accepted);
        answer(&mut senders, 1, Answer::GaveBack(Some(3)));
        let answered = look(&mut confirms);
        assert_eq!(answered[1], (3, Err(LinkError::Returned)));
        assert_eq!(answered[0].1, Err(LinkError::Returned), "it goes again, to be sure");
    }

    #[test]
    fn a_return_is_remembered_until_its_message_is_confirmed() {
        let (mut confirms, mut senders) = world(3);
        answer(&mut senders, 1, Answer::GaveBack(Some(2)));
        assert_eq!(look(&mut confirms).len(), 1);
        answer(&mut senders, 3, Answer::Accepted);
        assert_eq!(look(&mut confirms), [(3, Ok(()))]);
        answer(&mut senders, 2, Answer::Accepted);
        assert_eq!(look(&mut confirms), [(2, Err(LinkError::Returned))]);
    }

    #[test]
    fn what_is_answered_while_others_are_looked_at_is_looked_at_too() {
        // Looking at 2 makes 1 answer, after 1 was looked at.
        let (sender, receiver) = oneshot::channel();
        let mut confirms = Confirms::default();
        let first = async { receiver.await.unwrap_or(Answer::Lost) };
        confirms.push(Instant::now(), 1, Box::pin(first));
        let mut sender = Some(sender);
        let second = std::future::poll_fn(move |_| {
            sender.take().unwrap().send(Answer::GaveBack(Some(2))).unwrap();
            Poll::Ready(Answer::Accepted)
        });
        confirms.push(Instant::now(), 2, Box::pin(second));
        let expected = [(1, Err(LinkError::Returned)), (2, Err(LinkError::Returned))];
        assert_eq!(look(&mut confirms), expected);
    }
}
