//! Answers that come late or never, and what is written once all the same.

use std::sync::Arc;

use nix::sys::signal::Signal;

use super::{SHORT, config_of};
use crate::ids::Offset;
use crate::log::conformance::claimed;
use crate::log::redis::testing::{Server, log, until, words};
use crate::log::redis::tests::Pair;
use crate::log::redis::tests::owned::{M, Owned, assert_doubt, assert_not_replicated};
use crate::log::redis::tests::proxy::{Mode, Proxy};
use crate::log::redis::{CommitLevel, Config, RedisLog};
use crate::log::{AppendOutcome, ShardLog};

#[tokio::test]
async fn a_busy_server_is_waited_for() {
    let server = Server::start(&["--busy-reply-threshold", "50"]);
    let mut owned = Owned::new(config_of(&server), 1).await;
    let mut other = server.meddler().await;
    let busy = tokio::spawn(async move {
        words("EVAL while~true~do~end 0")
            .exec_async(&mut other)
            .await
    });
    let next = owned.next();

    // Until the other script has begun, appends succeed; this one is sent again and again anyway.
    until(
        "the server is busy",
        async || matches!(owned.send(&next).await, Err(error) if error.to_string().contains("BUSY")),
    )
    .await;

    server.ask::<()>("SCRIPT KILL").await;
    assert!(busy.await.unwrap().is_err());

    owned.settle(&next).await;
    owned.assert_whole().await;
}

// Interleaving 1 of docs/adr/0012-redis-log.md.
#[tokio::test]
async fn what_timed_out_and_is_written_later_is_there_once() {
    let server = Server::start(&[]);
    let mut owned = Owned::new(
        Config {
            timeout: SHORT,
            ..config_of(&server)
        },
        1,
    )
    .await;

    owned.append().await;
    for pause in 0..3 {
        let next = owned.next();
        server.signal(Signal::SIGSTOP);
        assert_doubt(&owned.send(&next).await, "");
        assert_doubt(&owned.send(&next).await, "");
        server.signal(Signal::SIGCONT);
        owned.settle(&next).await;
        owned.append().await;
        assert_eq!(owned.acknowledged.len(), 3 + 2 * pause);
    }
    owned.assert_whole().await;
}

#[tokio::test]
async fn a_paused_server_writes_what_it_was_sent_once() {
    let server = Server::start(&[]);
    let mut owned = Owned::new(
        Config {
            timeout: SHORT,
            ..config_of(&server)
        },
        1,
    )
    .await;
    let next = owned.next();
    server.ask::<()>("CLIENT PAUSE 3000 WRITE").await;

    let (_, doubts) = owned.settle(&next).await;
    assert!(
        !doubts.is_empty(),
        "the pause was too short to run out of time"
    );

    owned.append().await;
    owned.assert_whole().await;
}

// Interleaving 2: the reply to the script is on its way when the connection ends.
#[tokio::test]
async fn a_connection_cut_between_the_reply_and_the_wait_commits_nothing() {
    let Pair { master, replica } = Pair::start("redis-server").await;
    let direct = Config {
        commit: CommitLevel::Replicated,
        ..config_of(&master)
    };
    let proxy = Proxy::before(master.port).await;
    let mut owned = Owned::new(direct.clone(), 1).await;
    owned.append().await;

    let config = Config {
        urls: vec![proxy.url()],
        timeout: SHORT,
        replica_wait: SHORT / 4,
        ..direct
    };

    owned.log = log(&config);
    replica.signal(Signal::SIGSTOP);
    let cut = log(&config);
    proxy.set(Mode::CutAtReply);

    let next = owned.next();
    for _ in 0..3 {
        let answer = cut.append(std::slice::from_ref(&next)).await.remove(0);
        assert_doubt(&answer, "");
    }

    let written = master
        .ask::<u64>(&format!("XLEN {{{}:s1}}:messages", config.prefix))
        .await;
    assert_eq!(written, 2, "the script has run");
    proxy.set(Mode::Pass);
    for _ in 0..3 {
        assert_not_replicated(&owned.send(&next).await);
    }

    replica.signal(Signal::SIGCONT);
    assert_eq!(owned.settle(&next).await.0, AppendOutcome::AlreadyDone);
    owned.assert_whole().await;
}

