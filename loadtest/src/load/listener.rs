//! Sessions that listen: each counts what reaches it, judges the order of each conversation, and
//! connects again where it left off when its socket ends.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::client::dial::Endpoint;
use crate::client::failure::Failure;
use crate::client::socket::{Frame, Session};
use crate::load::heard::Heard;
use crate::load::order::{Line, Seen};
use crate::load::recorder::Recorder;
use crate::load::tally::{Numbers, Tally};
use crate::load::text::Stamp;
use crate::load::workload::Workload;
use crate::target::Target;

/// Sockets that are opened at the same time.
const OPENING: usize = 50;
/// What waits to be said over one socket; more is not said.
const SAYS_MAX: usize = 16;
/// First pause before connecting again; doubled up to the longest, and each time a half of it is
/// chance.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// What can be seen while they listen.
#[derive(Debug, Default)]
pub(crate) struct Live {
    /// Messages, each counted once for each session.
    pub(crate) messages: AtomicU64,
    /// Doubled or out of order, or taken back.
    pub(crate) faults: AtomicU64,
    /// Sockets open now.
    pub(crate) open: AtomicU64,
}

/// All listening sessions.
pub(crate) struct Listeners {
    sessions: JoinSet<Listener>,
    stop: CancellationToken,
    pub(crate) live: Arc<Live>,
    /// For each user with a socket, what is to be said over it; in their order.
    pub(crate) says: Vec<mpsc::Sender<Value>>,
}

/// What every session needs.
struct Shared {
    target: Arc<Target>,
    workload: Arc<Workload>,
    recorder: Arc<Recorder>,
    live: Arc<Live>,
    stop: CancellationToken,
}

struct Listener {
    user: usize,
    /// What is to be said over the socket.
    says: mpsc::Receiver<Value>,
    tallies: HashMap<usize, Tally>,
    heard: Heard,
    /// How long the server asks to wait before connecting again.
    asked_pause: Option<Duration>,
}

impl Listeners {
    /// Opens a socket for each online user and waits until all are ready.
    pub(crate) async fn open(
        target: &Arc<Target>,
        workload: &Arc<Workload>,
        recorder: &Arc<Recorder>,
    ) -> Result<Self, String> {
        let shared = Arc::new(Shared {
            target: Arc::clone(target),
            workload: Arc::clone(workload),
            recorder: Arc::clone(recorder),
            live: Arc::default(),
            stop: CancellationToken::new(),
        });

        let mut tallies = tallies_of(workload, target.protocol.has_seqs());
        let opening = (0..workload.online).map(|user| {
            let shared = Arc::clone(&shared);
            async move { Ok::<_, String>((user, shared.open(user).await?)) }
        });
        let opened: Vec<(usize, Session)> = stream::iter(opening)
            .buffered(OPENING)
            .try_collect()
            .await?;
        let mut sessions = JoinSet::new();
        let mut says = Vec::with_capacity(opened.len());

        for (user, session) in opened {
            let tallies = tallies.remove(&user).unwrap_or_default();
            let (say, said) = mpsc::channel(SAYS_MAX);
            says.push(say);
            let listener = Listener {
                user,
                says: said,
                tallies,
                heard: Heard::default(),
                asked_pause: None,
            };
            sessions.spawn(listener.listen(Arc::clone(&shared), session));
        }

        Ok(Self {
            sessions,
            stop: shared.stop.clone(),
            live: Arc::clone(&shared.live),
            says,
        })
    }

