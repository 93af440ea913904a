//! Slow callers: each kind is bounded in time, all together leave the others alone, and too many
//! connections are told so.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::node::{Company, Node, PATIENCE, pause, wait_for};

#[track_caller]
fn figure(node: &Node, name: &str) -> usize {
    let page = node.operate("GET", "/metrics", None).text;
    page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap()
}

fn cut(node: &Node, reason: &str) -> usize {
    figure(node, &format!(r#"jcas_connections_cut_total{{reason="{reason}"}}"#))
}

/// Reads until the other side closes, and says what it sent.
fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    String::from_utf8(bytes).unwrap()
}

const LIVE: &str = "GET /health/live HTTP/1.1\r\nHost: jcas\r\n\r\n";

/// Reads one answer to [`LIVE`].
fn live(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let mut part = [0; 512];
    while !answer.ends_with(br#"{"status":"live"}"#) {
        let read = stream.read(&mut part).unwrap();
        assert!(read > 0, "closed after {:?}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&part[..read]);
    }
    String::from_utf8(answer).unwrap()
}

/// Sends a byte every now and then, until the other side closes or answers. The number of bytes.
fn dribble(stream: &mut TcpStream) -> usize {
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut sent = 0;
    let started = Instant::now();
    loop {
        assert!(started.elapsed() < PATIENCE, "nothing ended this after {sent} bytes");
        match stream.peek(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            _ => break,
        }
        if stream.write_all(b"x").is_err() {
            break;
        }
        sent += 1;
    }
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    sent
}

#[test]
fn a_head_that_dribbles_is_ended_the_first_and_every_later_one() {
    let node = Node::started(&[("http.client_request_s", "1")]);
    let mut first = node.connect();
    first.write_all(b"GET /").unwrap();
    assert!(dribble(&mut first) > 0);
    assert!(rest(&mut first).starts_with("HTTP/1.1 408 "));
    // A call that was answered buys no time for the next.
    let mut later = node.connect();
    later.write_all(LIVE.as_bytes()).unwrap();
    live(&mut later);
    later.write_all(b"GET /").unwrap();
    assert!(dribble(&mut later) > 0);
    assert_eq!(rest(&mut later), "");
    // Nor does half a head that came together with a whole call.
    let mut both = node.connect();
    both.write_all(format!("{LIVE}GET /").as_bytes()).unwrap();
    live(&mut both);
    assert!(dribble(&mut both) > 0);
    assert_eq!(rest(&mut both), "");
    assert!(cut(&node, "slow_head") >= 2);
}

#[test]
fn half_a_head_after_a_call_and_then_nothing_is_ended() {
    let node = Node::started(&[("http.client_request_s", "1"), ("http.keep_alive_s", "2")]);
    let mut both = node.connect();
    both.write_all(format!("{LIVE}GET /").as_bytes()).unwrap();
    live(&mut both);
    assert_eq!(rest(&mut both), "");
}

/// The head of a login with a body of a length.
fn login_head(shop: &Company, length: usize) -> String {
    format!(
        "POST /v1/login HTTP/1.1\r\nHost: jcas\r\nX-Api-Key: {}\r\nContent-Type: application/json\
         \r\nContent-Length: {length}\r\n\r\n",
        shop.key
    )
}

#[test]
fn a_body_that_dribbles_is_answered_with_408_and_one_that_comes_slowly_is_taken() {
    let rate = ("http.client_body_rate", "10");
    let node = Node::started(&[("http.client_body_s", "1"), rate]);
    let shop = node.company("shop", &["NG"]);
    let mut stream = node.connect();
    stream.write_all(login_head(&shop, 1000).as_bytes()).unwrap();
    let started = Instant::now();
    // Nothing more comes: the grace alone counts.
    let answer = rest(&mut stream);
    assert!(started.elapsed() >= Duration::from_secs(1));
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 408 ") && head.contains("connection: close"), "{head}");
    assert!(head.contains("content-type: application/problem+json"), "{head}");
    let problem: Value = serde_json::from_str(body).unwrap();
    assert_eq!(problem["code"], "request_timeout");
    // 60 bytes at ten a second have six seconds more.
    let body = json!({ "country": "NG", "email": "a@example.com", "password": "no" }).to_string();
    let (most, last) = body.split_at(body.len() - 5);
    let mut stream = node.connect();
    stream.write_all((login_head(&shop, body.len()) + most).as_bytes()).unwrap();
    let begun = Instant::now();
    wait_for("longer than the grace", || (begun.elapsed().as_millis() > 1200).then_some(()));
    stream.write_all(last.as_bytes()).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 401");
}

#[test]
fn a_body_that_is_not_wanted_is_not_waited_for() {
    let node = Node::started(&[("http.client_request_s", "1"), ("http.client_body_s", "300")]);
    let chunked = "POST /v1/login HTTP/1.1\r\nHost: jcas\r\nX-Api-Key: wrong\r\n\
        Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n";
    for head in [
        chunked.to_owned(),
        chunked
            .replace("Transfer-Encoding: chunked\r\n\r\nffff\r\n", "Content-Length: 60000\r\n\r\n"),
    ] {
        let mut stream = node.connect();
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 401", "{head}");
        // The rest of the answer is there; then it is dribbled at.
        wait_for("the end", || {
            let alive = stream.write_all(b"x").is_ok();
            pause();
            (!alive).then_some(())
        });
    }
}

#[test]
fn an_idle_connection_is_closed_and_one_in_use_is_not() {
    let node = Node::started(&[("http.keep_alive_s", "1"), ("http.client_request_s", "2")]);
    let mut idle = node.connect();
    idle.write_all(LIVE.as_bytes()).unwrap();
    live(&mut idle);
    let mut used = node.connect();
    let begun = Instant::now();
    assert_eq!(rest(&mut idle), "");
    while begun.elapsed() < Duration::from_secs(3) {
        used.write_all(LIVE.as_bytes()).unwrap();
        live(&mut used);
        pause();
    }
    assert_eq!((cut(&node, "slow_head"), cut(&node, "unread_answer")), (0, 0));
}

#[test]
fn too_many_connections_are_told_so_and_one_address_may_not_have_all() {
    let bounds = [("http.max_connections", "16"), ("http.max_connections_per_address", "0")];
    let mut node = Node::started(&bounds);
    let fill = |node: &Node, count: usize| -> Vec<TcpStream> {
        let connect = |_| {
            let mut stream = node.connect();
            stream.write_all(LIVE.as_bytes()).unwrap();
            live(&mut stream);
            stream
        };
        (0..count).map(connect).collect()
    };
    let mut all = fill(&node, 16);
    let mut late = node.connect();
    late.write_all(LIVE.as_bytes()).unwrap();
    let answer = rest(&mut late);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("Retry-After: 1"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
    let problem: Value = serde_json::from_str(body).unwrap();
    assert_eq!((&problem["code"], &problem["status"]), (&json!("overloaded"), &json!(503)));
    let refused = r#"jcas_connections_refused_total{reason="full"}"#;
    assert_eq!(figure(&node, refused), 1);
    // Who was let in goes on, and whoever leaves makes room.
    all[0].write_all(LIVE.as_bytes()).unwrap();
    live(&mut all[0]);
    drop(all.pop());
    wait_for("room", || {
        let mut next = node.connect();
        next.write_all(LIVE.as_bytes()).unwrap();
        let mut answer = [0; 12];
        next.read_exact(&mut answer).unwrap();
        (&answer == b"HTTP/1.1 200").then_some(())
    });
    drop(all);
    assert_eq!(node.stop(), 0);
    node.set("http.max_connections_per_address", "3");
    node.start();
    let some = fill(&node, 3);
    let mut late = node.connect();
    assert_eq!(rest(&mut late), "", "a fourth of one address was let in");
    assert_eq!(figure(&node, r#"jcas_connections_refused_total{reason="address"}"#), 1);
    drop(some);
    assert_eq!(node.stop(), 0);
    node.set("http.behind_proxy", "true");
    node.start();
    assert_eq!(fill(&node, 5).len(), 5);
}

#[test]
fn a_stop_does_not_wait_for_idle_or_slow_callers() {
    let mut node = Node::started(&[("http.shutdown_s", "60"), ("http.keep_alive_s", "300")]);
    let mut idle = node.connect();
    idle.write_all(LIVE.as_bytes()).unwrap();
    live(&mut idle);
    let mut slow = node.connect();
    slow.write_all(b"GET /").unwrap();
    let begun = Instant::now();
    assert_eq!(node.stop(), 0);
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

/// What a slow caller is slow at.
#[derive(Clone, Copy, Debug)]
enum Slow {
    Head,
    Body,
    Idle,
    Reading,
}

/// How many slow callers of each kind.
const EACH: usize = 125;

/// Opens slow callers on a thread of their own; each is slow until it is closed. What comes back
/// gets the number of those that are open after a while, and of those that were closed.
fn slow_callers(node: &Node, shop: &Company) -> (Receiver<()>, Receiver<usize>) {
    let (opened, is_open) = channel();
    let (closing, closed) = channel();
    let (address, login) = (node.address().to_owned(), login_head(shop, 60_000));
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, async move {
            let mut running = Vec::new();
            for kind in [Slow::Head, Slow::Body, Slow::Idle, Slow::Reading] {
                for _ in 0..EACH {
                    let stream = tokio::net::TcpStream::connect(&address).await.unwrap();
                    let caller = be_slow(kind, stream, login.clone());
                    running.push(tokio::task::spawn_local(caller));
                }
            }
            opened.send(()).unwrap();
            let mut ended = 0;
            for caller in running {
                caller.await.unwrap();
                ended += 1;
            }
            closing.send(ended).unwrap();
        });
    });
    (is_open, closed)
}

/// Is slow until the other side closes.
async fn be_slow(kind: Slow, stream: tokio::net::TcpStream, login: String) {
    let openapi = "GET /openapi.json HTTP/1.1\r\nHost: jcas\r\n\r\n".repeat(64);
    let begin = match kind {
        Slow::Head => "GET /v1/whoami HTTP/1.1\r\nHost: jcas\r\nX-Slow: ",
        Slow::Body => login.as_str(),
        Slow::Idle => LIVE,
        Slow::Reading => openapi.as_str(),
    };
    send(&stream, begin.as_bytes()).await;
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    loop {
        ticks.tick().await;
        let mut bytes = [0; 256];
        // Whoever does not read its answer learns from what it sends that it was closed.
        let is_open = match kind {
            Slow::Head | Slow::Body => send(&stream, b"x").await && !is_closed(&stream, &mut bytes),
            Slow::Idle => !is_closed(&stream, &mut bytes),
            Slow::Reading => send(&stream, b"x").await,
        };
        if !is_open {
            return;
        }
    }
}

/// Sends what finds room. False when the other side has closed.
async fn send(stream: &tokio::net::TcpStream, bytes: &[u8]) -> bool {
    let sending = stream.writable();
    if tokio::time::timeout(Duration::from_millis(50), sending).await.is_err() {
        return true;
    }
    !matches!(stream.try_write(bytes), Err(error) if error.kind() != ErrorKind::WouldBlock)
}

fn is_closed(stream: &tokio::net::TcpStream, bytes: &mut [u8]) -> bool {
    match stream.try_read(bytes) {
        Ok(read) => read == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

/// The time of the 99th of a hundred look-ups, over four connections, all answered.
fn p99(node: &Node, shop: &Company) -> Duration {
    let body = r#"{"email":"a@example.com"}"#;
    let call = format!(
        "POST /v1/users/lookup HTTP/1.1\r\nHost: jcas\r\nX-Api-Key: {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        shop.key,
        body.len()
    );
    let mut took: Vec<Duration> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut stream = node.connect();
                    (0..250).map(|_| timed_call(&mut stream, &call)).collect::<Vec<_>>()
                })
            })
            .collect();
        running.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
    });
    took.sort();
    took[took.len() * 99 / 100]
}

