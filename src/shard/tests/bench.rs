//! A shard over real files: how it is opened, and ends, and what is waited for.

use tokio::sync::oneshot;

use super::*;
use crate::clock::Clock;
use crate::shard::file::store::OutboxRow;

/// A shard over real files.
pub(super) struct Bench {
    pub(super) folder: tempfile::TempDir,
    pub(super) log: Arc<FaultyLog>,
    pub(super) lane: Lane,
    pub(super) clock: Clock,
    pub(super) config: Config,
    pub(super) open: Option<ShardHandle>,
    pub(super) pump: JoinHandle<()>,
    /// Rows of the outbox as they were delivered, oftener than once after a crash.
    pub(super) delivered: Arc<Mutex<Vec<IndexChange>>>,
}

impl Bench {
    pub(super) async fn new() -> Self {
        Self::with(config()).await
    }

    pub(super) async fn with(config: Config) -> Self {
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
    pub(super) async fn crash(&mut self) {
        self.pump.abort();
        let mut file = self.handle().0.store.watch_progress();
        self.open = None;
        in_time(async { while file.changed().await.is_ok() {} }).await;
        self.reopen().await;
    }

    /// Closes in good order and opens again.
    pub(super) async fn restart(&mut self) {
        self.handle().close(soon()).await;
        self.pump.abort();
        self.reopen().await;
    }

    pub(super) async fn reopen(&mut self) {
        let opening = self.opening();
        let handle = in_time(crate::shard::open(opening))
            .await
            .expect("opens again");
        self.pump = pump(handle.clone(), Arc::clone(&self.delivered), 100);
        self.open = Some(handle);
    }

    pub(super) fn handle(&self) -> &ShardHandle {
        self.open.as_ref().expect("open")
    }

    pub(super) fn opening(&self) -> Opening {
        opening(
            self.folder.path(),
            &self.log,
            &self.lane,
            &self.clock,
            &self.config,
        )
    }

    pub(super) fn execute(
        &self,
        command: Command,
    ) -> impl Future<Output = Result<Done, ShardError>> + 'static {
        self.handle().execute(command, soon())
    }

    /// Waits until the file has everything committed.
    pub(super) async fn applied(&self) {
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
    pub(super) async fn at_rest(&self) {
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
    pub(super) async fn waiting(&self, count: usize) {
        in_time(async {
            while self.ask(Input::Waiting).await != count {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
    }

    /// Waits until so many writes are parked.
    pub(super) async fn parked(&self, count: usize) {
        in_time(async {
            while self.ask(Input::Parked).await != count {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
    }

    /// Proves the ownership now, as a renewal does.
    pub(super) async fn renew(&self) {
        let (hold, sent) = (self.handle().hold(), self.clock.since_boot());
        if let Ok(is_current) = self.log.renew(&[hold]).await[0] {
            self.handle().renewed(sent, is_current);
        }
    }

    /// Lets the loop finish what it was given.
    pub(super) async fn turn(&self) {
        for _ in 0..2 {
            self.ask(Input::Waiting).await;
        }
    }

    pub(super) async fn ask(&self, input: impl FnOnce(oneshot::Sender<usize>) -> Input) -> usize {
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
    pub(super) async fn take_token(&self) {
        self.taken_by("node-a").await;
    }

    /// A node takes the shard.
    pub(super) async fn taken_by(&self, node: &str) {
        self.log.taken_by(SHARD, node).await;
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

pub(super) fn opening(
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
    pub(super) async fn outbox(&self, limit: u32) -> Option<Vec<OutboxRow>> {
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
    pub(super) fn outbox_delivered_upto(&self, upto: OutboxPosition) {
        self.outbox_delivered(
            Reached::upto(upto.max(self.outbox_reached().prefix())),
            Some(upto),
        );
    }
}

/// Delivers the outbox into the same shard.
pub(super) fn pump(
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
