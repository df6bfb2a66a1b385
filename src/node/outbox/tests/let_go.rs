//! A shard whose outbox leads to itself is let go when it is taken.

use tokio_util::sync::CancellationToken;

use super::*;
use crate::clock::Clock;
use crate::ids::NodeId;
use crate::link::Config;
use crate::log::embedded::EmbeddedLog;
use crate::log::lane::Lane;
use crate::log::{ShardLog, Stream};
use crate::node::outbox::deliver::deliver;
use crate::node::owners::testing::{credentials, soon, table};
use crate::node::owners::{Beside, Owners, Setup};
use crate::shard::Opening;
use crate::shard::command::Create;
use crate::shard::file::store::tests::identity;
use crate::shard::replicas::Alone;
use crate::shard::tests::{FaultyLog, config};

/// Whoever keeps the shard goes on only when its delivery ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
async fn a_shard_that_was_taken_while_its_outbox_led_to_itself_is_let_go() {
    let folder = tempfile::tempdir().expect("a folder");
    let inner = EmbeddedLog::open(&folder.path().join("log.db"))
        .await
        .expect("opens");
    let log = FaultyLog::over(inner);
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

    let create = Create::of(name.as_str(), &["alice"]);
    let _creating = handle.execute(Command::Create(create), soon());
    eventually(|| handle.status().applied.messages >= Offset(2)).await;

    let attempts = log.attempts_of(Stream::Messages);
    log.hold();

    let delivering = tokio::spawn(deliver(
        handle.clone(),
        owners.clone(),
        CancellationToken::new(),
    ));

    // The row is on its way to its own shard.
    log.attempted(Stream::Messages, attempts + 1).await;
    log.taken_by(shard, "b").await;
    handle.renewed(Duration::from_millis(1), false);
    timeout(Duration::from_secs(5), handle.closed())
        .await
        .expect("it ends");
    log.release();

    let let_go = timeout(Duration::from_secs(25), delivering).await;
    assert!(let_go.is_ok(), "the keeper serves a closed shard for ever");
}
