//! The link between nodes over real brokers: what is confirmed arrives, whatever happens to one of
//! the brokers, and time limits hold.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use jcas::events::ids::{NodeName, RegionId};
use jcas::replication::amqp::{AmqpLink, AmqpSettings};
use jcas::replication::link::{Confirm, Delivery, Link as _, LinkError, Way, WayState};
use jcas::replication::topology::events_queue;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use crate::brokers::{self, PASSWORD, Proxy, Two, USER};
use crate::node::{PATIENCE, wait_for};

/// How long a broker may take to confirm where that is not what a test is about: no broker that
/// works takes so long, however busy the machine is.
const NEVER: Duration = Duration::from_secs(30);

/// A deployment of two regions, `a` and `b` with a suffix of its own, and each region's broker.
struct World {
    runtime: Runtime,
    folder: TempDir,
    suffix: u32,
    urls: [String; 2],
}

/// One node's end.
struct End {
    link: AmqpLink,
    incoming: mpsc::Receiver<Delivery>,
}

impl World {
    fn new(urls: [String; 2]) -> Self {
        static SUFFIX: AtomicU32 = AtomicU32::new(0);
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_all().build().unwrap();
        let suffix = SUFFIX.fetch_add(1, Ordering::Relaxed);
        let world = Self { runtime, folder: tempfile::tempdir().unwrap(), suffix, urls };
        let lines = ["a", "b"].map(|name| format!("{} {USER} {PASSWORD}\n", world.region(name)));
        fs::write(world.credentials(), lines.concat()).unwrap();
        let mode = fs::Permissions::from_mode(0o600);
        fs::set_permissions(world.credentials(), mode).unwrap();
        world
    }

    fn at(two: &Two) -> Self {
        Self::new([two[0].url(), two[1].url()])
    }

    fn credentials(&self) -> PathBuf {
        self.folder.path().join("brokers")
    }

    fn region(&self, name: &str) -> RegionId {
        format!("{name}{}", self.suffix).parse().unwrap()
    }

    /// `a/1` is node 1 of this world's region a.
    fn node(&self, name: &str) -> NodeName {
        let (region, node) = name.split_once('/').unwrap();
        NodeName { region: self.region(region), node: node.parse().unwrap() }
    }

    fn settings(&self, own: &str, peers: &[&str]) -> AmqpSettings {
        let regions = ["a", "b"].map(|name| self.region(name));
        AmqpSettings {
            own: self.node(own),
            peers: peers.iter().map(|peer| self.node(peer)).collect(),
            brokers: regions.into_iter().zip(self.urls.clone()).collect(),
            credentials_file: self.credentials(),
            ca_file: PathBuf::new(),
            queue_bytes: 64 << 20,
            keep: Duration::from_hours(1),
            prefetch: 100,
            under_way_max: 256,
            confirm_limit: NEVER,
        }
    }

    /// Starts a node's end and waits until it is connected to `brokers` of them.
    fn start(&self, own: &str, peers: &[&str], brokers: usize) -> End {
        self.start_as(&self.settings(own, peers), brokers)
    }

    fn start_as(&self, settings: &AmqpSettings, brokers: usize) -> End {
        let _runtime = self.runtime.enter();
        let (deliveries, incoming) = mpsc::channel(64);
        let link = AmqpLink::start(settings, &deliveries).unwrap();
        let end = End { link, incoming };
        wait_for("connections", || {
            let ways = end.link.ways();
            let connected = ways.iter().filter(|it| it.state == WayState::Connected);
            (connected.count() == brokers).then_some(())
        });
        end
    }

    /// What came of a message, within a time nobody would wait longer for.
    fn outcome(&self, confirm: Confirm) -> Result<(), LinkError> {
        let limited = async { tokio::time::timeout(PATIENCE, confirm).await };
        self.runtime.block_on(limited).unwrap()
    }

