//! Sockets that do nothing: what each costs, and whether they stay open.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::client::http::Ask;
use crate::client::socket::Session;
use crate::load::listener::Live;
use crate::load::options::allow_files;
use crate::load::recorder::{Recorder, histogram, micros};
use crate::load::rig::run_name;
use crate::load::sampler::{Sampler, Views};
use crate::load::snapshot::Snapshot;
use crate::load::workload::MEMBERS_MAX;
use crate::output::{self, Outcome, OutputOptions};
use crate::progress::Progress;
use crate::report::figures::float;
use crate::report::{Audit, Close, Idle, Latency, Settings, Verdict};
use crate::target::metrics::Scraper;
use crate::target::{Target, TargetOptions};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many sockets, each of a user of its own
    #[arg(long, value_name = "NUMBER", default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..))]
    sockets: u32,
    /// Conversations of each user, of up to 1,000 members
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    conversations: u32,
    /// How long they are held
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Sockets that are opened at the same time
    #[arg(long, value_name = "NUMBER", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    opening: u32,
    #[command(flatten)]
    target: TargetOptions,
    #[command(flatten)]
    output: OutputOptions,
}

/// Sockets that are held: how each ended before it should.
type Held = JoinSet<Option<u16>>;

pub(crate) async fn run(options: &Options) -> Result<Outcome, String> {
    allow_files(u64::from(options.sockets) + u64::from(options.opening))?;
    let progress = options.output.progress();
    let stop = output::stop_on_interrupt(&progress);
    let target = Arc::new(Target::new(&options.target).await?);
    let mut report = output::blank("idle", &target);
    report.settings = options.settings();

    let users = options.create(&target, &progress).await?;
    let scraper = Arc::new(Scraper::new(&target));
    let live = Arc::<Live>::default();
    let sampler = Sampler::start(Views {
        recorder: Arc::new(Recorder::new(Instant::now(), 0)?),
        pacer: None,
        live: Some(Arc::clone(&live)),
        scraper: Arc::clone(&scraper),
        progress: Arc::clone(&progress),
    });

    let (before, mut warnings) = Snapshot::take(&scraper, &[]).await;
    let begun = Instant::now();
    let (mut held, opening) = options.open(&target, &users, &live, &stop).await?;
    let opening_s = begun.elapsed().as_secs_f64();
    let (all_open, _) = Snapshot::take(&scraper, &[]).await;
    progress.say(&format!("{} sockets are open", users.len()));

    let all_since = Instant::now();
    tokio::select! {
        () = tokio::time::sleep(options.duration) => {}
        () = stop.cancelled() => warnings.push("interrupted: the sockets were held for a shorter time".to_owned()),
    }

    let (end, more) = Snapshot::take(&scraper, &[]).await;
    warnings.extend(more);

    let open_at_end = live.open.load(Ordering::Relaxed);
    let held_s = all_since.elapsed().as_secs_f64();
    report.series = sampler.finish();
    stop.cancel();
    report.audit = audit(&mut held, users.len()).await?;

    let sessions = u64::from(options.sockets);

    report.idle = Some(Idle {
        sessions,
        conversations: u64::from(options.conversations),
        opening_s,
        open: Latency::of(&opening),
        held_s,
        open_at_end,
        resident_before_bytes: before.resident_bytes(),
        resident_open_bytes: all_open.resident_bytes(),
        resident_end_bytes: end.resident_bytes(),
        bytes_per_session: growth(&before, &all_open, sessions),
        kept_bytes_per_session: growth(&before, &end, sessions),
        processes: end
            .server_since(&before, sessions)
            .map_or_else(Vec::new, |server| server.processes),
        server_processors: end.server_processors_since(&all_open),
        client: end.client_since(&all_open, sessions),
    });

    report.verdict = Verdict::of(&report.audit, warnings);
    options.output.finish(&report, &progress)
}

