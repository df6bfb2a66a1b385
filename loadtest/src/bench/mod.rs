//! Closed loop: senders that wait for each answer, recipients that count frames. It tells the most
//! that gets through, and what a message costs then; its latencies are those of a full queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use hdrhistogram::Histogram;
use tokio::task::JoinHandle;

use crate::bench::row::{Row, each};
use crate::bench::used::{Memory, Used};
use crate::client::http::Ask;
use crate::client::socket::{Frame, Session};
use crate::load::options::allow_files;
use crate::load::recorder::{histogram, micros};
use crate::load::rig::run_name;
use crate::output::say;
use crate::report::figures::float;
use crate::target::metrics::Scraper;
use crate::target::peer::PeerOptions;
use crate::target::redis::Redis;
use crate::target::{Target, TargetOptions};

mod row;
mod used;

/// Conversations that the senders are spread over; every recipient is in all of them.
const CONVERSATIONS_MAX: usize = 16;
/// How long deliveries and the worker may take after the last send.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Concurrent senders, one run for each
    #[arg(long, value_delimiter = ',', default_value = "1,64,256")]
    senders: Vec<usize>,
    /// Online recipients of every message, one run for each
    #[arg(long, value_delimiter = ',', default_value = "1,10,100")]
    recipients: Vec<usize>,
    /// Seconds of sending per run
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Bytes of text per message
    #[arg(long, default_value_t = 120)]
    text_bytes: usize,
    /// Runs of each; with --peer ours and its in turn
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    #[command(flatten)]
    peer: PeerOptions,
    #[command(flatten)]
    target: TargetOptions,
}

/// What the senders did.
struct Sent {
    accepted: u64,
    refused: u64,
    latency_us: Histogram<u64>,
}

pub(crate) async fn run(options: &Options) -> Result<(), String> {
    say(row::HEAD);
    for &senders in &options.senders {
        for &recipients in &options.recipients {
            pairs(options, senders, recipients).await?;
        }
    }
    Ok(())
}

/// All runs of so many senders and recipients, and the comparison with those of the peer.
async fn pairs(options: &Options, senders: usize, recipients: usize) -> Result<(), String> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..options.runs {
        // A server of its own for each run, unless one runs already.
        let row = one(
            options,
            Target::new(&options.target).await?,
            senders,
            recipients,
        )
        .await?;
        say(&row.line());
        ours.push(row);
        if let Some(peer) = options.peer.peer {
            let beside = one(
                options,
                Target::peer(peer, &options.target).await?,
                senders,
                recipients,
            )
            .await?;
            say(&format!("{} {}", beside.line(), peer.name()));
            theirs.push(beside);
        }
    }

    if options.peer.peer.is_some() {
        say(&row::beside(&ours, &theirs));
    }

    Ok(())
}

