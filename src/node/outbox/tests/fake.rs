//! An outbox that is filled by hand.

use std::collections::VecDeque;
use std::sync::Mutex;

use async_trait::async_trait;
use tokio::sync::Notify;

use super::*;
use crate::ids::Seq;
use crate::log::record::IndexChange;
use crate::node::outbox::deliver::Outbox;
use crate::shard::delivery::Reached;
use crate::shard::file::store::OutboxRow;
use crate::shard::outbox::OutboxPage;

pub(super) struct FakeOutbox {
    pub(super) rows: Mutex<VecDeque<OutboxRow>>,
    told: mpsc::Sender<OutboxPosition>,
    pub(super) wake: Notify,
    pub(super) delivered: watch::Sender<Reached>,
    pub(super) hurry: watch::Sender<()>,
    pub(super) ended: AtomicBool,
}

impl FakeOutbox {
    pub(super) fn of(
        rows: impl IntoIterator<Item = OutboxRow>,
    ) -> (Self, mpsc::Receiver<OutboxPosition>) {
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

pub(super) fn row(number: u32) -> OutboxRow {
    let change = IndexChange {
        user: UserId::parse(&format!("user{number}")).expect("a name"),
        conversation: ConversationName::parse("c").expect("a name"),
        seq: Seq(1),
        joined: true,
        at: 1,
        create_key: None,
        view: None,
    };
    OutboxRow {
        position: OutboxPosition {
            offset: Offset(1),
            index: number,
        },
        change,
    }
}

pub(super) fn changes(body: &Body) -> Vec<IndexChange> {
    match body {
        Body::Execute {
            command: Command::Index(changes),
            ..
        } => changes.clone(),
        other => panic!("not an index command: {other:?}"),
    }
}
