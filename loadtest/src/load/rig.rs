//! Everything that a run of load needs, put together: a target, a workload on it, sessions that
//! listen, a sender.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::load::history::{self, Compared, Entry};
use crate::load::ledger::{Book, Ledger};
use crate::load::listener::Listeners;
use crate::load::recorder::Recorder;
use crate::load::sampler::{Sampler, Views};
use crate::load::schedule::{Schedule, Spacing};
use crate::load::sender::{Driven, Sender};
use crate::load::snapshot::{Snapshot, wait_for_lag};
use crate::load::text;
use crate::load::workload::{MEMBERS_MAX, Workload};
use crate::progress::Progress;
use crate::report::Settings;
use crate::report::figures::{self, Audit, Close, Latency, Load, Second, Sends, float};
use crate::target::Target;
use crate::target::metrics::Scraper;

/// Conversations whose history is read at the same time.
const READING: usize = 8;
/// Open files beside sockets and sends in flight.
const FILES_BESIDE: u64 = 64;
/// A pause in deliveries of this length means that no more will come.
const QUIET: Duration = Duration::from_secs(10);

/// Who talks with whom, and how, by flags.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Load")]
pub(crate) struct LoadOptions {
    /// Users [default: 100, or as many as the largest conversation needs]
    #[arg(long, value_name = "NUMBER")]
    users: Option<usize>,
    /// Users with a socket; 0 for none [default: all]
    #[arg(long, value_name = "NUMBER")]
    online: Option<usize>,
    /// Members of each conversation, 1 to 1,000; several sizes take turns, and have figures of
    /// their own
    #[arg(
        long,
        value_name = "NUMBER",
        value_delimiter = ',',
        default_value = "10"
    )]
    members: Vec<usize>,
    /// Conversations of each size
    #[arg(long, value_name = "NUMBER", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    conversations: u32,
    /// Bytes of text of each message, 40 to 16,384
    #[arg(long, value_name = "BYTES", default_value_t = 120)]
    payload: usize,
    /// How sends are spread over time
    #[arg(long, value_enum, default_value_t = Spacing::Poisson)]
    spacing: Spacing,
    /// Time of sending before the measured span
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = humantime::parse_duration)]
    pub(crate) warm_up: Duration,
    /// Most sends in flight; what is due beyond it waits, and the wait counts
    #[arg(long, value_name = "NUMBER", default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(1..))]
    in_flight: u32,
    /// Give each send an Idempotency-Key
    #[arg(long)]
    idempotency_keys: bool,
    /// Seed of all chance: who is in which conversation, who sends when
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// How long the last deliveries may take
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    patience: Duration,
}

/// All of it.
pub(crate) struct Rig {
    target: Arc<Target>,
    workload: Arc<Workload>,
    recorder: Arc<Recorder>,
    ledger: Arc<Ledger>,
    sender: Arc<Sender>,
    listeners: Listeners,
    scraper: Arc<Scraper>,
    sampler: Sampler,
    options: LoadOptions,
    timeout: Duration,
    /// What makes the figures doubtful.
    pub(crate) warnings: Vec<String>,
}

impl LoadOptions {
    /// Checks what belongs together, and fills in what was not given.
    pub(crate) fn settings(&self, timeout: Duration) -> Result<Settings, String> {
        let largest = self
            .members
            .iter()
            .copied()
            .max()
            .ok_or("--members needs a number")?;
        if self
            .members
            .iter()
            .any(|size| !(1..=MEMBERS_MAX).contains(size))
        {
            return Err(format!("--members is 1 to {MEMBERS_MAX}"));
        }
        if !(text::BYTES_MIN..=text::BYTES_MAX).contains(&self.payload) {
            return Err(format!(
                "--payload is {} to {}",
                text::BYTES_MIN,
                text::BYTES_MAX
            ));
        }
        let users = self.users.unwrap_or_else(|| largest.max(100));
        if users < largest {
            return Err(format!(
                "--members {largest} needs at least so many --users"
            ));
        }
        let online = self.online.unwrap_or(users);
        if online > users {
            return Err(format!("--online {online} is more than --users {users}"));
        }
        let wide = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        Ok(Settings {
            users: wide(users),
            online: wide(online),
            members: self.members.iter().map(|size| wide(*size)).collect(),
            conversations: u64::from(self.conversations),
            payload_bytes: wide(self.payload),
            spacing: self.spacing.word().to_owned(),
            rate: None,
            duration_s: 0.0,
            warm_up_s: self.warm_up.as_secs_f64(),
            in_flight_max: u64::from(self.in_flight),
            timeout_s: timeout.as_secs_f64(),
            idempotency_keys: self.idempotency_keys,
            seed: self.seed,
        })
    }
}