    /// Publishes numbered messages one after the other, each of them confirmed.
    fn publish(&self, end: &End, numbers: std::ops::Range<u32>) {
        for number in numbers {
            assert_eq!(self.outcome(end.link.publish(body(number))), Ok(()), "message {number}");
        }
    }

    /// Publishes until a broker accepts messages that accepted only so many before. One that has
    /// just started refuses them until its queues are ready, too.
    fn wait_until_used(&self, end: &End, way: usize, sent: u64) {
        wait_for("the broker to be used again", || {
            self.publish(end, 0..1);
            (end.way(way).sent > sent).then_some(())
        });
    }

    /// The next delivery.
    fn next(&self, end: &mut End) -> Delivery {
        let limited = async { tokio::time::timeout(PATIENCE, end.incoming.recv()).await };
        self.runtime.block_on(limited).unwrap().unwrap()
    }

    /// Takes and acknowledges what comes until all these messages did, and says how many came.
    fn receive(&self, end: &mut End, expected: impl IntoIterator<Item = u32>) -> usize {
        let mut missing: BTreeSet<u32> = expected.into_iter().collect();
        let mut count = 0;
        while !missing.is_empty() {
            let delivery = self.next(end);
            missing.remove(&number(&delivery));
            delivery.receipt.ack();
            count += 1;
        }
        count
    }

    /// Nothing more is there for this node: what is sent now is the next thing it gets.
    fn assert_empty(&self, end: &mut End, other: &End, name: &str) {
        let last = u32::MAX;
        other.link.send(self.node(name), body(last)).unwrap();
        assert_eq!(number(&self.next(end)), last);
    }
}

impl End {
    fn way(&self, position: usize) -> Way {
        self.link.ways().swap_remove(position)
    }

    fn wait_for_state(&self, position: usize, state: WayState) {
        wait_for(&format!("way {position} to be {state:?}"), || {
            (self.way(position).state == state).then_some(())
        });
    }
}

fn body(number: u32) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

fn number(delivery: &Delivery) -> u32 {
    u32::from_be_bytes(delivery.bytes.as_ref().try_into().unwrap())
}

#[test]
fn what_is_published_arrives_once_at_every_other_node() {
    let two = brokers::shared();
    let world = World::at(&two);
    let one = world.start("a/1", &["b/1", "b/2"], 2);
    let mut others =
        [world.start("b/1", &["a/1", "b/2"], 2), world.start("b/2", &["a/1", "b/1"], 2)];
    let confirms: Vec<_> = (0..200).map(|number| one.link.publish(body(number))).collect();
    for confirm in confirms {
        assert_eq!(world.outcome(confirm), Ok(()));
    }
    for other in &mut others {
        let came: Vec<u32> = (0..200)
            .map(|_| {
                let delivery = world.next(other);
                let number = number(&delivery);
                delivery.receipt.ack();
                number
            })
            .collect();
        assert!(came.iter().copied().eq(0..200), "{came:?}");
    }
    // What is for one comes to that one alone, and nothing comes back to who sent it.
    for (other, name) in others.iter_mut().zip(["b/1", "b/2"]) {
        world.assert_empty(other, &one, name);
    }
    let way = one.way(0);
    assert_eq!((way.broker, way.state), (world.region("a"), WayState::Connected));
    assert!(way.sent >= 200 && way.received == 0, "{way:?}");
    let stranger = world.node("b/9");
    assert_eq!(one.link.send(stranger, body(0)), Err(LinkError::UnknownNode));
}

