//! Each row of the table of answers that a real server can be brought to give, and the
//! interleavings.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::Pair;
use super::owned::{M, Owned, assert_doubt, assert_not_replicated, assert_not_written};
use super::proxy::{Mode, Proxy};
use crate::ids::{Offset, ShardId};
use crate::log::conformance::{batch, claimed, read_all};
use crate::log::record::Tail;
use crate::log::redis::keys::token_text;
use crate::log::redis::testing::{DEADLINE, Server, config, log, server, until, words};
use crate::log::redis::{CommitLevel, Config, RedisLog};
use crate::log::{AppendOutcome, ClaimOutcome, PerStream, ShardLog, Token};

/// Short enough to run out while a server stands still.
const SHORT: Duration = Duration::from_millis(400);

fn config_of(server: &Server) -> Config {
    config(&[server.url()])
}

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

#[tokio::test]
async fn a_stream_that_was_deleted_is_not_begun_anew() {
    let server = server().await;
    let mut owned = Owned::new(config_of(server), 1).await;
    owned.append().await;
    let stream = format!("{{{}:s1}}:messages", owned.config.prefix);
    server.ask::<()>(&format!("DEL {stream}")).await;
    assert_not_written(&owned.send(&owned.next()).await, "gone");
    assert!(!server.ask::<bool>(&format!("EXISTS {stream}")).await);
    let control = owned.log.control(owned.shard).await.unwrap().unwrap();
    assert_eq!(control.tails[M], owned.tail);
}

#[tokio::test]
async fn a_stream_that_is_ahead_of_its_control_record_refuses_and_both_stay_as_they_were() {
    let server = server().await;
    let mut owned = Owned::new(config_of(server), 1).await;
    owned.append().await;
    let stream = format!("{{{}:s1}}:messages", owned.config.prefix);
    server.ask::<()>(&format!("XADD {stream} 9-0 e x")).await;
    assert_not_written(&owned.send(&owned.next()).await, "refuses");
    assert_eq!(server.ask::<u64>(&format!("XLEN {stream}")).await, 2);
    assert_eq!(
        owned.log.control(owned.shard).await.unwrap().unwrap().tails[M],
        owned.tail
    );
}

#[tokio::test]
async fn a_control_record_that_was_deleted_does_not_become_a_new_shard() {
    let server = server().await;
    let mut owned = Owned::new(config_of(server), 1).await;
    owned.append().await;
    server
        .ask::<()>(&format!("DEL {{{}:s1}}:ctl", owned.config.prefix))
        .await;
    let nobody = Token {
        epoch: crate::ids::Epoch(0),
        nonce: 0,
    };
    assert_eq!(
        owned.send(&owned.next()).await,
        Ok(AppendOutcome::Fenced { current: nobody })
    );
    let claim = owned.claim(None);
    let error = owned.log.claim(claim.clone()).await.unwrap_err();
    assert!(error.to_string().contains("deleted"), "{error}");
    // Not even to adopt a file: the entries may be newer than it.
    let adopting = crate::log::Claim {
        begin_at: PerStream::both(owned.tail),
        ..claim
    };
    let refused = owned.log.claim(adopting.clone()).await.unwrap_err();
    assert!(refused.to_string().contains("deleted"), "{refused}");
    assert_eq!(
        server
            .ask::<u64>(&format!("XLEN {{{}:s1}}:messages", owned.config.prefix))
            .await,
        1
    );
    // Deleted by somebody who knows what he does, they are no obstacle.
    server
        .ask::<()>(&format!("DEL {{{}:s1}}:messages", owned.config.prefix))
        .await;
    owned.token = adopting.token;
    let outcome = owned.log.claim(adopting).await.unwrap();
    assert!(matches!(outcome, ClaimOutcome::Claimed(control) if control.tails[M] == owned.tail));
    owned.acknowledged.clear();
    owned.append().await;
    assert_eq!(
        read_all(&*log(&owned.config), owned.shard, M).await,
        owned.acknowledged
    );
}

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

// Interleaving 4: a copy of a batch that was sent again runs after the next one was committed.
#[tokio::test]
async fn a_late_copy_of_a_committed_batch_has_no_effect() {
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
        ..config.clone()
    });
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
    let calls = async || server.field("commandstats", "cmdstat_evalsha").await;
    let before = calls().await;
    proxy.release();
    until("the late copies have run", async || calls().await != before).await;
    owned.append().await;
    owned.assert_whole().await;
}

// Interleaving 3: the late copy is of an owner that was replaced.
#[tokio::test]
async fn a_late_copy_of_a_former_owner_has_no_effect() {
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
        ..config.clone()
    });
    assert_doubt(&held.append(&[owned.next()]).await.remove(0), "");
    proxy.set(Mode::Pass);
    owned.token = claimed(&*owned.log, owned.shard).await;
    let calls = async || server.field("commandstats", "cmdstat_evalsha").await;
    let before = calls().await;
    proxy.release();
    until("the late copy has run", async || calls().await != before).await;
    owned.assert_whole().await;
    owned.append().await;
    owned.assert_whole().await;
}

#[tokio::test]
async fn without_its_replica_nothing_is_committed_and_later_everything_is() {
    nothing_is_committed_without(&Pair::start("redis-server").await).await;
}

/// The replica of the pair is stopped for a while.
pub(super) async fn nothing_is_committed_without(pair: &Pair) {
    let mut owned = Owned::new(pair.config(), 1).await;
    owned.append().await;
    let config = Config {
        replica_wait: SHORT / 2,
        ..owned.config.clone()
    };
    owned.log = log(&config);
    pair.replica.signal(Signal::SIGSTOP);
    let next = owned.next();
    for _ in 0..3 {
        assert_not_replicated(&owned.send(&next).await);
    }
    // A fresh connection has written nothing of its own before: its WAIT must not count what others
    // wrote.
    assert_not_replicated(
        &log(&config)
            .append(std::slice::from_ref(&next))
            .await
            .remove(0),
    );
    pair.replica.signal(Signal::SIGCONT);
    let (outcome, _) = owned.settle(&next).await;
    assert_eq!(outcome, AppendOutcome::AlreadyDone);
    owned.assert_whole().await;
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

#[tokio::test]
async fn one_broken_control_record_does_not_fail_the_renewals_of_the_other_shards() {
    let server = Server::start(&[]);
    let config = config_of(&server);
    let one = Owned::new(config.clone(), 1).await;
    let two = Owned::new(config.clone(), 2).await;
    server
        .ask::<u64>(&format!("DEL {{{}:s2}}:ctl", config.prefix))
        .await;
    server
        .ask::<()>(&format!("SET {{{}:s2}}:ctl x", config.prefix))
        .await;
    let renewed = one
        .log
        .renew(&[(two.shard, two.token), (one.shard, one.token)])
        .await;
    assert!(
        matches!(renewed.as_slice(), [Err(_), Ok(true)]),
        "{renewed:?}"
    );
}
