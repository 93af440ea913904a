//! A real browser without a window, driven over a pipe as its developer tools drive it.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::node::{PATIENCE, pause};

/// A browser with one page.
pub struct Browser {
    child: Child,
    asks: File,
    answers: BufReader<File>,
    session: String,
    last: u64,
    /// What it told without being asked.
    pub events: Vec<Value>,
    _folder: TempDir,
}

impl Browser {
    /// Starts it. `scripts/test` installs it.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let (asks, answers) = (path("asks"), path("answers"));
        assert!(Command::new("mkfifo").args([&asks, &answers]).status().unwrap().success());
        // It reads what it is asked from its third file and writes answers to its fourth.
        let script = format!(
            "exec chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage \
             --no-first-run --disable-background-networking --window-size=1280,1500 \
             --user-data-dir={} --remote-debugging-pipe about:blank 3<{asks} 4>{answers}",
            path("profile"),
        );
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::null());
        let child =
            shell.stderr(File::create(folder.path().join("said")).unwrap()).spawn().unwrap();
        let asks = File::options().write(true).open(&asks).unwrap();
        let answers = BufReader::new(File::open(&answers).unwrap());
        let (session, events) = (String::new(), Vec::new());
        let mut browser = Self { child, asks, answers, session, last: 0, events, _folder: folder };
        let target = browser.ask("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.ask("Target.attachToTarget", attach);
        attached["sessionId"].as_str().unwrap().clone_into(&mut browser.session);
        for domain in ["Page", "Runtime", "Network", "Log"] {
            browser.ask(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// Asks and waits for the answer.
    pub fn ask(&mut self, method: &str, parameters: Value) -> Value {
        self.last += 1;
        let mut asked = json!({ "id": self.last, "method": method, "params": parameters });
        if !self.session.is_empty() {
            asked["sessionId"] = json!(self.session);
        }
        self.asks.write_all(format!("{asked}\0").as_bytes()).unwrap();
        loop {
            let mut bytes = Vec::new();
            self.answers.read_until(0, &mut bytes).unwrap();
            assert_eq!(bytes.pop(), Some(0), "the browser ended");
            let told: Value = serde_json::from_slice(&bytes).unwrap();
            if told["id"] == self.last {
                assert!(told["error"].is_null(), "{method}: {told}");
                return told["result"].clone();
            }
            self.events.push(told);
        }
    }

    /// Goes to a page and waits until its script says that it is ready.
    pub fn open(&mut self, url: &str) {
        self.ask("Page.navigate", json!({ "url": url }));
        self.until("document.body?.dataset.ready === 'true'");
    }

    /// The value of an expression on the page.
    pub fn value(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "returnByValue": true });
        let answer = self.ask("Runtime.evaluate", asked);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression on the page is true.
    pub fn until(&mut self, expression: &str) {
        let started = std::time::Instant::now();
        while self.value(expression) != json!(true) {
            let body = self.value("document.body?.innerText");
            assert!(started.elapsed() < PATIENCE, "{expression}: {body}");
            pause();
        }
    }

    /// Clicks with the mouse into the middle of an element.
    pub fn click(&mut self, selector: &str) {
        let place = format!(
            "(() => {{ const it = document.querySelector({selector:?}); \
             it.scrollIntoView({{ block: 'center' }}); const at = it.getBoundingClientRect(); \
             return [at.x + at.width / 2, at.y + at.height / 2]; }})()"
        );
        let at = self.value(&place);
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({
                "type": kind, "x": at[0], "y": at[1], "button": "left", "clickCount": 1,
            });
            self.ask("Input.dispatchMouseEvent", event);
        }
    }

    /// Types text into what has the focus.
    pub fn write(&mut self, text: &str) {
        self.ask("Input.insertText", json!({ "text": text }));
    }

    /// Presses a key.
    pub fn press(&mut self, key: &str, code: u32) {
        for kind in ["rawKeyDown", "keyUp"] {
            let event =
                json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code });
            self.ask("Input.dispatchKeyEvent", event);
        }
    }

    /// Writes what is to be seen to a file.
    pub fn picture(&mut self, file: &Path) {
        use base64::Engine as _;
        let shot = self.ask("Page.captureScreenshot", json!({ "format": "png" }));
        let data = shot["data"].as_str().unwrap();
        let bytes = base64::engine::general_purpose::STANDARD.decode(data).unwrap();
        std::fs::write(file, bytes).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
