//! Does what the board asks for: subscriptions, spans and indexes from owners, with retries, and feeds it with pushes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::ids::SessionId;
use crate::node::session::Inner;
use crate::node::session::board::{Ask, Board, Fetch, Load, Work};
use crate::problem::Problem;
use crate::shard::command::{Interest, Push, Subscribed};
use crate::telemetry;

/// Conversations in one subscription request.
const BATCH_MAX: usize = 500;
/// Rows of an index in one request.
const INDEX_PAGE: u32 = 1_000;
/// How long an owner may take.
const ASK_MAX: Duration = Duration::from_secs(5);
/// Pushes taken from the channel at once.
const PUSHES_AT_ONCE: usize = 256;
/// Longest wait between two attempts.
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// Subscription requests of this node under way at once; more wait.
pub(super) const REQUESTS_MAX: usize = 64;

/// Hands on pushes until the channel closes or the hub ends.
pub(super) async fn follow(inner: Arc<Inner>, mut pushes: mpsc::Receiver<Push>) {
    let mut batch = Vec::with_capacity(PUSHES_AT_ONCE);
    loop {
        let count = tokio::select! {
            count = pushes.recv_many(&mut batch, PUSHES_AT_ONCE) => count,
            () = inner.stop.cancelled() => 0,
        };
        if count == 0 {
            return;
        }
        for push in batch.drain(..) {
            telemetry::SESSION_PUSHES.add(1, &[("kind", kind(&push))]);
            inner.on_board(|board| board.push(push));
        }
    }
}

fn kind(push: &Push) -> &'static str {
    match push {
        Push::Event { .. } => "event",
        Push::Watermark { .. } => "watermark",
        Push::Reaction { .. } => "reaction",
        Push::Index { .. } => "index",
        Push::Resubscribe { .. } => "resubscribe",
    }
}

/// Sends gathered delivered marks round by round until the hub ends.
pub(super) async fn send_marks(inner: Arc<Inner>) {
    let mut tick = tokio::time::interval(inner.config.delivered_every.max(Duration::from_millis(10)));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => inner.gather.send(inner.upstream.as_ref()).await,
            () = inner.stop.cancelled() => return,
        }
    }
}

impl Inner {
    /// One input to the board, and what follows from it.
    pub(super) fn on_board<T>(self: &Arc<Self>, input: impl FnOnce(&mut Board) -> T) -> T {
        let mut board = self.board();
        let result = input(&mut board);
        let work = board.take_work();
        drop(board);
        self.run(work);
        result
    }

    /// A session has room for spans again.
    pub(super) fn pump(self: &Arc<Self>, session: SessionId) {
        self.on_board(|board| board.pump(session));
    }

    fn run(self: &Arc<Self>, work: Work) {
        let Work { asks, fetches, loads, ended, ended_indexes } = work;
        if !ended.is_empty() {
            self.upstream.unsubscribe(ended);
        }
        for user in ended_indexes {
            self.upstream.unsubscribe_index(user);
        }
        // Retries apart, so that they hold up no first attempt.
        let (first, retries): (Vec<_>, Vec<_>) = asks.into_iter().partition(|ask| ask.attempt == 0);
        for batch in first.chunks(BATCH_MAX).chain(retries.chunks(BATCH_MAX)) {
            self.spawn(Arc::clone(self).subscribe(batch.to_vec()));
        }
        for fetch in fetches {
            self.spawn(Arc::clone(self).fetch(fetch));
        }
        for load in loads {
            self.spawn(Arc::clone(self).load(load));
        }
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tracker.spawn(async move { stop.run_until_cancelled(work).await });
    }

    async fn subscribe(self: Arc<Self>, asks: Vec<Ask>) {
        wait(asks.first().map_or(0, |ask| ask.attempt)).await;
        let answers = self.ask(&asks, "subscribe").await;
        for (ask, answer) in asks.iter().zip(answers) {
            self.on_board_later(|board| board.subscribed(ask, answer));
        }
        self.on_board(|_| ());
    }

    async fn fetch(self: Arc<Self>, fetch: Fetch) {
        wait(fetch.attempt).await;
        let answers = self.ask(&fetch.asks, "span").await;
        self.on_board(|board| board.fetched(&fetch, answers));
    }

    async fn load(self: Arc<Self>, load: Load) {
        wait(load.attempt).await;
        let Ok(_permit) = self.requests.acquire().await else { return };
        let deadline = Instant::now() + ASK_MAX;
        let page = self.upstream.subscribe_index(load.user.clone(), load.after, INDEX_PAGE, deadline).await;
        let result = if page.is_ok() { "ok" } else { "failed" };
        telemetry::SESSION_ASKS.add(1, &[("kind", "index"), ("result", result)]);
        match page {
            Ok(page) => {
                if !self.on_board(|board| board.loaded(&load, &page)) {
                    self.upstream.unsubscribe_index(load.user);
                }
            }
            Err(problem) => {
                tracing::debug!(user = %load.user, attempt = load.attempt, %problem, "cannot read index");
                self.on_board(|board| board.load_failed(load));
            }
        }
    }

    /// One input without running what follows; the caller runs it after its last input.
    fn on_board_later(&self, input: impl FnOnce(&mut Board)) {
        input(&mut self.board());
    }

    async fn ask(&self, asks: &[Ask], kind: &'static str) -> Vec<Subscribed> {
        let interests: Vec<_> = asks.iter().map(interest).collect();
        let answers = match self.requests.acquire().await {
            Ok(_permit) => self.upstream.subscribe(interests, Instant::now() + ASK_MAX).await,
            Err(_closed) => Vec::new(),
        };
        let failed = asks.len().saturating_sub(answers.len())
            + answers.iter().filter(|answer| matches!(answer, Subscribed::Failed(_))).count();
        for (result, count) in [("ok", asks.len() - failed.min(asks.len())), ("failed", failed)] {
            let count = u64::try_from(count).unwrap_or(u64::MAX);
            telemetry::SESSION_ASKS.add(count, &[("kind", kind), ("result", result)]);
        }
        let missing = std::iter::repeat_with(|| Subscribed::Failed(Problem::unavailable("the owner did not answer")));
        answers.into_iter().chain(missing).take(asks.len()).collect()
    }
}

fn interest(ask: &Ask) -> Interest {
    let Ask { conversation, user, after, limit, .. } = ask;
    Interest { conversation: conversation.clone(), user: user.clone(), after: *after, limit: *limit }
}

/// Waits before a repeated attempt: 50 ms, doubling to 2 s, with jitter.
async fn wait(attempt: u32) {
    if attempt > 0 {
        let longest = Duration::from_millis(25 << attempt.min(7)).min(BACKOFF_MAX);
        tokio::time::sleep(longest.mul_f64(rand::random_range(0.5..1.0))).await;
    }
}