/// A stream with an entry, whose owner reaches the server through a proxy that holds what comes
/// from now on, and another way to it that waits for a short time only.
struct HeldUp {
    server: Server,
    proxy: Proxy,
    owned: Owned,
    held: Arc<RedisLog>,
}

impl HeldUp {
    async fn start() -> Self {
        let server = Server::start(&[]);
        let proxy = Proxy::before(server.port).await;
        let config = Config {
            urls: vec![proxy.url()],
            ..config_of(&server)
        };
        let mut owned = Owned::new(config.clone(), 1).await;
        owned.append().await;
        proxy.set(Mode::Hold);

        let held = log(&Config {
            timeout: SHORT,
            ..config
        });

        Self {
            server,
            proxy,
            owned,
            held,
        }
    }
}

/// Lets go what the proxy holds, and waits until it has run.
async fn let_through(server: &Server, proxy: &Proxy) {
    let calls = async || server.field("commandstats", "cmdstat_evalsha").await;
    let before = calls().await;
    proxy.release();
    until("what was late has run", async || calls().await != before).await;
}

// Interleaving 4: a copy of a batch that was sent again runs after the next one was committed.
#[tokio::test]
async fn a_late_copy_of_a_committed_batch_has_no_effect() {
    let HeldUp {
        server,
        proxy,
        mut owned,
        held,
    } = HeldUp::start().await;
    let next = owned.next();

    for _ in 0..3 {
        assert_doubt(
            &held.append(std::slice::from_ref(&next)).await.remove(0),
            "",
        );
    }

    proxy.set(Mode::Pass);
    owned.settle(&next).await;
    owned.append().await;
    let_through(&server, &proxy).await;
    owned.append().await;
    owned.assert_whole().await;
}

// Interleaving 3: the late copy is of an owner that was replaced.
#[tokio::test]
async fn a_late_copy_of_a_former_owner_has_no_effect() {
    let HeldUp {
        server,
        proxy,
        mut owned,
        held,
    } = HeldUp::start().await;
    assert_doubt(&held.append(&[owned.next()]).await.remove(0), "");
    proxy.set(Mode::Pass);
    owned.token = claimed(&*owned.log, owned.shard).await;
    let_through(&server, &proxy).await;
    owned.assert_whole().await;
    owned.append().await;
    owned.assert_whole().await;
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_the_server_is_killed() {
    let mut server = Server::start(&["--appendfsync", "everysec"]);
    let mut owned = Owned::new(
        Config {
            timeout: SHORT,
            ..config_of(&server)
        },
        1,
    )
    .await;

    for _ in 0..3 {
        for _ in 0..20 {
            owned.append().await;
        }
        server.kill9();
        let next = owned.next();
        assert_doubt(&owned.send(&next).await, "");
        assert!(owned.log.control(owned.shard).await.is_err());
        assert!(owned.log.renew(&[(owned.shard, owned.token)]).await[0].is_err());
        // What this process committed it can still read.
        assert_eq!(
            owned
                .log
                .read(owned.shard, M, Offset(0), usize::MAX)
                .await
                .unwrap(),
            owned.acknowledged
        );
        server.restart();
        owned.settle(&next).await;
        until("its connection is made anew", async || {
            owned.log.control(owned.shard).await.is_ok()
        })
        .await;
    }
    owned.assert_whole().await;
}

#[tokio::test]
async fn a_server_that_stands_still_makes_no_call_wait_for_ever() {
    let server = Server::start(&[]);
    let owned = Owned::new(
        Config {
            timeout: SHORT,
            ..config_of(&server)
        },
        1,
    )
    .await;
    server.signal(Signal::SIGSTOP);

    let calls = (0..200).map(|_| owned.log.control(owned.shard));
    for answer in futures_util::future::join_all(calls).await {
        assert!(answer.is_err());
    }

    server.signal(Signal::SIGCONT);
    until("it answers again", async || {
        owned.log.control(owned.shard).await.is_ok()
    })
    .await;
}
