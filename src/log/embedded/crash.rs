//! Kill -9 at any moment: a child process appends under load and says what was acknowledged; it is
//! killed at a random moment, again and again on the same file, and everything that it said is
//! there.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::Rng;

use super::EmbeddedLog;
use crate::ids::{Offset, ShardId};
use crate::log::conformance::{batch, claimed, read_all};
use crate::log::record::{Entry, Header, Tail};
use crate::log::{AppendOutcome, RawEntry, ShardLog, Stream};

const FILE_VARIABLE: &str = "ROOKERY_TEST_CRASH_FILE";
const ROUNDS: usize = 6;
const SHARDS: u16 = 4;
/// The stream that is trimmed while it is written.
const TRIMMED: ShardId = ShardId(0);

/// What a child said of one stream: the last acknowledged tail, and how far it may have trimmed.
#[derive(Debug, Default, Clone)]
struct Said {
    acknowledged: Option<(Offset, String)>,
    trimmed: Offset,
}

type AllSaid = BTreeMap<(u16, usize), Said>;

/// The child: does nothing unless a parent started it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_a_child_append_until_killed() {
    let Some(path) = std::env::var_os(FILE_VARIABLE) else {
        return;
    };
    let log = open_when_free(Path::new(&path)).await;
    let appenders: Vec<_> = (0..SHARDS)
        .map(|shard| tokio::spawn(append_until_killed(Arc::clone(&log), shard)))
        .collect();
    for appender in appenders {
        appender.await.expect("appends");
    }
}

/// The process killed before may still be on its way out.
async fn open_when_free(path: &Path) -> Arc<EmbeddedLog> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match EmbeddedLog::open(path).await {
            Ok(log) => return log,
            Err(error) if Instant::now() > deadline => panic!("{error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn append_until_killed(log: Arc<EmbeddedLog>, shard: u16) {
    let shard = ShardId(shard);
    let token = claimed(&*log, shard).await;
    let mut tails = log.control(shard).await.unwrap().unwrap().tails;

    for number in 0_u64.. {
        let text = "x".repeat(rand::rng().random_range(0..3000));
        let cycle = Stream::BOTH.map(|stream| {
            let count = rand::rng().random_range(1..5);
            batch(shard, stream, token, &tails[stream], (count, &text))
        });
        for (batch, answer) in cycle.iter().zip(log.append(&cycle).await) {
            assert_eq!(answer, Ok(AppendOutcome::Appended));
            say(format_args!(
                "A {} {} {} {:?}",
                shard.0, batch.stream as u8, batch.tail.offset.0, batch.tail.chain
            ));
            tails[batch.stream] = batch.tail;
        }
        if shard == TRIMMED && number % 7 == 6 {
            let upto = Offset(tails.messages.offset.0.saturating_sub(50));
            say(format_args!("T {} 0 {}", shard.0, upto.0));
            log.trim(shard, token, Stream::Messages, upto)
                .await
                .unwrap();
        }
    }
}

fn say(line: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .expect("the parent listens");
}

fn child(path: &OsStr) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "log::embedded::crash::as_a_child_append_until_killed",
            "--nocapture",
        ])
        .env(FILE_VARIABLE, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts")
}

/// Lets a child run until it has acknowledged some, kills it at a random moment after, and notes
/// what it said.
fn run_and_kill(path: &Path, said: &mut AllSaid) {
    let mut running = child(path.as_os_str());
    let mut lines = BufReader::new(running.stdout.take().unwrap()).lines();
    let kill_after = rand::rng().random_range(20..400);
    let mut acknowledged = 0;
    let mut note = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let (shard, stream, offset, chain) = match words[..] {
            ["A", shard, stream, offset, chain] => (shard, stream, offset, Some(chain)),
            ["T", shard, stream, offset] => (shard, stream, offset, None),
            _ => return false,
        };
        let (Ok(shard), Ok(stream), Ok(offset)) = (shard.parse(), stream.parse(), offset.parse())
        else {
            return false;
        };
        let said = said.entry((shard, stream)).or_default();
        match chain {
            Some(chain) => said.acknowledged = Some((Offset(offset), chain.to_owned())),
            None => said.trimmed = Offset(offset),
        }
        true
    };

    while acknowledged < kill_after {
        let line = lines.next().expect("the child ended by itself").unwrap();
        acknowledged += usize::from(note(&line));
    }

    std::thread::sleep(Duration::from_micros(rand::rng().random_range(0..20_000)));
    running.kill().expect("is killed");
    // What it said before the kill and no one has read yet; the last line may be cut.
    for line in lines.map_while(Result::ok) {
        note(&line);
    }

    running.wait().expect("is gone");
}

/// Everything retained links, from the trim point to the tail in the control record.
fn check_stream(entries: &[RawEntry], tail: &Tail, said: &Said, which: (u16, usize)) {
    let mut before: Option<Tail> = None;
    let mut chains = BTreeMap::new();
    for raw in entries {
        let header = Header::read(&raw.bytes).unwrap();
        let known = before.unwrap_or(Tail::EMPTY);
        if before.is_some() || header.first == Offset(1) {
            assert!(
                Entry::decode_after(&known, &raw.bytes).is_ok(),
                "{which:?}: {} does not link",
                header.first
            );
        } else {
            assert!(
                header.first <= said.trimmed.next(),
                "{which:?}: begins at {} unasked",
                header.first
            );
        }
        chains.insert(header.tail().offset, format!("{:?}", header.tail().chain));
        before = Some(header.tail());
    }

    assert_eq!(
        before.unwrap_or(Tail::EMPTY),
        *tail,
        "{which:?}: the control record has another tail"
    );

    if let Some((offset, chain)) = &said.acknowledged {
        assert!(
            *offset <= tail.offset,
            "{which:?}: {offset} was acknowledged, the tail is {}",
            tail.offset
        );
        assert_eq!(
            chains.get(offset),
            Some(chain),
            "{which:?}: {offset} was acknowledged with another history"
        );
    }
}

#[tokio::test]
async fn everything_acknowledged_is_there_after_kill_9_at_any_moment() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut all = AllSaid::new();

    for round in 0..ROUNDS {
        let (child_path, mut known) = (path.clone(), std::mem::take(&mut all));
        let killed = tokio::task::spawn_blocking(move || {
            run_and_kill(&child_path, &mut known);
            known
        });
        all = killed.await.unwrap();
        assert!(
            all.values().any(|said| said.acknowledged.is_some()),
            "round {round}"
        );
        let log = open_when_free(&path).await;
        for (&(shard, stream), said) in &all {
            let kind = Stream::BOTH[stream];
            let entries = read_all(&*log, ShardId(shard), kind).await;
            let control = log.control(ShardId(shard)).await.unwrap().unwrap();
            check_stream(&entries, &control.tails[kind], said, (shard, stream));
        }
        log.close().await;
    }
}
