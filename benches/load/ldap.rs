//! slapd, the LDAP server, where it is installed, and as much of LDAP (RFC 4511) as finding somebody by
//! mail and checking a password takes.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use hdrhistogram::Histogram;

use crate::node::pause;

/// Where the distribution keeps its programs.
const SLAPD: &str = "/usr/sbin/slapd";
const SLAPADD: &str = "/usr/sbin/slapadd";

/// Longest wait for its start.
const PATIENCE: Duration = Duration::from_mins(1);

/// The top of its tree.
const SUFFIX: &str = "dc=bench";

/// Who may add people, and the password for that.
const MANAGER_PASSWORD: &str = "only-for-this-run";

fn manager() -> String {
    format!("cn=manager,{SUFFIX}")
}

/// A running server with some people. Ended when dropped.
pub struct Slapd {
    port: u16,
    child: Child,
}

/// What came of many operations.
pub struct Done {
    /// Operations a second.
    pub rate: f64,
    /// How long each took, in microseconds.
    latency: Histogram<u64>,
}

impl Done {
    /// A quantile of the latency, in milliseconds.
    #[expect(clippy::cast_precision_loss, reason = "microseconds are far below 2^52")]
    pub fn ms(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1000.0
    }
}

impl Slapd {
    /// Whether it is installed (`apt-get install slapd`).
    pub fn is_there() -> bool {
        Path::new(SLAPD).exists()
    }

    /// Starts one in a folder, which is emptied, with people of these mail addresses and bcrypt
    /// hashes.
    pub fn start(folder: &Path, people: &[(String, String)]) -> anyhow::Result<Self> {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        let data = folder.join("data");
        fs::create_dir_all(&data)?;
        let config = folder.join("slapd.conf");
        fs::write(&config, settings(folder))?;
        let list = folder.join("people.ldif");
        fs::write(&list, ldif(people))?;
        let mut fill = Command::new(SLAPADD);
        fill.arg("-q").arg("-f").arg(&config).arg("-l").arg(&list);
        ensure!(fill.status()?.success(), "slapadd failed");
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let output = File::create(folder.join("output"))?;
        let child = Command::new(SLAPD)
            .arg("-f")
            .arg(&config)
            .args(["-d", "0", "-h", &format!("ldap://127.0.0.1:{port}")])
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .context("cannot start slapd")?;
        let mut slapd = Self { port, child };
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if slapd.child.try_wait()?.is_some() || began.elapsed() > PATIENCE {
                bail!("slapd did not start; see {}", folder.join("output").display());
            }
            pause();
        }
        Ok(slapd)
    }

    /// Lets so many clients find people by mail, in turn, and with a password check it, too.
    pub fn drive(
        &self,
        clients: usize,
        lasting: Duration,
        people: &[(String, String)],
        password: Option<&str>,
    ) -> anyhow::Result<Done> {
        let step = people.len() / clients.max(1);
        self.each(clients, lasting, &|connection, client, number| {
            let place = (client * step + number) % people.len().max(1);
            let (mail, _) = people.get(place).context("nobody to find")?;
            let name = connection.find(mail)?;
            if let Some(password) = password {
                ensure!(connection.bind(&name, password)?, "{mail} was refused");
            }
            Ok(())
        })
    }

    /// Lets so many clients add people, each answered when it is durable.
    pub fn add(&self, clients: usize, lasting: Duration) -> anyhow::Result<Done> {
        self.each(clients, lasting, &|connection, client, number| {
            if number == 0 {
                ensure!(connection.bind(&manager(), MANAGER_PASSWORD)?, "the manager was refused");
            }
            connection.add(&format!("new-{client}-{number}"))
        })
    }

    /// Lets so many clients do something again and again, each on a connection of its own: given
    /// that, its number and how often it did it before.
    fn each(
        &self,
        clients: usize,
        lasting: Duration,
        once: &(dyn Fn(&mut Connection, usize, usize) -> anyhow::Result<()> + Sync),
    ) -> anyhow::Result<Done> {
        let began = Instant::now();
        let all = std::thread::scope(|scope| {
            let client = move |client: usize| {
                let mut connection = Connection::open(self.port)?;
                let mut latency = Histogram::<u64>::new(3)?;
                for number in 0.. {
                    if began.elapsed() >= lasting {
                        break;
                    }
                    let sent = Instant::now();
                    once(&mut connection, client, number)?;
                    let took = u64::try_from(sent.elapsed().as_micros()).unwrap_or(u64::MAX);
                    latency.record(took.max(1))?;
                }
                anyhow::Ok(latency)
            };
            let clients = (0..clients).map(|number| scope.spawn(move || client(number)));
            let mut all = Histogram::<u64>::new(3)?;
            for client in clients.collect::<Vec<_>>() {
                all.add(client.join().map_err(|_| anyhow::anyhow!("a client broke off"))??)?;
            }
            anyhow::Ok(all)
        })?;
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let rate = all.len() as f64 / began.elapsed().as_secs_f64();
        Ok(Done { rate, latency: all })
    }
}