#[test]
fn what_was_not_acknowledged_comes_again_and_nothing_else() {
    let two = brokers::shared();
    let world = World::at(&two);
    let one = world.start("a/1", &["b/1"], 2);
    world.publish(&one, 0..20);
    let mut other = world.start("b/1", &["a/1"], 2);
    let deliveries: Vec<_> = (0..20).map(|_| world.next(&mut other)).collect();
    for delivery in deliveries {
        if !number(&delivery).is_multiple_of(3) {
            delivery.receipt.ack();
        }
    }
    let queue = format!("jcas.events.to.{}.1", world.region("b"));
    wait_for("the acknowledgements to be heard", || {
        let queues = two[0].ctl(&["list_queues", "name", "messages", "--no-table-headers"]);
        queues.lines().any(|line| line == format!("{queue}\t7")).then_some(())
    });
    drop(other);
    let mut other = world.start("b/1", &["a/1"], 2);
    let mut again = BTreeSet::new();
    while again.len() < 7 {
        let delivery = world.next(&mut other);
        again.insert(number(&delivery));
        delivery.receipt.ack();
    }
    assert!(again.iter().all(|number| number.is_multiple_of(3)), "{again:?}");
    world.assert_empty(&mut other, &one, "b/1");
}

#[test]
fn what_no_queue_took_is_never_confirmed() {
    let two = brokers::shared();
    // Both regions at one broker, so that no other one takes it instead.
    let world = World::new([two[0].url(), two[0].url()]);
    let mut settings = world.settings("a/1", &["b/1"]);
    settings.brokers.truncate(1);
    let one = world.start_as(&settings, 1);
    world.publish(&one, 0..5);
    let queue = format!("jcas.events.to.{}.1", world.region("b"));
    two[0].ctl(&["delete_queue", &queue]);
    let confirms: Vec<_> = (5..55).map(|number| (number, one.link.publish(body(number)))).collect();
    let outcomes: Vec<_> =
        confirms.into_iter().map(|(number, confirm)| (number, world.outcome(confirm))).collect();
    let accepted =
        outcomes.iter().filter(|(_, outcome)| outcome.is_ok()).map(|(number, _)| *number);
    let came_back = outcomes.iter().any(|(_, outcome)| *outcome == Err(LinkError::Returned));
    assert!(came_back, "{outcomes:?}");
    // It is declared again, and from then on all is well.
    one.wait_for_state(0, WayState::Connected);
    wait_for("the queue to be there again", || world.outcome(one.link.publish(body(55))).ok());
    world.publish(&one, 56..60);
    let mut other = world.start("b/1", &["a/1"], 2);
    world.receive(&mut other, accepted.chain(55..60));
}

#[test]
fn a_connection_that_is_cut_is_made_anew_and_nothing_confirmed_is_lost() {
    let two = brokers::shared();
    let proxy = Proxy::to(two[0].port());
    let world = World::new([proxy.url(), proxy.url()]);
    let mut settings = world.settings("a/1", &["b/1"]);
    settings.brokers.truncate(1);
    let one = world.start_as(&settings, 1);
    let mut settings = world.settings("b/1", &["a/1"]);
    settings.brokers.truncate(1);
    let mut other = world.start_as(&settings, 1);
    for round in 0..3 {
        let numbers = round * 10..round * 10 + 10;
        world.publish(&one, numbers.clone());
        proxy.cut(false);
        one.wait_for_state(0, WayState::Down);
        assert_eq!(world.outcome(one.link.publish(body(999))), Err(LinkError::Down));
        assert!(one.way(0).trouble.is_some());
        proxy.mend();
        one.wait_for_state(0, WayState::Connected);
        world.receive(&mut other, numbers);
    }
    assert!(one.way(0).connections >= 8, "{:?}", one.way(0));
}

#[test]
fn what_waits_too_long_in_a_queue_is_dropped_by_the_broker() {
    let two = brokers::shared();
    let world = World::at(&two);
    let mut settings = world.settings("a/1", &["b/1"]);
    let queue = events_queue(world.node("b/1"));
    let waiting = |settings: &AmqpSettings, numbers: std::ops::Range<u32>, left: u32| {
        let end = world.start_as(settings, 2);
        world.publish(&end, numbers);
        wait_for("the queue to hold so many", || {
            let queues = two[0].ctl(&["list_queues", "name", "messages", "--no-table-headers"]);
            queues.lines().any(|line| line == format!("{queue}\t{left}")).then_some(())
        });
    };
    settings.keep = Duration::from_millis(50);
    waiting(&settings, 0..10, 0);
    settings.keep = Duration::from_hours(1);
    waiting(&settings, 10..15, 5);
    let mut other = world.start("b/1", &["a/1"], 2);
    world.receive(&mut other, 10..15);
}

