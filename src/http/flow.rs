//! What a connection is doing, as far as its time limits need to know.
//!
//! The stream of a connection sees bytes and no calls; what handles a call sees no bytes. Both hold
//! the connection's [`Flow`]: the stream notes when bytes come, the frame when a call begins and
//! ends. So it is known since when a caller has been sending a head, or nothing.

use std::cell::Cell;
use std::rc::Rc;

use actix_web::dev::ServiceRequest;
use tokio::time::Instant;

/// What a connection is doing. Each is used by one thread.
#[derive(Debug, Clone)]
pub struct Flow(Rc<Cell<Phase>>);

/// What a connection is doing, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It is being opened, which has a time limit of its own.
    Opening,
    /// A head is being sent, or is due: it is new.
    Head(Instant),
    /// A call is being answered. Its body has a time limit of its own.
    Call,
    /// A call was answered and nothing has come since.
    Idle(Instant),
}

impl Flow {
    /// A new connection's.
    pub fn new() -> Self {
        Self(Rc::new(Cell::new(Phase::Opening)))
    }

    /// What it is doing.
    pub fn phase(&self) -> Phase {
        self.0.get()
    }

    /// A head is due from now on.
    pub fn head_is_due(&self) {
        self.0.set(Phase::Head(Instant::now()));
    }

    /// Bytes have come.
    pub fn bytes_came(&self) {
        if matches!(self.phase(), Phase::Idle(_)) {
            self.head_is_due();
        }
    }

    /// A call has begun on the connection of a request; it ends when what is returned is dropped.
    pub(super) fn begin(request: &ServiceRequest) -> Option<Running> {
        let flow = request.request().conn_data::<Self>()?.clone();
        flow.0.set(Phase::Call);
        Some(Running(flow))
    }
}

impl Default for Flow {
    fn default() -> Self {
        Self::new()
    }
}

/// A call that is being answered.
pub(super) struct Running(Flow);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.0.set(Phase::Idle(Instant::now()));
    }
}
