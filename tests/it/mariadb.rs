//! `MariaDB` for tests: a private server in a folder of its own, reached by a socket in it. A
//! watcher ends it when the test program ends, however that happens.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use tempfile::TempDir;

use crate::node::wait_for;

/// Where the distribution keeps its programs: not all of it is in everybody's PATH.
const PROGRAMS: &str = "/usr/bin:/usr/sbin";

/// Makes an empty data base, starts the server in it, and ends both when its input ends. A server
/// that starts removes the temporary tables of others that it finds.
const SERVER: &str = "\
PATH=$PATH:$PROGRAMS
mkdir \"$HOME/tmp\"
export TMPDIR=\"$HOME/tmp\"
mariadb-install-db --no-defaults $WHO --basedir=/usr --datadir=\"$HOME/data\" --skip-test-db \
    --innodb-log-file-size=4M --auth-root-authentication-method=normal || exit 1
mariadbd --no-defaults $WHO --datadir=\"$HOME/data\" --socket=\"$HOME/socket\" --skip-networking \
    --innodb-log-file-size=4M --pid-file=\"$HOME/pid\" &
read _
kill -KILL $!
wait
exec rm -rf \"$HOME\"";

/// How clients find the server, as `~/.my.cnf`.
const CLIENTS: &str = "[client]\nuser = root\nsocket = ";

/// One private server.
pub struct MariaDb {
    folder: TempDir,
    server: Child,
    watched: Option<ChildStdin>,
}

impl MariaDb {
    /// A server that takes statements. `scripts/test` installs it.
    pub fn start() -> Self {
        // The path of a socket may have 107 bytes, and folders for tests may be far away.
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        let socket = folder.path().join("socket");
        fs::write(folder.path().join(".my.cnf"), format!("{CLIENTS}{}\n", socket.display()))
            .unwrap();
        let output = File::create(folder.path().join("output")).unwrap();
        let who = if rustix::process::geteuid().is_root() { "--user=root" } else { "" };
        let mut shell = Command::new("sh");
        shell.args(["-c", SERVER]).env("HOME", folder.path()).env("WHO", who);
        shell.env("PROGRAMS", PROGRAMS).stdin(Stdio::piped());
        shell.stdout(output.try_clone().unwrap()).stderr(output);
        let mut server = shell.spawn().unwrap();
        let watched = server.stdin.take();
        let mut started = Self { folder, server, watched };
        wait_for("MariaDB to start", || {
            let ended = started.server.try_wait().unwrap();
            let said = || fs::read_to_string(started.home().join("output")).unwrap();
            assert!(ended.is_none(), "MariaDB is missing or does not start: {}", said());
            let mut ask = started.client();
            let asked = ask.args(["--execute", "SELECT 1"]).output().unwrap();
            asked.status.success().then_some(())
        });
        started
    }

    /// The home folder of those who use it.
    pub fn home(&self) -> &Path {
        self.folder.path()
    }

    /// Runs statements from a text in a data base.
    #[track_caller]
    pub fn run(&self, database: &str, statements: &str) {
        let file = self.home().join("statements.sql");
        fs::write(&file, statements).unwrap();
        let mut client = self.client();
        client.arg("--default-character-set=utf8mb4").arg(database);
        let ran = client.stdin(File::open(file).unwrap()).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }

    /// Gives the programs of a folder the names that documents use.
    pub fn name_client(programs: &Path) {
        let known = PROGRAMS.split(':').map(|folder| Path::new(folder).join("mariadb"));
        let client = known.into_iter().find(|path| path.exists()).unwrap();
        symlink(client, programs.join("mysql")).unwrap();
    }

    fn client(&self) -> Command {
        let mut client = Command::new("mariadb");
        client.env("HOME", self.home()).stdin(Stdio::null());
        client
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        drop(self.watched.take());
        drop(self.server.wait());
    }
}
