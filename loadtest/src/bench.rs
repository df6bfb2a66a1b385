//! Closed loop: senders that wait for each answer, recipients that count frames.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use futures_util::StreamExt;
use hdrhistogram::Histogram;
use http::StatusCode;

use crate::client::{Connection, socket, token};
use crate::redis::{self, Memory};
use crate::say;
use crate::server::{Part, Server, cpu_seconds_of};

/// Conversations that the senders are spread over; every recipient is in all of them.
const CONVERSATIONS_MAX: usize = 16;
/// How long deliveries and the worker may take after the last send.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The server's binary.
    #[arg(long, default_value = "target/release/rookery")]
    binary: PathBuf,
    /// Concurrent senders, one run for each.
    #[arg(long, value_delimiter = ',', default_value = "1,64,256")]
    senders: Vec<usize>,
    /// Online recipients of every message, one run for each.
    #[arg(long, value_delimiter = ',', default_value = "1,10,100")]
    recipients: Vec<usize>,
    /// Seconds of sending per run.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Bytes of text per message.
    #[arg(long, default_value_t = 120)]
    text_bytes: usize,
    /// Measure what runs in this folder of `scripts/cluster` instead of starting a server.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["binary", "arguments"])]
    cluster: Option<PathBuf>,
    /// Further arguments for the server.
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// What the senders did.
struct Sent {
    accepted: u64,
    refused: u64,
    latency_us: Histogram<u64>,
}

/// CPU seconds at one moment.
struct Cpu {
    router: f64,
    node: f64,
    redis: f64,
    client: f64,
}

impl Cpu {
    fn now(server: &Server) -> Result<Self, String> {
        Ok(Self {
            router: server.cpu_seconds(Part::Router)?,
            node: server.cpu_seconds(Part::Node)? + server.cpu_seconds(Part::Dev)?,
            redis: server.cpu_seconds(Part::Redis)?,
            client: cpu_seconds_of(std::process::id())?,
        })
    }
}

pub(crate) async fn run(options: &Options) -> Result<(), String> {
    say(
        "senders recipients  sends/s  deliveries/s  persisted/s  p50-ms  p99-ms  refused  lost | us/message: router   node  redis  client | redis: commands/message  MiB-highest | lag-s",
    );
    for &senders in &options.senders {
        for &recipients in &options.recipients {
            one(options, senders, recipients).await?;
        }
    }
    Ok(())
}