#[test]
fn a_queue_with_other_arguments_is_named() {
    let two = brokers::shared();
    let world = World::at(&two);
    drop(world.start("a/1", &["b/1"], 2));
    let mut settings = world.settings("a/1", &["b/1"]);
    settings.queue_bytes += 1;
    let end = world.start_as(&settings, 0);
    let trouble = wait_for("the trouble", || end.way(0).trouble);
    let queue = format!("jcas.events.to.{}.1", world.region("a"));
    assert!(trouble.contains(&queue) && trouble.contains("delete it"), "{trouble}");
}

#[test]
fn over_tls_only_a_broker_that_is_trusted_is_spoken_to() {
    let two = brokers::shared();
    let world = World::new([two[0].tls_url(), two[1].tls_url()]);
    let mut settings = world.settings("a/1", &["b/1"]);
    settings.brokers.truncate(1);
    settings.ca_file = two[1].certificates().path("ca.pem");
    let stranger = world.start_as(&settings, 0);
    let trouble = wait_for("the refusal", || stranger.way(0).trouble);
    assert!(trouble.contains("certificate"), "{trouble}");
    drop(stranger);
    settings.ca_file = two[0].certificates().path("ca.pem");
    let end = world.start_as(&settings, 1);
    world.publish(&end, 0..3);
}

#[test]
fn a_wrong_password_is_told_and_not_shown() {
    let two = brokers::shared();
    let world = World::at(&two);
    let wrong = ["a", "b"].map(|name| format!("{} {USER} falsch-geraten\n", world.region(name)));
    fs::write(world.credentials(), wrong.concat()).unwrap();
    let end = world.start("a/1", &["b/1"], 0);
    let trouble = wait_for("the refusal", || {
        end.way(0).trouble.filter(|trouble| trouble.contains("ACCESS_REFUSED"))
    });
    let shown = format!("{trouble} {:?} {:?}", end.link, world.settings("a/1", &["b/1"]));
    assert!(!shown.contains("falsch") && !shown.contains(PASSWORD), "{shown}");
    // The file is read anew for every connection.
    let right = ["a", "b"].map(|name| format!("{} {USER} {PASSWORD}\n", world.region(name)));
    fs::write(world.credentials(), right.concat()).unwrap();
    end.wait_for_state(0, WayState::Connected);
}

#[test]
fn a_broker_that_is_killed_loses_nothing_it_confirmed_and_is_used_again_when_it_is_back() {
    let mut two = brokers::alone();
    let world = World::at(&two);
    let one = world.start("a/1", &["b/1", "b/2"], 2);
    let mut other = world.start("b/1", &["a/1", "b/2"], 2);
    // Nobody took these from the broker before it was killed: b/2 starts only afterwards.
    world.publish(&one, 0..50);
    for node in ["b/1", "b/2"] {
        let queue = events_queue(world.node(node));
        wait_for("a queue on the disk", || two[0].has_on_disk(&queue).then_some(()));
    }
    let under_way: Vec<_> = (50..100).map(|number| one.link.publish(body(number))).collect();
    two[0].kill();
    for confirm in under_way {
        assert_eq!(world.outcome(confirm), Ok(()), "the other broker takes it");
    }
    world.publish(&one, 100..150);
    world.receive(&mut other, 50..150);
    assert_eq!(one.way(0).state, WayState::Down);
    two[0].begin();
    two[0].wait_until_ready();
    let back = Instant::now();
    one.wait_for_state(0, WayState::Connected);
    assert!(back.elapsed() < Duration::from_secs(30), "after {:?}", back.elapsed());
    let sent = one.way(0).sent;
    world.publish(&one, 150..160);
    world.wait_until_used(&one, 0, sent);
    world.receive(&mut other, 150..160);
    let mut late = world.start("b/2", &["a/1", "b/1"], 2);
    world.receive(&mut late, 0..160);
}

