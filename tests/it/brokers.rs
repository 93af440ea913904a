//! RabbitMQ for tests: private brokers as children of the test program, and a proxy that can cut
//! the connections through it.
//!
//! A broker takes seconds to start, so most tests share two of them under names of their own; those
//! that hurt a broker have both for themselves. A watcher ends what a broker started when the test
//! program ends, however that happens.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::certificates::Certificates;
use crate::node::{files_below, pause};

/// Where the distribution keeps the broker's own programs.
const PROGRAMS: &str = "/usr/lib/rabbitmq/bin";

/// Longest wait for a broker's start: it takes some seconds, and a minute where many tests begin.
const START_LIMIT: Duration = Duration::from_mins(4);

/// Who may log in at every broker here.
pub const USER: &str = "tester";

/// That user's password.
pub const PASSWORD: &str = "geheim-am-broker";

/// Ends the broker and its port mapper when nobody holds the other end of its input any more.
const WATCHER: &str = "read _; kill -KILL \"$(cat \"$HOME/running\")\"; \
                       for _ in 1 2 3 4 5; do epmd -kill && break; sleep 0.2; done; \
                       exec rm -rf \"$HOME\" \"$CERTIFICATES\"";

/// One private broker.
pub struct RabbitMq {
    folder: TempDir,
    name: String,
    port: u16,
    tls_port: u16,
    dist_port: u16,
    epmd_port: u16,
    running: Option<Child>,
    certificates: Certificates,
    _watched: ChildStdin,
}

/// A port that is free now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl RabbitMq {
    /// A broker that takes connections.
    pub fn start() -> Self {
        assert!(
            Path::new(PROGRAMS).exists(),
            "RabbitMQ is missing: apt-get install rabbitmq-server"
        );
        let folder = tempfile::tempdir().unwrap();
        let epmd_port = free_port();
        let certificates = Certificates::new();
        let mut watcher = Command::new("sh");
        watcher.args(["-c", WATCHER]).env("HOME", folder.path());
        watcher.env("CERTIFICATES", certificates.path(""));
        watcher.env("ERL_EPMD_PORT", epmd_port.to_string()).process_group(0);
        watcher.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut broker = Self {
            name: format!("rabbit-{}@localhost", free_port()),
            port: free_port(),
            tls_port: free_port(),
            dist_port: free_port(),
            epmd_port,
            running: None,
            certificates,
            _watched: watcher.spawn().unwrap().stdin.take().unwrap(),
            folder,
        };
        broker.configure();
        broker.begin();
        broker.wait_until_ready();
        broker
    }

    fn configure(&self) {
        let Self { port, tls_port, certificates, .. } = self;
        let at = |name| certificates.path(name).display().to_string();
        let (ca, cert, key) = (at("ca.pem"), at("cert.pem"), at("key.pem"));
        let text = format!(
            "listeners.tcp.1 = 127.0.0.1:{port}\nlisteners.ssl.1 = 127.0.0.1:{tls_port}\n\
             ssl_options.cacertfile = {ca}\nssl_options.certfile = {cert}\n\
             ssl_options.keyfile = {key}\ndefault_user = {USER}\ndefault_pass = {PASSWORD}\n\
             disk_free_limit.absolute = 50MB\n"
        );
        fs::write(self.folder.path().join("rabbitmq.conf"), text).unwrap();
    }

    fn command(&self, program: &str) -> Command {
        let at = |name: &str| self.folder.path().join(name);
        let mut command = Command::new(Path::new(PROGRAMS).join(program));
        command.env_clear();
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{PROGRAMS}:{path}"));
        command.env("HOME", self.folder.path()).env("LANG", "C.UTF-8");
        command.env("RABBITMQ_NODENAME", &self.name);
        command.env("RABBITMQ_DIST_PORT", self.dist_port.to_string());
        command.env("RABBITMQ_CONFIG_FILE", at("rabbitmq.conf"));
        command.env("RABBITMQ_MNESIA_BASE", at("mnesia")).env("RABBITMQ_LOG_BASE", at("log"));
        command.env("RABBITMQ_ENABLED_PLUGINS_FILE", at("enabled_plugins"));
        command.env("RABBITMQ_PID_FILE", at("pid"));
        command.env("ERL_EPMD_PORT", self.epmd_port.to_string());
        command.env("ERL_EPMD_ADDRESS", "127.0.0.1");
        command
    }

    /// Starts its process; it takes connections some seconds later.
    pub fn begin(&mut self) {
        assert!(self.running.is_none(), "it runs already");
        let said = self.folder.path().join("output");
        let output = File::options().create(true).append(true).open(said).unwrap();
        let mut command = self.command("rabbitmq-server");
        // Then its script becomes the broker, whose process can be stopped and killed itself.
        command.env("RUNNING_UNDER_SYSTEMD", "true");
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        let child = command.spawn().unwrap();
        fs::write(self.folder.path().join("running"), child.id().to_string()).unwrap();
        self.running = Some(child);
    }

    /// Waits until it takes connections.
    pub fn wait_until_ready(&mut self) {
        let began = Instant::now();
        while !self.speaks() {
            let ended = self.running.as_mut().unwrap().try_wait().unwrap();
            let said = || fs::read_to_string(self.folder.path().join("output")).unwrap();
            assert!(ended.is_none(), "the broker ended: {}", said());
            assert!(began.elapsed() < START_LIMIT, "the broker does not start: {}", said());
            pause();
        }
    }

    /// Whether it answers at all, which it does not before it is ready.
    fn speaks(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let mut first = [0];
        stream.write_all(b"AMQP\0\0\x09\x01").is_ok() && stream.read_exact(&mut first).is_ok()
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("amqp://127.0.0.1:{}", self.port)
    }

    /// Its address with TLS.
    pub fn tls_url(&self) -> String {
        format!("amqps://localhost:{}", self.tls_port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Who signed its certificate, and others.
    pub fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// Whether its disk knows that a quorum queue is there. Killed before, it starts without a
    /// leader for that queue (seen with 3.10), and whatever is bound to it is never confirmed.
    pub fn has_on_disk(&self, queue: &str) -> bool {
        let files = files_below(&self.folder.path().join("mnesia"));
        let mut names = files.iter().filter(|(path, _)| path.ends_with("names.dets"));
        names.any(|(_, bytes)| bytes.windows(queue.len()).any(|part| part == queue.as_bytes()))
    }

    /// Copies what it has on its disk now, queues and all; what goes meanwhile is left out.
    pub fn copy_files(&self, to: &Path) {
        let from = self.folder.path().join("mnesia");
        for (path, bytes) in files_below(&from) {
            let there = to.join(path.strip_prefix(&from).unwrap());
            fs::create_dir_all(there.parent().unwrap()).unwrap();
            fs::write(there, bytes).unwrap();
        }
    }

    /// Ends it as an operator does.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        self.running.take().unwrap().wait().unwrap();
    }

    /// Kills it where it stands.
    pub fn kill(&mut self) {
        let mut child = self.running.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// It stands still: its connections stay and nothing comes by them.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// It goes on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let child = self.running.as_ref().unwrap();
        kill_process(Pid::from_child(child), signal).unwrap();
    }

    /// It is short of memory, it says, or no longer.
    pub fn alarm(&self, on: bool) {
        self.ctl(&["set_vm_memory_high_watermark", if on { "0" } else { "0.4" }]);
    }

    /// It is short of room on the disk, it says, or no longer.
    pub fn disk_alarm(&self, on: bool) {
        self.ctl(&["set_disk_free_limit", if on { "1000000GB" } else { "1MB" }]);
    }

    /// Runs its control program; what it said.
    pub fn ctl(&self, arguments: &[&str]) -> String {
        let said = self.try_ctl(arguments);
        assert!(said.is_ok(), "rabbitmqctl {arguments:?}: {said:?}");
        said.unwrap()
    }

    /// The same, for what a broker that has just started may refuse: what it said, or its refusal.
    pub fn try_ctl(&self, arguments: &[&str]) -> Result<String, String> {
        let output = self.command("rabbitmqctl").arg("-q").args(arguments).output().unwrap();
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout).unwrap());
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        if let Some(child) = &mut self.running {
            let _gone = child.kill();
            let _gone = child.wait();
        }
        // The watcher does the rest.
    }
}

