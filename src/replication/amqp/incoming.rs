//! The connection that consumes from one broker, and goes on doing so for as long as the link
//! lives.
//!
//! The broker keeps what is not acknowledged and delivers it again by the next connection. It sends
//! no more than the prefetch ahead, so that nothing here grows when the inbox is slow.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Event};
use tokio::sync::mpsc;

use crate::events::ids::NodeName;
use crate::replication::link::{Delivery, Receipt};
use crate::replication::topology::{self, Topology};

use super::backoff::Backoff;
use super::broker::{Broker, Session, limited};
use super::declare::declare;
use super::router::Router;
use super::status::{Side, Status};
use super::tags::Tags;
use super::trouble::Trouble;

/// How often the length of the own queue is asked for.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Acknowledgements that are looked at together.
const ACKS_AT_ONCE: usize = 1024;

/// The incoming half of a way.
pub(super) struct Incoming {
    pub(super) broker: Broker,
    pub(super) own: NodeName,
    /// Its number among the ways.
    pub(super) way: usize,
    pub(super) topology: Arc<Topology>,
    pub(super) status: Arc<Status>,
    pub(super) router: Arc<Router>,
    pub(super) prefetch: u16,
    pub(super) deliveries: mpsc::Sender<Delivery>,
}

/// What a consumer yields; nothing when its queue is gone.
type Arrivals = Pin<Box<dyn Stream<Item = Option<lapin::Result<Arrived>>> + Send>>;

type Arrived = lapin::message::Delivery;

/// A connection that is ready to consume.
struct Opened {
    session: Session,
    channel: Channel,
    arrivals: Arrivals,
}

impl Incoming {
    /// Runs until the link is shut.
    pub(super) async fn run(self) {
        let mut backoff = Backoff::default();
        loop {
            let trouble = match self.open().await {
                Ok(mut opened) => {
                    backoff.connected();
                    self.status.connected(Side::In);
                    self.serve(&mut opened).await
                }
                Err(trouble) => trouble,
            };
            self.status.lost(Side::In, &trouble);
            if matches!(trouble, Trouble::Shut) {
                return;
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    async fn open(&self) -> Result<Opened, Trouble> {
        let session = self.broker.connect(Side::In.as_str()).await?;
        let channel = session.channel().await?;
        declare(&channel, &self.topology).await?;
        let each = BasicQosOptions { global: false };
        limited("set the prefetch", channel.basic_qos(self.prefetch, each)).await?;
        let events = consume(&channel, &topology::events_queue(self.own)).await?;
        let peers = consume(&channel, &topology::peer_queue(self.own)).await?;
        let arrivals = Box::pin(stream::select(events, peers));
        Ok(Opened { session, channel, arrivals })
    }

    /// Hands on what comes until something is wrong.
    async fn serve(&self, opened: &mut Opened) -> Trouble {
        let Opened { session, channel, arrivals } = opened;
        let Some(connection) = session.connection() else { return Trouble::Shut };
        let mut events = Box::pin(connection.events_listener());
        let (ack, mut acks) = mpsc::unbounded_channel();
        let mut done = Vec::with_capacity(ACKS_AT_ONCE);
        let mut tags = Tags::default();
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let arrival = async {
                // Nothing is taken from the broker before there is room for it.
                let room = self.deliveries.reserve().await;
                (room, arrivals.next().await)
            };
            tokio::select! {
                (room, arrived) = arrival => {
                    let Ok(room) = room else { return Trouble::Shut };
                    match arrived {
                        Some(Some(Ok(arrived))) => {
                            tags.handed(arrived.delivery_tag);
                            room.send(self.delivery(arrived, &ack));
                        }
                        Some(Some(Err(error))) => return Trouble::Closed(error),
                        Some(None) | None => return Trouble::QueueGone,
                    }
                }
                _ = acks.recv_many(&mut done, ACKS_AT_ONCE) => {
                    for it in tags.done(&done) {
                        let options = BasicAckOptions { multiple: it.multiple };
                        let call = channel.basic_ack(it.tag, options);
                        if let Err(trouble) = limited("acknowledge", call).await {
                            return trouble;
                        }
                    }
                    done.clear();
                }
                _ = look.tick() => {
                    if let Err(trouble) = self.look(channel).await {
                        return trouble;
                    }
                }
                event = events.next() => match event {
                    Some(Event::Error(error)) => return Trouble::Closed(error),
                    Some(_) => {}
                    None => return Trouble::Ended,
                },
            }
        }
    }

    /// What is handed on of an arrival.
    fn delivery(&self, arrived: Arrived, ack: &mpsc::UnboundedSender<u64>) -> Delivery {
        self.status.received.fetch_add(1, Ordering::Relaxed);
        let from = arrived.properties.app_id().as_ref().map(|name| name.as_str().parse());
        if let Some(Ok(from)) = from {
            self.router.heard(from, self.way);
        }
        let (ack, tag) = (ack.clone(), arrived.delivery_tag);
        // After the connection it is of no use: the delivery comes again.
        let receipt = Receipt::new(move || {
            let _too_late = ack.send(tag);
        });
        Delivery { bytes: Bytes::from(arrived.data), receipt }
    }

    /// Asks how much waits for this node.
    async fn look(&self, channel: &Channel) -> Result<(), Trouble> {
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let name = topology::events_queue(self.own);
        let call = channel.queue_declare(name.into(), options, FieldTable::default());
        let queue = limited("look at a queue", call).await?;
        self.status.waiting(queue.message_count().into());
        Ok(())
    }
}

/// What comes by a queue, and a last item when nothing more does.
async fn consume(
    channel: &Channel,
    queue: &str,
) -> Result<impl Stream<Item = Option<lapin::Result<Arrived>>> + use<>, Trouble> {
    let call = channel.basic_consume(
        queue.into(),
        "".into(),
        BasicConsumeOptions::default(),
        FieldTable::default(),
    );
    let consumer = limited("consume", call).await?;
    Ok(consumer.map(Some).chain(stream::iter([None])))
}
