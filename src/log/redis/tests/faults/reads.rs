//! What is read: by the owner without asking, and in pages.

use super::config_of;
use crate::ids::Offset;
use crate::log::conformance::batch;
use crate::log::record::Tail;
use crate::log::redis::testing::{Server, log, server};
use crate::log::redis::tests::owned::{M, Owned};
use crate::log::{AppendOutcome, ShardLog};

#[tokio::test]
async fn the_owner_reads_its_own_entries_without_asking_redis() {
    let server = Server::start(&[]);
    let mut owned = Owned::new(config_of(&server), 1).await;
    for _ in 0..20 {
        owned.append().await;
        let read = owned
            .log
            .read(owned.shard, M, owned.next().expected.offset, 1)
            .await;
        assert_eq!(read, Ok(Vec::new()), "at the tail redis is asked");
    }

    let reads = async || server.field("commandstats", "cmdstat_xrange").await;
    let before = reads().await;

    assert_eq!(
        owned
            .log
            .read(owned.shard, M, Offset(0), usize::MAX)
            .await
            .unwrap(),
        owned.acknowledged
    );
    assert_eq!(
        owned
            .log
            .read(owned.shard, M, Offset(20), usize::MAX)
            .await
            .unwrap(),
        owned.acknowledged[10..]
    );
    assert_eq!(reads().await, before);

    owned.assert_whole().await;
    assert_ne!(reads().await, before, "somebody without a memory asks");
}

#[tokio::test]
async fn many_large_entries_are_read_in_pages_and_trimmed_in_steps() {
    let server = server().await;
    let owned = Owned::new(config_of(server), 1).await;
    let (mut tail, mut sent) = (Tail::EMPTY, 0);
    let text = "x".repeat(30_000);

    for _ in 0..1000 {
        let next = batch(owned.shard, M, owned.token, &tail, (1, &text));
        assert_eq!(owned.send(&next).await, Ok(AppendOutcome::Appended));
        (tail, sent) = (next.tail, sent + 1);
    }

    let fresh = log(&owned.config);
    let mut after = Offset(0);
    while after < tail.offset {
        let page = fresh.read(owned.shard, M, after, 1_000_000).await.unwrap();
        assert!(
            (30..=40).contains(&page.len()) || page.last().unwrap().last == tail.offset,
            "{}",
            page.len()
        );
        assert_eq!(page[0].last, after.next());
        after = page.last().unwrap().last;
    }

    fresh
        .trim(owned.shard, owned.token, M, Offset(990))
        .await
        .unwrap();
    assert_eq!(
        fresh
            .read(owned.shard, M, Offset(0), usize::MAX)
            .await
            .unwrap()
            .len(),
        10
    );

    assert_eq!(sent, 1000);
}
