//! The shard as a whole, through its handle, over the embedded log and over one that fails on
//! demand.
#![expect(
    clippy::shadow_unrelated,
    reason = "a test tells several steps of one story"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use self::faulty::{Fault, FaultyLog};
use super::{Common, Config, Opening, ShardHandle};
use crate::clock::Clock;
use crate::ids::{IdempotencyKey, MessageId, NodeId, Offset, Seq, ShardId, Slot, UserId};
use crate::log::embedded::EmbeddedLog;
use crate::log::lane::Lane;
use crate::log::record::{Event, EventKind, IndexChange, OutboxPosition, RECORDS_VERSION, Tail};
use crate::log::{Claim, ClaimOutcome, PerStream, ShardLog, Stream, Token};
use crate::problem::{Code, Problem};
use crate::protocol::{Conversation, HistoryPage, Message};
use crate::shard::command::{
    Add, Around, Command, Create, Delivered, Done, Found, Freshness, HistoryQuery, Interest,
    MarkRead, Push, Query, React, Remove, Send, ShardError, Subscribed,
};
use crate::shard::delivery::Reached;
use crate::shard::file::store::OutboxRow;
use crate::shard::file::store::tests::{conversation, identity, user};
use crate::shard::file::{store, worker};
use crate::shard::write::owner::Input;
use crate::shard::write::subscriptions::Subscriber;

mod faulty;

mod writes;

mod edits;

mod doubt;

mod opening;
mod outbox;

mod adopt;

mod lease;

mod stall;

mod keys;

mod reads;

mod receipts;

mod subscribe;

mod bounds;

mod full;

mod random;

mod standby;

mod takeover;

mod giving;

mod witnesses;

mod trim;

mod snapshot;

mod orphans;

mod quiet;

const SHARD: ShardId = ShardId(3);
const START: u64 = 1_700_000_000_000;
const M: Stream = Stream::Messages;
const R: Stream = Stream::Receipts;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn shortly() -> Instant {
    Instant::now() + Duration::from_millis(500)
}

/// What must happen, and does within a time that no slow machine needs.
async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), what)
        .await
        .expect("in time")
}

pub(crate) fn config() -> Config {
    Config {
        store: store::Config {
            checkpoint_every: Duration::from_millis(50),
            ..store::tests::config()
        },
        worker: worker::Config {
            tick: Duration::from_millis(2),
            records_max: 256,
            gather_max: Duration::from_millis(20),
            trim_floor: Duration::from_secs(60),
            trim_floor_bytes: 8 * 1024 * 1024,
        },
        queue_max: 4096,
        heads_max: 1000,
        heads_bytes_max: 256 * 1024 * 1024,
        common: Common::reading(RECORDS_VERSION),
        stream_bytes_max: 128 * 1024 * 1024,
        barrier_max: Duration::from_secs(20),
        takeover_watch: None,
        renew_every: Duration::from_millis(750),
        adopt_local: false,
    }
}

/// A shard over real files.
struct Bench {
    folder: tempfile::TempDir,
    log: Arc<FaultyLog>,
    lane: Lane,
    clock: Clock,
    config: Config,
    open: Option<ShardHandle>,
    pump: JoinHandle<()>,
    /// Rows of the outbox as they were delivered, oftener than once after a crash.
    delivered: Arc<Mutex<Vec<IndexChange>>>,
}

impl Bench {
    async fn new() -> Self {
        Self::with(config()).await
    }