/// Fails when so many sockets and connections cannot be open at once in this process.
pub(crate) fn allow_files(wanted: u64) -> Result<(), String> {
    let limit = rlimit::increase_nofile_limit(u64::MAX)
        .map_err(|error| format!("limit of open files: {error}"))?;
    let needed = wanted + FILES_BESIDE;
    if needed <= limit {
        return Ok(());
    }
    Err(format!(
        "{needed} open files are needed for the sockets and the sends in flight, and this process may have {limit} (`ulimit -Hn`): \
         fewer --online, --sockets or --in-flight, or several processes side by side"
    ))
}

impl Rig {
    /// Creates the conversations and opens the sockets.
    pub(crate) async fn start(
        target: Target,
        options: &LoadOptions,
        settings: &Settings,
        progress: &Arc<Progress>,
        stop: &CancellationToken,
    ) -> Result<Self, String> {
        let narrow = |number: u64| usize::try_from(number).map_err(|error| error.to_string());
        allow_files(settings.online + settings.in_flight_max)?;
        let (users, online) = (narrow(settings.users)?, narrow(settings.online)?);
        let each = narrow(settings.conversations)?;
        let run = run_name()?;
        let mut workload = Workload::plan(
            &run,
            (users, online),
            (&options.members, each),
            options.seed,
        );
        progress.say(&format!(
            "creating {} conversations",
            workload.conversations.len()
        ));
        workload.create(&target).await?;
        let (target, workload) = (Arc::new(target), Arc::new(workload));
        let begun = Instant::now();
        let recorder = Arc::new(Recorder::new(begun, workload.sizes.len())?);
        progress.say(&format!("opening {online} sockets"));
        let listeners = Listeners::open(&target, &workload, &recorder).await?;
        let ledger = Arc::new(Ledger::new(workload.conversations.len()));
        let sender = Arc::new(Sender {
            target: Arc::clone(&target),
            workload: Arc::clone(&workload),
            recorder: Arc::clone(&recorder),
            ledger: Arc::clone(&ledger),
            begun,
            payload: options.payload,
            keys: options.idempotency_keys,
            in_flight_max: options.in_flight,
            gate: Arc::new(Semaphore::new(narrow(settings.in_flight_max)?)),
            number: AtomicU64::new(0),
            stop: stop.clone(),
        });
        let scraper = Arc::new(Scraper::new(&target));
        let sampler = Sampler::start(Views {
            recorder: Arc::clone(&recorder),
            sender: Some(Arc::clone(&sender)),
            live: Some(Arc::clone(&listeners.live)),
            scraper: Arc::clone(&scraper),
            progress: Arc::clone(progress),
        });
        Ok(Self {
            target,
            workload,
            recorder,
            ledger,
            sender,
            listeners,
            scraper,
            sampler,
            options: options.clone(),
            timeout: Duration::from_secs_f64(settings.timeout_s),
            warnings: Vec::new(),
        })
    }

    /// Sends at this rate without measuring.
    pub(crate) async fn warm_up(&self, rate: f64) -> Result<(), String> {
        self.sampler.due(rate);
        let schedule = Schedule::new(
            rate,
            self.options.warm_up,
            self.options.spacing,
            self.options.seed ^ 1,
        );
        self.sender
            .drive(self.recorder.now_us(), schedule, self.timeout)
            .await?;
        Ok(())
    }

    /// Sends at this rate for so long and waits until all is answered and delivered; what was
    /// measured.
    pub(crate) async fn measure(&mut self, rate: f64, length: Duration) -> Result<Load, String> {
        self.sampler.due(rate);
        let from_us = self.recorder.now_us();
        self.recorder.measure_from(from_us)?;
        let (scraper, redis) = (Arc::clone(&self.scraper), self.target.redis.clone());
        let before = tokio::spawn(async move { Snapshot::take(&scraper, &redis).await });
        // Another stretch has other chance, for the same seed always the same.
        let seed = self
            .options
            .seed
            .wrapping_add(self.sender.number.load(Ordering::Relaxed).wrapping_mul(2));
        let schedule = Schedule::new(rate, length, self.options.spacing, seed);
        let driven = self.sender.drive(from_us, schedule, self.timeout).await?;
        self.sampler.due(0.0);
        // A request ends with its timeout; a little more, so that none is left.
        self.sender
            .settle(self.timeout + Duration::from_secs(1))
            .await;
        self.listeners
            .wait_for(self.deliveries_expected(), QUIET, self.options.patience)
            .await;
        let (after, warnings) = Snapshot::take(&self.scraper, &self.target.redis).await;
        self.warnings.extend(warnings);
        let (before, earlier) = before.await.map_err(|error| error.to_string())?;
        self.warnings.extend(earlier);
        self.load(driven, (from_us, length), &before, &after).await
    }

