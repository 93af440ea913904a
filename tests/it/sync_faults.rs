//! Bulk sync: rows of every kind of wrong, streams that break, nodes that are killed.

use std::io::Write as _;

use serde_json::{Value, json};

use crate::node::{Node, files_below, wait_for};
use crate::signed::{Signer, base64url};
use crate::sync::hash_of;
use crate::syncing::{
    begin, job, lines, over, post, post_bytes, sync_text, synced, verdicts, words,
};

const TARGET: &str = "/v1/sync?country=NG";

#[test]
fn rows_of_every_kind_of_wrong_are_named_by_line_and_the_rest_is_applied() {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let long = json!({ "email": "long@example.com", "profile": { "x": "y".repeat(20 * 1024) } });
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    let fields: Vec<_> = (0..65).map(|number| format!("\"f{number}\":1")).collect();
    let wrong: [(&str, String); 17] = [
        ("invalid malformed_json", "{".to_owned()),
        ("invalid malformed_json", "[\"a@example.com\"]".to_owned()),
        ("invalid malformed_json", "null".to_owned()),
        ("invalid malformed_json", r#"{"email":"a@example.com","email":"b@example.com"}"#.into()),
        ("invalid malformed_json", r#"{"email":"a@example.com","profile":{"x":1,"x":2}}"#.into()),
        (
            "invalid malformed_json",
            format!(r#"{{"email":"a@example.com","profile":{{"x":{deep}}}}}"#),
        ),
        ("invalid unknown_field mail", r#"{"mail":"a@example.com"}"#.to_owned()),
        ("invalid wrong_type email", r#"{"email":1}"#.to_owned()),
        (
            "invalid wrong_type email_verified",
            r#"{"email":"a@example.com","email_verified":1}"#.into(),
        ),
        (
            "invalid wrong_type legacy_hash",
            r#"{"email":"a@example.com","legacy_hash":null}"#.into(),
        ),
        (
            "invalid required legacy_hash.hash",
            r#"{"email":"a@example.com","legacy_hash":{}}"#.into(),
        ),
        ("invalid wrong_type status", r#"{"email":"a@example.com","status":"asleep"}"#.into()),
        ("invalid required email", r#"{"profile":{}}"#.to_owned()),
        ("invalid required email", r#"{"email":null,"phone":null}"#.to_owned()),
        ("invalid invalid_phone phone", r#"{"phone":"12"}"#.to_owned()),
        (
            "invalid too_many profile",
            format!(r#"{{"email":"a@example.com","profile":{{{}}}}}"#, fields.join(",")),
        ),
        ("invalid body_too_large", long.to_string()),
    ];
    let mut text = String::from("\u{feff}{\"email\":\"first@example.com\"}\r\n\r\n  \n");
    for (_, line) in &wrong {
        text.push_str(line);
        text.push_str("\r\n");
    }
    // The last line has no end, and it may be half a line.
    text.push_str(r#"{"email":"last@example.com"}"#);
    let mut expected = vec!["created"];
    expected.extend(wrong.iter().map(|(word, _)| *word));
    expected.push("created");
    assert_eq!(sync_text(&shop, TARGET, &text), expected);
    let half = "{\"email\":\"a@example.com\"}\n{\"email\":\"b@exam";
    assert_eq!(sync_text(&shop, TARGET, half), ["created", "invalid malformed_json"]);
    assert!(sync_text(&shop, TARGET, "").is_empty());
    assert!(sync_text(&shop, TARGET, "\n\n\n").is_empty());
}

#[test]
fn bytes_that_are_no_text_are_named_and_gzip_is_taken() {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let mut latin1 =
        b"{\"email\":\"a@example.com\",\"profile\":{\"given_name\":\"Jos\xe9\"}}\n".to_vec();
    latin1.extend_from_slice(
        "{\"email\":\"b@example.com\",\"profile\":{\"n\":\"José\"}}\n".as_bytes(),
    );
    let answer = post_bytes(&node, &shop, "", &latin1);
    let id = answer.done(202).body["job_id"].as_str().unwrap().to_owned();
    over(&shop, &id);
    assert_eq!(words(&verdicts(&shop, &id)), ["invalid invalid_encoding", "created"]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    for number in 0..3000 {
        writeln!(gzip, "{{\"email\":\"z{number}@example.com\"}}").unwrap();
    }
    let gzip = gzip.finish().unwrap();
    let coding = "Content-Encoding: gzip\r\n";
    let answer = post_bytes(&node, &shop, coding, &gzip);
    let id = answer.done(202).body["job_id"].as_str().unwrap().to_owned();
    assert_eq!(over(&shop, &id)["created"], 3000);
    let cut = post_bytes(&node, &shop, coding, &gzip[..gzip.len() - 9]);
    cut.refused(400, "malformed_json");
    post_bytes(&node, &shop, coding, b"no gzip").refused(400, "malformed_json");
    let other = post_bytes(&node, &shop, "Content-Encoding: br\r\n", b"x");
    other.refused(415, "unsupported_media_type");
}

#[test]
fn hostile_hashes_are_refused_by_row() {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let bcrypt = &hash_of("p")[7..];
    let hashes = [
        (format!("$2y$31${bcrypt}"), "hash_cost_out_of_bounds"),
        (format!("$2x$04${bcrypt}"), "unsupported_hash"),
        (
            "$argon2id$v=19$m=4194304,t=3,p=1$c29tZXNhbHQ$RdescudvJCsgt3ub+b4dWRWJTmaaJObG".into(),
            "hash_cost_out_of_bounds",
        ),
        (
            "pbkdf2_sha256$2147483648$salt$6hzqHqHqHqHqHqHqHqHqHqHqHqHqHqHqHqHqHqHqHqE=".into(),
            "hash_cost_out_of_bounds",
        ),
        ("not a hash".into(), "unsupported_hash"),
        (format!("$2y$04${}é", &bcrypt[..51]), "unsupported_hash"),
    ];
    let rows: Vec<_> = hashes
        .iter()
        .enumerate()
        .map(|(number, (hash, _))| {
            json!({ "email": format!("{number}@example.com"), "legacy_hash": { "hash": hash } })
        })
        .collect();
    let expected: Vec<_> =
        hashes.iter().map(|(_, code)| format!("invalid {code} legacy_hash")).collect();
    assert_eq!(synced(&shop, &rows), expected);
    let salted = json!({
        "email": "s@example.com",
        "legacy_hash": { "hash": "5f4dcc3b5aa765d61d8327deb882cf99", "salt": "s".repeat(15_000) },
    });
    assert_eq!(synced(&shop, &[salted]), ["invalid unsupported_hash legacy_hash"]);
    assert_eq!(node.state_hash().1, 0);
}

#[test]
fn a_stream_that_is_cut_off_leaves_nothing() {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let mut stream = begin(&node, &shop, "", 1_000_000);
    stream.write_all(lines(&[json!({ "email": "a@example.com" })]).as_bytes()).unwrap();
    let folder = node.data().join("sync");
    wait_for("the stream to be spooled", || (!files_below(&folder).is_empty()).then_some(()));
    drop(stream);
    wait_for("it to be gone", || files_below(&folder).is_empty().then_some(()));
    assert_eq!(shop.call("GET", "/v1/sync", Value::Null).body["jobs"], json!([]));
    assert_eq!(node.state_hash().1, 0);
}

#[test]
fn a_node_killed_while_a_stream_comes_forgets_the_stream() {
    let mut node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let mut stream = begin(&node, &shop, "", 1_000_000);
    stream.write_all(lines(&[json!({ "email": "a@example.com" })]).as_bytes()).unwrap();
    let folder = node.data().join("sync");
    wait_for("the stream to be spooled", || (!files_below(&folder).is_empty()).then_some(()));
    node.kill();
    node.start();
    let shop = shop.at(&node);
    assert!(files_below(&folder).is_empty(), "it is still there");
    assert_eq!(shop.call("GET", "/v1/sync", Value::Null).body["jobs"], json!([]));
    assert_eq!(node.state_hash().1, 0);
}

#[test]
fn a_job_goes_on_after_every_kill_and_its_verdicts_are_what_they_were() {
    let mut node = Node::started(&[("sync.rows_at_once", "8")]);
    let shop = node.company("shop", &["NG"]);
    let count = 6000;
    let mut rows: Vec<_> = (0..count)
        .map(|number| {
            json!({ "email": format!("{number}@example.com"), "phone": format!("0803{number:07}") })
        })
        .collect();
    rows.push(json!({ "email": "no" }));
    let id = post(&shop, &lines(&rows));
    let done = |job: &Value| {
        ["created", "applied", "unchanged", "invalid"]
            .map(|it| job[it].as_u64().unwrap())
            .iter()
            .sum::<u64>()
    };
    let mut kills = 0;
    for after in [1, 2000, 4000] {
        let shop = shop.at(&node);
        wait_for("some rows", || {
            let users = node.state_hash().1;
            (users > after || done(&job(&shop, &id)) > after).then_some(())
        });
        node.kill();
        kills += 1;
        node.start();
    }
    let shop = shop.at(&node);
    let job = over(&shop, &id);
    assert_eq!(
        (&job["state"], &job["created"], &job["invalid"]),
        (&"done".into(), &count.into(), &1.into()),
        "{job}"
    );
    let verdicts = verdicts(&shop, &id);
    let numbers: Vec<_> = verdicts.iter().map(|row| row["line"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=count + 1).collect::<Vec<_>>(), "after {kills} kills");
    assert_eq!(node.state_hash().1, count);
    let before = node.state_hash();
    let again = synced(&shop, &rows);
    assert!(again[..6000].iter().all(|word| word == "unchanged"));
    assert_eq!(node.state_hash(), before);
}

#[test]
fn a_job_that_is_cancelled_ends_and_keeps_the_verdicts_it_has() {
    let node = Node::started(&[("sync.rows_at_once", "1")]);
    let shop = node.company("shop", &["NG"]);
    let rows: Vec<_> =
        (0..20_000).map(|number| json!({ "email": format!("{number}@example.com") })).collect();
    let id = post(&shop, &lines(&rows));
    let next = post(&shop, &lines(&rows[..1]));
    wait_for("some rows", || (job(&shop, &id)["created"].as_u64() > Some(0)).then_some(()));
    shop.call("DELETE", &format!("/v1/sync/{next}"), Value::Null).done(200);
    assert_eq!(job(&shop, &next)["state"], "cancelled", "it was still in line");
    shop.call("DELETE", &format!("/v1/sync/{id}"), Value::Null).done(200);
    let ended = over(&shop, &id);
    assert_eq!(ended["state"], "cancelled");
    let created = ended["created"].as_u64().unwrap();
    assert!(created > 0 && created < 20_000, "{ended}");
    assert_eq!(verdicts(&shop, &id).len() as u64, created);
    assert_eq!(node.state_hash().1, created);
}

#[test]
fn a_stream_has_its_bounds() {
    let node = Node::started(&[
        ("sync.company_mib", "1"),
        ("sync.total_mib", "2"),
        ("sync.lines_max", "1000"),
        ("sync.company_jobs", "2"),
    ]);
    let shop = node.company("shop", &["NG"]);
    let answer = post_bytes(&node, &shop, "", "\n".repeat(1000).as_bytes());
    answer.refused(413, "body_too_large");
    let line = format!("{}\n", "x".repeat(16_000));
    let answer = post_bytes(&node, &shop, "", line.repeat(100).as_bytes());
    answer.refused(413, "body_too_large");
    for _ in 0..2 {
        over(&shop, &post(&shop, "\n"));
    }
    post_bytes(&node, &shop, "", b"\n").refused(429, "rate_limited");
    let other = node.company("other", &["NG"]);
    post(&other, "\n");
}

#[test]
fn nothing_of_a_row_lies_anywhere_in_clear_while_it_waits_and_after() {
    let mut node = Node::started(&[("sync.rows_at_once", "1")]);
    let shop = node.company("shop", &["NG"]);
    let secret = hash_of("canary password");
    let mut rows: Vec<_> = (0..4000)
        .map(|number| {
            let email = format!("canary{number}@example.com");
            json!({ "ref": format!("canary-ref-{number}"), "email": email })
        })
        .collect();
    rows[3999]["legacy_hash"] = json!({ "hash": secret });
    rows[3999]["profile"] = json!({ "given_name": "Canaria" });
    rows[3999]["phone"] = "08031234567".into();
    rows.push(json!({ "ref": "canary-wrong", "email": "canary wrong" }));
    let id = post(&shop, &lines(&rows));
    let look = |node: &Node, when: &str| {
        for needle in ["canary", "Canaria", &secret, "8031234567"] {
            for (path, bytes) in files_below(&node.data()) {
                let found = bytes.windows(needle.len()).any(|part| part == needle.as_bytes());
                assert!(!found, "{needle} is in {} {when}", path.display());
            }
            assert!(!node.output().contains(needle), "{needle} was written {when}");
        }
    };
    let folder = node.data().join("sync");
    let has = |end: &str| {
        files_below(&folder)
            .iter()
            .any(|(path, bytes)| path.extension().is_some_and(|it| it == end) && !bytes.is_empty())
    };
    wait_for("verdicts beside rows", || (has("rows") && has("verdicts")).then_some(()));
    look(&node, "while the job runs");
    over(&shop, &id);
    assert!(!has("rows"), "the rows are kept");
    look(&node, "after the job");
    node.stop();
    look(&node, "after the node stopped");
}

#[test]
fn a_stream_is_taken_for_what_its_company_signed_and_for_nothing_else() {
    use sha2::Digest as _;
    let node = Node::started(&[]);
    let signer = Signer::hs256(&node, "shop");
    let rows = lines(&[json!({ "email": "a@example.com" })]);
    let send = |digest: Value, sent: &str| {
        let mut claims = signer.claims("POST", TARGET, &Value::Null);
        claims["bdh"] = digest;
        let bearer = format!("Bearer {}", signer.token(&signer.header(), &claims));
        let headers =
            [("Content-Type", "application/x-ndjson"), ("Authorization", bearer.as_str())];
        signer.company.call_raw("POST", TARGET, &headers, Some(sent))
    };
    let digest = |text: &str| json!(base64url(sha2::Sha256::digest(text)));
    send(digest(&rows), &rows.replace("a@", "b@")).refused(400, "body_digest_mismatch");
    send(digest(&rows), &rows[..rows.len() - 1]).refused(400, "body_digest_mismatch");
    send(digest(&rows), "").refused(400, "body_digest_mismatch");
    send(Value::Null, &rows).refused(401, "token_invalid");
    let unsigned = signer.company.call_raw(
        "POST",
        TARGET,
        &[("Content-Type", "application/x-ndjson")],
        Some(&rows),
    );
    unsigned.refused(401, "token_missing");
    assert_eq!(signer.call("GET", "/v1/sync", Value::Null).body["jobs"], json!([]));
    assert!(files_below(&node.data().join("sync")).is_empty(), "something is left");
    assert_eq!(node.state_hash().1, 0);
    let id = send(digest(&rows), &rows).done(202).body["job_id"].as_str().unwrap().to_owned();
    wait_for("the job", || {
        let job = signer.call("GET", &format!("/v1/sync/{id}"), Value::Null);
        (job.body["created"] == 1 && job.body["state"] == "done").then_some(())
    });
}

/// How many rows a big file has: a million in a long campaign.
fn big() -> usize {
    if std::env::var_os("JCAS_TEST_LONG").is_some() { 1_000_000 } else { 20_000 }
}

#[test]
fn of_a_big_file_with_a_fifth_of_it_bad_every_other_row_is_applied() {
    let (mut node, count) = (Node::started(&[]), big());
    let shop = node.company("shop", &["NG"]);
    let text = lines(&crate::sync_disk::rows(count));
    let (bad, good) = (count / 5, count - count / 5);
    let send = |word: &str| {
        let id = post(&shop, &text);
        let deadline = std::time::Instant::now() + std::time::Duration::from_mins(30);
        let done = loop {
            let job = job(&shop, &id);
            if job["state"] == "done" || std::time::Instant::now() > deadline {
                break job;
            }
            crate::node::pause();
        };
        assert_eq!((&done[word], &done["invalid"]), (&json!(good), &json!(bad)), "{done}");
        id
    };
    let id = send("created");
    for row in verdicts(&shop, &id) {
        let number = row["line"].as_u64().unwrap() - 1;
        assert_eq!(row["ref"], json!(number.to_string()));
        if number % 5 == 4 {
            let expected = (&json!("invalid"), &json!("invalid_email"), &json!("email"));
            assert_eq!((&row["verdict"], &row["code"], &row["field"]), expected);
        } else {
            assert_eq!(row["verdict"], "created");
        }
    }
    assert_eq!(node.state_hash().1, good as u64);
    send("unchanged");
    assert_eq!(node.state_hash().1, good as u64);
    assert_eq!(node.stop(), 0);
}
