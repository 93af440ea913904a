//! The built program in a folder of its own, with a company to call it as, and the users that the
//! measurements work on.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use crate::Options;
use crate::drive::{Calls, Drive, Driven, drive};
use crate::http::{Connection, request};

/// Longest wait for a start or a stop.
const PATIENCE: Duration = Duration::from_mins(5);

/// A running node.
pub struct Node {
    child: Child,
    /// Where companies call: `host:port`.
    pub address: String,
    operator: String,
    data: PathBuf,
    /// How long it took from the start of the process until a call was answered.
    pub start: Duration,
}

/// What was made in a data folder: enough to go on with it later.
#[derive(serde::Serialize, serde::Deserialize)]
pub struct Made {
    /// The company's API key.
    pub key: String,
    /// The users' ids, in the order of their numbers.
    pub users: Vec<String>,
}

impl Node {
    /// Starts the program on a data folder and waits until it is ready.
    pub fn start(program: &Path, data: &Path) -> anyhow::Result<Self> {
        Self::start_with(program, data, &[])
    }

    /// As [`Self::start`], with settings by the names of their variables.
    pub fn start_with(
        program: &Path,
        data: &Path,
        settings: &[(&str, String)],
    ) -> anyhow::Result<Self> {
        let output = data.with_extension("output");
        let written = std::fs::File::create(&output)?;
        let began = Instant::now();
        let mut command = Command::new(program);
        command.arg("serve").current_dir(data.parent().context("the folder has no parent")?);
        command.env("NO_COLOR", "1").env("JCAS__NODE__DATA_DIR", data);
        command.env("JCAS__HTTP__LISTEN", "127.0.0.1:0");
        command.env("JCAS__HTTP__OPERATOR_LISTEN", "127.0.0.1:0");
        // What is measured is the program, not how much of it one key may use.
        for limit in ["CALLS_PER_SECOND", "CALLS_BURST", "CLAIMS_PER_SECOND", "CLAIMS_BURST"] {
            command.env(format!("JCAS__LIMITS__{limit}"), "1000000");
        }
        command.envs(settings.iter().map(|(name, value)| (*name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(written);
        let mut child = command.spawn().context("cannot start jcas")?;
        loop {
            let said = std::fs::read_to_string(&output)?;
            let url = |word: &str| {
                let line = said.lines().find_map(|line| line.strip_prefix(word))?;
                line.split_whitespace().next()?.strip_prefix("http://").map(str::to_owned)
            };
            if let (Some(address), Some(operator), true) =
                (url("companies: "), url("operators: "), said.contains("data: "))
            {
                let data = data.to_owned();
                let mut node = Self { child, address, operator, data, start: Duration::ZERO };
                let ready = request("GET", "/health/live", ("Accept", "*/*"), None);
                let (status, answer) = call(&node.address, &ready)?;
                ensure!(status == 200, "the node is not alive: {status} {answer}");
                node.start = began.elapsed();
                return Ok(node);
            }
            if child.try_wait()?.is_some() || began.elapsed() > PATIENCE {
                bail!("the node did not start:\n{said}");
            }
            pause();
        }
    }

    /// Asks it to stop and waits until it has. Returns how long that took.
    pub fn stop(mut self) -> anyhow::Result<Duration> {
        self.ask_to_stop()
    }

    /// The same for a node that another one is put in place of.
    pub fn ask_to_stop(&mut self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        while self.child.try_wait()?.is_none() {
            if began.elapsed() > PATIENCE {
                bail!("the node did not stop");
            }
            pause();
        }
        Ok(began.elapsed())
    }

    /// Kills it.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// What it holds in memory, in bytes: resident now, and the most so far.
    pub fn memory(&self) -> anyhow::Result<(u64, u64)> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kib = |word: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(word))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        let now = kib("VmRSS:").context("no resident size")?;
        Ok((now * 1024, kib("VmHWM:").context("no peak size")? * 1024))
    }

    /// Processor time it has used, in seconds.
    pub fn cpu_seconds(&self) -> anyhow::Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let ticks: Vec<f64> =
            fields.split_whitespace().skip(11).take(2).flat_map(str::parse).collect();
        // Linux counts in hundredths of a second on every machine this runs on.
        Ok(ticks.iter().sum::<f64>() / 100.0)
    }

    /// Calls as the operator.
    pub fn operate(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let token = std::fs::read_to_string(self.data.join("operator-token"))?;
        let bearer = format!("Bearer {}", token.trim());
        let body = body.map(Value::to_string);
        let request = request(method, path, ("Authorization", &bearer), body.as_deref());
        let (status, answer) = call(&self.operator, &request)?;
        if status >= 300 {
            bail!("{method} {path} was answered with {status}: {answer}");
        }
        Ok(answer)
    }

    /// Makes a company that need not sign. Returns its API key.
    pub fn plain_company(&self, id: &str) -> anyhow::Result<String> {
        let body = json!({ "countries": ["NG", "GH"], "signing": "optional" });
        self.operate("PUT", &format!("/operator/companies/{id}"), Some(&body))?;
        self.key_of(id, &["login", "read", "write"])
    }

    /// Issues an API key of a company that is there.
    pub fn key_of(&self, id: &str, scopes: &[&str]) -> anyhow::Result<String> {
        let body = json!({ "scopes": scopes });
        let keys = format!("/operator/companies/{id}/keys");
        text(&self.operate("POST", &keys, Some(&body))?, "api_key").context("no API key")
    }

