//! TLS through the built binary: what is spoken, what is refused, and a certificate that changes
//! while connections are open.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::json;

use crate::certificates::{Certificates, TlsConnection};
use crate::node::{Node, PATIENCE, wait_for};

fn started(certificates: &Certificates) -> Node {
    let mut node = Node::new(&[("http.tls.reload_s", "1"), ("metrics.sample_s", "1")]);
    certificates.install(&mut node);
    node.start();
    node
}

/// What a node says of its certificate.
fn check(node: &Node) -> String {
    let report = node.operate("GET", "/health/ready", None);
    let checks = report.body["checks"].as_array().unwrap().clone();
    let check = checks.iter().find(|check| check["name"] == "tls").unwrap();
    check["state"].as_str().unwrap().to_owned()
}

fn figure(node: &Node, name: &str) -> Option<i64> {
    let page = node.operate("GET", "/metrics", None).text;
    page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// Asks whether the node is alive, on an open connection.
fn is_alive(connection: &mut TlsConnection) -> bool {
    connection.write_all(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let mut part = [0; 1024];
    while !answer.ends_with(br#"{"status":"live"}"#) {
        let read = connection.read(&mut part).unwrap();
        assert!(read > 0, "closed after {:?}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&part[..read]);
    }
    answer.starts_with(b"HTTP/1.1 200")
}

#[test]
fn companies_call_over_tls_and_the_command_line_too() {
    let certificates = Certificates::new();
    let node = started(&certificates);
    assert!(node.url().starts_with("https://127.0.0.1:"), "{}", node.url());
    let shop = node.company("shop", &["NG"]);
    let key = [("X-Api-Key", shop.key.as_str())];
    let answer = certificates.get(&format!("{}/v1/whoami", node.url()), &key);
    assert_eq!(answer.done(200).body["company"], "shop");
    let (ca, url) = (certificates.path("ca.pem"), node.url());
    let ca = ca.to_str().unwrap();
    let call = ["call", "GET", "/v1/whoami", "--api-key", &shop.key, "--url", url];
    let (code, said, problem) = node.run(&[&call[..], &["--ca-file", ca]].concat());
    assert_eq!(code, 0, "{problem}");
    assert!(said.contains("shop"), "{said}");
    let (code, _, problem) = node.run(&call);
    assert_eq!(code, 1, "an authority that nobody named was trusted");
    assert!(problem.contains("certificate"), "{problem}");
    assert!(figure(&node, "jcas_tls_files_refused").is_some_and(|it| it == 0));
}

#[test]
fn a_new_certificate_is_shown_to_new_connections_and_open_ones_go_on() {
    let certificates = Certificates::new();
    let node = started(&certificates);
    let (mut open, first) = certificates.connect(node.address()).unwrap();
    assert!(is_alive(&mut open));
    let second = certificates.issue(2098);
    wait_for("the new certificate", || {
        let (_, shown) = certificates.connect(node.address()).unwrap();
        assert!(shown == first || shown == second);
        (shown == second).then_some(())
    });
    assert!(is_alive(&mut open));
    assert_eq!(check(&node), "ok");
    let left = wait_for("the figure", || figure(&node, "jcas_tls_certificate_expires_seconds"));
    assert!(left > 365 * 86400, "{left}");
}

#[test]
fn a_broken_or_expired_certificate_is_not_taken_and_that_is_said() {
    let certificates = Certificates::new();
    let node = started(&certificates);
    let (_, first) = certificates.connect(node.address()).unwrap();
    let is_refused = |what: &str| {
        wait_for(what, || check(&node).contains(what).then_some(()));
        let is_counted = || figure(&node, "jcas_tls_files_refused") == Some(1);
        wait_for("the figure", || is_counted().then_some(()));
        let (_, shown) = certificates.connect(node.address()).unwrap();
        assert!(shown == first, "another certificate is shown after: {what}");
        assert_eq!(node.operate("GET", "/health/ready", None).body["status"], "degraded");
    };
    certificates.write("cert.pem", "-----BEGIN CERTIFICATE-----\nAA", 0o644);
    is_refused("holds no certificate");
    certificates.issue(2021);
    is_refused("has expired");
    let key = std::fs::read_to_string(certificates.path("key.pem")).unwrap();
    certificates.write("key.pem", &key, 0o644);
    is_refused("is open to others");
    let last = certificates.issue(2097);
    wait_for("the right one", || (check(&node) == "ok").then_some(()));
    let (_, shown) = certificates.connect(node.address()).unwrap();
    assert!(shown == last);
    let said = node.output();
    for reason in ["holds no certificate", "has expired", "is open to others"] {
        assert!(said.contains(reason), "the log does not say: {reason}");
    }
    assert!(!said.contains("PRIVATE KEY"), "{said}");
}

#[test]
fn a_start_without_a_right_pair_is_refused_by_name() {
    let certificates = Certificates::new();
    let mut node = Node::new(&[]);
    certificates.install(&mut node);
    let key = std::fs::read_to_string(certificates.path("key.pem")).unwrap();
    certificates.write("key.pem", &key, 0o604);
    let refused = |node: &mut Node, why: &str| {
        let (code, _, problem) = node.run(&["check-config"]);
        assert_eq!(code, 1);
        assert!(problem.contains(why), "{problem}");
        assert!(!node.try_start());
        assert!(node.output().contains(why), "{}", node.output());
    };
    refused(&mut node, "is open to others");
    std::fs::remove_file(certificates.path("key.pem")).unwrap();
    refused(&mut node, "cannot read");
    // An expired one is served: what does not check it goes on, and the operator is told.
    certificates.issue(2021);
    let (code, _, problem) = node.run(&["check-config"]);
    assert_eq!(code, 1);
    assert!(problem.contains("has expired"), "{problem}");
    node.start();
    assert_eq!(check(&node), "expired");
    let refused = certificates.connect(node.address()).err().unwrap();
    assert!(refused.contains("expired") || refused.contains("Expired"), "{refused}");
    certificates.issue(2099);
    node.stop();
    node.start();
    assert_eq!((node.run(&["check-config"]).0, check(&node).as_str()), (0, "ok"));
}

/// Sends bytes and reads to the end.
fn say(address: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

/// A `ClientHello` of a version (3, 3 is TLS 1.2) with cipher suites of TLS 1.0 to 1.2 and the
/// extensions that a server needs: groups, point formats, signature schemes.
fn client_hello(version: [u8; 2]) -> Vec<u8> {
    let suites = [0xc0, 0x13, 0xc0, 0x14, 0xc0, 0x2f, 0xc0, 0x2b, 0x00, 0x2f];
    let extensions = [
        &[0, 10, 0, 6, 0, 4, 0, 29, 0, 23][..],
        &[0, 11, 0, 2, 1, 0],
        &[0, 13, 0, 8, 0, 6, 4, 3, 8, 4, 4, 1],
    ]
    .concat();
    let length = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap().to_be_bytes();
    let mut body = [&version[..], &[7; 32], &[0]].concat();
    body.extend([&length(&suites)[..], &suites, &[1, 0]].concat());
    body.extend([&length(&extensions)[..], &extensions].concat());
    let hello = [&[1, 0][..], &length(&body), &body].concat();
    [&[22, 3, 1][..], &length(&hello), &hello].concat()
}

#[test]
fn versions_before_1_2_are_refused_with_the_alert_that_says_so() {
    let certificates = Certificates::new();
    let node = started(&certificates);
    for old in [[3, 1], [3, 2]] {
        let answer = say(node.address(), &client_hello(old));
        // An alert record: fatal, protocol_version.
        assert_eq!((answer.first(), answer.get(5..7)), (Some(&21), Some(&[2, 70][..])));
    }
    // The same with 1.2 goes on: it is the version that was refused and nothing else.
    let mut stream = TcpStream::connect(node.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&client_hello([3, 3])).unwrap();
    let mut first = [0; 6];
    stream.read_exact(&mut first).unwrap();
    assert_eq!((first[0], first[5]), (22, 2), "no ServerHello came");
}

#[test]
fn plain_http_on_the_tls_port_is_told_so_and_noise_is_dropped() {
    let certificates = Certificates::new();
    let node = started(&certificates);
    let call = "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let answer = String::from_utf8(say(node.address(), call.as_bytes())).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(body.contains("speaks TLS"), "{answer}");
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{answer}");
    let noise = say(node.address(), &[22, 3, 1, 0, 5, 99, 0, 0, 1, 0]);
    assert!(noise.first().is_none_or(|first| *first == 21), "{noise:?}");
    let (mut open, _) = certificates.connect(node.address()).unwrap();
    assert!(is_alive(&mut open));
    let counted = |reason: &str| {
        let name = format!(r#"jcas_connections_refused_total{{reason="{reason}"}}"#);
        figure(&node, &name)
    };
    assert_eq!((counted("plain_http"), counted("handshake")), (Some(1), Some(1)));
}

#[test]
fn a_handshake_that_does_not_go_on_is_ended() {
    let certificates = Certificates::new();
    let mut node = Node::new(&[("http.tls.handshake_s", "1")]);
    certificates.install(&mut node);
    node.start();
    // One says nothing at all, one begins and stops.
    let (silent, begun) = (say(node.address(), &[]), say(node.address(), &[22, 3, 1, 2]));
    assert!(silent.is_empty() && begun.is_empty());
    let name = r#"jcas_connections_refused_total{reason="slow_handshake"}"#;
    assert_eq!(figure(&node, name), Some(2));
    assert_eq!(json!(check(&node)), "ok");
}
