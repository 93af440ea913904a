//! The outgoing cursor: how far the log was read, sent and accepted. Pure: it counts, others act.
//!
//! ```text
//!   log   ----accepted----+------sent, waiting------+-----not read yet----> durable end
//!                      cursor                      read
//! ```
//!
//! The cursor moves on only behind what was accepted without a gap. What fails takes everything
//! behind the cursor back: it is read and sent again, and receivers drop what they have.

use std::collections::VecDeque;

use crate::events::record::LogPosition;

/// Names one message on its way.
pub type Ticket = u64;

/// How far a node's events have gone out.
#[derive(Debug, Clone)]
pub struct Relay {
    cursor: LogPosition,
    read: LogPosition,
    waiting: VecDeque<Waiting>,
    next: Ticket,
    window: usize,
}

#[derive(Debug, Clone)]
struct Waiting {
    ticket: Ticket,
    end: LogPosition,
    accepted: bool,
}

impl Relay {
    /// A relay that goes on at `cursor`, with at most `window` messages on their way.
    pub fn new(cursor: LogPosition, window: usize) -> Self {
        Self { cursor, read: cursor, waiting: VecDeque::new(), next: 0, window: window.max(1) }
    }

    /// Everything before was accepted, or is of no concern: to be kept over a restart.
    pub const fn cursor(&self) -> LogPosition {
        self.cursor
    }

    /// Where to read on.
    pub const fn read(&self) -> LogPosition {
        self.read
    }

    /// How many messages are on their way.
    pub fn on_the_way(&self) -> usize {
        self.waiting.len()
    }

    /// Whether another message may be sent.
    pub fn has_room(&self) -> bool {
        self.waiting.len() < self.window
    }

    /// Nothing up to `position` was to be sent.
    pub fn passed(&mut self, position: LogPosition) {
        self.read = self.read.max(position);
        if self.waiting.is_empty() {
            self.cursor = self.read;
        }
    }

    /// A message with everything up to `end` is on its way.
    pub fn sent(&mut self, end: LogPosition) -> Ticket {
        self.next += 1;
        self.read = self.read.max(end);
        self.waiting.push_back(Waiting { ticket: self.next, end, accepted: false });
        self.next
    }

    /// A message was accepted.
    pub fn accepted(&mut self, ticket: Ticket) {
        if let Some(waiting) = self.waiting.iter_mut().find(|it| it.ticket == ticket) {
            waiting.accepted = true;
        }
        while let Some(first) = self.waiting.pop_front_if(|first| first.accepted) {
            self.cursor = first.end;
        }
        if self.waiting.is_empty() {
            self.cursor = self.read;
        }
    }

    /// A message was not accepted, or nobody knows: everything behind the cursor goes again. Says
    /// whether that is news: of several that fail together the first one counts.
    pub fn failed(&mut self, ticket: Ticket) -> bool {
        let known = self.waiting.iter().any(|it| it.ticket == ticket);
        if known {
            self.waiting.clear();
            self.read = self.cursor;
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u32) -> LogPosition {
        LogPosition::new(1, offset)
    }

    #[test]
    fn the_cursor_waits_for_the_first_that_is_not_accepted() {
        let mut relay = Relay::new(at(0), 3);
        let tickets = [10, 20, 30].map(|end| relay.sent(at(end)));
        assert!(!relay.has_room());
        relay.accepted(tickets[1]);
        assert_eq!((relay.cursor(), relay.read()), (at(0), at(30)));
        relay.accepted(tickets[0]);
        assert_eq!(relay.cursor(), at(20));
        relay.accepted(tickets[2]);
        assert_eq!((relay.cursor(), relay.on_the_way()), (at(30), 0));
    }

    #[test]
    fn what_fails_takes_everything_behind_the_cursor_back() {
        let mut relay = Relay::new(at(0), 8);
        let tickets = [10, 20, 30].map(|end| relay.sent(at(end)));
        relay.accepted(tickets[0]);
        assert!(relay.failed(tickets[1]));
        assert!(!relay.failed(tickets[2]));
        assert_eq!((relay.cursor(), relay.read()), (at(10), at(10)));
        relay.accepted(tickets[2]);
        assert_eq!(relay.cursor(), at(10), "it goes again, whatever becomes of the first time");
    }

    #[test]
    fn what_is_of_no_concern_moves_the_cursor_only_when_nothing_waits() {
        let mut relay = Relay::new(at(0), 8);
        relay.passed(at(5));
        assert_eq!(relay.cursor(), at(5));
        let ticket = relay.sent(at(10));
        relay.passed(at(15));
        assert_eq!((relay.cursor(), relay.read()), (at(5), at(15)));
        relay.accepted(ticket);
        assert_eq!(relay.cursor(), at(15));
    }
}