impl Drop for Slapd {
    fn drop(&mut self) {
        // It holds nothing that could be lost.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn settings(folder: &Path) -> String {
    let (folder, manager) = (folder.display(), manager());
    format!(
        "include /etc/ldap/schema/core.schema\n\
         include /etc/ldap/schema/cosine.schema\n\
         include /etc/ldap/schema/inetorgperson.schema\n\
         modulepath /usr/lib/ldap\n\
         moduleload back_mdb\n\
         pidfile {folder}/pid\n\
         database mdb\n\
         maxsize 1073741824\n\
         suffix \"{SUFFIX}\"\n\
         rootdn \"{manager}\"\n\
         rootpw {MANAGER_PASSWORD}\n\
         directory {folder}/data\n\
         index objectClass,mail eq\n\
         access to attrs=userPassword by anonymous auth\n\
         access to * by * read\n"
    )
}

fn ldif(people: &[(String, String)]) -> String {
    let top = format!("dn: {SUFFIX}\nobjectClass: dcObject\nobjectClass: organization\n");
    let person = |(number, (mail, hash)): (usize, &(String, String))| {
        format!(
            "dn: uid={number},{SUFFIX}\nobjectClass: inetOrgPerson\nuid: {number}\n\
             cn: {number}\nsn: {number}\nmail: {mail}\nuserPassword: {{CRYPT}}{hash}\n\n"
        )
    };
    let all = [top + "dc: bench\no: bench\n\n"].into_iter();
    all.chain(people.iter().enumerate().map(person)).collect()
}

/// Tags of RFC 4511 and of BER.
mod tag {
    pub const BOOLEAN: u8 = 0x01;
    pub const INTEGER: u8 = 0x02;
    pub const TEXT: u8 = 0x04;
    pub const ENUMERATED: u8 = 0x0A;
    pub const SEQUENCE: u8 = 0x30;
    pub const BIND: u8 = 0x60;
    pub const BIND_DONE: u8 = 0x61;
    pub const ADD: u8 = 0x68;
    pub const ADD_DONE: u8 = 0x69;
    pub const SEARCH: u8 = 0x63;
    pub const ENTRY: u8 = 0x64;
    pub const SEARCH_DONE: u8 = 0x65;
    pub const PASSWORD: u8 = 0x80;
    pub const SET: u8 = 0x31;
    pub const EQUAL: u8 = 0xA3;
}

/// An element.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap_or(u16::MAX);
    let [high, low] = length.to_be_bytes();
    let mut bytes = match length {
        0..=0x7F => vec![tag, low],
        _ => vec![tag, 0x82, high, low],
    };
    bytes.extend_from_slice(content);
    bytes
}

