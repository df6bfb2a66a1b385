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
use crate::say;
use crate::server::cpu_seconds_of;
use crate::target::Target;

/// Conversations that the senders are spread over; every recipient is in all of them.
const CONVERSATIONS_MAX: usize = 16;
/// How long deliveries and the worker may take after the last send.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The server's binary.
    #[arg(long, default_value = "target/release/rookery")]
    binary: PathBuf,
    /// Folder of a running cluster (`scripts/cluster`), to be measured instead of a server of our own.
    #[arg(long, conflicts_with = "binary")]
    cluster: Option<PathBuf>,
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
    /// Further arguments for the server.
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// What the senders did.
struct Sent {
    accepted: u64,
    refused: u64,
    latency_us: Histogram<u64>,
    /// Most memory that Redis used meanwhile.
    redis_bytes_max: u64,
}

pub(crate) async fn run(options: &Options) -> Result<(), String> {
    say(
        "senders recipients  sends/s  deliveries/s  persisted/s  server-us/message  of-it-router  redis-us/message  redis-commands/message  redis-MiB-max  client-us/message  p50-ms  p99-ms  refused  lost  lag-ended-s",
    );
    for &senders in &options.senders {
        for &recipients in &options.recipients {
            let target = match &options.cluster {
                Some(folder) => Target::of_cluster(folder)?,
                None => Target::start(&options.binary, &options.arguments).await?,
            };
            let load = Load { senders, recipients, run: uuid::Uuid::new_v4().simple().to_string() };
            one(options, &target, &load).await?;
        }
    }
    Ok(())
}

/// One run: how many, and a word in all names of it, so that runs on one cluster do not meet.
struct Load {
    senders: usize,
    recipients: usize,
    run: String,
}

impl Load {
    fn conversations(&self) -> usize {
        self.senders.min(CONVERSATIONS_MAX)
    }

    fn conversation(&self, number: usize) -> String {
        format!("bench-{}-{number}", self.run)
    }

    fn sender(&self, number: usize) -> String {
        format!("sender-{}-{number}", self.run)
    }

    fn recipient(&self, number: usize) -> String {
        format!("recipient-{}-{number}", self.run)
    }
}

async fn one(options: &Options, target: &Target, load: &Load) -> Result<(), String> {
    prepare(target, load).await?;
    let delivered = Arc::new(AtomicU64::new(0));
    let mut readers = Vec::new();
    for recipient in 0..load.recipients {
        let token = token(&target.secret, &load.recipient(recipient))?;
        let mut socket = socket(target.client(recipient), &token).await?;
        let delivered = Arc::clone(&delivered);
        readers.push(tokio::spawn(async move {
            while let Some(Ok(frame)) = socket.next().await {
                if frame.to_text().is_ok_and(|text| text.starts_with(r#"{"t":"message""#)) {
                    delivered.fetch_add(1, Ordering::Relaxed);
                }
            }
        }));
    }
    let applied_before = target.metric("rookery_shard_applied_offset").await?;
    let (before, client_before) = (target.usage().await?, cpu_seconds_of(std::process::id())?);
    let begun = Instant::now();
    let sent = send(options, target, load).await?;
    let sending = begun.elapsed().as_secs_f64();
    let expected = sent.accepted * load.recipients as u64;
    while delivered.load(Ordering::Relaxed) < expected && begun.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let delivering = begun.elapsed().as_secs_f64();
    while target.metric("rookery_shard_lag_records").await? > 0.0 && begun.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let persisting = begun.elapsed().as_secs_f64();
    let persisted = target.metric("rookery_shard_applied_offset").await? - applied_before;
    let used = target.usage().await?.since(before);
    let per_message = |seconds: f64| seconds * 1e6 / float(sent.accepted.max(1));
    let client_us = per_message(cpu_seconds_of(std::process::id())? - client_before);
    let received = delivered.load(Ordering::Relaxed);
    say(&format!(
        "{:>7} {:>10} {:>8.0} {:>13.0} {:>12.0} {:>18.0} {:>13.0} {:>17.0} {:>23.2} {:>14.1} {client_us:>18.0} {:>7.2} {:>7.2} {:>8} {:>5} {:>12.1}",
        load.senders,
        load.recipients,
        float(sent.accepted) / sending,
        float(received) / delivering,
        persisted / persisting,
        per_message(used.routers + used.nodes),
        per_message(used.routers),
        per_message(used.redis),
        float(used.redis_commands) / float(sent.accepted.max(1)),
        float(sent.redis_bytes_max) / f64::from(1 << 20),
        float(sent.latency_us.value_at_quantile(0.5)) / 1e3,
        float(sent.latency_us.value_at_quantile(0.99)) / 1e3,
        sent.refused,
        expected.saturating_sub(received),
        persisting - sending,
    ));
    for reader in readers {
        reader.abort();
    }
    Ok(())
}

/// Creates the conversations, with every sender and every recipient in each.
async fn prepare(target: &Target, load: &Load) -> Result<(), String> {
    let mut participants: Vec<String> = (0..load.recipients).map(|recipient| load.recipient(recipient)).collect();
    participants.extend((0..load.senders).map(|sender| load.sender(sender)));
    let mut connection = Connection::open(target.client(0), &token(&target.secret, &load.sender(0))?).await?;
    for conversation in 0..load.conversations() {
        let body = serde_json::json!({"participants": participants, "name": load.conversation(conversation)});
        let (status, answer) = connection.post("/v1/conversations", Bytes::from(body.to_string())).await?;
        if status != StatusCode::CREATED {
            return Err(format!("creating a conversation: {status} {}", String::from_utf8_lossy(&answer)));
        }
    }
    Ok(())
}

async fn send(options: &Options, target: &Target, load: &Load) -> Result<Sent, String> {
    let over = Arc::new(AtomicBool::new(false));
    let body = Bytes::from(serde_json::json!({"text": "x".repeat(options.text_bytes)}).to_string());
    let mut tasks = Vec::new();
    for sender in 0..load.senders {
        let token = token(&target.secret, &load.sender(sender))?;
        let mut connection = Connection::open(target.client(sender), &token).await?;
        let path = format!("/v1/conversations/{}/messages", load.conversation(sender % load.conversations()));
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
            Ok::<_, String>(Sent { accepted, refused, latency_us, redis_bytes_max: 0 })
        }));
    }
    let mut all = Sent { accepted: 0, refused: 0, latency_us: histogram()?, redis_bytes_max: 0 };
    for _ in 0..options.seconds {
        tokio::time::sleep(Duration::from_secs(1)).await;
        all.redis_bytes_max = all.redis_bytes_max.max(target.redis_memory().await?);
    }
    over.store(true, Ordering::Relaxed);
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