async fn one(
    options: &Options,
    target: Target,
    senders: usize,
    recipients: usize,
) -> Result<Row, String> {
    allow_files(u64::try_from(senders + recipients).unwrap_or(u64::MAX))?;
    let scraper = Scraper::new(&target);
    let names = prepare(&target, senders, recipients).await?;
    let delivered = Arc::new(AtomicU64::new(0));
    let readers = read(&target, recipients, &delivered).await?;
    let before = Used::now(&target, &scraper).await?;
    let memory = Memory::watch(target.redis.clone());
    let begun = Instant::now();
    let sent = send(options, &target, senders, &names).await?;
    let sending = begun.elapsed().as_secs_f64();
    let commands = Redis::look(&target.redis)
        .await?
        .commands
        .saturating_sub(before.redis.commands);
    let expected = sent.accepted * u64::try_from(recipients).unwrap_or_default();
    while delivered.load(Ordering::Relaxed) < expected && begun.elapsed() < options.longest() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let delivering = begun.elapsed().as_secs_f64();
    while scraper.sum(target.metrics.lag).await? > 0.0 && begun.elapsed() < options.longest() {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let persisting = begun.elapsed().as_secs_f64();
    let after = Used::now(&target, &scraper).await?;
    for reader in readers {
        reader.abort();
    }

    let cpu_us = |of: fn(&Used) -> f64| each((of(&after) - of(&before)) * 1e6, sent.accepted);
    let received = delivered.load(Ordering::Relaxed);
    Ok(Row {
        senders,
        recipients,
        sends_per_second: float(sent.accepted) / sending,
        deliveries_per_second: float(received) / delivering,
        persisted_per_second: (after.applied - before.applied) / persisting,
        p50_ms: float(sent.latency_us.value_at_quantile(0.5)) / 1e3,
        p99_ms: float(sent.latency_us.value_at_quantile(0.99)) / 1e3,
        refused: sent.refused,
        lost: expected.saturating_sub(received),
        router_us: cpu_us(|used| used.routers),
        node_us: cpu_us(|used| used.nodes),
        redis_us: cpu_us(|used| used.redis.cpu_seconds),
        client_us: cpu_us(|used| used.client),
        redis_commands: each(float(commands), sent.accepted),
        redis_highest_bytes: memory.highest().await,
        lag_s: persisting - sending,
    })
}

impl Options {
    /// Deliveries and the workers may take so long after the last send.
    fn longest(&self) -> Duration {
        Duration::from_secs(self.seconds) + PATIENCE
    }
}

/// Recipients that count what they get.
async fn read(
    target: &Target,
    recipients: usize,
    delivered: &Arc<AtomicU64>,
) -> Result<Vec<JoinHandle<()>>, String> {
    let mut readers = Vec::new();
    for recipient in 0..recipients {
        let token = target.tokens.of(&format!("recipient-{recipient}")).await?;
        let opened = Session::open(
            target.protocol,
            &target.dialer,
            target.endpoint(recipient)?,
            &token,
        )
        .await;
        let mut session = opened.map_err(|error| error.to_string())?;
        let delivered = Arc::clone(delivered);
        readers.push(tokio::spawn(async move {
            while let Ok(text) = session.next().await {
                if serde_json::from_str::<Frame<'_>>(&text).is_ok_and(|frame| frame.t == "message")
                {
                    delivered.fetch_add(1, Ordering::Relaxed);
                }
            }
        }));
    }

    Ok(readers)
}

/// Creates the conversations, with every sender and every recipient in each, and tells their names.
async fn prepare(
    target: &Target,
    senders: usize,
    recipients: usize,
) -> Result<Vec<String>, String> {
    let mut participants: Vec<String> = (0..recipients)
        .map(|recipient| format!("recipient-{recipient}"))
        .collect();
    participants.extend((0..senders).map(|sender| format!("sender-{sender}")));
    let token = target.tokens.of("sender-0").await?;
    let run = run_name()?;
    let mut names = Vec::new();

    for conversation in 0..senders.min(CONVERSATIONS_MAX) {
        let name = format!("{run}-{conversation}");
        let body = serde_json::json!({"participants": participants, "name": name});
        let ask = Ask::post(
            "/v1/conversations",
            Arc::clone(&token),
            Bytes::from(body.to_string()),
        );
        let created = target.pool(0)?.succeed(&ask).await;
        created.map_err(|error| format!("creating a conversation: {error}"))?;
        names.push(name);
    }

    Ok(names)
}

async fn send(
    options: &Options,
    target: &Target,
    senders: usize,
    names: &[String],
) -> Result<Sent, String> {
    let over = Arc::new(AtomicBool::new(false));
    let body = Bytes::from(serde_json::json!({"text": "x".repeat(options.text_bytes)}).to_string());
    let mut tasks = Vec::new();

    for sender in 0..senders {
        let token = target.tokens.of(&format!("sender-{sender}")).await?;
        let name = names
            .get(sender % names.len().max(1))
            .ok_or("no conversation")?;
        let ask = Ask::post(
            format!("/v1/conversations/{name}/messages"),
            token,
            body.clone(),
        );
        let (over, pool) = (Arc::clone(&over), Arc::clone(target.pool(sender)?));
        tasks.push(tokio::spawn(async move {
            let mut latency_us = histogram()?;
            let (mut accepted, mut refused) = (0, 0);
            while !over.load(Ordering::Relaxed) {
                let begun = Instant::now();
                let posted = pool.succeed(&ask).await;
                latency_us.saturating_record(micros(begun.elapsed()));
                if posted.is_ok() {
                    accepted += 1
                } else {
                    refused += 1
                }
            }
            Ok::<_, String>(Sent {
                accepted,
                refused,
                latency_us,
            })
        }));
    }

    tokio::time::sleep(Duration::from_secs(options.seconds)).await;
    over.store(true, Ordering::Relaxed);

    let mut all = Sent {
        accepted: 0,
        refused: 0,
        latency_us: histogram()?,
    };

    for task in tasks {
        let sent = task.await.map_err(|error| error.to_string())??;
        all.accepted += sent.accepted;
        all.refused += sent.refused;
        all.latency_us
            .add(sent.latency_us)
            .map_err(|error| error.to_string())?;
    }

    Ok(all)
}
