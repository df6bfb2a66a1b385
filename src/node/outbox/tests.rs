use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::cluster::map::ShardMap;
use crate::ids::{ConversationName, NodeId, Offset, Seq, ShardId, UserId};
use crate::link::Config;
use crate::log::embedded::EmbeddedLog;
use crate::log::lane::Lane;
use crate::log::record::{Fingerprint, IndexChange, OutboxPosition, Tail};
use crate::log::{
    AppendError, AppendOutcome, Batch, Claim, ClaimOutcome, Control, LogError, PerStream, RawEntry,
    ShardLog, Stream, Token,
};
use crate::node::link::frame::{Body, Outcome};
use crate::node::outbox::deliver::{Outbox, deliver, run};
use crate::node::owners::testing::{Fake, SHARDS, credentials, eventually, lone_node, soon, table};
use crate::node::owners::{Beside, Owners, Setup};
use crate::problem::{Code, Problem};
use crate::shard::Opening;
use crate::shard::command::{Command, Create, Done, ShardError};
use crate::shard::delivery::Reached;
use crate::shard::file::store::OutboxRow;
use crate::shard::file::store::tests::{identity, user};
use crate::shard::outbox::OutboxPage;
use crate::shard::replicas::Alone;
use crate::shard::tests::config;

struct FakeOutbox {
    rows: Mutex<VecDeque<OutboxRow>>,
    told: mpsc::Sender<OutboxPosition>,
    wake: Notify,
    delivered: watch::Sender<Reached>,
    hurry: watch::Sender<()>,
    ended: AtomicBool,
}

impl FakeOutbox {
    fn of(rows: impl IntoIterator<Item = OutboxRow>) -> (Self, mpsc::Receiver<OutboxPosition>) {
        let (told, progress) = mpsc::channel(10_000);
        let (rows, wake) = (Mutex::new(rows.into_iter().collect()), Notify::new());
        let outbox = Self {
            rows,
            told,
            wake,
            delivered: watch::Sender::default(),
            hurry: watch::Sender::default(),
            ended: AtomicBool::new(false),
        };
        (outbox, progress)
    }
}

#[async_trait]
impl Outbox for FakeOutbox {
    fn shard(&self) -> ShardId {
        ShardId(0)
    }

    async fn page(&self, after: OutboxPosition, limit: u32) -> Option<OutboxPage> {
        loop {
            if self.ended.load(Ordering::SeqCst) {
                return None;
            }
            let rows: Vec<_> = {
                let rows = self.rows.lock().expect("not poisoned");
                rows.iter()
                    .filter(|row| row.position > after)
                    .take(limit as usize)
                    .cloned()
                    .collect()
            };
            if let Some(last) = rows.last() {
                return Some(OutboxPage {
                    upto: last.position,
                    rows,
                });
            }
            self.wake.notified().await;
        }
    }

    fn delivered(&self, delivered: Reached, progress: Option<OutboxPosition>) {
        if let Some(upto) = progress {
            self.rows
                .lock()
                .expect("not poisoned")
                .retain(|row| row.position > upto);
            self.told.try_send(upto).expect("room");
        }
        self.delivered.send_replace(delivered);
    }

    fn hurried(&self) -> watch::Receiver<()> {
        self.hurry.subscribe()
    }
}

fn row(number: u32) -> OutboxRow {
    let change = IndexChange {
        user: UserId::parse(&format!("user{number}")).expect("a name"),
        conversation: ConversationName::parse("c").expect("a name"),
        seq: Seq(1),
        joined: true,
        at: 1,
        create_key: None,
    };
    OutboxRow {
        position: OutboxPosition {
            offset: Offset(1),
            index: number,
        },
        change,
    }
}

fn changes(body: &Body) -> Vec<IndexChange> {
    match body {
        Body::Execute {
            command: Command::Index(changes),
            ..
        } => changes.clone(),
        other => panic!("not an index command: {other:?}"),
    }
}

#[tokio::test]
async fn every_row_reaches_its_users_shard_and_progress_reaches_the_last() {
    let fake = Fake::new(|_| Ok(Outcome::Done(Done::Indexed)));
    let (owners, _pushes) = lone_node(&fake);
    let (outbox, mut progress) = FakeOutbox::of((0..2_500).map(row));
    let last = OutboxPosition {
        offset: Offset(1),
        index: 2_499,
    };
    tokio::select! {
        () = run(&outbox, &owners) => panic!("ended"),
        () = async { while progress.recv().await.expect("progress") != last {} } => {}
    }
    let mut users = Vec::new();
    for (shard, change) in fake.bodies().iter().flat_map(|body| {
        let Body::Execute { shard, .. } = body else {
            panic!("{body:?}")
        };
        changes(body).into_iter().map(|change| (*shard, change))
    }) {
        assert_eq!(shard, owners.map().shard_of(change.user.slot()));
        users.push(change.user);
    }
    users.sort();
    users.dedup();
    assert_eq!(users.len(), 2_500);
}

