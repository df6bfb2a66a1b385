//! What replicas ask each other over real links, of nodes that know it and of nodes that are too
//! old.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::cluster::table::Table;
use crate::ids::{Epoch, NodeId, Offset, ShardId};
use crate::link::Config;
use crate::log::record::Tail;
use crate::log::{PerStream, RawEntry, Stream};
use crate::node::link::frame::{Body, Outcome};
use crate::node::link::replica::{PackedEntry, ReplicaAnswer, ReplicaAsk};
use crate::node::link::server::PeerServer;
use crate::node::owners::Owners;
use crate::node::owners::testing::{Fake, Pair, SHARDS, node, soon, table};
use crate::shard::command::{Command, Done, ShardError};
use crate::shard::replicas::{Following, ReplicaStatus};

const SHARD: ShardId = ShardId(3);

fn status(node: &str, offset: u64) -> ReplicaStatus {
    let tail = Tail {
        offset: Offset(offset),
        ..Tail::EMPTY
    };
    ReplicaStatus {
        shard: SHARD,
        node: NodeId::from(node),
        applied: PerStream::both(tail),
        durable: PerStream::both(Tail::EMPTY),
        max_epoch: Epoch(4),
        following: Following::Diverged("it has another history".to_owned()),
    }
}

/// Node `a` and others with a replica of every shard, all of them over real links.
struct Row {
    owners: Owners,
    _table: watch::Sender<Arc<Table>>,
    _servers: Vec<PeerServer>,
}

impl Row {
    async fn new(others: &[(&str, &Arc<Fake>)]) -> Self {
        let mut nodes = vec![("a", String::new())];
        let mut listeners = Vec::new();
        for (name, _) in others {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            nodes.push((name, listener.local_addr().expect("an address").to_string()));
            listeners.push(listener);
        }

        let mut table = Table::clone(&table(1, &nodes));
        let row: Vec<NodeId> = nodes.iter().map(|(name, _)| NodeId::from(*name)).collect();
        table.rows = (0..SHARDS).map(|_| row.clone()).collect();

        let (sender, receiver) = watch::channel(Arc::new(table));
        let serve = |((name, fake), listener): (&(&str, &Arc<Fake>), TcpListener)| {
            node(name, fake, receiver.clone(), Config::default())
                .0
                .serve_peers(listener, None)
        };
        let servers = others.iter().zip(listeners).map(serve).collect();
        let nothing = Fake::new(|_| Err(ShardError::NotOwner));
        let (owners, _) = node("a", &nothing, receiver.clone(), Config::default());

        Self {
            owners,
            _table: sender,
            _servers: servers,
        }
    }
}

fn answering(answer: impl Fn(ReplicaAsk) -> ReplicaAnswer + Send + Sync + 'static) -> Arc<Fake> {
    Fake::new(move |body| match body {
        Body::Replica { shard: SHARD, ask } => Ok(Outcome::Replica(answer(ask.clone()))),
        _ => Err(ShardError::NotOwner),
    })
}

fn standing_at(offset: u64) -> Arc<Fake> {
    answering(move |_| ReplicaAnswer::Standing(status("whatever it says", offset)))
}

#[tokio::test]
async fn the_standing_of_the_others_is_asked_for_side_by_side_and_who_is_late_is_left_out() {
    let (one, none, late) = (
        standing_at(7),
        Fake::new(|_| Err(ShardError::NotOwner)),
        standing_at(9),
    );
    *late.delay.lock().expect("not poisoned") = Box::new(|_| Duration::from_secs(60));

    let slow = standing_at(8);
    let row = Row::new(&[("b", &one), ("c", &none), ("d", &late), ("e", &slow)]).await;
    let replicas = row.owners.replicas();
    let told = replicas
        .standing(SHARD, Instant::now() + Duration::from_secs(2))
        .await;
    assert_eq!(
        told,
        [status("b", 7), status("e", 8)],
        "named as they were asked, in the order of the row"
    );

    assert_eq!(late.bodies().len(), 1);
    assert_eq!(
        *late.askers.lock().expect("not poisoned"),
        [NodeId::from("a")],
        "who asks is who has proven to be it"
    );
}

