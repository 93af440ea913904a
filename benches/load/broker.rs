//! A RabbitMQ broker of the measurement's own, in a folder of its own, and what its quorum queue
//! can do at best.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use futures_util::StreamExt as _;
use hdrhistogram::Histogram;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection, ConnectionProperties};

use crate::node::pause;

/// Where the distribution keeps the broker's own programs.
const PROGRAMS: &str = "/usr/lib/rabbitmq/bin";

/// Longest wait for its start.
const PATIENCE: Duration = Duration::from_mins(2);

/// A running broker. Ended when dropped; its port mapper ends with it.
pub struct Broker {
    folder: PathBuf,
    port: u16,
    epmd_port: u16,
    child: Child,
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

impl Broker {
    /// Starts one in a folder, which is emptied, and waits until it takes connections.
    pub fn start(folder: &Path) -> anyhow::Result<Self> {
        let programs = Path::new(PROGRAMS);
        ensure!(programs.exists(), "RabbitMQ is missing: apt-get install rabbitmq-server");
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        fs::create_dir_all(folder)?;
        let (port, epmd_port) = (free_port()?, free_port()?);
        fs::write(
            folder.join("rabbitmq.conf"),
            format!("listeners.tcp.1 = 127.0.0.1:{port}\ndisk_free_limit.absolute = 50MB\n"),
        )?;
        let output = File::create(folder.join("output"))?;
        let mut command = Command::new(programs.join("rabbitmq-server"));
        command.env_clear().env("PATH", format!("{PROGRAMS}:{}", std::env::var("PATH")?));
        command.env("HOME", folder).env("LANG", "C.UTF-8");
        command.env("RABBITMQ_NODENAME", format!("rabbit-{port}@localhost"));
        command.env("RABBITMQ_DIST_PORT", free_port()?.to_string());
        command.env("RABBITMQ_CONFIG_FILE", folder.join("rabbitmq.conf"));
        command.env("RABBITMQ_MNESIA_BASE", folder.join("mnesia"));
        command.env("RABBITMQ_LOG_BASE", folder.join("log"));
        command.env("RABBITMQ_ENABLED_PLUGINS_FILE", folder.join("enabled_plugins"));
        command.env("RABBITMQ_PID_FILE", folder.join("pid"));
        command.env("ERL_EPMD_PORT", epmd_port.to_string());
        command.env("ERL_EPMD_ADDRESS", "127.0.0.1");
        // Then its script becomes the broker, whose process can be ended itself.
        command.env("RUNNING_UNDER_SYSTEMD", "true");
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().context("cannot start RabbitMQ")?;
        let mut broker = Self { folder: folder.to_owned(), port, epmd_port, child };
        let began = Instant::now();
        while !broker.speaks() {
            let ended = broker.child.try_wait()?.is_some();
            if ended || began.elapsed() > PATIENCE {
                bail!("RabbitMQ did not start; see {}", folder.join("output").display());
            }
            pause();
        }
        Ok(broker)
    }

    /// Whether it answers at all, which it does not before it is ready.
    fn speaks(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let limited = stream.set_read_timeout(Some(Duration::from_secs(2)));
        let mut first = [0];
        limited.is_ok()
            && stream.write_all(b"AMQP\0\0\x09\x01").is_ok()
            && stream.read_exact(&mut first).is_ok()
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("amqp://127.0.0.1:{}", self.port)
    }

    /// One message of so many bytes after the other through a quorum queue.
    pub fn round_trips(&self, bytes: usize, lasting: Duration) -> anyhow::Result<RoundTrips> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        runtime.block_on(round_trips(&self.url(), bytes, lasting))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It holds nothing that anybody wants to keep.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let mut epmd = Command::new("epmd");
        epmd.arg("-kill").env("ERL_EPMD_PORT", self.epmd_port.to_string());
        let _ = epmd.stdout(Stdio::null()).stderr(Stdio::null()).status();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// How long a quorum queue takes, in microseconds.
pub struct RoundTrips {
    /// From publishing to the broker's confirm.
    pub confirmed: Histogram<u64>,
    /// From publishing to the delivery to a consumer.
    pub delivered: Histogram<u64>,
}

async fn round_trips(url: &str, bytes: usize, lasting: Duration) -> anyhow::Result<RoundTrips> {
    let connect = || Connection::connect(url, ConnectionProperties::default());
    // Two connections, as a publisher and a consumer on two machines have.
    let (near, far) = (connect().await?, connect().await?);
    let (publishing, consuming) = (near.create_channel().await?, far.create_channel().await?);
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    publishing.queue_declare("bench".into(), durable, arguments).await?;
    publishing.confirm_select(ConfirmSelectOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let mut arriving = consuming
        .basic_consume("bench".into(), "bench".into(), options, FieldTable::default())
        .await?;
    let mut found = RoundTrips { confirmed: Histogram::new(3)?, delivered: Histogram::new(3)? };
    let (message, began) = (vec![7; bytes], Instant::now());
    while began.elapsed() < lasting {
        let sent = Instant::now();
        let persistent = BasicProperties::default().with_delivery_mode(2);
        let options = BasicPublishOptions::default();
        let confirm =
            publishing.basic_publish("".into(), "bench".into(), options, &message, persistent);
        let confirm = confirm.await?;
        let confirmed = async {
            confirm.await?;
            anyhow::Ok(micros(sent.elapsed()))
        };
        let delivered = async {
            let delivery = arriving.next().await.context("the consumer ended")??;
            let took = micros(sent.elapsed());
            delivery.ack(BasicAckOptions::default()).await?;
            anyhow::Ok(took)
        };
        let (confirmed, delivered) = tokio::try_join!(confirmed, delivered)?;
        found.confirmed.record(confirmed)?;
        found.delivered.record(delivered)?;
    }
    near.close(0, "done".into()).await?;
    far.close(0, "done".into()).await?;
    Ok(found)
}

/// At least one, as a histogram wants it.
pub fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1)
}
