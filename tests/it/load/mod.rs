//! Load that goes on while something breaks: senders over REST and over sockets, each through both
//! routers in turn, and readers that come back by resume. Everybody remembers what they were told,
//! and it is all compared at the end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::task::JoinHandle;

use crate::load::check::Report;
use crate::load::reader::Reader;
use crate::load::sender::Sender;
use crate::support::server::Server;
use crate::support::{DEADLINE, Group};

pub(crate) mod breakable;

pub(crate) mod check;

pub(crate) mod reader;

pub(crate) mod sender;

pub(crate) mod servers;

/// Conversations with load, on as many shards as chance will have it.
const CONVERSATIONS: usize = 8;

/// Acknowledged by every sender before the load counts as flowing again.
const FLOWING: usize = 3;

/// Where the load connects, and whether it is to go on.
#[derive(Clone)]
pub(crate) struct Target {
    routers: Vec<SocketAddr>,
    over: Arc<AtomicBool>,
    turn: Arc<AtomicUsize>,
}

impl Target {
    /// The next router.
    fn address(&self) -> SocketAddr {
        self.routers[self.turn.fetch_add(1, Ordering::Relaxed) % self.routers.len()]
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// One conversation with a sender over REST, one over sockets, and a reader.
struct Line {
    group: Group,
    senders: Vec<(JoinHandle<Sender>, Arc<AtomicUsize>)>,
    reader: JoinHandle<Reader>,
    /// Up to where the reader has to read; 0 while nobody knows.
    last: Arc<AtomicU64>,
}

/// Load that is running.
pub(crate) struct Load {
    target: Target,
    lines: Vec<Line>,
}

impl Load {
    /// Starts, and waits until it flows.
    pub(crate) async fn start(server: &Server) -> Self {
        let target = Target {
            routers: routers(server),
            over: Arc::default(),
            turn: Arc::default(),
        };
        let mut lines = Vec::new();

        for _ in 0..CONVERSATIONS {
            let group = Group::create(server, 3).await;
            let last: Arc<AtomicU64> = Arc::default();
            let senders = group.members[..2].iter().enumerate().map(|(i, member)| {
                let count: Arc<AtomicUsize> = Arc::default();
                let sender = Sender::new(
                    target.clone(),
                    member.user(),
                    &group.name,
                    Arc::clone(&count),
                );
                let running = if i == 0 {
                    tokio::spawn(sender.over_rest())
                } else {
                    tokio::spawn(sender.over_sockets())
                };
                (running, count)
            });
            let senders = senders.collect();
            let reader = Reader::new(
                target.clone(),
                group.members[2].user(),
                &group.name,
                Arc::clone(&last),
            );
            lines.push(Line {
                group,
                senders,
                reader: tokio::spawn(reader.run()),
                last,
            });
        }

        let load = Self { target, lines };
        load.flows("at the start").await;
        load
    }

    /// Waits until every sender has had some more acknowledged: all shards with load are served.
    pub(crate) async fn flows(&self, when: &str) {
        let counts: Vec<&AtomicUsize> = self
            .lines
            .iter()
            .flat_map(|line| line.senders.iter().map(|(_, count)| count.as_ref()))
            .collect();
        let before: Vec<usize> = counts
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .collect();
        let end = Instant::now() + 2 * DEADLINE;
        loop {
            for (line, (running, _)) in self
                .lines
                .iter()
                .flat_map(|line| line.senders.iter().map(move |s| (line, s)))
            {
                assert!(
                    !running.is_finished(),
                    "a sender of {} gave up {when}",
                    line.group.name
                );
            }
            let stuck = counts
                .iter()
                .zip(&before)
                .filter(|(count, before)| count.load(Ordering::Relaxed) < **before + FLOWING);
            let stuck = stuck.count();
            if stuck == 0 {
                return;
            }
            assert!(
                Instant::now() < end,
                "{when}: {stuck} of {} senders get nothing acknowledged",
                counts.len()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Acknowledged so far, by all.
    pub(crate) fn acknowledged(&self) -> usize {
        self.lines
            .iter()
            .flat_map(|line| &line.senders)
            .map(|(_, count)| count.load(Ordering::Relaxed))
            .sum()
    }

    /// The conversations.
    #[allow(dead_code, reason = "not every target asks")]
    pub(crate) fn groups(&self) -> Vec<&Group> {
        self.lines.iter().map(|line| &line.group).collect()
    }

    /// Stops the senders and checks everything: nothing acknowledged is lost, there twice, or out
    /// of order; what was surely not written never appeared; seqs are dense; every reader saw each
    /// change once, in order, over all breaks.
    pub(crate) async fn finish(self) -> Report {
        self.finish_but(&[]).await
    }

    /// The same, where the test itself sent messages with these texts.
    pub(crate) async fn finish_but(self, others: &[&str]) -> Report {
        self.target.over.store(true, Ordering::Relaxed);
        let mut report = Report::default();
        let checks = self.lines.into_iter().map(|line| async move {
            let senders = join_all(line.senders.into_iter().map(|(running, _)| running)).await;
            let senders: Vec<Sender> = senders.into_iter().map(Result::unwrap).collect();
            let reader = line.reader;
            check::line(&line.group, senders, &line.last, reader, others).await
        });
        for line in join_all(checks).await {
            report.add(line);
        }
        eprintln!("{report:?}");
        report
    }
}

fn routers(server: &Server) -> Vec<SocketAddr> {
    match server {
        Server::One(process) => vec![process.address()],
        Server::Many(cluster) => cluster.routers().to_vec(),
    }
}