async fn one(options: &Options, senders: usize, recipients: usize) -> Result<(), String> {
    let server = match &options.cluster {
        Some(folder) => Server::running(folder)?,
        None => Server::start(&options.binary, &options.arguments).await?,
    };
    let names = prepare(&server, senders, recipients).await?;
    let delivered = Arc::new(AtomicU64::new(0));
    let readers = read(&server, recipients, &delivered).await?;
    let applied_before = server.metric("rookery_shard_applied_offset").await?;
    let commands_before = redis::sum(&server.redis, "total_commands_processed").await?;
    let memory = Memory::watch(server.redis.clone());
    let before = Cpu::now(&server)?;
    let begun = Instant::now();
    let sent = send(options, &server, senders, &names).await?;
    let sending = begun.elapsed().as_secs_f64();
    let commands = redis::sum(&server.redis, "total_commands_processed").await?.saturating_sub(commands_before);
    let expected = sent.accepted * recipients as u64;
    while delivered.load(Ordering::Relaxed) < expected && begun.elapsed() < options.longest() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let delivering = begun.elapsed().as_secs_f64();
    while server.metric("rookery_shard_lag_records").await? > 0.0 && begun.elapsed() < options.longest() {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let persisting = begun.elapsed().as_secs_f64();
    let persisted = server.metric("rookery_shard_applied_offset").await? - applied_before;
    let after = Cpu::now(&server)?;
    let each = |seconds: f64| seconds * 1e6 / float(sent.accepted.max(1));
    let received = delivered.load(Ordering::Relaxed);
    say(&format!(
        "{senders:>7} {recipients:>10} {:>8.0} {:>13.0} {:>12.0} {:>7.2} {:>7.2} {:>8} {:>5} | {:>18.0} {:>6.0} {:>6.0} {:>7.0} | {:>23.2} {:>12} | {:>5.1}",
        float(sent.accepted) / sending,
        float(received) / delivering,
        persisted / persisting,
        float(sent.latency_us.value_at_quantile(0.5)) / 1e3,
        float(sent.latency_us.value_at_quantile(0.99)) / 1e3,
        sent.refused,
        expected.saturating_sub(received),
        each(after.router - before.router),
        each(after.node - before.node),
        each(after.redis - before.redis),
        each(after.client - before.client),
        float(commands) / float(sent.accepted.max(1)),
        memory.highest().await / (1 << 20),
        persisting - sending,
    ));
    for reader in readers {
        reader.abort();
    }
    Ok(())
}

impl Options {
    /// Deliveries and the workers may take so long after the last send.
    fn longest(&self) -> Duration {
        Duration::from_secs(self.seconds) + PATIENCE
    }
}

/// Recipients that count what they get.
async fn read(
    server: &Server,
    recipients: usize,
    delivered: &Arc<AtomicU64>,
) -> Result<Vec<tokio::task::JoinHandle<()>>, String> {
    let mut readers = Vec::new();
    for recipient in 0..recipients {
        let token = token(&server.secret, &format!("recipient-{recipient}"))?;
        let mut socket = socket(server.client(recipient)?, &token).await?;
        let delivered = Arc::clone(delivered);
        readers.push(tokio::spawn(async move {
            while let Some(Ok(frame)) = socket.next().await {
                if frame.to_text().is_ok_and(|text| text.starts_with(r#"{"t":"message""#)) {
                    delivered.fetch_add(1, Ordering::Relaxed);
                }
            }
        }));
    }
    Ok(readers)
}

/// Creates the conversations, with every sender and every recipient in each, and tells their names.
async fn prepare(server: &Server, senders: usize, recipients: usize) -> Result<Vec<String>, String> {
    let mut participants: Vec<String> = (0..recipients).map(|recipient| format!("recipient-{recipient}")).collect();
    participants.extend((0..senders).map(|sender| format!("sender-{sender}")));
    let mut connection = Connection::open(server.client(0)?, &token(&server.secret, "sender-0")?).await?;
    let run = std::time::UNIX_EPOCH.elapsed().map_err(|error| error.to_string())?.as_millis();
    let mut names = Vec::new();
    for conversation in 0..senders.min(CONVERSATIONS_MAX) {
        // What runs longer than this program has the conversations of earlier runs.
        let name = format!("bench-{run}-{conversation}");
        let body = serde_json::json!({"participants": participants, "name": name});
        let (status, answer) = connection.post("/v1/conversations", Bytes::from(body.to_string())).await?;
        if status != StatusCode::CREATED {
            return Err(format!("creating a conversation: {status} {}", String::from_utf8_lossy(&answer)));
        }
        names.push(name);
    }
    Ok(names)
}

async fn send(options: &Options, server: &Server, senders: usize, names: &[String]) -> Result<Sent, String> {
    let over = Arc::new(AtomicBool::new(false));
    let body = Bytes::from(serde_json::json!({"text": "x".repeat(options.text_bytes)}).to_string());
    let mut tasks = Vec::new();
    for sender in 0..senders {
        let token = token(&server.secret, &format!("sender-{sender}"))?;
        let mut connection = Connection::open(server.client(sender)?, &token).await?;
        let name = names.get(sender % names.len().max(1)).ok_or("no conversation")?;
        let path = format!("/v1/conversations/{name}/messages");
        let (over, body) = (Arc::clone(&over), body.clone());
        tasks.push(tokio::spawn(async move {
            let mut latency_us = histogram()?;
            let (mut accepted, mut refused) = (0, 0);
            while !over.load(Ordering::Relaxed) {
                let begun = Instant::now();
                let (status, _) = connection.post(&path, body.clone()).await?;
                latency_us.record(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX)).ok();
                if status == StatusCode::CREATED { accepted += 1 } else { refused += 1 }
            }
            Ok::<_, String>(Sent { accepted, refused, latency_us })
        }));
    }
    tokio::time::sleep(Duration::from_secs(options.seconds)).await;
    over.store(true, Ordering::Relaxed);
    let mut all = Sent { accepted: 0, refused: 0, latency_us: histogram()? };
    for task in tasks {
        let sent = task.await.map_err(|error| error.to_string())??;
        all.accepted += sent.accepted;
        all.refused += sent.refused;
        all.latency_us.add(sent.latency_us).map_err(|error| error.to_string())?;
    }
    Ok(all)
}

/// Microseconds up to a minute, three digits.
fn histogram() -> Result<Histogram<u64>, String> {
    Histogram::new_with_max(60_000_000, 3).map_err(|error| error.to_string())
}

/// Counts here stay far below 2^52.
#[expect(clippy::cast_precision_loss, reason = "counts of one run, far below 2^52")]
fn float(count: u64) -> f64 {
    count as f64
}
