//! Without a second copy nothing is committed, but for what witnesses hold.

use nix::sys::signal::Signal;

use super::{SHORT, nothing_is_committed_without};
use crate::ids::ShardId;
use crate::log::conformance::claimed;
use crate::log::record::Tail;
use crate::log::redis::keys::token_text;
use crate::log::redis::testing::{DEADLINE, Server, log, until};
use crate::log::redis::tests::Pair;
use crate::log::redis::tests::owned::Owned;
use crate::log::redis::{Config, RedisLog};
use crate::log::{ClaimOutcome, ShardLog};

#[tokio::test]
async fn without_its_replica_nothing_is_committed_and_later_everything_is() {
    nothing_is_committed_without(&Pair::start("redis-server").await).await;
}

#[tokio::test]
async fn a_claim_that_no_replica_has_is_not_served() {
    let pair = Pair::start("redis-server").await;
    let mut owned = Owned::new(pair.config(), 1).await;
    owned.log = log(&Config {
        replica_wait: SHORT / 2,
        ..owned.config.clone()
    });

    pair.replica.signal(Signal::SIGSTOP);
    let found = owned.log.control(owned.shard).await.unwrap().unwrap();
    let error = owned
        .log
        .claim(owned.claim(Some((found.token, found.beat))))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("not on 1 replicas"), "{error}");
    pair.replica.signal(Signal::SIGCONT);

    // The token may be set all the same: the next claim finds it, and has to go above it.
    let again = claimed(&*log(&owned.config), owned.shard).await;
    assert!(again.epoch > found.token.epoch);
}

#[tokio::test]
async fn a_replica_that_hangs_holds_no_claim_up_and_one_that_answers_has_it() {
    let pair = Pair::start("redis-server").await;
    let hung = Server::start(&["--replicaof", &format!("127.0.0.1 {}", pair.master.port)]);
    until("both are online", async || {
        pair.master
            .field("replication", "slave1")
            .await
            .contains("online")
    })
    .await;

    let mut owned = Owned::new(pair.config(), 1).await;
    owned.append().await;
    owned.log = log(&Config {
        replica_wait: SHORT,
        ..owned.config.clone()
    });

    // The master lists it for a minute still.
    hung.signal(Signal::SIGSTOP);

    let found = owned.log.control(owned.shard).await.unwrap().unwrap();
    let claim = owned.claim(Some((found.token, found.beat)));
    let outcome = tokio::time::timeout(DEADLINE, owned.log.claim(claim.clone()))
        .await
        .expect("in time")
        .unwrap();
    let ClaimOutcome::Claimed(control) = outcome else {
        panic!("{outcome:?}")
    };

    assert_eq!(
        pair.master.field("replication", "connected_slaves").await,
        "2"
    );

    let copied: String = pair
        .replica
        .ask(&format!("HGET {{{}:s1}}:ctl token", owned.config.prefix))
        .await;
    assert_eq!(copied, token_text(control.token));

    // Without anybody who answers it stands as well: the shard has entries that tell of it.
    pair.replica.signal(Signal::SIGSTOP);
    let again = claimed(&*owned.log, owned.shard).await;
    assert!(again.epoch > control.token.epoch);

    for stopped in [&pair.replica, &hung] {
        stopped.signal(Signal::SIGCONT);
    }
}

#[tokio::test]
async fn without_any_replica_a_claim_stands_unless_it_is_the_only_trace_of_its_shard() {
    let mut pair = Pair::start("redis-server").await;
    let mut owned = Owned::new(pair.config(), 1).await;
    owned.append().await;
    owned.log = log(&Config {
        replica_wait: SHORT / 2,
        ..owned.config.clone()
    });

    pair.replica.kill9();
    until("the master has noticed", async || {
        pair.master.field("replication", "connected_slaves").await == "0"
    })
    .await;

    let before = owned.token;
    owned.token = claimed(&*owned.log, owned.shard).await;
    assert!(owned.token.epoch > before.epoch);

    let never = crate::log::Claim {
        shard: ShardId(2),
        ..owned.claim(None)
    };
    let error = owned.log.claim(never).await.unwrap_err();
    assert!(error.to_string().contains("not on 1 replicas"), "{error}");
}

/// Reads the log as a standby does, and says what it has read.
#[derive(Debug)]
struct Reader {
    log: std::sync::Arc<RedisLog>,
    shard: ShardId,
    in_sync: std::sync::atomic::AtomicBool,
}

#[async_trait::async_trait]
impl crate::log::lane::Witnesses for Reader {
    fn any(&self) -> bool {
        self.in_sync.load(std::sync::atomic::Ordering::SeqCst)
    }

    async fn hold(&self, stream: crate::log::Stream, tail: Tail, _: std::time::Instant) -> bool {
        let observed = self.log.observe(&[self.shard]).await.remove(0);
        observed.is_ok_and(|seen| {
            seen.control
                .is_some_and(|control| control.tails[stream] == tail)
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_replica_a_batch_is_committed_by_who_has_read_it_and_by_no_one_else() {
    use crate::log::lane::{Definite, Lane, Standing};

    let mut pair = Pair::start("redis-server").await;
    let mut owned = Owned::new(pair.config(), 1).await;
    owned.append().await;
    // Only now: on a busy machine the claim may wait longer for the replica.
    owned.log = log(&Config {
        replica_wait: SHORT,
        ..owned.config.clone()
    });
    let lane = Lane::spawn(std::sync::Arc::clone(&owned.log) as std::sync::Arc<dyn ShardLog>);
    let reader = std::sync::Arc::new(Reader {
        log: log(&owned.config),
        shard: owned.shard,
        in_sync: true.into(),
    });
    let _witnessed = lane.witnessed_by(
        owned.shard,
        std::sync::Arc::clone(&reader) as std::sync::Arc<_>,
    );
    pair.replica.kill9();
    for _ in 0..3 {
        let next = owned.next();
        assert_eq!(lane.append(next.clone()).await, Ok(Definite::Committed));
        owned.committed(&next);
        assert_eq!(lane.standing(owned.shard), Standing::Clear);
    }
    reader
        .in_sync
        .store(false, std::sync::atomic::Ordering::SeqCst);
    let next = owned.next();
    let mut end = lane.append(next.clone());
    until(
        "the place makes no copy",
        async || matches!(lane.standing(owned.shard), Standing::NotReplicated { since } if since.elapsed() > SHORT * 5),
    )
    .await;
    assert!(end.try_recv().is_err(), "nobody has confirmed it");
    pair.replica.restart();
    assert_eq!(end.await, Ok(Definite::Committed));
    owned.committed(&next);
    owned.assert_whole().await;
}