    /// Makes a company whose old hashes, of two countries, are salted SHA-256. Returns its API key.
    pub fn company(&self, id: &str) -> anyhow::Result<String> {
        let key = self.plain_company(id)?;
        let profile = json!({
            "scheme": "digest", "digest": "sha256", "encoding": "hex",
            "salt_position": "prefix", "salt_encoding": "utf8", "rounds": 1,
        });
        for country in ["NG", "GH"] {
            let path = format!("/operator/companies/{id}/hash-profiles/{country}/default");
            self.operate("PUT", &path, Some(&profile))?;
        }
        Ok(key)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // After `stop` or `kill` there is nobody left to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A moment between two looks at a condition.
#[expect(clippy::disallowed_methods, reason = "the one place where a measurement lets time pass")]
pub fn pause() {
    std::thread::sleep(Duration::from_millis(2));
}

/// One call on a connection of its own.
fn call(address: &str, request: &[u8]) -> anyhow::Result<(u16, Value)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut connection = Connection::open(address).await?;
        let reply = connection.send(request).await?;
        Ok((reply.status, serde_json::from_slice(reply.body).unwrap_or(Value::Null)))
    })
}

/// A data folder with so many users, made by registering each over HTTP, and the node that was
/// started on it. With `keep`, what an earlier run made is used again.
pub fn with_users(options: &Options, users: usize) -> anyhow::Result<(Node, Made)> {
    made_with(
        options,
        users,
        &[],
        |node, key| Ok(register(node, key, 0, users, options.clients)?.1),
    )
}

/// The same with users of another making, by a node with these settings.
pub fn made_with(
    options: &Options,
    users: usize,
    settings: &[(&str, String)],
    register: impl FnOnce(&Node, &str) -> anyhow::Result<Vec<String>>,
) -> anyhow::Result<(Node, Made)> {
    let data = options.data(users);
    let list = data.with_extension("json");
    if options.keep
        && let Ok(text) = std::fs::read_to_string(&list)
    {
        let node = Node::start_with(&options.program, &data, settings)?;
        return Ok((node, serde_json::from_str(&text)?));
    }
    if data.exists() {
        std::fs::remove_dir_all(&data)?;
    }
    std::fs::create_dir_all(&options.folder)?;
    let node = Node::start_with(&options.program, &data, settings)?;
    let key = node.company("bench")?;
    eprintln!("registering {users} users");
    let began = Instant::now();
    let registered = register(&node, &key)?;
    #[expect(clippy::cast_precision_loss, reason = "users are far below 2^52")]
    let rate = registered.len() as f64 / began.elapsed().as_secs_f64();
    eprintln!("registered {users} users: {rate:.0} a second");
    let made = Made { key, users: registered };
    std::fs::write(&list, serde_json::to_string(&made)?)?;
    Ok((node, made))
}

fn text(object: &Value, name: &str) -> Option<String> {
    object.get(name)?.as_str().map(str::to_owned)
}

/// The e-mail address of the user with a number.
pub fn email(number: u64) -> String {
    format!("user{number}@bench.example.com")
}

/// Registers users with the numbers from `first` on, each with an e-mail address, a phone number,
/// three profile fields and a salted hash of its old password: no bcrypt is computed. Returns
/// their ids.
pub fn register(
    node: &Node,
    key: &str,
    first: u64,
    users: usize,
    clients: usize,
) -> anyhow::Result<(Driven, Vec<String>)> {
    let body = move |number: u64| {
        let number = first + number;
        json!({
            "country": "NG",
            "email": email(number),
            "phone": format!("+23480{:08}", number % 100_000_000),
            "legacy_hash": { "hash": format!("{number:064x}"), "salt": format!("{number:016x}") },
            "profile": {
                "given_name": format!("Given {number}"),
                "family_name": format!("Family {number}"),
                "birthdate": "1990-01-01",
            },
        })
    };
    register_as(node, key, body, users, clients)
}

/// Registers users with these bodies, by their numbers from 0 on. Returns their ids.
pub fn register_as(
    node: &Node,
    key: &str,
    body: impl Fn(u64) -> Value + 'static,
    users: usize,
    clients: usize,
) -> anyhow::Result<(Driven, Vec<String>)> {
    let header = key.to_owned();
    let make = move |number: u64| {
        let body = body(number).to_string();
        request("POST", "/v1/users", ("X-Api-Key", &header), Some(&body))
    };
    let ids = Rc::new(RefCell::new(vec![String::new(); users]));
    let kept = Rc::clone(&ids);
    let took = move |number: u64, body: &[u8]| {
        let user: Value = serde_json::from_slice(body).unwrap_or_default();
        let id = text(&user, "user_id").unwrap_or_default();
        let at = usize::try_from(number).unwrap_or(usize::MAX);
        if let Some(place) = kept.borrow_mut().get_mut(at) {
            *place = id;
        }
    };
    let calls = Calls { make: Box::new(make), took: Box::new(took) };
    let (address, lasting) = (node.address.as_str(), Duration::from_hours(1));
    let limit = u64::try_from(users)?;
    let all = Drive { address, clients, lasting, rate: None, status: 201, refusal: None, limit };
    let driven = drive(&all, calls)?;
    let ids = Rc::into_inner(ids).context("a client is still running")?.into_inner();
    if ids.iter().any(String::is_empty) {
        bail!("a registration was answered without an id");
    }
    Ok((driven, ids))
}