/// One element, its content and what follows it.
fn split(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = bytes.split_first_chunk()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (length, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
        (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// A connection to it.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    number: u8,
}

impl Connection {
    fn open(port: u16) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new(), number: 0 })
    }

    /// The name of the entry with a mail address.
    fn find(&mut self, mail: &str) -> anyhow::Result<String> {
        let whole_tree = element(tag::ENUMERATED, &[2]);
        let no_aliases = element(tag::ENUMERATED, &[0]);
        let no_limit = element(tag::INTEGER, &[0]);
        let filter = [element(tag::TEXT, b"mail"), element(tag::TEXT, mail.as_bytes())].concat();
        // "1.1" asks for no attribute at all.
        let attributes = element(tag::SEQUENCE, &element(tag::TEXT, b"1.1"));
        let search = [
            element(tag::TEXT, SUFFIX.as_bytes()),
            whole_tree,
            no_aliases,
            no_limit.clone(),
            no_limit,
            element(tag::BOOLEAN, &[0]),
            element(tag::EQUAL, &filter),
            attributes,
        ];
        self.send(tag::SEARCH, &search.concat())?;
        let mut name = None;
        loop {
            match self.receive()? {
                (tag::ENTRY, entry) => {
                    let (_, text, _) = split(&entry).context("an entry without a name")?;
                    name = Some(String::from_utf8(text.to_vec())?);
                }
                (tag::SEARCH_DONE, _) => return name.with_context(|| format!("no {mail}")),
                (other, _) => bail!("an answer of kind {other:#x} to a search"),
            }
        }
    }

    /// Adds a person.
    fn add(&mut self, name: &str) -> anyhow::Result<()> {
        let mail = format!("{name}@bench.example.com");
        let attributes = [
            ("objectClass", "inetOrgPerson"),
            ("uid", name),
            ("cn", name),
            ("sn", name),
            ("mail", &mail),
        ];
        let attributes = attributes.map(|(kind, value)| {
            let values = element(tag::SET, &element(tag::TEXT, value.as_bytes()));
            element(tag::SEQUENCE, &[element(tag::TEXT, kind.as_bytes()), values].concat())
        });
        let entry = element(tag::TEXT, format!("uid={name},{SUFFIX}").as_bytes());
        let attributes = element(tag::SEQUENCE, &attributes.concat());
        self.send(tag::ADD, &[entry, attributes].concat())?;
        let (kind, result) = self.receive()?;
        let (_, code, _) = split(&result).context("a result without a code")?;
        ensure!((kind, code) == (tag::ADD_DONE, &[0][..]), "{name} was not added: {result:?}");
        Ok(())
    }

    /// Whether this is its password.
    fn bind(&mut self, name: &str, password: &str) -> anyhow::Result<bool> {
        let version = element(tag::INTEGER, &[3]);
        let (name, password) = (name.as_bytes(), password.as_bytes());
        let bind = [version, element(tag::TEXT, name), element(tag::PASSWORD, password)];
        self.send(tag::BIND, &bind.concat())?;
        match self.receive()? {
            (tag::BIND_DONE, result) => {
                let (_, code, _) = split(&result).context("a result without a code")?;
                Ok(code == [0])
            }
            (other, _) => bail!("an answer of kind {other:#x} to a bind"),
        }
    }

    fn send(&mut self, tag: u8, content: &[u8]) -> anyhow::Result<()> {
        // One byte of a number that has no sign.
        self.number = self.number % 0x7F + 1;
        let message = [element(tag::INTEGER, &[self.number]), element(tag, content)].concat();
        Ok(self.stream.write_all(&element(tag::SEQUENCE, &message))?)
    }

    /// The next answer's kind and content.
    fn receive(&mut self) -> anyhow::Result<(u8, Vec<u8>)> {
        loop {
            if let Some((_, message, rest)) = split(&self.buffer) {
                let (_, _, operation) = split(message).context("a message without a number")?;
                let (tag, content, _) = split(operation).context("a message without an answer")?;
                let answer = (tag, content.to_vec());
                self.buffer = rest.to_vec();
                return Ok(answer);
            }
            let mut part = [0; 4096];
            let bytes = self.stream.read(&mut part)?;
            ensure!(bytes > 0, "slapd closed the connection");
            self.buffer.extend_from_slice(part.get(..bytes).unwrap_or_default());
        }
    }
}