    async fn load(
        &self,
        driven: Driven,
        (from_us, length): (u64, Duration),
        before: &Snapshot,
        after: &Snapshot,
    ) -> Result<Load, String> {
        let totals = self.recorder.totals()?;
        let deliver = totals.deliver()?;
        let accepted = totals.accepted();
        let until = |last_us: u64| {
            Duration::from_micros(last_us.saturating_sub(from_us))
                .max(length)
                .as_secs_f64()
        };
        let measured_s = if self.sender.stop.is_cancelled() {
            Duration::from_micros(totals.last_answer_us.saturating_sub(from_us))
                .as_secs_f64()
                .max(1e-3)
        } else {
            until(totals.last_answer_us)
        };
        let mut server = after.server_since(before, accepted);
        if let Some(server) = &mut server {
            server.lag_s = wait_for_lag(&self.scraper, self.target.metrics.lag).await;
        }
        Ok(Load {
            measured_s,
            sends: Sends {
                scheduled: driven.scheduled,
                accepted,
                failed: totals.failed(),
                unsent: driven.unsent,
                held: driven.held,
                late: totals.late,
                lateness: Latency::of(&totals.lateness),
                accepted_per_second: float(accepted) / measured_s,
            },
            deliveries_expected: totals.expected,
            deliveries: deliver.len(),
            deliveries_per_second: float(deliver.len()) / until(totals.last_delivery_us),
            post: Latency::of(&totals.post),
            post_from_start: Latency::of(&totals.service),
            deliver: Latency::of(&deliver),
            by_members: figures::by_members(&totals, &self.workload.sizes),
            errors: figures::errors(&totals.errors),
            distribution: figures::Distribution {
                post: figures::distribution(&totals.post),
                deliver: figures::distribution(&deliver),
            },
            server,
            redis: after.redis_since(before, accepted),
            client: after.client_since(before, accepted),
        })
    }

    /// Messages that all sessions together should have got by now.
    fn deliveries_expected(&self) -> u64 {
        let of = |(index, conversation): (usize, &crate::load::workload::Conversation)| {
            self.ledger.accepted_in(index) * conversation.online
        };
        self.workload.conversations.iter().enumerate().map(of).sum()
    }

    /// Reads the history back and compares everything with everything.
    pub(crate) async fn finish(self) -> Result<(Audit, Vec<Second>, Vec<String>), String> {
        let mut warnings = self.warnings;
        let seconds = self.sampler.finish();
        let books = self.ledger.books();
        let reading = self
            .workload
            .conversations
            .iter()
            .zip(&books)
            .map(|(conversation, book)| {
                let (target, workload) = (&self.target, &self.workload);
                async move {
                    let user = conversation
                        .members
                        .first()
                        .copied()
                        .ok_or("a conversation without members")?;
                    let name = workload.user(user)?;
                    let entries = history::read(
                        target.pool(user)?.as_ref(),
                        &target.tokens,
                        name,
                        &conversation.name,
                    )
                    .await?;
                    let (last_seq, messages, compared) =
                        judge(&entries, book, target.protocol.has_seqs());
                    Ok::<_, String>((last_seq, messages * conversation.online, compared))
                }
            });
        let read: Result<Vec<(u64, u64, Compared)>, String> =
            stream::iter(reading).buffered(READING).try_collect().await;
        let mut compared = Compared::default();
        let mut last_seqs = Vec::new();
        let history_read = read.is_ok();
        match read {
            Ok(read) => {
                let mut expected = 0;
                for (last_seq, deliveries, one) in read {
                    compared.add(one);
                    last_seqs.push(last_seq);
                    expected += deliveries;
                }
                // What had no clear answer counts now, too: it is there, so it must arrive.
                self.listeners
                    .wait_for(expected, QUIET, self.options.patience)
                    .await;
            }
            Err(error) => {
                warnings.push(format!("the history could not be read back: {error}"));
                let last = |book: &Book| book.accepted.iter().map(|(seq, _)| *seq).max();
                last_seqs.extend(books.iter().map(|book| last(book).unwrap_or_default()));
                compared.acknowledged = books
                    .iter()
                    .map(|book| u64::try_from(book.accepted.len()).unwrap_or_default())
                    .sum();
            }
        }
        // What was acknowledged and is not in the history may still be a later seq than the history
        // has.
        for (last_seq, book) in last_seqs.iter_mut().zip(&books) {
            let acknowledged = book
                .accepted
                .iter()
                .map(|(seq, _)| *seq)
                .max()
                .unwrap_or_default();
            *last_seq = acknowledged.max(*last_seq);
        }
        let heard = self.listeners.finish(&last_seqs).await?;
        let audit = Audit {
            acknowledged: compared.acknowledged,
            history_read,
            history_missing: compared.missing,
            history_doubled: compared.doubled,
            history_moved: compared.moved,
            history_not_dense: compared.not_dense,
            history_unwritten: compared.unwritten_but_there,
            history_unknown: compared.unknown_but_there,
            sessions: u64::try_from(self.workload.online).unwrap_or_default(),
            delivered: heard.messages,
            missing: heard.missing,
            doubled: heard.doubled,
            out_of_order: heard.out_of_order,
            skipped: heard.skipped,
            told_gaps: heard.told_gaps,
            taken_back: heard.taken_back,
            closes: heard
                .closes
                .iter()
                .map(|(code, count)| Close {
                    code: *code,
                    count: *count,
                })
                .collect(),
            resumed: heard.resumed,
        };
        Ok((audit, seconds, warnings))
    }
}