    async fn with(config: Config) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let inner = EmbeddedLog::open(&folder.path().join("log.db"))
            .await
            .expect("opens");
        let log = FaultyLog::over(inner);
        let lane = Lane::spawn(Arc::clone(&log) as Arc<dyn ShardLog>);
        let clock = Clock::manual(START);
        let opening = opening(folder.path(), &log, &lane, &clock, &config);
        let handle = crate::shard::open(opening).await.expect("opens");
        let delivered = Arc::default();
        let pump = pump(handle.clone(), Arc::clone(&delivered), 100);
        Self {
            folder,
            log,
            lane,
            clock,
            config,
            open: Some(handle),
            pump,
            delivered,
        }
    }

    /// The shard is dropped as it stands, as if its process had died, and opened again over the
    /// same files.
    async fn crash(&mut self) {
        self.pump.abort();
        let mut file = self.handle().0.store.watch_progress();
        self.open = None;
        in_time(async { while file.changed().await.is_ok() {} }).await;
        self.reopen().await;
    }

    /// Closes in good order and opens again.
    async fn restart(&mut self) {
        self.handle().close(soon()).await;
        self.pump.abort();
        self.reopen().await;
    }

    async fn reopen(&mut self) {
        let opening = self.opening();
        let handle = in_time(crate::shard::open(opening))
            .await
            .expect("opens again");
        self.pump = pump(handle.clone(), Arc::clone(&self.delivered), 100);
        self.open = Some(handle);
    }

    fn handle(&self) -> &ShardHandle {
        self.open.as_ref().expect("open")
    }

    fn opening(&self) -> Opening {
        opening(
            self.folder.path(),
            &self.log,
            &self.lane,
            &self.clock,
            &self.config,
        )
    }

    fn execute(
        &self,
        command: Command,
    ) -> impl Future<Output = Result<Done, ShardError>> + 'static {
        self.handle().execute(command, soon())
    }

    async fn create(&self, name: &str, users: &[&str]) -> Conversation {
        match in_time(self.execute(create(name, users))).await {
            Ok(Done::Created { conversation, .. }) => conversation,
            other => panic!("{other:?}"),
        }
    }

    async fn send(&self, name: &str, source: &str, text: &str) -> Message {
        sent(in_time(self.execute(send(name, source, text))).await)
    }

    async fn add(&self, name: &str, by: &str, users: &[&str]) -> Result<Done, ShardError> {
        in_time(self.execute(add(name, by, users))).await
    }

    async fn remove(&self, name: &str, by: &str, whom: &str) -> Result<Done, ShardError> {
        in_time(self.execute(remove(name, by, whom))).await
    }

    async fn query(&self, query: Query) -> Result<Found, ShardError> {
        in_time(self.handle().query(query, soon()))
            .await
            .map(|(found, _)| found)
    }

    async fn view(&self, name: &str, reader: &str) -> Result<Conversation, ShardError> {
        match self
            .query(Query::Conversation {
                name: conversation(name),
                reader: user(reader),
            })
            .await?
        {
            Found::Conversation(conversation) => Ok(conversation),
            other => panic!("{other:?}"),
        }
    }

    async fn history(
        &self,
        name: &str,
        reader: &str,
        around: Around,
        limit: u32,
    ) -> Result<HistoryPage, ShardError> {
        let query = HistoryQuery {
            conversation: conversation(name),
            reader: user(reader),
            around,
            ascending: true,
            limit,
            source: None,
            reply_to: None,
        };
        match self.query(Query::History(query)).await? {
            Found::History(page) => Ok(page),
            other => panic!("{other:?}"),
        }
    }

    async fn texts(&self, name: &str, reader: &str) -> Vec<String> {
        let page = self
            .history(name, reader, Around::Newest, 200)
            .await
            .expect("reads");
        page.items
            .into_iter()
            .map(|message| message.core.text)
            .collect()
    }

    /// Every event from the first on.
    async fn events(&self, name: &str, reader: &str) -> Vec<Arc<Event>> {
        let mut all: Vec<Arc<Event>> = Vec::new();
        loop {
            let after = all.last().map_or(Seq(0), |event| event.seq);
            let query = Query::Events {
                name: conversation(name),
                reader: user(reader),
                after,
                limit: 7,
            };
            let Ok(Found::Events { items, next }) = self.query(query).await else {
                panic!("no events")
            };
            all.extend(items);
            if next.is_none() {
                assert_dense(&all, Seq(1));
                return all;
            }
        }
    }

    async fn interest(
        &self,
        subscriber: &Subscriber,
        name: &str,
        who: &str,
        after: Option<u64>,
    ) -> Subscribed {
        let interest = Interest {
            conversation: conversation(name),
            user: user(who),
            after: after.map(Seq),
            limit: 1000,
            since: None,
        };
        in_time(self.handle().subscribe(subscriber, vec![interest], soon()))
            .await
            .expect("owned")
            .remove(0)
    }

    /// Waits until the file has everything committed.
    async fn applied(&self) {
        let status = self.handle().status();
        for stream in Stream::BOTH {
            let mut applied = self.handle().0.applied(stream);
            let upto = status.committed[stream];
            in_time(applied.wait_for(|tail| tail.offset >= upto))
                .await
                .expect("the worker lives");
        }
    }

    /// Waits until the file has everything and the log comes to rest: the outbox is delivered and
    /// says so.
    async fn at_rest(&self) {
        let store = self.handle().0.store.clone();
        in_time(async {
            while !store
                .outbox(OutboxPosition::default(), 1)
                .await
                .expect("reads")
                .is_empty()
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        self.applied().await;
    }

    /// Waits until so many wait for a commit.
    async fn waiting(&self, count: usize) {
        in_time(async {
            while self.ask(Input::Waiting).await != count {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
    }

    /// Waits until so many writes are parked.
    async fn parked(&self, count: usize) {
        in_time(async {
            while self.ask(Input::Parked).await != count {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
    }

    /// Proves the ownership now, as a renewal does.
    async fn renew(&self) {
        let (hold, sent) = (self.handle().hold(), self.clock.since_boot());
        if let Ok(is_current) = self.log.renew(&[hold]).await[0] {
            self.handle().renewed(sent, is_current);
        }
    }

    /// Reads, with its mark.
    async fn read(&self, query: Query) -> Result<(Found, Freshness), ShardError> {
        in_time(self.handle().query(query, soon())).await
    }

    /// Lets the loop finish what it was given.
    async fn turn(&self) {
        for _ in 0..2 {
            self.ask(Input::Waiting).await;
        }
    }

    async fn ask(&self, input: impl FnOnce(oneshot::Sender<usize>) -> Input) -> usize {
        let (answer, asked) = oneshot::channel();
        self.handle()
            .0
            .inputs
            .send(input(answer))
            .await
            .expect("runs");
        in_time(asked).await.expect("answers")
    }

    /// The token changes hands within this node, as after a claim whose answer was lost.
    async fn take_token(&self) {
        self.taken_by("node-a").await;
    }

    /// A node takes the shard.
    async fn taken_by(&self, node: &str) {
        // The beat goes on while a batch is sent again and again.
        in_time(async {
            loop {
                let control = self
                    .log
                    .inner
                    .control(SHARD)
                    .await
                    .expect("reads")
                    .expect("claimed");
                let claim = Claim {
                    shard: SHARD,
                    expected: Some((control.token, control.beat)),
                    token: Token::new(control.token.epoch.next()),
                    owner: NodeId::from(node),
                    identity: identity(),
                    begin_at: PerStream::both(Tail::EMPTY),
                    ends_at: None,
                };
                if let ClaimOutcome::Claimed(_) =
                    self.log.inner.claim(claim).await.expect("answers")
                {
                    return;
                }
            }
        })
        .await;
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

fn opening(
    folder: &std::path::Path,
    log: &Arc<FaultyLog>,
    lane: &Lane,
    clock: &Clock,
    config: &Config,
) -> Opening {
    Opening {
        shard: SHARD,
        identity: identity(),
        node: NodeId::from("node-a"),
        path: folder.join("s3.db"),
        log: Arc::clone(log) as Arc<dyn ShardLog>,
        lane: lane.clone(),
        replicas: Arc::new(crate::shard::replicas::Alone),
        claimed: false,
        clock: clock.clone(),
        config: config.clone(),
    }
}

/// Whoever delivers in these tests does so in order, to one place.
impl ShardHandle {
    /// Rows of the outbox that are not told to be delivered; waits until there is one.
    async fn outbox(&self, limit: u32) -> Option<Vec<OutboxRow>> {
        loop {
            let done = self.outbox_reached().prefix();
            let page = self.outbox_page(done, limit).await?;
            if !page.rows.is_empty() {
                return Some(page.rows);
            }
            self.outbox_delivered(Reached::upto(page.upto), None);
        }
    }

    /// They are delivered up to there.
    fn outbox_delivered_upto(&self, upto: OutboxPosition) {
        self.outbox_delivered(
            Reached::upto(upto.max(self.outbox_reached().prefix())),
            Some(upto),
        );
    }
}

/// Delivers the outbox into the same shard.
fn pump(
    handle: ShardHandle,
    delivered: Arc<Mutex<Vec<IndexChange>>>,
    limit: u32,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        while let Some(rows) = handle.outbox(limit).await {
            let Some(last) = rows.last().map(|row| row.position) else {
                continue;
            };
            let changes: Vec<_> = rows.into_iter().map(|row| row.change).collect();
            if handle
                .execute(Command::Index(changes.clone()), soon())
                .await
                .is_ok()
            {
                delivered.lock().expect("whole").extend(changes);
                handle.outbox_delivered_upto(last);
            } else {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    })
}

fn users(names: &[&str]) -> Vec<UserId> {
    names.iter().map(|name| user(name)).collect()
}

fn create_with(name: &str, of: &[&str], key: Option<&str>, fingerprint: u8) -> Command {
    Command::Create(Create {
        name: conversation(name),
        by: user(of[0]),
        title: None,
        participants: users(of),
        key: key.map(client_key),
        fingerprint: [fingerprint; 16],
    })
}

fn create(name: &str, of: &[&str]) -> Command {
    create_with(name, of, None, 0)
}

fn send(name: &str, source: &str, text: &str) -> Command {
    send_with(name, source, text, None, None)
}

fn send_with(
    name: &str,
    source: &str,
    text: &str,
    key: Option<IdempotencyKey>,
    reply_to: Option<MessageId>,
) -> Command {
    Command::Send(Send {
        reply_to,
        key,
        ..Send::plain(conversation(name), user(source), text)
    })
}

fn send_key(name: &str, source: &str, text: &str, key: &str) -> Command {
    send_with(name, source, text, Some(client_key(key)), None)
}

fn client_key(key: &str) -> IdempotencyKey {
    IdempotencyKey::from_client(key).expect("a good key")
}

fn add(name: &str, by: &str, of: &[&str]) -> Command {
    Command::Add(Add {
        conversation: conversation(name),
        by: user(by),
        users: users(of),
    })
}

fn remove(name: &str, by: &str, whom: &str) -> Command {
    Command::Remove(Remove {
        conversation: conversation(name),
        by: user(by),
        user: user(whom),
    })
}

fn mark_read(message: &Message, who: &str) -> Command {
    Command::MarkRead(MarkRead {
        message_id: message.core.id,
        user: user(who),
        origin: None,
    })
}

fn react(message: &Message, who: &str, reaction: Option<u32>) -> Command {
    Command::React(React {
        message_id: message.core.id,
        user: user(who),
        reaction,
    })
}

fn delivered(name: &str, who: &str, up_to: u64) -> Command {
    Command::Delivered(vec![Delivered {
        conversation: conversation(name),
        user: user(who),
        up_to: Seq(up_to),
    }])
}

fn sent(done: Result<Done, ShardError>) -> Message {
    match done {
        Ok(Done::Sent { message, .. }) => message,
        other => panic!("{other:?}"),
    }
}

fn replayed(done: Result<Done, ShardError>) -> bool {
    match done {
        Ok(Done::Sent { replayed, .. } | Done::Created { replayed, .. }) => replayed,
        other => panic!("{other:?}"),
    }
}

/// The code of a refusal.
fn code<T: std::fmt::Debug>(outcome: Result<T, ShardError>) -> Code {
    match outcome {
        Err(ShardError::Problem(Problem { code, .. })) => code,
        other => panic!("{other:?}"),
    }
}

/// Each seq once, without a hole, beginning with `first`; times never fall.
fn assert_dense(events: &[Arc<Event>], first: Seq) {
    for (expected, event) in (first.0..).zip(events) {
        assert_eq!(event.seq, Seq(expected), "{events:?}");
    }
    assert!(events.is_sorted_by_key(|event| event.created));
}

fn subscriber(queue: usize) -> (Subscriber, mpsc::Receiver<Push>) {
    let (sender, receiver) = mpsc::channel(queue);
    (Subscriber::new(sender), receiver)
}

async fn pushed(queue: &mut mpsc::Receiver<Push>) -> Push {
    in_time(queue.recv()).await.expect("the shard lives")
}

async fn pushed_event(queue: &mut mpsc::Receiver<Push>) -> Arc<Event> {
    match pushed(queue).await {
        Push::Event { event, .. } => event,
        other => panic!("{other:?}"),
    }
}