#[tokio::test]
async fn raw_entries_of_another_replica_come_as_they_are_in_order() {
    let after = Tail {
        offset: Offset(4),
        ..Tail::EMPTY
    };
    let holder = answering(move |ask| match ask {
        ReplicaAsk::EntriesAfter {
            stream: Stream::Receipts,
            after: asked,
        } if asked == after => {
            let entry = |last, bytes: &[u8]| PackedEntry {
                last: Offset(last),
                bytes: bytes.to_vec(),
            };
            ReplicaAnswer::Entries(vec![entry(5, b"\xff\x00"), entry(9, b"\x80")])
        }
        _ => ReplicaAnswer::Failed("the disk".to_owned()),
    });

    let row = Row::new(&[("b", &holder)]).await;
    let replicas = row.owners.replicas();
    let node = NodeId::from("b");
    let entry = |last, bytes: &'static [u8]| RawEntry {
        last: Offset(last),
        bytes: Bytes::from_static(bytes),
    };
    let got = replicas
        .entries_after(SHARD, &node, Stream::Receipts, after, soon())
        .await;
    assert_eq!(got, [entry(5, b"\xff\x00"), entry(9, b"\x80")]);

    assert_eq!(
        replicas
            .entries_after(SHARD, &node, Stream::Messages, after, soon())
            .await,
        []
    );

    let nobody = NodeId::from("z");
    let end = Instant::now() + Duration::from_millis(300);
    assert_eq!(
        replicas
            .entries_after(SHARD, &nobody, Stream::Messages, after, end)
            .await,
        []
    );
}

#[tokio::test]
async fn an_entry_is_held_only_when_every_standby_that_is_asked_says_so() {
    let holds = || answering(|ask| ReplicaAnswer::Holds(matches!(ask, ReplicaAsk::Holds { .. })));
    let (one, two) = (holds(), holds());
    let lacks = answering(|_| ReplicaAnswer::Holds(false));
    let gone = Fake::new(|_| Err(ShardError::NotOwner));
    let row = Row::new(&[("b", &one), ("c", &two), ("d", &lacks), ("e", &gone)]).await;
    let replicas = row.owners.replicas();

    for (asked, held) in [
        (vec!["b"], true),
        (vec!["b", "c"], true),
        (vec!["b", "d"], false),
        (vec!["c", "e"], false),
        (vec![], false),
    ] {
        let standbys: Vec<NodeId> = asked.iter().map(|&name| NodeId::from(name)).collect();
        let says = replicas
            .hold(SHARD, &standbys, Stream::Messages, Tail::EMPTY, soon())
            .await;
        assert_eq!(says, held, "{asked:?}");
    }
}

#[tokio::test]
async fn a_link_of_the_first_version_carries_what_that_knows_and_nothing_newer() {
    let old = || Config {
        newest: 1,
        ..Config::default()
    };
    for (requester, owner, knows) in [
        (old(), Config::default(), false),
        (Config::default(), old(), false),
        (Config::default(), Config::default(), true),
    ] {
        let fake = Fake::new(|body| match body {
            Body::Replica { .. } => Ok(Outcome::Replica(ReplicaAnswer::Standing(status("b", 7)))),
            _ => Ok(Outcome::Done(Done::Marked)),
        });
        let pair = Pair::of(&fake, (requester, owner)).await;
        let asked = pair
            .owners
            .ask_replica(&NodeId::from("b"), SHARD, ReplicaAsk::Standing, soon())
            .await;
        assert_eq!(asked.is_some(), knows);
        let marks = Command::Delivered(Vec::new());
        pair.owners
            .execute(SHARD, marks, soon())
            .await
            .expect("an answer");
        assert_eq!(fake.bodies().len(), if knows { 2 } else { 1 });
    }
}

#[tokio::test]
async fn a_request_that_the_peer_does_not_know_fails_at_once_and_those_behind_it_go_on() {
    let fake = Fake::new(|_| Ok(Outcome::Done(Done::Marked)));
    let pair = Pair::of(
        &fake,
        (
            Config::default(),
            Config {
                newest: 1,
                ..Config::default()
            },
        ),
    )
    .await;

    let order = Arc::new(Mutex::new(Vec::new()));
    let begun = Instant::now();
    let (b, end) = (NodeId::from("b"), soon());
    let unknown = pair.owners.ask_replica(&b, SHARD, ReplicaAsk::Digest, end);
    let known = pair
        .owners
        .execute(SHARD, Command::Delivered(Vec::new()), end);
    let note = |word| order.lock().expect("not poisoned").push(word);

    tokio::join!(
        async {
            assert_eq!(unknown.await, None);
            note("unknown");
        },
        async {
            known.await.expect("an answer");
            note("known");
        }
    );

    assert!(
        begun.elapsed() < Duration::from_secs(19),
        "not at its deadline"
    );
    assert_eq!(order.lock().expect("not poisoned").len(), 2);
}
