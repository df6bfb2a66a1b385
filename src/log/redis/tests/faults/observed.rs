//! Which lineage is observed, and of which server none is.

use nix::sys::signal::Signal;

use super::{SHORT, config_of};
use crate::ids::ShardId;
use crate::log::ShardLog;
use crate::log::redis::testing::{Server, until};
use crate::log::redis::tests::Pair;
use crate::log::redis::tests::owned::Owned;
use crate::log::redis::{Config, RedisLog};

/// What is observed of one shard, or panics.
async fn observed(log: &RedisLog, shard: ShardId) -> crate::log::Observed {
    log.observe(&[shard]).await.remove(0).unwrap()
}

#[tokio::test]
async fn another_run_of_the_server_is_another_lineage() {
    let mut server = Server::start(&["--appendfsync", "always"]);
    let owned = Owned::new(config_of(&server), 1).await;
    let before = observed(&owned.log, owned.shard).await;
    assert_eq!(before, observed(&owned.log, owned.shard).await);
    server.restart();
    let mut after = None;
    until("it answers again", async || {
        after = owned.log.observe(&[owned.shard]).await.remove(0).ok();
        after.is_some()
    })
    .await;
    let after = after.unwrap();
    assert_eq!(after.control, before.control, "nothing is lost");
    assert_ne!(after.lineage, before.lineage);
}

#[tokio::test]
async fn a_server_that_was_a_replica_in_between_is_another_lineage_and_no_replica_is_observed() {
    let pair = Pair::start("redis-server").await;
    let owned = Owned::new(pair.config(), 1).await;
    let before = observed(&owned.log, owned.shard).await;

    // The log talks to one address only: its server becomes a replica of the other, and master
    // again.
    pair.replica.ask::<()>("REPLICAOF NO ONE").await;
    pair.master
        .ask::<()>(&format!("REPLICAOF 127.0.0.1 {}", pair.replica.port))
        .await;
    let error = owned
        .log
        .observe(&[owned.shard])
        .await
        .remove(0)
        .unwrap_err();
    assert!(error.to_string().contains("no master"), "{error}");

    pair.master.ask::<()>("REPLICAOF NO ONE").await;
    let after = observed(&owned.log, owned.shard).await;
    assert_eq!(after.control, before.control);
    assert_ne!(
        after.lineage, before.lineage,
        "it may have fallen back meanwhile"
    );
}

#[tokio::test]
async fn a_server_that_stands_still_is_not_observed_and_does_not_hold_the_call_up_for_long() {
    let server = Server::start(&[]);
    let owned = Owned::new(
        Config {
            timeout: SHORT,
            ..config_of(&server)
        },
        1,
    )
    .await;

    observed(&owned.log, owned.shard).await;
    server.signal(Signal::SIGSTOP);
    for answer in owned.log.observe(&[owned.shard, ShardId(2)]).await {
        assert!(answer.is_err());
    }

    server.signal(Signal::SIGCONT);
    until("it is observed again", async || {
        owned.log.observe(&[owned.shard]).await.remove(0).is_ok()
    })
    .await;
}
