//! A server that hears this process and is not heard: nothing is done to it again and again.

use std::time::Duration;

use super::owned::{Owned, assert_doubt};
use super::proxy::{Mode, Proxy};
use crate::ids::ShardId;
use crate::log::redis::Config;
use crate::log::redis::servers::Servers;
use crate::log::redis::testing::{config, log, server, until};
use crate::log::{AppendOutcome, ShardLog};

/// Time-out of calls, short because they are to run into it.
const SHORT: Duration = Duration::from_millis(400);

/// Time-out of calls that nobody is to run into.
const LONG: Duration = Duration::from_secs(30);

/// What is tried, again and again.
const TRIES: u64 = 5;

// Interleavings 1 and 4 of docs/adr/0015-a-node-cut-off-from-the-log.md.
#[tokio::test]
async fn of_a_connection_without_answers_what_was_under_way_is_done_once_and_nothing_after_it() {
    let server = server().await;
    let proxy = Proxy::before(server.port).await;
    let direct = config(&[server.url()]);
    let heard = log(&direct);
    let mut owned = Owned::new(
        Config {
            urls: vec![proxy.url()],
            timeout: SHORT,
            ..direct
        },
        1,
    )
    .await;
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
    until("one renewal and one append were carried out", async || {
        beat().await == before + 2
    })
    .await;

    proxy.set(Mode::Pass);
    assert_eq!(owned.settle(&next).await.0, AppendOutcome::AlreadyDone);
    assert_eq!(owned.log.renew(&hold).await, [Ok(true)]);
    assert_eq!(beat().await, before + 4, "nothing else was held on the way");
    owned.assert_whole().await;
}

// What a table is kept by, the coordinator's lease among it, goes the same way.
#[tokio::test]
async fn of_commands_without_an_answer_one_is_carried_out() {
    let server = server().await;
    let proxy = Proxy::before(server.port).await;
    let config = Config {
        urls: vec![proxy.url()],
        timeout: SHORT,
        ..config(&[])
    };
    let (key, servers) = (
        format!("{{{}:table}}:count", config.prefix),
        Servers::new(config).unwrap(),
    );
    let count = || {
        let mut count = redis::cmd("INCR");
        count.arg(&key);
        count
    };
    servers.command(&key, count()).await.expect("answered");

    proxy.set(Mode::Deafen);
    for _ in 0..TRIES {
        assert!(servers.command(&key, count()).await.is_err());
    }
    until("one was carried out", async || {
        server.ask::<u64>(&format!("GET {key}")).await == 2
    })
    .await;

    proxy.set(Mode::Pass);
    servers.command(&key, count()).await.expect("answered");
    assert_eq!(
        server.ask::<u64>(&format!("GET {key}")).await,
        3,
        "nothing was held on the way"
    );
}

#[tokio::test]
async fn a_look_that_is_given_up_leaves_the_connection_it_began_to_the_next_one() {
    let server = server().await;
    let proxy = Proxy::before(server.port).await;
    let config = Config {
        urls: vec![proxy.url()],
        timeout: LONG,
        ..config(&[server.url()])
    };
    let log = log(&config);
    let shard = ShardId(3);
    assert!(
        log.control(shard).await.is_ok(),
        "makes the other connection that a look needs"
    );

    let before = proxy.accepted();
    proxy.set(Mode::Deafen);
    let given_up = tokio::time::timeout(SHORT, log.observe(&[shard])).await;
    assert!(given_up.is_err(), "a first answer takes longer than that");
    proxy.set(Mode::Pass);
    assert!(log.observe(&[shard]).await.remove(0).is_ok());
    assert_eq!(
        proxy.accepted(),
        before + 1,
        "the second look used what the first had begun"
    );
}