#[test]
fn a_broker_that_stands_still_delays_a_message_by_the_time_limit_and_no_more() {
    let two = brokers::alone();
    let world = World::at(&two);
    let mut settings = world.settings("a/1", &["b/1"]);
    settings.confirm_limit = Duration::from_secs(2);
    let one = world.start_as(&settings, 2);
    let mut other = world.start("b/1", &["a/1"], 2);
    two[0].freeze();
    let began = Instant::now();
    let under_way: Vec<_> = (0..20).map(|number| one.link.publish(body(number))).collect();
    for confirm in under_way {
        assert_eq!(world.outcome(confirm), Ok(()));
    }
    let (least, took) = (settings.confirm_limit, began.elapsed());
    assert!(took >= least && took < least + Duration::from_secs(8), "it took {took:?}");
    // From now on it is known.
    world.publish(&one, 20..40);
    assert!(one.way(0).trouble.unwrap().contains("too long"), "{:?}", one.way(0));
    world.receive(&mut other, 0..40);
    two[0].thaw();
    one.wait_for_state(0, WayState::Connected);
    let sent = one.way(0).sent;
    world.publish(&one, 40..50);
    world.wait_until_used(&one, 0, sent);
    world.receive(&mut other, 40..50);
}

#[test]
fn a_broker_that_is_short_of_memory_is_passed_over_and_still_delivers() {
    let two = brokers::alone();
    let world = World::at(&two);
    let one = world.start("a/1", &["b/1", "b/2"], 2);
    let mut other = world.start("b/1", &["a/1", "b/2"], 2);
    world.publish(&one, 0..20);
    two[0].alarm(true);
    world.publish(&one, 20..40);
    one.wait_for_state(0, WayState::Blocked);
    let began = Instant::now();
    world.publish(&one, 40..60);
    assert!(began.elapsed() < NEVER, "it took {:?}", began.elapsed());
    world.receive(&mut other, 20..60);
    // It has what it took before, and gives it, also to who comes only now.
    let mut late = world.start("b/2", &["a/1", "b/1"], 2);
    world.receive(&mut late, 0..60);
    two[0].alarm(false);
    one.wait_for_state(0, WayState::Connected);
    let sent = one.way(0).sent;
    world.publish(&one, 60..70);
    world.wait_until_used(&one, 0, sent);
    world.receive(&mut other, 60..70);
}

#[test]
fn too_much_at_once_is_refused_at_once_and_a_link_that_was_shut_says_so() {
    let two = brokers::shared();
    let world = World::at(&two);
    let mut settings = world.settings("a/1", &["b/1"]);
    settings.under_way_max = 1;
    let one = world.start_as(&settings, 2);
    let outcomes: Vec<_> = (0..50).map(|number| one.link.publish(body(number))).collect();
    let outcomes: Vec<_> = outcomes.into_iter().map(|confirm| world.outcome(confirm)).collect();
    assert!(outcomes.contains(&Ok(())) && outcomes.contains(&Err(LinkError::Busy)));
    let huge = Bytes::from(vec![0; 17 << 20]);
    assert_eq!(world.outcome(one.link.publish(huge)), Err(LinkError::TooLarge));
    one.link.shut();
    assert_eq!(world.outcome(one.link.publish(body(1))), Err(LinkError::Down));
    assert_eq!(one.link.send(world.node("b/1"), body(1)), Err(LinkError::Down));
}
