//! Does what the board asks for: subscriptions, spans and indexes from owners, with retries, and
//! feeds it with pushes.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::backoff::Backoff;
use crate::ids::{SessionId, ShardId};
use crate::node::session::board::Board;
use crate::node::session::board::work::{Ask, Fetch, Load, Work};
use crate::node::session::hub::Inner;
use crate::node::session::requests::Kind;
use crate::node::session::turns::Turns;
use crate::problem::Problem;
use crate::shard::IndexPage;
use crate::shard::command::{Interest, Push, Subscribed};
use crate::telemetry;

/// Rows of an index in one request.
const INDEX_PAGE: u32 = 1_000;
/// How long an owner may take.
const ASK_MAX: Duration = Duration::from_secs(5);
/// Pushes taken from the channel at once.
const PUSHES_AT_ONCE: usize = 256;
/// Pauses between two attempts.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));

/// Hands on pushes until the channel closes or the hub ends; while none waits, takes turns in
/// telling sessions how users are.
pub(super) async fn follow(inner: Arc<Inner>, mut pushes: mpsc::Receiver<Push>) {
    let mut batch = Vec::with_capacity(PUSHES_AT_ONCE);
    let mut turns = Turns::new();

    loop {
        let count = tokio::select! {
            biased;
            () = inner.stop.cancelled() => 0,
            count = pushes.recv_many(&mut batch, PUSHES_AT_ONCE) => count,
            () = turns.next(&inner) => {
                turns.take(&inner).await;
                continue;
            }
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
        Push::View { .. } => "view",
        Push::Index { .. } => "index",
        Push::Pruned { .. } => "pruned",
        Push::Typing { .. } => "typing",
        Push::Presence { .. } => "presence",
        Push::Resubscribe { .. } => "resubscribe",
    }
}

/// Sends gathered delivered marks round by round until the hub ends. Each shard has rounds of its
/// own.
pub(super) async fn send_marks(inner: Arc<Inner>) {
    let mut tick =
        tokio::time::interval(inner.config.delivered_every.max(Duration::from_millis(10)));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = inner.stop.cancelled() => return,
        }
        for (shard, marks) in inner.gather.take(inner.upstream.map()) {
            let of = Arc::clone(&inner);
            inner.spawn(async move { of.gather.send(of.upstream.as_ref(), shard, marks).await });
        }
    }
}

impl Inner {
    /// One input to the board, and what follows from it.
    ///
    /// Owners are told of ends before the lock is given back: the next beginning of the same
    /// interest follows from a later input, so it is asked for after that.
    pub(super) fn on_board<T>(self: &Arc<Self>, input: impl FnOnce(&mut Board) -> T) -> T {
        let mut board = self.wanted_board();
        let result = input(&mut board);
        board.tell_stands();
        self.presence.look(&board);
        let mut work = board.take_work();
        let ended = std::mem::take(&mut work.ended);
        if !ended.is_empty() {
            self.upstream.unsubscribe(ended);
        }
        for user in work.ended_indexes.drain(..) {
            self.upstream.unsubscribe_index(user);
        }
        let (watched, unwatched) = board.watching.take_asks();
        if !unwatched.is_empty() {
            self.upstream.unwatch(unwatched);
        }

        if !work.forgotten.is_empty() {
            for router in self.all_routers() {
                work.forgotten
                    .iter()
                    .for_each(|conversation| router.forget(conversation));
            }
        }
        drop(board);
        if !watched.is_empty() {
            self.spawn(Arc::clone(self).ask_presence(watched));
        }

        self.run(work);
        result
    }

    /// A session has room again.
    pub(super) fn pump(self: &Arc<Self>, session: SessionId) {
        self.on_board(|board| board.has_room(session));
    }

    fn run(self: &Arc<Self>, work: Work) {
        let Work {
            asks,
            fetches,
            loads,
            ..
        } = work;

        let map = self.upstream.map();
        let mut first: HashMap<ShardId, Vec<Ask>> = HashMap::new();
        // Retries apart, so that they hold up no first attempt.
        let mut again: HashMap<(ShardId, u32), Vec<Ask>> = HashMap::new();
        for ask in asks {
            let shard = map.shard_of(ask.conversation.slot());
            match ask.attempt {
                0 => first.entry(shard).or_default().push(ask),
                attempt => again.entry((shard, attempt)).or_default().push(ask),
            }
        }

        for (shard, of_shard) in first {
            self.subscribe((shard, Kind::Subscribe), of_shard);
        }
        for ((shard, attempt), of_shard) in again {
            let inner = Arc::clone(self);
            self.spawn(async move {
                wait(attempt).await;
                inner.subscribe((shard, Kind::Again), of_shard);
            });
        }

        for fetch in fetches {
            self.spawn(Arc::clone(self).fetch(fetch));
        }
        for load in loads {
            self.spawn(Arc::clone(self).load(load));
        }
    }

