//! A node as its users run it: the built binary in a folder and on ports of its own.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// Longest wait for anything a node does. Nothing takes nearly as long; a test that waits this
/// long has failed.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// A node, running or not, and its data.
pub struct Node {
    folder: TempDir,
    settings: Vec<(String, String)>,
    prefix: Vec<String>,
    child: Option<Child>,
    company_url: String,
    operator_url: String,
}

/// What was answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body; null where it is none or no JSON.
    pub body: Value,
    /// The body as it came.
    pub text: String,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Answer {
    /// The problem's code.
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// Asserts status and code.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) -> &Self {
        assert_eq!((self.status, self.code()), (status, code), "answered: {}", self.text);
        self
    }

    /// Asserts the status of what was done.
    #[track_caller]
    pub fn done(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "answered: {}", self.text);
        self
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl Node {
    /// A node with these settings (`section.key`, value), not started. Hashing is cheap unless the
    /// settings say otherwise.
    pub fn new(settings: &[(&str, &str)]) -> Self {
        let mut all = vec![
            ("http.listen".to_owned(), "127.0.0.1:0".to_owned()),
            ("http.operator_listen".to_owned(), "127.0.0.1:0".to_owned()),
            ("hash.bcrypt_cost".to_owned(), "4".to_owned()),
            ("hash.failure_quantum_ms".to_owned(), "20".to_owned()),
            // How full the disk of the machine is, is not what these tests are about.
            ("log.warn_percent".to_owned(), "99".to_owned()),
            ("log.stop_percent".to_owned(), "100".to_owned()),
            // Nor is how often somebody guesses: what is about that sets it.
            ("guessing.free_failures".to_owned(), "50".to_owned()),
        ];
        all.extend(settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        let (company_url, operator_url) = (String::new(), String::new());
        let folder = tempfile::tempdir().unwrap();
        Self { folder, settings: all, prefix: Vec::new(), child: None, company_url, operator_url }
    }

    /// A node with these settings, started.
    pub fn started(settings: &[(&str, &str)]) -> Self {
        let mut node = Self::new(settings);
        node.start();
        node
    }

    /// Runs the binary through another program (`faketime -f -1h`).
    pub fn through(&mut self, program: &[&str]) {
        self.prefix = program.iter().map(|word| (*word).to_owned()).collect();
    }

    /// Changes a setting for the next start.
    pub fn set(&mut self, key: &str, value: &str) {
        self.settings.push((key.to_owned(), value.to_owned()));
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("jcas-data")
    }

    /// The id of the deployment that the node is of.
    pub fn deployment_id(&self) -> String {
        self.described("id")
    }

    /// That deployment as errors name it.
    pub fn named(&self) -> String {
        format!("{} ({})", self.described("name"), self.deployment_id())
    }

    fn described(&self, member: &str) -> String {
        let text = std::fs::read_to_string(self.data().join("deployment.json")).unwrap();
        let description: Value = serde_json::from_str(&text).unwrap();
        description["deployment"][member].as_str().unwrap().to_owned()
    }

    /// What the node wrote to standard error, over all its lives.
    pub fn output(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("output")).unwrap_or_default()
    }

    /// The binary with the node's settings, to run a subcommand in its folder.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let binary = env!("CARGO_BIN_EXE_jcas");
        let mut command = match self.prefix.split_first() {
            Some((program, rest)) => {
                let mut command = Command::new(program);
                command.args(rest).arg(binary);
                command
            }
            None => Command::new(binary),
        };
        command.args(arguments).current_dir(self.folder.path());
        for (key, value) in &self.settings {
            let name = format!("JCAS__{}", key.to_uppercase().replace('.', "__"));
            command.env(name, value);
        }
        if !self.operator_url.is_empty() {
            let listen = self.operator_url.trim_start_matches("http://");
            command.env("JCAS__HTTP__OPERATOR_LISTEN", listen);
        }
        command.env("JCAS_URL", &self.company_url);
        command
    }

    /// Runs a subcommand and returns its exit code, standard output and standard error.
    pub fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }

    /// Starts the node and waits until it is ready.
    pub fn start(&mut self) {
        assert!(self.try_start(), "the node did not start:\n{}", self.output());
    }

    /// Starts the node. False: it ended instead of getting ready.
    pub fn try_start(&mut self) -> bool {
        let before = self.output().len();
        let path = self.folder.path().join("output");
        let log = File::options().append(true).create(true).open(path).unwrap();
        self.operator_url.clear();
        let mut command = self.command(&["serve"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().unwrap());
        let started = Instant::now();
        loop {
            let output = self.output();
            let fresh = output.get(before..).unwrap_or_default();
            if let Some(urls) = announced(fresh) {
                (self.company_url, self.operator_url) = urls;
                return true;
            }
            if self.child.as_mut().unwrap().try_wait().unwrap().is_some() {
                self.child = None;
                return false;
            }
            assert!(started.elapsed() < PATIENCE, "neither ready nor ended:\n{output}");
            pause();
        }
    }

    /// The id of its process.
    pub fn process(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Kills the node as a power cut would, as far as a process can be.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Asks the node to stop and waits for it. Returns the exit code.
    pub fn stop(&mut self) -> i32 {
        let Some(mut child) = self.child.take() else { return 0 };
        let id = child.id().to_string();
        Command::new("kill").args(["-TERM", &id]).status().unwrap();
        wait_for("the node to stop", || child.try_wait().unwrap()).code().unwrap_or(-1)
    }

    /// Waits for the node to end by itself. Returns the exit code.
    pub fn ended(&mut self) -> i32 {
        let mut child = self.child.take().unwrap();
        wait_for("the node to end", || child.try_wait().unwrap()).code().unwrap_or(-1)
    }

    /// Where companies call.
    pub fn url(&self) -> &str {
        &self.company_url
    }

    /// Where the socket is.
    pub fn address(&self) -> &str {
        self.company_url.split("://").last().unwrap()
    }

    /// A connection to the company listener, for raw bytes.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// An operator's call.
    pub fn operate(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let token = std::fs::read_to_string(self.data().join("operator-token")).unwrap();
        let bearer = format!("Bearer {}", token.trim());
        let url = format!("{}{path}", self.operator_url);
        let body = body.map(Value::to_string);
        send(method, &url, &[("Authorization", &bearer)], body.as_deref())
    }

    /// The state hash and the number of users, as the running node says.
    pub fn state_hash(&self) -> (String, u64) {
        let answer = self.operate("GET", "/operator/state", None);
        answer.done(200);
        let hash = answer.body["state_hash"].as_str().unwrap().to_owned();
        (hash, answer.body["users"].as_u64().unwrap())
    }

    /// Makes a company that need not sign, with a key of all scopes.
    pub fn company(&self, id: &str, countries: &[&str]) -> Company {
        let body = json!({ "countries": countries, "signing": "optional" });
        self.operate("PUT", &format!("/operator/companies/{id}"), Some(&body)).done(200);
        let scopes = json!({ "scopes": ["login", "read", "write", "sync", "link", "erase"] });
        let issued = self.operate("POST", &format!("/operator/companies/{id}/keys"), Some(&scopes));
        let key = issued.done(201).body["api_key"].as_str().unwrap().to_owned();
        Company { url: self.company_url.clone(), key, id: id.to_owned(), authority: None }
    }

    /// Gives a company all policies.
    pub fn trust(&self, company: &Company) {
        let all = ["read", "password", "profile", "identity", "status", "link", "erase"];
        let mut policies: serde_json::Map<String, Value> =
            all.iter().map(|policy| ((*policy).to_owned(), json!("all"))).collect();
        policies.insert("verifies".to_owned(), json!(true));
        let path = format!("/operator/companies/{}/policies", company.id);
        self.operate("PUT", &path, Some(&Value::Object(policies))).done(200);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- what the node wrote ---\n{}", self.output());
        }
    }
}