#[tokio::test]
async fn progress_stays_before_the_first_row_that_could_not_be_delivered() {
    static OPEN: AtomicBool = AtomicBool::new(false);
    let blocked = UserId::parse("user3").expect("a name");
    let held = blocked.clone();
    let fake = Fake::new(move |body| {
        let holds = changes(body).iter().any(|change| change.user == held);
        if holds && !OPEN.load(Ordering::SeqCst) {
            return Err(ShardError::Problem(Problem::new(Code::Unavailable, "held")));
        }
        Ok(Outcome::Done(Done::Indexed))
    });
    let (owners, _pushes) = lone_node(&fake);
    let (outbox, mut progress) = FakeOutbox::of((0..100).map(row));
    let shard_of = |number: u32| owners.map().shard_of(row(number).change.user.slot());
    let first_held = (0..100)
        .find(|n| shard_of(*n) == shard_of(3))
        .expect("there is one");
    let shards: std::collections::BTreeSet<_> = (0..100).map(shard_of).collect();
    let check = async {
        // Every other shard has been served, and the one that refuses has been asked more than
        // once.
        eventually(|| fake.bodies().len() > shards.len() + 1).await;
        while let Ok(upto) = progress.try_recv() {
            assert!(upto.index < first_held);
        }
        OPEN.store(true, Ordering::SeqCst);
        while progress.recv().await.expect("progress").index != 99 {}
    };
    tokio::select! {
        () = run(&outbox, &owners) => panic!("ended"),
        () = check => {}
    }
}

/// Refuses what is for the users of one shard, until it is opened.
fn refusing(dead: ShardId, open: &Arc<AtomicBool>) -> Arc<Fake> {
    let open = Arc::clone(open);
    Fake::new(move |body| match body {
        Body::Execute { shard, .. } if *shard == dead && !open.load(Ordering::SeqCst) => {
            Err(ShardError::Problem(Problem::new(Code::Unavailable, "dead")))
        }
        _ => Ok(Outcome::Done(Done::Indexed)),
    })
}

#[tokio::test]
async fn rows_of_healthy_shards_pass_one_for_a_dead_shard_also_those_that_come_later() {
    let open = Arc::new(AtomicBool::new(false));
    let map = ShardMap::new(SHARDS).expect("a power of two");
    let shard_of = |number: u32| map.shard_of(row(number).change.user.slot());
    let fake = refusing(shard_of(0), &open);
    let (owners, _pushes) = lone_node(&fake);
    let (outbox, mut progress) = FakeOutbox::of([row(0)]);
    let mut delivered = outbox.delivered.subscribe();
    let check = async {
        // Its batch is under way, and refused; what comes afterwards goes to the others, one by
        // one.
        eventually(|| fake.bodies().len() > 1).await;
        let mut others = (1..1_000).filter(|number| shard_of(*number) != shard_of(0));
        for number in others.by_ref().take(20) {
            outbox
                .rows
                .lock()
                .expect("not poisoned")
                .push_back(row(number));
            outbox.wake.notify_one();
            let to = shard_of(number);
            let covered =
                delivered.wait_for(|delivered| delivered.covers(to, row(number).position));
            timeout(Duration::from_secs(20), covered)
                .await
                .expect("not held up")
                .expect("lives");
            assert!(
                !outbox
                    .delivered
                    .borrow()
                    .covers(shard_of(0), row(0).position)
            );
        }
        assert!(progress.try_recv().is_err(), "the log knows prefixes only");

        open.store(true, Ordering::SeqCst);
        outbox.hurry.send_replace(());
        let last = outbox
            .rows
            .lock()
            .expect("not poisoned")
            .back()
            .expect("some")
            .position;
        while progress.recv().await.expect("progress") != last {}
    };
    tokio::select! {
        () = run(&outbox, &owners) => panic!("ended"),
        () = check => {}
    }
}

#[tokio::test]
async fn what_is_on_its_way_when_the_outbox_ends_is_still_told_to_have_arrived() {
    let fake = Fake::new(|_| Ok(Outcome::Done(Done::Indexed)));
    *fake.delay.lock().expect("not poisoned") = Box::new(|_| Duration::from_millis(100));
    let (owners, _pushes) = lone_node(&fake);
    let (outbox, mut progress) = FakeOutbox::of([row(0)]);
    let ending = async {
        eventually(|| !fake.bodies().is_empty()).await;
        outbox.ended.store(true, Ordering::SeqCst);
        outbox.wake.notify_one();
    };
    let both = async { tokio::join!(run(&outbox, &owners), ending) };
    timeout(Duration::from_secs(20), both)
        .await
        .expect("it ends");
    assert_eq!(progress.try_recv().ok(), Some(row(0).position));
}