    /// A task of the hub, which ends with it.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tracker
            .spawn(async move { stop.run_until_cancelled(work).await });
    }

    /// Adds to what is to be asked of a shard, and asks while there is something, if others do not
    /// already.
    fn subscribe(self: &Arc<Self>, of: (ShardId, Kind), asks: Vec<Ask>) {
        if self.gathered.add(of, asks, |ask| self.board().wants(ask)) {
            self.spawn(Arc::clone(self).subscribe_gathered(of));
        }
    }

    async fn subscribe_gathered(self: Arc<Self>, of: (ShardId, Kind)) {
        while let Some(mut asks) = self.gathered.take(of) {
            {
                let board = self.board();
                asks.retain(|ask| board.wants(ask));
            }
            if asks.is_empty() {
                continue;
            }
            let Some(answers) = self
                .requests
                .run(of, || Some(self.ask(&asks, "subscribe")), || ())
                .await
            else {
                return;
            };
            for (ask, answer) in asks.iter().zip(answers) {
                self.on_board_later(|board| board.subscribed(ask, answer));
            }
            self.on_board(|_| ());
        }
    }

    async fn fetch(self: Arc<Self>, fetch: Fetch) {
        wait(fetch.attempt).await;
        let request = || {
            self.board()
                .sessions
                .contains_key(&fetch.session)
                .then(|| self.ask(&fetch.asks, "span"))
        };
        let late = || self.on_board(|board| board.span_is_late(&fetch));

        // Without an answer the session is gone.
        if let Some(answers) = self
            .requests
            .run((fetch.shard, Kind::Span), request, late)
            .await
        {
            self.on_board(|board| board.fetched(&fetch, answers));
        }
    }

    async fn load(self: Arc<Self>, load: Load) {
        wait(load.attempt).await;
        let shard = self.upstream.map().shard_of(load.user.slot());
        let request = || {
            self.board()
                .wants_index(&load)
                .then(|| self.ask_index(&load))
        };

        // Without an answer the user has no session any more.
        match self
            .requests
            .run((shard, Kind::Index), request, || ())
            .await
        {
            Some(Ok(page)) => self.on_board(|board| board.loaded(&load, &page)),
            Some(Err(problem)) => {
                tracing::debug!(user = %load.user, attempt = load.attempt, %problem, "cannot read index");
                self.on_board(|board| board.load_failed(load));
            }
            None => {}
        }
    }

    async fn ask_index(&self, load: &Load) -> (Result<IndexPage, Problem>, bool) {
        let deadline = Instant::now() + ASK_MAX;
        let page = self
            .upstream
            .subscribe_index(load.user.clone(), load.after, INDEX_PAGE, deadline)
            .await;
        let result = if page.is_ok() { "ok" } else { "failed" };
        telemetry::SESSION_ASKS.add(1, &[("kind", "index"), ("result", result)]);
        let answered = page.is_ok();
        (page, answered)
    }

    /// One input without running what follows; the caller runs it after its last input.
    fn on_board_later(&self, input: impl FnOnce(&mut Board)) {
        let mut board = self.wanted_board();
        input(&mut board);
        board.tell_stands();
    }

    /// The board, which has no turn of presence on it before this input any more than the one that
    /// is under way.
    fn wanted_board(&self) -> MutexGuard<'_, Board> {
        if let Ok(board) = self.board.try_lock() {
            return board;
        }
        let _waits = self.presence.wait();
        self.board()
    }

    /// The answers, in order, and whether there was any.
    async fn ask(&self, asks: &[Ask], kind: &'static str) -> (Vec<Subscribed>, bool) {
        let interests: Vec<_> = asks.iter().map(interest).collect();
        let answers = self
            .upstream
            .subscribe(interests, Instant::now() + ASK_MAX)
            .await;
        let failed = asks.len().saturating_sub(answers.len())
            + answers
                .iter()
                .filter(|answer| matches!(answer, Subscribed::Failed(_)))
                .count();
        for (result, count) in [
            ("ok", asks.len() - failed.min(asks.len())),
            ("failed", failed),
        ] {
            let count = u64::try_from(count).unwrap_or(u64::MAX);
            telemetry::SESSION_ASKS.add(count, &[("kind", kind), ("result", result)]);
        }

        let missing = std::iter::repeat_with(|| {
            Subscribed::Failed(Problem::unavailable("the owner did not answer"))
        });
        (
            answers
                .into_iter()
                .chain(missing)
                .take(asks.len())
                .collect(),
            failed < asks.len(),
        )
    }
}

fn interest(ask: &Ask) -> Interest {
    let Ask {
        conversation,
        user,
        after,
        limit,
        since,
        ..
    } = ask;
    Interest {
        conversation: conversation.clone(),
        user: user.clone(),
        after: *after,
        limit: *limit,
        since: *since,
    }
}

/// Waits before a repeated attempt.
pub(super) async fn wait(attempt: u32) {
    if attempt > 0 {
        tokio::time::sleep(BACKOFF.jittered(attempt)).await;
    }
}