/// A company's back end.
#[derive(Debug, Clone)]
pub struct Company {
    /// Where JCAS is.
    pub url: String,
    /// Its API key.
    pub key: String,
    /// Its id.
    pub id: String,
    /// Whom it trusts with https (PEM).
    pub authority: Option<Vec<u8>>,
}

impl Company {
    /// Calls with a JSON body, or none for null.
    pub fn call(&self, method: &str, path: &str, body: Value) -> Answer {
        let body = if body.is_null() { None } else { Some(body.to_string()) };
        self.call_raw(method, path, &[], body.as_deref())
    }

    /// Calls with headers and a body as they are.
    pub fn call_raw(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Answer {
        let mut all = vec![("X-Api-Key", self.key.as_str())];
        all.extend_from_slice(headers);
        let url = format!("{}{path}", self.url);
        send_trusting(self.authority.as_deref(), method, &url, &all, body)
    }

    /// The same company at a node that was started again, maybe on another port.
    pub fn at(&self, node: &Node) -> Self {
        Self { url: node.url().to_owned(), ..self.clone() }
    }

    /// Registers a user and returns its id.
    #[track_caller]
    pub fn register(&self, body: Value) -> String {
        let answer = self.call("POST", "/v1/users", body);
        answer.done(201).body["user_id"].as_str().unwrap().to_owned()
    }

    /// Reads a user.
    #[track_caller]
    pub fn user(&self, id: &str) -> Value {
        self.call("GET", &format!("/v1/users/{id}"), Value::Null).done(200).body.clone()
    }

    /// Logs in by e-mail.
    pub fn login(&self, country: &str, email: &str, password: &str) -> Answer {
        let body = json!({ "country": country, "email": email, "password": password });
        self.call("POST", "/v1/login", body)
    }
}

/// Where companies and operators call, as a node says when it is ready: for people, or in JSON.
fn announced(output: &str) -> Option<(String, String)> {
    let told = output.lines().filter(|line| line.starts_with('{') && line.ends_with('}'));
    let told = told.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    if let Some(ready) = told.into_iter().find(|line| line["message"] == "ready") {
        let url = |name: &str| ready[name].as_str().map(str::to_owned);
        return Some((url("companies")?, url("operators")?));
    }
    let url = |word: &str| {
        let line = output.lines().find_map(|line| line.strip_prefix(word))?;
        line.split_whitespace().next().map(str::to_owned)
    };
    output.contains("data:").then_some((url("companies: ")?, url("operators: ")?))
}

/// Sends a call. A connection that breaks is status 0.
pub fn send(method: &str, url: &str, headers: &[(&str, &str)], body: Option<&str>) -> Answer {
    send_trusting(None, method, url, headers, body)
}

/// As [`send`], over TLS trusting an authority (PEM) where one is given.
pub fn send_trusting(
    authority: Option<&[u8]>,
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: Option<&str>,
) -> Answer {
    let roots = authority.map(|pem| Certificate::from_pem(pem).unwrap());
    let tls = TlsConfig::builder().root_certs(RootCerts::from(roots)).build();
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(PATIENCE))
        .allow_non_standard_methods(true)
        .tls_config(tls)
        .build()
        .into();
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    let typed = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    if body.is_some() && !typed {
        request = request.header("Content-Type", "application/json");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answered = match body {
        Some(body) => agent.run(request.body(body.to_owned()).unwrap()),
        None => agent.run(request.body(()).unwrap()),
    };
    let broken = |error: &dyn std::fmt::Display| {
        let text = format!("no answer: {error}");
        Answer { status: 0, body: Value::Null, text, headers: Vec::new() }
    };
    let mut response = match answered {
        Ok(response) => response,
        Err(error) => return broken(&error),
    };
    let headers = response.headers().iter();
    let headers = headers.map(|(name, value)| {
        (name.as_str().to_owned(), value.to_str().unwrap_or_default().to_owned())
    });
    let headers: Vec<_> = headers.collect();
    let mut text = String::new();
    if let Err(error) = response.body_mut().as_reader().read_to_string(&mut text) {
        return broken(&error);
    }
    let body = serde_json::from_str(&text).unwrap_or(Value::Null);
    Answer { status: response.status().as_u16(), body, text, headers }
}

/// Waits for a condition and returns what it found.
#[track_caller]
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "waited too long for {what}");
        pause();
    }
}

/// A moment between two looks at a condition.
#[expect(clippy::disallowed_methods, reason = "the one place where tests let time pass")]
pub fn pause() {
    std::thread::sleep(Duration::from_millis(5));
}

/// Every file below a folder, with what it holds.
pub fn files_below(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = std::fs::read(&path).unwrap_or_default();
                found.push((path, bytes));
            }
        }
    }
    found.sort();
    found
}

/// Bytes in lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}
