//! The connection that publishes to one broker, and goes on doing so for as long as the link lives.
//!
//! Whatever ends a connection, the parcels it had are routed on at once, to another broker or back
//! to their sender; none waits for this one to come back.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation, Event};
use tokio::sync::mpsc;

use crate::events::ids::NodeName;
use crate::replication::link::LinkError;
use crate::replication::topology::{self, Topology};

use super::backoff::Backoff;
use super::broker::{Broker, Session, limited};
use super::confirms::{Answer, Answering, Confirms};
use super::declare::declare;
use super::router::{Letter, Parcel, Router};
use super::status::{Side, Status};
use super::trouble::Trouble;

/// Kept by the broker on disk.
const PERSISTENT: u8 = 2;

/// Gone when the broker is.
const TRANSIENT: u8 = 1;

/// The outgoing half of a way.
pub(super) struct Out {
    pub(super) broker: Broker,
    pub(super) own: NodeName,
    pub(super) topology: Arc<Topology>,
    pub(super) status: Arc<Status>,
    pub(super) router: Arc<Router>,
    /// How long the broker may take to confirm.
    pub(super) confirm_limit: Duration,
    /// How long events may wait in a queue.
    pub(super) keep: Duration,
    pub(super) queues: OutQueues,
}

/// What waits for the broker.
pub(super) struct OutQueues {
    pub(super) parcels: mpsc::UnboundedReceiver<Parcel>,
    pub(super) letters: mpsc::Receiver<Letter>,
}

/// A connection that is ready to publish.
struct Opened {
    session: Session,
    /// With confirms.
    channel: Channel,
    /// Without.
    direct: Channel,
}

/// A letter on its way to the socket.
type Writing = Pin<Box<dyn Future<Output = Result<(), Trouble>> + Send>>;