/// Judges the history of one conversation: its last seq (or how many messages it has, where there
/// are no seqs), its messages, and what the comparison with the answers found.
fn judge(entries: &[Entry], book: &Book, has_seqs: bool) -> (u64, u64, Compared) {
    let messages = entries
        .iter()
        .filter(|entry| entry.number.is_some())
        .count();
    let messages = u64::try_from(messages).unwrap_or_default();
    let compared = history::compare(entries, book);
    if has_seqs {
        let last_seq = entries
            .iter()
            .map(|entry| entry.seq)
            .max()
            .unwrap_or_default();
        (last_seq, messages, compared)
    } else {
        (messages, messages, compared.without_seqs())
    }
}

/// A name that no other run has; what runs longer than this program keeps the conversations of
/// earlier runs.
pub(crate) fn run_name() -> Result<String, String> {
    let millis = std::time::UNIX_EPOCH
        .elapsed()
        .map_err(|error| error.to_string())?
        .as_millis();
    Ok(format!("load-{millis:x}-{:x}", std::process::id()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: LoadOptions,
    }

    fn settings(line: &str) -> Result<Settings, String> {
        let line =
            Line::try_parse_from(line.split_whitespace()).map_err(|error| error.to_string())?;
        line.options.settings(Duration::from_secs(1))
    }

    #[test]
    fn a_history_without_seqs_is_judged_by_what_is_in_it() {
        let entry = |seq, number| Entry {
            seq,
            number: Some(number),
        };
        let book = Book {
            accepted: vec![(0, 1), (0, 2), (0, 3)],
            ..Book::default()
        };
        let (upto, messages, found) = judge(&[entry(0, 2), entry(0, 1), entry(0, 1)], &book, false);
        assert_eq!((upto, messages, found.missing, found.doubled), (3, 3, 1, 1));
        assert_eq!((found.moved, found.not_dense), (0, 0));
        let dense = Book {
            accepted: vec![(2, 1)],
            ..Book::default()
        };
        let (last_seq, _, with_seqs) = judge(&[entry(2, 1)], &dense, true);
        assert_eq!((last_seq, with_seqs.not_dense), (2, 1), "seqs begin with 1");
    }

    #[test]
    fn there_are_enough_users_for_the_largest_conversation() {
        let of = |line: &str| {
            settings(line)
                .map(|settings| (settings.users, settings.online))
                .unwrap()
        };
        assert_eq!(of("x"), (100, 100));
        assert_eq!(of("x --members 2,1000"), (1_000, 1_000));
        assert_eq!(of("x --members 2,1000 --online 10"), (1_000, 10));
        assert_eq!(of("x --users 20 --online 0"), (20, 0));
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_flag_that_is_wrong() {
        for (line, flag) in [
            ("x --members 0", "--members"),
            ("x --members 1001", "--members"),
            ("x --users 5", "--users"),
            ("x --online 101", "--online"),
            ("x --payload 39", "--payload"),
            ("x --payload 16385", "--payload"),
            ("x --in-flight 0", "--in-flight"),
        ] {
            assert!(settings(line).unwrap_err().contains(flag), "{line}");
        }
    }

    #[test]
    fn more_files_than_this_process_may_have_are_refused_with_the_limit() {
        assert!(allow_files(10).is_ok());
        assert!(allow_files(u64::MAX / 2).unwrap_err().contains("ulimit"));
    }
}
