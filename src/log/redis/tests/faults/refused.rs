//! A server that refuses to write, is a replica for a while, or forgets its scripts.

use super::config_of;
use crate::ids::Offset;
use crate::log::redis::testing::{Server, until, words};
use crate::log::redis::tests::owned::{
    M, Owned, assert_doubt, assert_not_replicated, assert_not_written,
};
use crate::log::{AppendOutcome, ShardLog};

#[tokio::test]
async fn out_of_memory_is_surely_not_written_and_renewals_and_trims_go_on() {
    let server = Server::start(&[]);
    let mut owned = Owned::new(config_of(&server), 1).await;
    owned.append().await;

    let next = owned.next();
    server.ask::<()>("CONFIG SET maxmemory 1").await;
    for _ in 0..2 {
        assert_not_written(&owned.send(&next).await, "OOM");
    }

    assert_eq!(
        owned.log.renew(&[(owned.shard, owned.token)]).await,
        [Ok(true)]
    );

    owned
        .log
        .trim(owned.shard, owned.token, M, Offset(2))
        .await
        .unwrap();
    assert_eq!(
        server
            .ask::<u64>(&format!("XLEN {{{}:s1}}:messages", owned.config.prefix))
            .await,
        0
    );

    server.ask::<()>("CONFIG SET maxmemory 0").await;
    assert_eq!(owned.send(&next).await, Ok(AppendOutcome::Appended));
}

#[tokio::test]
async fn a_server_that_cannot_save_is_surely_not_written_to() {
    let server = Server::start(&[]);
    let mut owned = Owned::new(config_of(&server), 1).await;

    // A folder where the snapshot should go: the last step of saving fails.
    std::fs::create_dir(server.folder().join("dump.rdb")).unwrap();
    server.ask::<()>("CONFIG SET save 900000~1").await;
    server.ask::<()>("BGSAVE").await;
    until("saving fails", async || {
        server.field("persistence", "rdb_last_bgsave_status").await == "err"
    })
    .await;

    let next = owned.next();
    assert_not_written(&owned.send(&next).await, "MISCONF");

    server
        .ask::<()>("CONFIG SET stop-writes-on-bgsave-error no")
        .await;
    owned.append().await;
    owned.assert_whole().await;
}

#[tokio::test]
async fn a_server_that_became_a_replica_is_waited_for() {
    let server = Server::start(&[]);
    let mut owned = Owned::new(config_of(&server), 1).await;
    owned.append().await;
    server.ask::<()>("REPLICAOF 127.0.0.1 1").await;
    let next = owned.next();
    assert_doubt(&owned.send(&next).await, "READONLY");
    server.ask::<()>("REPLICAOF NO ONE").await;
    assert_eq!(owned.settle(&next).await.0, AppendOutcome::Appended);
    owned.assert_whole().await;
}

#[tokio::test]
async fn too_few_replicas_is_not_replicated_and_not_written() {
    let server = Server::start(&[]);
    let mut owned = Owned::new(config_of(&server), 1).await;
    server.ask::<()>("CONFIG SET min-replicas-to-write 1").await;
    let next = owned.next();
    assert_not_replicated(&owned.send(&next).await);
    server.ask::<()>("CONFIG SET min-replicas-to-write 0").await;
    assert_eq!(owned.settle(&next).await.0, AppendOutcome::Appended);
    owned.assert_whole().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_that_are_flushed_between_and_within_cycles_are_sent_again() {
    let server = Server::start(&[]);
    let config = config_of(&server);
    let mut owned = Vec::new();
    for shard in 0..16 {
        owned.push(Owned::new(config.clone(), shard).await);
    }

    server.ask::<()>("SCRIPT FLUSH SYNC").await;
    let mut meddler = server.meddler().await;
    let flusher = tokio::spawn(async move {
        loop {
            words("SCRIPT FLUSH SYNC")
                .exec_async(&mut meddler)
                .await
                .unwrap();
        }
    });

    for _ in 0..100 {
        let cycle: Vec<_> = owned.iter().map(Owned::next).collect();
        let answers = owned[0].log.append(&cycle).await;
        for ((one, batch), answer) in owned.iter_mut().zip(&cycle).zip(answers) {
            assert_eq!(answer, Ok(AppendOutcome::Appended));
            one.committed(batch);
        }
        let holds: Vec<_> = owned
            .iter()
            .map(|owned| (owned.shard, owned.token))
            .collect();
        assert_eq!(owned[0].log.renew(&holds).await, vec![Ok(true); 16]);
    }

    flusher.abort();
    for one in &owned {
        one.assert_whole().await;
    }
}