/// Two brokers that tests share.
pub type Two = [RabbitMq; 2];

fn two() -> &'static RwLock<Two> {
    static TWO: OnceLock<RwLock<Two>> = OnceLock::new();
    TWO.get_or_init(|| {
        let other = std::thread::spawn(RabbitMq::start);
        RwLock::new([RabbitMq::start(), other.join().unwrap()])
    })
}

/// The two, for tests that leave them as they are. Names of nodes have to differ between tests.
pub fn shared() -> RwLockReadGuard<'static, Two> {
    two().read().unwrap_or_else(PoisonError::into_inner)
}

/// The two, for a test that hurts them and heals them again.
pub fn alone() -> RwLockWriteGuard<'static, Two> {
    two().write().unwrap_or_else(PoisonError::into_inner)
}

/// A way to a port that can be cut.
pub struct Proxy {
    port: u16,
    shared: Arc<ProxyShared>,
}

struct ProxyShared {
    open: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// A proxy to a port of this machine.
    pub fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared =
            Arc::new(ProxyShared { open: AtomicBool::new(true), streams: Mutex::default() });
        let kept = Arc::clone(&shared);
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(("127.0.0.1", target)) else { continue };
                kept.join(&near, &far);
            }
        });
        Self { port, shared }
    }

    /// Where to connect.
    pub fn url(&self) -> String {
        format!("amqp://127.0.0.1:{}", self.port())
    }

    /// Its port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Ends every connection; with `open` new ones are taken again at once, else they end too.
    pub fn cut(&self, open: bool) {
        self.shared.open.store(open, Ordering::SeqCst);
        for stream in self.shared.streams.lock().unwrap().drain(..) {
            let _closed = stream.shutdown(Shutdown::Both);
        }
    }

    /// New connections are taken again.
    pub fn mend(&self) {
        self.shared.open.store(true, Ordering::SeqCst);
    }
}

impl ProxyShared {
    /// Carries bytes both ways until one side ends.
    fn join(&self, near: &TcpStream, far: &TcpStream) {
        let mut streams = self.streams.lock().unwrap();
        if !self.open.load(Ordering::SeqCst) {
            return;
        }
        for (from, to) in [(near, far), (far, near)] {
            let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            streams.push(from.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ended = std::io::copy(&mut from, &mut to);
                let _closed = to.shutdown(Shutdown::Both);
            });
        }
    }
}
