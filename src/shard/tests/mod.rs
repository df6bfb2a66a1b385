//! The shard as a whole, through its handle, over the embedded log and over one that fails on
//! demand.
#![expect(
    clippy::shadow_unrelated,
    reason = "a test tells several steps of one story"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use self::bench::{Bench, opening, pump};
use self::commands::{
    add, client_key, create, create_with, delivered, mark_read, react, remove, send, send_key,
    send_with, users,
};
use self::faulty::Fault;
pub(crate) use self::faulty::FaultyLog;
use self::outcomes::{assert_dense, code, pushed, pushed_event, replayed, sent, subscriber};
use super::{Common, Config, Opening, ShardHandle};
use crate::ids::{IdempotencyKey, MessageId, NodeId, Offset, Seq, ShardId, Slot, UserId};
use crate::log::embedded::EmbeddedLog;
use crate::log::lane::Lane;
use crate::log::record::{Event, EventKind, IndexChange, OutboxPosition, RECORDS_VERSION, Tail};
use crate::log::{Claim, ClaimOutcome, PerStream, ShardLog, Stream, Token};
use crate::problem::{Code, Problem};
use crate::protocol::{Conversation, HistoryPage, Message, Retention};
use crate::shard::command::{
    Around, Command, Delivered, Done, Found, Freshness, HistoryQuery, Interest, MarkRead, Push,
    Query, Send, ShardError, Subscribed,
};
use crate::shard::delivery::Reached;
use crate::shard::file::store::tests::{conversation, identity, user};
use crate::shard::file::{store, worker};
use crate::shard::write::owner::Input;
use crate::shard::write::subscriptions::Subscriber;

mod adopt;
mod asking;
mod audit;
mod bench;
mod bounds;
mod closing;
mod commands;
mod doubt;
mod edits;
mod faulty;
mod full;
mod giving;
mod keys;
mod lease;
mod opening;
mod orphans;
mod outbox;
mod outcomes;
mod quiet;
mod random;
mod reactions;
mod reads;
mod receipts;
mod retention;
mod roles;
mod snapshot;
mod stall;
mod standby;
mod subscribe;
mod takeover;
mod trim;
mod views;
mod witnesses;
mod writes;

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
        retention: Retention::default(),
        retention_every: Duration::from_millis(20),
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
