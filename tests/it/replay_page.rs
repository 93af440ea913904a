//! `jcas replay --web` in a real browser.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::browser::Browser;

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/replay").join(name)
}

/// The page of some logs, served until it is dropped.
struct Page {
    child: Child,
    url: String,
}

impl Page {
    fn of(logs: &[PathBuf]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jcas"));
        command.arg("replay").args(logs).args(["--web", "--listen", "127.0.0.1:0"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        url.truncate(url.trim_end().len());
        assert!(url.starts_with("http://127.0.0.1:"), "{url}");
        Self { child, url }
    }

    fn get(&self, path: &str, headers: &[(&str, &str)]) -> crate::node::Answer {
        crate::node::send("GET", &format!("{}{path}", self.url), headers, None)
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The sample's user whose stories docs/replay.md tells: the one with most events.
fn ada(page: &Page) -> String {
    let users = page.get("users.json?q=", &[]);
    users.done(200).body[0]["user"].as_str().unwrap().to_owned()
}

#[test]
fn the_page_shows_a_history_and_a_users_state_at_any_time_of_it() {
    let page = Page::of(&[sample("us.jcas")]);
    let user = ada(&page);
    let mut browser = Browser::start();
    browser.open(&page.url);
    // The chart: something for every kind and origin, and the cut of two hours among the lags.
    assert!(
        browser.value("document.querySelectorAll('#events .bar').length").as_u64().unwrap() > 50
    );
    let kinds = browser.value("document.querySelectorAll('#legend div').length");
    browser.click("#by-origin");
    browser.until("document.querySelectorAll('#legend div').length === 2");
    assert!(kinds.as_u64().unwrap() > 10);
    let late = browser.value("document.getElementById('lag-legend').innerText");
    assert!(
        late.as_str().unwrap().contains("at most 2 h") || late.as_str().unwrap().contains("min"),
        "{late}"
    );
    // Search, then a click on what was found.
    browser.click("#search");
    browser.write(&user[10..]);
    browser.until("document.querySelectorAll('.found button').length === 1");
    browser.click(".found button");
    browser.until("document.querySelectorAll('#timeline li').length > 10");
    assert_eq!(browser.value("document.getElementById('user-id').textContent"), json!(user));
    let last = browser.value("document.querySelectorAll('#timeline li').length - 1");
    assert_eq!(browser.value("Number(document.getElementById('slider').value)"), last);
    let state = |browser: &mut Browser| {
        browser.value("document.getElementById('state').innerText").as_str().unwrap().to_owned()
    };
    let whole = state(&mut browser);
    assert!(whole.contains("profile nickname") && whole.contains("profile city"), "{whole}");
    // The slider goes back by the keyboard: to the beginning.
    browser.value("document.getElementById('slider').focus()");
    browser.press("Home", 36);
    browser.until("document.querySelector('#timeline li').className === 'past now'");
    let first = state(&mut browser);
    assert!(first.contains("key ") && !first.contains("profile"), "{first}");
    // A step forward shows what it adds; a rival write replaces what stood.
    browser.press("ArrowRight", 39);
    browser.until("document.querySelectorAll('#timeline li')[1].className === 'past now'");
    let fresh = "[...document.querySelectorAll('tr.new')].map(it => it.innerText).join()";
    assert!(browser.value(fresh).as_str().unwrap().contains("registration"));
    let rival = "[...document.querySelectorAll('#timeline li')].findIndex(it => \
                 it.innerText.includes('nickname over'))";
    let rival = browser.value(rival).as_u64().unwrap() + 1;
    browser.click(&format!("#timeline li:nth-child({rival})"));
    browser.until("document.querySelectorAll('tr.gone').length === 1");
    assert!(browser.value(fresh).as_str().unwrap().contains("nickname"));
    assert!(browser.value("location.hash").as_str().unwrap().contains("&at="));
    // All of it came from the page's own server, and nothing went wrong in it.
    let mut asked = 0;
    for event in &browser.events {
        if event["method"] == "Network.requestWillBeSent" {
            let url = event["params"]["request"]["url"].as_str().unwrap();
            assert!(url.starts_with(&page.url), "{url}");
            asked += 1;
        }
        let wrong = ["Runtime.exceptionThrown", "Log.entryAdded"];
        assert!(!wrong.iter().any(|it| event["method"] == *it), "{event}");
    }
    assert!(asked >= 4, "{asked} requests");
    if let Some(folder) = std::env::var_os("JCAS_PICTURES") {
        browser.picture(&PathBuf::from(folder).join("replay-user.png"));
    }
}

#[test]
fn an_address_leads_to_a_user_at_a_time() {
    let page = Page::of(&[sample("eu-cut.jcas"), sample("us-cut.jcas")]);
    let user = ada(&page);
    let mut browser = Browser::start();
    browser.open(&format!("{}#user={user}&at=2", page.url));
    assert_eq!(browser.value("document.getElementById('slider').value"), json!("2"));
    assert_eq!(browser.value("document.querySelectorAll('li.past').length"), json!(3));
    if let Some(folder) = std::env::var_os("JCAS_PICTURES") {
        browser.picture(&PathBuf::from(folder).join("replay.png"));
    }
}

#[test]
fn the_page_is_for_this_machine_alone_and_brings_nothing_along() {
    let page = Page::of(&[sample("eu.jcas")]);
    let answer = page.get("", &[]);
    let policy = answer.done(200).header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
    for from_elsewhere in ["https://", "http://", "src=", "@import", "url("] {
        let found = answer.text.replace("http://www.w3.org/2000/svg", "").contains(from_elsewhere);
        assert!(!found, "{from_elsewhere}");
    }
    // A name of somebody else's that leads here is another host.
    let other = page.get("summary.json", &[("Host", "evil.example")]);
    assert_eq!(other.status, 421, "{}", other.text);
    assert_eq!(page.get("user/nobody.json", &[]).status, 404);
    assert_eq!(page.get("../etc/passwd", &[]).status, 404);
    let posted = crate::node::send("POST", &format!("{}summary.json", page.url), &[], Some("{}"));
    assert_eq!(posted.status, 405);
    let mut open = Command::new(env!("CARGO_BIN_EXE_jcas"));
    open.arg("replay").arg(sample("eu.jcas")).args(["--web", "--listen", "0.0.0.0:0"]);
    let said = open.output().unwrap();
    assert!(!said.status.success());
    assert!(String::from_utf8_lossy(&said.stderr).contains("this machine alone"));
}
