//! A light HTTP/1.1 client: one keep-alive connection, requests laid out beforehand, answers read
//! as far as their length says. Every cycle it takes is one the server does not have.

use std::io::ErrorKind;

use anyhow::{Context as _, bail};
use tokio::net::TcpStream;

/// What was answered.
pub struct Reply<'a> {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: &'a [u8],
}

/// A connection that is used for one request after the other.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects to `host:port`.
    pub async fn open(address: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.context("cannot connect")?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(4096) })
    }

    /// Sends a request and waits for its answer.
    pub async fn send(&mut self, request: &[u8]) -> anyhow::Result<Reply<'_>> {
        self.write(request).await?;
        self.buffer.clear();
        loop {
            if let Some(head) = Head::of(&self.buffer)
                && self.buffer.len() >= head.bytes + head.body_bytes
            {
                let body = self.buffer.get(head.bytes..).unwrap_or_default();
                return Ok(Reply { status: head.status, body });
            }
            self.read().await?;
        }
    }

    async fn write(&self, mut bytes: &[u8]) -> anyhow::Result<()> {
        while !bytes.is_empty() {
            match self.stream.try_write(bytes) {
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.stream.writable().await?;
                }
                Err(error) => return Err(error).context("cannot send"),
            }
        }
        Ok(())
    }

    async fn read(&mut self) -> anyhow::Result<()> {
        loop {
            self.stream.readable().await?;
            match self.stream.try_read_buf(&mut self.buffer) {
                Ok(0) => bail!("the server closed the connection"),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("cannot receive"),
            }
        }
    }
}

/// What matters of an answer's head.
struct Head {
    status: u16,
    bytes: usize,
    body_bytes: usize,
}

impl Head {
    fn of(buffer: &[u8]) -> Option<Self> {
        let bytes = buffer.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
        let text = std::str::from_utf8(buffer.get(..bytes)?).ok()?;
        let status = text.get(9..12)?.parse().ok()?;
        let length = text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
        });
        Some(Self { status, bytes, body_bytes: length.unwrap_or(0) })
    }
}

/// Lays a request out.
pub fn request(method: &str, path: &str, header: (&str, &str), body: Option<&str>) -> Vec<u8> {
    let (name, value) = header;
    let body = body.map_or_else(String::new, |body| {
        format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    });
    let end = if body.is_empty() { "\r\n" } else { "" };
    format!("{method} {path} HTTP/1.1\r\nHost: bench\r\n{name}: {value}\r\n{body}{end}").into()
}
