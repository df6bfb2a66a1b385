//! Those who watch: what they are told, and when.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::client::socket::Session;
use crate::load::recorder::{histogram, micros};
use crate::presence::made::Made;
use crate::presence::sockets::open;
use crate::target::Target;

/// Conversations that a session watches.
const WATCHED_MAX: usize = 20;
/// How long it may take until everybody is told.
const PATIENCE: Duration = Duration::from_secs(120);

/// What happens now: whose latencies are whose.
pub(super) const BEFORE: usize = 0;
pub(super) const IN_STORM: usize = 1;
pub(super) const UNCOUNTED: usize = 2;

/// What all watchers share.
pub(super) struct Watched {
    pub(super) begun: Instant,
    pub(super) phase: AtomicUsize,
    /// States that were told.
    pub(super) online: AtomicU64,
    pub(super) offline: AtomicU64,
}

impl Watched {
    pub(super) fn new() -> Self {
        let phase = AtomicUsize::new(UNCOUNTED);
        Self {
            begun: Instant::now(),
            phase,
            online: AtomicU64::new(0),
            offline: AtomicU64::new(0),
        }
    }

    pub(super) fn told(&self, online: bool) -> &AtomicU64 {
        if online { &self.online } else { &self.offline }
    }
}

/// A frame of the server, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Frame<'a> {
    #[serde(borrow)]
    t: Cow<'a, str>,
    #[serde(borrow, default)]
    user: Cow<'a, str>,
    #[serde(default)]
    online: bool,
    #[serde(borrow, default)]
    text: Cow<'a, str>,
}

/// What a watcher knows and has measured.
pub(super) struct Heard {
    pub(super) online: HashSet<String>,
    pub(super) latency_us: [Histogram<u64>; 2],
}

/// Opens the watchers. How many states all of them are to be told in all.
pub(super) async fn watch_all(
    target: &Target,
    made: &Made,
    (watched, ends): (&Arc<Watched>, &watch::Receiver<bool>),
) -> Result<(JoinSet<Result<Heard, String>>, u64), String> {
    let (mut watchers, mut expected) = (JoinSet::new(), 0);
    for (number, user) in made.watchers.iter().enumerate() {
        let mut session = open(target, number, user).await?;
        let first = number * WATCHED_MAX;
        let count = made.conversations.len();
        let of: Vec<usize> = (first..first + WATCHED_MAX.min(count))
            .map(|at| at % count)
            .collect();
        expected += of
            .iter()
            .filter_map(|at| made.users.get(*at))
            .map(Vec::len)
            .sum::<usize>();
        let names: Vec<&String> = of
            .iter()
            .filter_map(|at| made.conversations.get(*at))
            .collect();
        session
            .say(&serde_json::json!({"t": "watch", "conversations": names}))
            .await?;
        watchers.spawn(hear(session, Arc::clone(watched), ends.clone()));
    }

    Ok((
        watchers,
        u64::try_from(expected).map_err(|error| error.to_string())?,
    ))
}

/// Reads what a watcher is told, until the end.
async fn hear(
    mut session: Session,
    watched: Arc<Watched>,
    mut ends: watch::Receiver<bool>,
) -> Result<Heard, String> {
    let mut heard = Heard {
        online: HashSet::new(),
        latency_us: [histogram()?, histogram()?],
    };
    loop {
        let text = tokio::select! {
            text = session.next() => text.map_err(|code| format!("a watcher was closed with {code}"))?,
            _ = ends.wait_for(|end| *end) => return Ok(heard),
        };
        let Ok(frame) = serde_json::from_str::<Frame<'_>>(&text) else {
            continue;
        };
        match frame.t.as_ref() {
            "presence" if frame.user.contains("-user-") => {
                let is_new = if frame.online {
                    heard.online.insert(frame.user.into())
                } else {
                    heard.online.remove(&*frame.user)
                };
                watched
                    .told(frame.online)
                    .fetch_add(u64::from(is_new), Ordering::SeqCst);
            }
            "message" => {
                let due = frame.text.parse().unwrap_or(u64::MAX);
                let took = micros(watched.begun.elapsed()).saturating_sub(due);
                if let Some(latencies) = heard
                    .latency_us
                    .get_mut(watched.phase.load(Ordering::SeqCst))
                {
                    latencies.saturating_record(took);
                }
            }
            "error" => return Err(format!("a watcher was refused: {text}")),
            _ => {}
        }
    }
}

/// Waits until all watchers were told of all of them so.
pub(super) async fn until_told(
    watched: &Watched,
    online: bool,
    expected: u64,
) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        let told = watched.told(online).load(Ordering::SeqCst);
        if told >= expected {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!(
                "{told} of {expected} states were told in time, online: {online}"
            ));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What all watchers measured, and how many states they know that are not so.
pub(super) async fn gather(
    watchers: &mut JoinSet<Result<Heard, String>>,
) -> Result<(Heard, usize), String> {
    let mut all = Heard {
        online: HashSet::new(),
        latency_us: [histogram()?, histogram()?],
    };
    let mut wrong = 0;
    while let Some(heard) = watchers.join_next().await {
        let heard = heard.map_err(|error| error.to_string())??;
        wrong += heard.online.len();
        for (to, more) in all.latency_us.iter_mut().zip(&heard.latency_us) {
            to.add(more).map_err(|error| error.to_string())?;
        }
    }
    Ok((all, wrong))
}