/// A log whose appends can be held up, as by a paused process or a Redis that is away.
#[derive(Debug)]
struct Holding {
    inner: Arc<dyn ShardLog>,
    held: watch::Sender<bool>,
    /// Appends that came while it was held.
    waiting: AtomicUsize,
}

#[async_trait]
impl ShardLog for Holding {
    async fn control(&self, shard: ShardId) -> Result<Option<Control>, LogError> {
        self.inner.control(shard).await
    }
    async fn claim(&self, claim: Claim) -> Result<ClaimOutcome, LogError> {
        self.inner.claim(claim).await
    }
    async fn append(&self, cycle: &[Batch]) -> Vec<Result<AppendOutcome, AppendError>> {
        let mut held = self.held.subscribe();
        self.waiting
            .fetch_add(usize::from(*held.borrow()), Ordering::SeqCst);
        held.wait_for(|held| !held).await.expect("the log lives");
        self.inner.append(cycle).await
    }
    async fn renew(&self, holds: &[(ShardId, Token)]) -> Vec<Result<bool, LogError>> {
        self.inner.renew(holds).await
    }
    async fn read(
        &self,
        shard: ShardId,
        stream: Stream,
        after: Offset,
        bytes_max: usize,
    ) -> Result<Vec<RawEntry>, LogError> {
        self.inner.read(shard, stream, after, bytes_max).await
    }
    async fn trim(
        &self,
        shard: ShardId,
        token: Token,
        stream: Stream,
        upto: Offset,
    ) -> Result<(), LogError> {
        self.inner.trim(shard, token, stream, upto).await
    }
}

/// Whoever keeps the shard goes on only when its delivery ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
async fn a_shard_that_was_taken_while_its_outbox_led_to_itself_is_let_go() {
    let folder = tempfile::tempdir().expect("a folder");
    let inner: Arc<dyn ShardLog> = EmbeddedLog::open(&folder.path().join("log.db"))
        .await
        .expect("opens");
    let log = Arc::new(Holding {
        inner,
        held: watch::Sender::new(false),
        waiting: AtomicUsize::new(0),
    });
    let map = ShardMap::new(SHARDS).expect("a power of two");
    let shard = map.shard_of(user("alice").slot());
    let name = (0..1000)
        .map(|number| ConversationName::parse(&format!("c{number}")).expect("a name"))
        .find(|name| map.shard_of(name.slot()) == shard)
        .expect("one of the same shard");
    let opening = Opening {
        shard,
        identity: identity(),
        node: NodeId::from("a"),
        path: folder.path().join("shard.db"),
        claimed: false,
        lane: Lane::spawn(Arc::clone(&log) as Arc<dyn ShardLog>),
        log: Arc::clone(&log) as Arc<dyn ShardLog>,
        replicas: Arc::new(Alone),
        clock: Clock::manual(1_700_000_000_000),
        config: config(),
    };
    let handle = crate::shard::open(opening).await.expect("opens");
    let (pushes, _pushed) = mpsc::channel(64);
    // By the table another node owns everything now.
    let (_keep, table) = watch::channel(table(
        2,
        &[("b", "127.0.0.1:1".to_owned()), ("a", String::new())],
    ));
    let snapshots = folder.path().join("snapshots");
    let (reach, link) = (Arc::default(), Config::default());
    let beside = Beside::default();
    let setup = Setup {
        credentials: credentials("a"),
        map,
        table,
        pushes,
        reach,
        link,
        snapshots,
        beside,
    };
    let owners = Owners::new(setup);
    owners.insert_local(handle.clone());
    let create = Create {
        name,
        by: user("alice"),
        title: None,
        participants: vec![user("alice")],
        key: None,
        fingerprint: Fingerprint::default(),
    };
    let _creating = handle.execute(Command::Create(create), soon());
    eventually(|| handle.status().applied.messages >= Offset(2)).await;
    log.held.send_replace(true);
    let delivering = tokio::spawn(deliver(
        handle.clone(),
        owners.clone(),
        CancellationToken::new(),
    ));
    // The row is on its way to its own shard.
    eventually(|| log.waiting.load(Ordering::SeqCst) > 0).await;
    // The shard is taken by another node.
    let control = log
        .inner
        .control(shard)
        .await
        .expect("reads")
        .expect("claimed");
    let claim = Claim {
        shard,
        expected: Some((control.token, control.beat)),
        token: Token::new(control.token.epoch.next()),
        owner: NodeId::from("b"),
        identity: identity(),
        begin_at: PerStream::both(Tail::EMPTY),
        ends_at: None,
    };
    assert!(matches!(
        log.inner.claim(claim).await,
        Ok(ClaimOutcome::Claimed(_))
    ));
    handle.renewed(Duration::from_millis(1), false);
    timeout(Duration::from_secs(5), handle.closed())
        .await
        .expect("it ends");
    log.held.send_replace(false);
    let let_go = timeout(Duration::from_secs(25), delivering).await;
    assert!(let_go.is_ok(), "the keeper serves a closed shard for ever");
}