    /// Waits until so many messages were heard, or none came for `quiet`, or `longest` is over.
    pub(crate) async fn wait_for(&self, messages: u64, quiet: Duration, longest: Duration) {
        let begun = Instant::now();
        let (mut last, mut changed) = (0, Instant::now());
        loop {
            let now = self.live.messages.load(Ordering::Relaxed);
            if now != last {
                (last, changed) = (now, Instant::now());
            }
            if now >= messages || changed.elapsed() > quiet || begun.elapsed() > longest {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends all sessions; `last_seqs` tells up to where each conversation should have come, or how
    /// many messages it has where there are no seqs.
    pub(crate) async fn finish(mut self, last_seqs: &[u64]) -> Result<Heard, String> {
        self.stop.cancel();
        let mut all = Heard::default();
        while let Some(ended) = self.sessions.join_next().await {
            let listener = ended.map_err(|error| format!("a listening session: {error}"))?;
            all.add(&listener.heard);
            let missing = |(conversation, tally): (&usize, &Tally)| {
                last_seqs
                    .get(*conversation)
                    .map_or(0, |last_seq| tally.missing(*last_seq))
            };
            all.missing += listener.tallies.iter().map(missing).sum::<u64>();
        }
        Ok(all)
    }
}

/// For each online user, a tally for each conversation that they are in.
fn tallies_of(workload: &Workload, has_seqs: bool) -> HashMap<usize, HashMap<usize, Tally>> {
    let mut tallies: HashMap<usize, HashMap<usize, Tally>> = HashMap::new();
    for (index, conversation) in workload.conversations.iter().enumerate() {
        for user in conversation
            .members
            .iter()
            .filter(|member| **member < workload.online)
        {
            let tally = if has_seqs {
                Tally::Seqs(Line::behind(conversation.last_seq))
            } else {
                Tally::Numbers(Numbers::default())
            };
            tallies.entry(*user).or_default().insert(index, tally);
        }
    }

    tallies
}

impl Shared {
    async fn open(&self, user: usize) -> Result<Session, String> {
        let (token, endpoint) = self.way(user).await?;
        let session =
            Session::open(self.target.protocol, &self.target.dialer, endpoint, &token).await;
        session.map_err(|error| format!("opening the socket of user {user}: {error}"))
    }

    async fn resume(&self, user: usize, positions: &[(&str, u64)]) -> Result<Session, String> {
        let (token, endpoint) = self.way(user).await?;
        if !self.target.protocol.has_seqs() {
            // There is nothing to go on behind: what came meanwhile is missing.
            return self.open(user).await;
        }
        let session = Session::resume(&self.target.dialer, endpoint, &token, positions).await;
        session.map_err(|error: Failure| error.to_string())
    }

    async fn way(&self, user: usize) -> Result<(Arc<str>, &Endpoint), String> {
        Ok((
            self.target.tokens.of(self.workload.user(user)?).await?,
            self.target.endpoint(user)?,
        ))
    }
}

impl Listener {
    async fn listen(mut self, shared: Arc<Shared>, session: Session) -> Self {
        let mut session = session;
        loop {
            shared.live.open.fetch_add(1, Ordering::Relaxed);
            let ended = self.hear(&shared, &mut session).await;
            shared.live.open.fetch_sub(1, Ordering::Relaxed);
            drop(session);
            let Some(code) = ended else { return self };
            *self.heard.closes.entry(code).or_default() += 1;
            match self.connect_again(&shared).await {
                Some(again) => session = again,
                None => return self,
            }
            self.heard.resumed += 1;
        }
    }

    /// Until the socket ends, with its close code, or until all is over.
    async fn hear(&mut self, shared: &Shared, session: &mut Session) -> Option<u16> {
        loop {
            tokio::select! {
                frame = session.next() => match frame {
                    Ok(text) => self.take(shared, &text),
                    Err(code) => return Some(code),
                },
                Some(frame) = self.says.recv() => {
                    // A socket that has ended says so by the next frame, which does not come.
                    drop(session.say(&frame).await);
                }
                () = shared.stop.cancelled() => return None,
            }
        }
    }

    fn take(&mut self, shared: &Shared, text: &str) {
        let Ok(frame) = serde_json::from_str::<Frame<'_>>(text) else {
            return;
        };
        match &*frame.t {
            "message" | "event" => self.see(shared, &frame),
            "gap" => self.told_of_gap(shared, &frame),
            "reconnect" => self.asked_pause = Some(Duration::from_millis(frame.after_ms)),
            _ => {}
        }
    }

    fn see(&mut self, shared: &Shared, frame: &Frame<'_>) {
        let Some((index, conversation)) = shared.workload.find(&frame.conversation) else {
            return;
        };
        let Some(tally) = self.tallies.get_mut(&index) else {
            return;
        };
        // An event may have a text too: that of an edit.
        let stamp = Stamp::read(&frame.text).filter(|_| frame.t == "message");
        let seen = tally.see(frame.seq, stamp.map(|stamp| stamp.number));

        match seen {
            Seen::Next => {}
            Seen::Before => return,
            Seen::After(missed) => self.heard.skipped += missed,
            Seen::Late | Seen::Double => {
                let count = if seen == Seen::Late {
                    &mut self.heard.out_of_order
                } else {
                    &mut self.heard.doubled
                };
                *count += 1;
                shared.live.faults.fetch_add(1, Ordering::Relaxed);
            }
        }

        if seen == Seen::Double {
            return;
        }

        if let Some(stamp) = stamp {
            self.heard.messages += 1;
            shared.live.messages.fetch_add(1, Ordering::Relaxed);
            shared
                .recorder
                .delivered(self.user, conversation.group, stamp.due_us);
        }
    }

    fn told_of_gap(&mut self, shared: &Shared, frame: &Frame<'_>) {
        let Some((index, _)) = shared.workload.find(&frame.conversation) else {
            return;
        };
        let Some(line) = self.tallies.get_mut(&index).and_then(Tally::line) else {
            return;
        };
        if frame.reason == "replaced" {
            if line.restart(frame.from) {
                self.heard.taken_back += 1;
                shared.live.faults.fetch_add(1, Ordering::Relaxed);
            }
            return;
        }
        line.skip(frame.from, frame.to);
        self.heard.told_gaps += (frame.to + 1).saturating_sub(frame.from);
    }

    /// Tries until it has a session again that goes on behind what it has, or until all is over.
    async fn connect_again(&mut self, shared: &Shared) -> Option<Session> {
        let mut pause = PAUSE;
        loop {
            let wait = self
                .asked_pause
                .take()
                .unwrap_or_else(|| pause.mul_f64(rand::random_range(0.5..1.0)));
            let positions: Vec<(&str, u64)> = self
                .tallies
                .iter()
                .filter_map(|(index, tally)| {
                    Some((
                        shared.workload.conversations.get(*index)?.name.as_str(),
                        tally.last(),
                    ))
                })
                .collect();
            let again = async {
                tokio::time::sleep(wait).await;
                shared.resume(self.user, &positions).await
            };
            tokio::select! {
                session = again => if let Ok(session) = session { return Some(session) },
                () = shared.stop.cancelled() => return None,
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}
