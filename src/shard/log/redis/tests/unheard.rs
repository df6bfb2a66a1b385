//! A server that hears this process and is not heard: nothing is done to it again and again.

use std::time::Duration;

use super::owned::{Owned, assert_doubt};
use super::proxy::{Mode, Proxy};
use crate::ids::NodeId;
use crate::node::table::TableStore;
use crate::node::table::redis::RedisTable;
use crate::shard::log::redis::Config;
use crate::shard::log::redis::servers::Servers;
use crate::shard::log::redis::testing::{config, log, server, until};
use crate::shard::log::{AppendOutcome, ShardLog};

/// Time-out of calls, short because they are to run into it.
const SHORT: Duration = Duration::from_millis(400);

/// What is tried, again and again.
const TRIES: u64 = 5;

// Interleavings 1 and 4 of docs/adr/0015-a-node-cut-off-from-the-log.md.
#[tokio::test]
async fn of_a_connection_without_answers_what_was_under_way_is_done_once_and_nothing_after_it() {
    let server = server().await;
    let proxy = Proxy::before(server.port).await;
    let direct = config(&[server.url()]);
    let heard = log(&direct);
    let mut owned = Owned::new(Config { urls: vec![proxy.url()], timeout: SHORT, ..direct }, 1).await;
    owned.append().await;
    let (shard, hold, next) = (owned.shard, [(owned.shard, owned.token)], owned.next());
    assert_eq!(owned.log.renew(&hold).await, [Ok(true)]);
    let beat = async || heard.control(shard).await.unwrap().expect("claimed").beat;

    proxy.set(Mode::Deafen);
    let before = beat().await;
    for _ in 0..TRIES {
        assert!(owned.log.renew(&hold).await[0].is_err());
        assert_doubt(&owned.send(&next).await, "");
    }
    // A new log has no connection that ever answered, and does nothing at all.
    let new = log(&owned.config);
    assert!(new.renew(&hold).await[0].is_err());
    assert_doubt(&new.append(std::slice::from_ref(&next)).await.remove(0), "");
    until("one renewal and one append were carried out", async || beat().await == before + 2).await;

    proxy.set(Mode::Pass);
    assert_eq!(owned.settle(&next).await.0, AppendOutcome::AlreadyDone);
    assert_eq!(owned.log.renew(&hold).await, [Ok(true)]);
    assert_eq!(beat().await, before + 4, "nothing else was held on the way");
    owned.assert_whole().await;
}

#[tokio::test]
async fn a_node_that_is_not_answered_keeps_the_coordinators_lease_from_nobody() {
    let server = server().await;
    let proxy = Proxy::before(server.port).await;
    let direct = config(&[server.url()]);
    let of = |config: &Config| RedisTable::new(Servers::new(config.clone()).unwrap());
    let table = of(&Config { urls: vec![proxy.url()], timeout: SHORT, ..direct.clone() });
    let (node, other, life) = (NodeId::from("node-a"), NodeId::from("node-b"), SHORT * 3);
    assert_eq!(table.lead(&node, life).await, Ok(true));

    proxy.set(Mode::Deafen);
    let others = of(&direct);
    until("another node leads", async || {
        assert!(table.lead(&node, life).await.is_err());
        others.lead(&other, life).await == Ok(true)
    })
    .await;
}
