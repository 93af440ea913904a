//! As much HTTP as one page for one person on one machine needs: GET, one answer a connection.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How long a browser may take to ask and to take the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longest request that is read, in bytes.
const REQUEST_BYTES_MAX: u64 = 16 * 1024;

/// Most connections at a time.
const CONNECTIONS_MAX: usize = 32;

/// What is answered.
pub(super) struct Answer {
    pub(super) status: &'static str,
    pub(super) kind: &'static str,
    /// What the page may do; for answers that are no page, nothing.
    pub(super) policy: String,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// A line of text.
    pub(super) fn text(status: &'static str, text: &str) -> Self {
        let (kind, policy) = ("text/plain; charset=utf-8", "default-src 'none'".to_owned());
        Self { status, kind, policy, body: text.as_bytes().to_vec() }
    }

    /// Data for the page.
    pub(super) fn json(value: &serde_json::Value) -> Self {
        let kind = "application/json";
        Self { kind, body: value.to_string().into_bytes(), ..Self::text("200 OK", "") }
    }

    fn write(&self, stream: &mut TcpStream) -> io::Result<()> {
        let Self { status, kind, policy, body } = self;
        write!(
            stream,
            "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\
             content-security-policy: {policy}\r\nx-content-type-options: nosniff\r\n\
             referrer-policy: no-referrer\r\ncache-control: no-store\r\nconnection: close\r\n\r\n",
            body.len(),
        )?;
        stream.write_all(body)?;
        stream.flush()
    }
}

/// A socket that is listened on.
pub(super) struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    pub(super) fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        Ok(Self { address: listener.local_addr()?, listener })
    }

    /// Where it listens.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers for as long as connections come.
    pub(super) fn serve(&self, answer: &(dyn Fn(&str) -> Answer + Sync)) {
        let open = AtomicUsize::new(0);
        std::thread::scope(|threads| {
            for stream in self.listener.incoming().flatten() {
                if open.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS_MAX {
                    open.fetch_sub(1, Ordering::Relaxed);
                    continue;
                }
                let open = &open;
                threads.spawn(move || {
                    // Whoever went away is not missed.
                    drop(self.talk(stream, answer));
                    open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
    }

    fn talk(&self, mut stream: TcpStream, answer: &dyn Fn(&str) -> Answer) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut lines = BufReader::new((&stream).take(REQUEST_BYTES_MAX)).lines();
        let Some(asked) = lines.next().transpose()? else { return Ok(()) };
        let mut host = None;
        for line in lines {
            let line = line?;
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("host")
            {
                host = Some(value.trim().to_owned());
            }
        }
        self.answered(&asked, host.as_deref(), answer).write(&mut stream)
    }

    fn answered(&self, asked: &str, host: Option<&str>, answer: &dyn Fn(&str) -> Answer) -> Answer {
        // A page from elsewhere that has its name resolved to this machine has another host.
        if !host.is_some_and(|host| is_own(host, self.address)) {
            return Answer::text("421 Misdirected Request", "this is not the host that was asked");
        }
        let mut words = asked.split(' ');
        match (words.next(), words.next()) {
            (Some("GET"), Some(path)) => answer(path),
            (Some(_), Some(_)) => Answer::text("405 Method Not Allowed", "only GET"),
            _ => Answer::text("400 Bad Request", "no request"),
        }
    }
}

/// Whether a browser that asks for this host means this address: it leaves port 80 out.
fn is_own(host: &str, address: SocketAddr) -> bool {
    let port = address.port();
    let own = [address.to_string(), format!("localhost:{port}")];
    own.iter().any(|own| own == host || (port == 80 && own.strip_suffix(":80") == Some(host)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_a_port_is_this_one_at_port_80_alone() {
        for (host, at_80, at_8090) in [
            ("127.0.0.1:80", true, false),
            ("127.0.0.1", true, false),
            ("localhost", true, false),
            ("localhost:8090", false, true),
            ("example.com", false, false),
            ("127.0.0.1.example.com", false, false),
        ] {
            assert_eq!(is_own(host, ([127, 0, 0, 1], 80).into()), at_80, "{host}");
            assert_eq!(is_own(host, ([127, 0, 0, 1], 8090).into()), at_8090, "{host}");
        }
    }
}