impl Options {
    fn settings(&self) -> Settings {
        Settings {
            users: u64::from(self.sockets),
            online: u64::from(self.sockets),
            conversations: u64::from(self.conversations),
            duration_s: self.duration.as_secs_f64(),
            timeout_s: self.target.timeout.as_secs_f64(),
            ..Settings::default()
        }
    }

    /// Conversations of up to 1,000 of the users each, so that every session has something to be
    /// subscribed to.
    async fn create(&self, target: &Target, progress: &Progress) -> Result<Vec<String>, String> {
        let run = run_name()?;
        let users: Vec<String> = (0..self.sockets)
            .map(|user| format!("{run}-user-{user}"))
            .collect();
        progress.say(&format!(
            "creating {} conversations of each of {} users",
            self.conversations,
            users.len()
        ));
        let admin = format!("{run}-admin");
        let token = target.tokens.of(&admin).await?;

        for _ in 0..self.conversations {
            for some in users.chunks(MEMBERS_MAX) {
                let body = serde_json::json!({"participants": some});
                let ask = Ask::post(
                    "/v1/conversations",
                    Arc::clone(&token),
                    Bytes::from(body.to_string()),
                );
                let created = target.pool(0)?.succeed(&ask).await;
                created.map_err(|error| format!("creating a conversation: {error}"))?;
            }
        }

        Ok(users)
    }

    async fn open(
        &self,
        target: &Arc<Target>,
        users: &[String],
        live: &Arc<Live>,
        stop: &CancellationToken,
    ) -> Result<(Held, Histogram<u64>), String> {
        let opening = users.iter().enumerate().map(|(number, user)| async move {
            let token = target.tokens.of(user).await?;
            let begun = Instant::now();
            let session = Session::open(
                target.protocol,
                &target.dialer,
                target.endpoint(number)?,
                &token,
            )
            .await;
            let session =
                session.map_err(|error| format!("socket {number} of {}: {error}", users.len()))?;
            Ok::<_, String>((session, micros(begun.elapsed())))
        });

        let width = usize::try_from(self.opening).map_err(|error| error.to_string())?;
        let mut opening = stream::iter(opening).buffer_unordered(width);
        let (mut held, mut open) = (Held::new(), histogram()?);
        while let Some((session, took_us)) = opening.try_next().await? {
            open.saturating_record(took_us);
            held.spawn(hold(session, Arc::clone(live), stop.clone()));
        }

        Ok((held, open))
    }
}

/// How much more memory each session takes now than there was before them.
fn growth(before: &Snapshot, now: &Snapshot, sessions: u64) -> Option<f64> {
    let (now, before) = (now.resident_bytes()?, before.resident_bytes()?);
    Some((now - before) / float(sessions))
}

/// Reads, so that pings are answered, until all is over or the socket ends.
async fn hold(mut session: Session, live: Arc<Live>, stop: CancellationToken) -> Option<u16> {
    let count: &AtomicU64 = &live.open;
    count.fetch_add(1, Ordering::Relaxed);
    let ended = loop {
        tokio::select! {
            frame = session.next() => if let Err(code) = frame { break Some(code) },
            () = stop.cancelled() => break None,
        }
    };
    count.fetch_sub(1, Ordering::Relaxed);
    ended
}

/// Sockets that ended early; idle sessions get nothing that could be lost.
async fn audit(held: &mut Held, sessions: usize) -> Result<Audit, String> {
    let mut closes = std::collections::BTreeMap::<u16, u64>::new();
    while let Some(ended) = held.join_next().await {
        if let Some(code) = ended.map_err(|error| error.to_string())? {
            *closes.entry(code).or_default() += 1;
        }
    }
    Ok(Audit {
        sessions: u64::try_from(sessions).unwrap_or_default(),
        closes: closes
            .into_iter()
            .map(|(code, count)| Close { code, count })
            .collect(),
        ..Audit::default()
    })
}
