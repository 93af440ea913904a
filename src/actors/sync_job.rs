//! A bulk sync under way: the actor that carries its work, away from those who answer calls.
//!
//! All jobs live on one thread of their own, and have others to share their work out to. These
//! threads ask the system to come after all others. What a job does is its work's; the actor begins
//! it, passes on that it is to end, and says how far it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix::{
    Actor, ActorContext as _, ActorFutureExt as _, Addr, Arbiter, ArbiterHandle, AsyncContext as _,
    Context, Handler, Message, WrapFuture as _,
};
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::sync::oneshot;

/// Messages that may wait at a job: nobody sends it many.
const MAILBOX: usize = 16;

/// How much the thread of jobs comes after others, as `nice` has it.
const NICENESS: i32 = 10;

/// Tells a job to end after what it has begun.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Cancel;

/// Asks for a snapshot.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Observe(pub oneshot::Sender<Value>);

/// What a job is made of.
pub struct JobParts {
    /// What it does, to its end.
    pub work: BoxFuture<'static, ()>,
    /// Says to the work that it is to end.
    pub cancelled: Arc<AtomicBool>,
    /// Says how far the work is.
    pub view: Box<dyn Fn() -> Value + Send>,
}

/// A job's mailbox.
pub struct SyncJob {
    work: Option<BoxFuture<'static, ()>>,
    cancelled: Arc<AtomicBool>,
    view: Box<dyn Fn() -> Value + Send>,
}

impl Actor for SyncJob {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(MAILBOX);
        if let Some(work) = self.work.take() {
            context.spawn(work.into_actor(self).map(|(), _, context| context.stop()));
        }
    }
}

impl Handler<Cancel> for SyncJob {
    type Result = ();

    fn handle(&mut self, _: Cancel, _: &mut Self::Context) {
        self.cancelled.store(true, Ordering::Relaxed);
    }
}

impl Handler<Observe> for SyncJob {
    type Result = ();

    fn handle(&mut self, observe: Observe, _: &mut Self::Context) {
        drop(observe.0.send((self.view)()));
    }
}

/// Where jobs live.
#[derive(Clone)]
pub struct JobHome {
    /// Where they live themselves.
    first: ArbiterHandle,
    /// All that share their work.
    threads: Arc<[ArbiterHandle]>,
}

/// A job under way.
#[derive(Clone)]
pub struct JobAddress(Addr<SyncJob>);

impl JobHome {
    /// The threads of these arbiters, which come after others from now on. Jobs live on the first.
    pub fn new(first: &Arbiter, others: &[Arbiter]) -> Self {
        let all = std::iter::once(first).chain(others);
        let threads = all.map(|arbiter| {
            arbiter.spawn_fn(|| {
                if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
                    tracing::warn!(%error, "bulk syncs do not come after other work");
                }
            });
            arbiter.handle()
        });
        Self { first: first.handle(), threads: threads.collect() }
    }

    /// How many threads share the work of jobs.
    pub fn threads(&self) -> usize {
        self.threads.len()
    }

    /// Begins a job.
    pub fn start(&self, parts: JobParts) -> JobAddress {
        let JobParts { work, cancelled, view } = parts;
        let job = SyncJob { work: Some(work), cancelled, view };
        JobAddress(SyncJob::start_in_arbiter(&self.first, |_| job))
    }

    /// Does a job's shares of work at once, on a thread each, and comes back with what they came
    /// to. None where the threads are ending.
    pub async fn spread<T: Send + 'static>(
        &self,
        shares: Vec<BoxFuture<'static, T>>,
    ) -> Option<Vec<T>> {
        let mut answers = Vec::with_capacity(shares.len());
        for (share, thread) in shares.into_iter().zip(self.threads.iter().cycle()) {
            let (reply, answer) = oneshot::channel();
            // Whoever asked may be gone; then nobody wants to know.
            thread.spawn(async move { drop(reply.send(share.await)) });
            answers.push(answer);
        }
        futures_util::future::try_join_all(answers).await.ok()
    }
}

impl JobAddress {
    /// Tells the job to end after what it has begun. One that ended already is told nothing.
    pub fn cancel(&self) {
        if let Err(error) = self.0.try_send(Cancel) {
            tracing::debug!(%error, "a job that is to end does not listen");
        }
    }

    /// How far it is; none where it has ended.
    pub async fn observe(&self) -> Option<Value> {
        let (reply, answer) = oneshot::channel();
        self.0.try_send(Observe(reply)).ok()?;
        answer.await.ok()
    }
}
