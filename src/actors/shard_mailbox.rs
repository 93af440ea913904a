//! A shard's mailbox: the thin skin of actix around its engine.

use std::sync::Arc;

use actix::{Actor, AsyncContext, Context, Handler};

use super::absorb::Absorb;
use super::lane::send;
use super::shard::{Ask, Barrier, Logged, Notify, Observe, Read, ShardEngine, ShardParts};
use super::shard_reads::{ReadHistory, ReadRepeat};

/// A shard's mailbox.
pub struct Shard {
    parts: Option<ShardParts>,
    engine: Option<ShardEngine>,
    mailbox: usize,
}

impl Shard {
    /// A shard whose mailbox holds at most `mailbox` messages.
    pub const fn new(parts: ShardParts, mailbox: usize) -> Self {
        Self { parts: Some(parts), engine: None, mailbox }
    }
}

impl Actor for Shard {
    type Context = Context<Self>;

    #[expect(
        clippy::disallowed_methods,
        reason = "what the log says of an append must arrive; appends are bounded by its queue"
    )]
    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(self.mailbox);
        let address = context.address();
        let notify: Notify = Arc::new(move |outcome| address.do_send(Logged(outcome)));
        self.engine = self.parts.take().map(|parts| ShardEngine::new(parts, notify));
    }
}

/// Declares what a message does with the engine.
macro_rules! handle {
    ($message:ty, |$engine:ident, $it:ident| $body:expr) => {
        impl Handler<$message> for Shard {
            type Result = ();

            fn handle(&mut self, $it: $message, _: &mut Self::Context) {
                if let Some($engine) = &mut self.engine {
                    $body
                }
            }
        }
    };
}

handle!(Ask, |engine, ask| engine.ask(ask));
handle!(Absorb, |engine, absorb| engine.absorb(absorb));
handle!(Logged, |engine, logged| engine.logged(logged.0));
handle!(Read, |engine, read| send(read.reply, engine.read(read.user)));
handle!(ReadHistory, |engine, read| {
    let found = engine.read_history(read.user, read.after, read.limit);
    send(read.reply, found);
});
handle!(ReadRepeat, |engine, read| send(read.reply, engine.read_repeat(&read.repeat)));
handle!(Observe, |engine, observe| drop(observe.0.send(engine.view())));
handle!(Barrier, |_engine, barrier| barrier.0.send(()).unwrap_or_default());