fn timed_call(stream: &mut TcpStream, call: &str) -> Duration {
    let began = Instant::now();
    stream.write_all(call.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let mut part = [0; 2048];
    while !answer.ends_with(b"}") {
        let read = stream.read(&mut part).unwrap();
        assert!(read > 0, "closed after {:?}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&part[..read]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    began.elapsed()
}

#[test]
fn five_hundred_slow_callers_leave_the_others_alone_and_are_gone_after_their_time() {
    let limits = ["http.client_request_s", "http.client_body_s", "http.answer_stall_s"];
    let mut settings: Vec<_> = limits.into_iter().map(|limit| (limit, "6")).collect();
    settings.extend([("http.keep_alive_s", "6"), ("http.client_body_rate", "1000000")]);
    let node = Node::started(&settings);
    let shop = node.company("shop", &["NG"]);
    shop.register(json!({ "country": "NG", "email": "a@example.com" }));
    let quiet = p99(&node, &shop);
    let (is_open, closed) = slow_callers(&node, &shop);
    is_open.recv_timeout(PATIENCE).unwrap();
    let are_open = |node: &Node| figure(node, "jcas_connections") >= 4 * EACH;
    wait_for("all to be let in", || are_open(&node).then_some(()));
    let beside_slow = p99(&node, &shop);
    assert!(are_open(&node), "some were closed while the others were measured");
    let quiet = quiet.max({
        assert_eq!(closed.recv_timeout(PATIENCE).unwrap(), 4 * EACH);
        p99(&node, &shop)
    });
    println!("p99 {quiet:?} quiet, {beside_slow:?} beside {} slow callers", 4 * EACH);
    assert!(beside_slow <= 3 * quiet + Duration::from_millis(50), "{beside_slow:?}, {quiet:?}");
    assert_eq!(cut(&node, "unread_answer"), EACH);
    wait_for("every connection to end", || (figure(&node, "jcas_connections") <= 1).then_some(()));
}