impl Out {
    /// Runs until the link is shut.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::default();
        loop {
            let opening = open(&self.broker, &self.topology);
            let opened = route_on_while(opening, &mut self.queues, &self.router).await;
            let (trouble, is_silent) = match opened {
                Ok(opened) => {
                    backoff.connected();
                    self.publish_by(opened, &mut backoff).await
                }
                Err(trouble) => {
                    self.status.lost(Side::Out, &trouble);
                    (trouble, false)
                }
            };
            if matches!(trouble, Trouble::Shut) {
                return;
            }
            let wait = if is_silent { backoff.next_after_silence() } else { backoff.next() };
            route_on_while(tokio::time::sleep(wait), &mut self.queues, &self.router).await;
        }
    }

    /// Publishes by a connection for as long as it lasts. Says what ended it, and whether the
    /// broker took messages and never confirmed one.
    async fn publish_by(&mut self, opened: Opened, backoff: &mut Backoff) -> (Trouble, bool) {
        self.status.connected(Side::Out);
        let mut confirms = Confirms::default();
        let trouble = self.serve(&opened, &mut confirms).await;
        // Closed first: what is routed on does not come back here.
        self.status.lost(Side::Out, &trouble);
        if confirms.any_accepted() {
            backoff.confirmed();
        }
        let is_late = |since: Instant| since.elapsed() >= self.confirm_limit;
        let is_silent = !confirms.any_accepted() && confirms.oldest().is_some_and(is_late);
        let error = told(&trouble);
        for parcel in confirms.take_all() {
            self.router.route(parcel.refused(error));
        }
        (trouble, is_silent)
    }

    /// Publishes until something is wrong.
    async fn serve(&mut self, opened: &Opened, confirms: &mut Confirms<Parcel>) -> Trouble {
        let Some(connection) = opened.session.connection() else { return Trouble::Shut };
        let mut events = Box::pin(connection.events_listener());
        let mut writing: Option<Writing> = None;
        let mut blocked = false;
        loop {
            let late = confirms.oldest().map(|since| since + self.confirm_limit);
            tokio::select! {
                answered = std::future::poll_fn(|context| confirms.poll_answered(context)) => {
                    if let Err(trouble) = self.settle(answered) {
                        return trouble;
                    }
                }
                parcel = self.queues.parcels.recv() => match parcel {
                    Some(parcel) if blocked => {
                        self.router.route(parcel.refused(LinkError::Blocked));
                    }
                    Some(parcel) => {
                        let answering = self.publish(&opened.channel, &parcel, confirms);
                        confirms.push(Instant::now(), parcel, answering);
                    }
                    None => return Trouble::Shut,
                },
                letter = self.queues.letters.recv(), if writing.is_none() => match letter {
                    Some(letter) => writing = Some(self.write(&opened.direct, letter)),
                    None => return Trouble::Shut,
                },
                written = async { writing.as_mut()?.await.err() }, if writing.is_some() => {
                    writing = None;
                    // What is blocked is not broken.
                    if let Some(trouble) = written && !blocked {
                        return trouble;
                    }
                }
                event = events.next() => match event {
                    Some(Event::ConnectionBlocked(_)) => {
                        blocked = true;
                        self.status.blocked(true);
                        for parcel in confirms.take_all() {
                            self.router.route(parcel.refused(LinkError::Blocked));
                        }
                    }
                    Some(Event::ConnectionUnblocked) => {
                        blocked = false;
                        self.status.blocked(false);
                    }
                    Some(Event::Error(error)) => return Trouble::Closed(error),
                    Some(_) => {}
                    None => return Trouble::Ended,
                },
                () = until(late), if late.is_some() => return Trouble::Slow("confirm a message"),
            }
        }
    }

    /// Tells senders what became of their parcels, or routes these on.
    fn settle(&self, answered: Vec<(Parcel, Result<(), LinkError>)>) -> Result<(), Trouble> {
        let mut trouble = None;
        for (parcel, answer) in answered {
            match answer {
                Ok(()) => {
                    self.status.sent.fetch_add(1, Ordering::Relaxed);
                    parcel.accepted();
                }
                Err(error) => {
                    match error {
                        LinkError::Returned => trouble = Some(Trouble::QueueGone),
                        LinkError::Down => trouble = trouble.or(Some(Trouble::Ended)),
                        _ => {}
                    }
                    self.router.route(parcel.refused(error));
                }
            }
        }
        trouble.map_or(Ok(()), Err)
    }

    /// Publishes a parcel when it is looked at for the first time, which happens in order.
    fn publish(
        &self,
        channel: &Channel,
        parcel: &Parcel,
        confirms: &Confirms<Parcel>,
    ) -> Answering {
        let properties = self.properties(PERSISTENT);
        let properties = properties.with_message_id(confirms.next_number().to_string().into());
        let properties = properties.with_expiration(self.keep.as_millis().to_string().into());
        let options = BasicPublishOptions { mandatory: true, immediate: false };
        let exchange = topology::events_exchange(self.own.region);
        let key = topology::key(self.own);
        let (channel, bytes) = (channel.clone(), parcel.bytes.clone());
        Box::pin(async move {
            let published = channel
                .basic_publish(exchange.into(), key.into(), options, &bytes, properties)
                .await;
            let Ok(confirm) = published else { return Answer::Lost };
            match confirm.await {
                Ok(Confirmation::Ack(None)) => Answer::Accepted,
                Ok(Confirmation::Ack(Some(back)) | Confirmation::Nack(Some(back))) => {
                    let id = back.delivery.properties.message_id().as_ref();
                    Answer::GaveBack(id.and_then(|id| id.as_str().parse().ok()))
                }
                Ok(Confirmation::Nack(None)) => Answer::Refused,
                Ok(Confirmation::NotRequested) | Err(_) => Answer::Lost,
            }
        })
    }

    /// Writes a letter; nobody confirms it.
    fn write(&self, channel: &Channel, letter: Letter) -> Writing {
        let properties = self.properties(TRANSIENT);
        let (channel, status) = (channel.clone(), Arc::clone(&self.status));
        Box::pin(async move {
            let call = channel.basic_publish(
                topology::PEERS_EXCHANGE.into(),
                topology::key(letter.to).into(),
                BasicPublishOptions::default(),
                &letter.bytes,
                properties,
            );
            limited("send a message", call).await?;
            status.sent.fetch_add(1, Ordering::Relaxed);
            Ok(())
        })
    }

    fn properties(&self, delivery_mode: u8) -> BasicProperties {
        BasicProperties::default()
            .with_delivery_mode(delivery_mode)
            .with_app_id(self.own.to_string().into())
    }
}

/// Connects, declares, and asks for confirms.
async fn open(broker: &Broker, topology: &Topology) -> Result<Opened, Trouble> {
    let session = broker.connect(Side::Out.as_str()).await?;
    let channel = session.channel().await?;
    declare(&channel, topology).await?;
    limited("ask for confirms", channel.confirm_select(ConfirmSelectOptions::default())).await?;
    let direct = session.channel().await?;
    Ok(Opened { session, channel, direct })
}

/// Waits for something, and meanwhile routes on what was given to this way before it was known to
/// be closed. Letters are dropped: their senders know that this happens.
async fn route_on_while<T>(
    what: impl Future<Output = T>,
    queues: &mut OutQueues,
    router: &Router,
) -> T {
    let mut what = std::pin::pin!(what);
    loop {
        tokio::select! {
            done = &mut what => return done,
            Some(parcel) = queues.parcels.recv() => router.route(parcel.refused(LinkError::Down)),
            Some(_) = queues.letters.recv() => {}
        }
    }
}

/// What a sender is told.
const fn told(trouble: &Trouble) -> LinkError {
    match trouble {
        Trouble::Slow(_) => LinkError::Timeout,
        Trouble::QueueGone => LinkError::Returned,
        _ => LinkError::Down,
    }
}

async fn until(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when.into()).await,
        None => std::future::pending().await,
    }
}
