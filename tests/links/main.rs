//! Links that break: three real nodes and a router in this process; all connections between nodes
//! run through proxies that cut or stall them while clients send and read.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test stops at what it did not expect, and says so"
)]

mod client;
mod cluster;
mod device;
mod proxy;
#[path = "../it/support/within.rs"]
mod within;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::client::{all_events, http, open};
use crate::cluster::Cluster;
use crate::device::{Device, Outcome, read, send};
use crate::proxy::{Mode, Proxy};

/// Bounds a failure, measures nothing.
const DEADLINE: Duration = Duration::from_secs(30);

/// Times that a link is cut under load, at least.
const CUTS: usize = 30;

/// Texts that are sent while links are cut, at least: with fewer the test shows nothing. It goes on
/// cutting until then.
const TEXTS: usize = 500;

/// How long it goes on at most.
const CUTTING: Duration = Duration::from_secs(300);

/// Every so many cuts one is a stall: the connection stays open and nothing passes.
const STALL_EACH: usize = 10;

/// Longer than three missed heartbeats of a link.
const STALL: Duration = Duration::from_millis(2_200);

/// Longer than a send may wait for its answer.
const OUTAGE: Duration = Duration::from_millis(6_500);

/// Cuts now this link, now that, now all; some are stalled instead.
async fn cut_again_and_again(proxies: Vec<Arc<Proxy>>, settled: impl Fn() -> usize) {
    let end = Instant::now() + CUTTING;
    for i in 0.. {
        let count = settled();
        if i >= CUTS && count >= TEXTS {
            break;
        }
        assert!(
            Instant::now() < end,
            "{count} texts were sent within {CUTTING:?}"
        );
        sleep(Duration::from_millis(40 + 37 * (i as u64 % 7))).await;
        let proxy = &proxies[i % proxies.len()];
        if i % STALL_EACH == STALL_EACH - 1 {
            proxy.mode.send_replace(Mode::Stall);
            sleep(STALL).await;
            proxy.cut();
            proxy.mode.send_replace(Mode::Pass);
        } else if i % 5 == 0 {
            proxies.iter().for_each(|each| each.cut());
        } else {
            proxy.cut();
        }
    }

    // At last nothing passes for so long that sends are refused, as not written or as in doubt.
    for proxy in &proxies {
        proxy.mode.send_replace(Mode::Stall);
    }
    sleep(OUTAGE).await;
    for proxy in proxies {
        proxy.cut();
        proxy.mode.send_replace(Mode::Pass);
    }
}

// what must not happen: 20 — a broken link between nodes costs no session an event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
async fn no_session_sees_a_gap_a_double_or_disorder_while_links_are_cut_under_load() {
    let cluster = Cluster::start().await;
    let at = cluster.client;
    let users = cluster.names("user", 2);
    let conversations: Vec<String> = cluster
        .names("talk", 2)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    let everyone: Vec<&str> = users.iter().map(|(user, _)| user.as_str()).collect();

    for name in &conversations {
        let body = json!({"name": name, "participants": everyone});
        let (status, answer) = http(at, everyone[0], "POST", "/v1/conversations", &body).await;
        assert_eq!(status, 201, "{answer}");
    }

    let (stop, done) = (Arc::new(AtomicBool::new(false)), CancellationToken::new());
    let mut sockets = Vec::new();
    let (mut devices, mut readers, mut senders) = (Vec::new(), Vec::new(), Vec::new());

    for (user, node) in &users {
        for number in 0..2 {
            sockets.push((
                format!("{user}-{number} at {}", node.0),
                open(at, user).await,
            ));
        }
    }

    // All are connected before the first text.
    for (who, socket) in sockets {
        let (to, from) = socket.split();
        let device = Arc::new(Device::default());
        readers.push(tokio::spawn(read(
            from,
            Arc::clone(&device),
            who.clone(),
            done.clone(),
        )));
        let sending = send(
            to,
            Arc::clone(&device),
            (who.clone(), conversations.clone()),
            Arc::clone(&stop),
        );
        senders.push(tokio::spawn(sending));
        devices.push((who, device));
    }

    let proxies = cluster.proxies.clone();
    let settled = || {
        devices
            .iter()
            .map(|(_, device)| device.settled.load(Ordering::SeqCst))
            .sum()
    };
    cut_again_and_again(proxies.clone(), settled).await;
    stop.store(true, Ordering::SeqCst);

    let mut outcomes = BTreeMap::new();
    for sent in join_all(senders).await {
        outcomes.extend(sent.expect("a sender failed"));
    }

    // Everyone gets everything to the end.
    let mut histories = HashMap::new();
    for name in &conversations {
        histories.insert(name.clone(), all_events(at, everyone[0], name).await);
    }

    let end = Instant::now() + DEADLINE;
    for (who, device) in &devices {
        for (name, events) in &histories {
            let last = events.len() as u64;
            while device.seen.lock().unwrap().get(name).copied().unwrap_or(1) < last {
                assert!(
                    Instant::now() < end,
                    "{who} did not get {name} up to {last}: {:?}",
                    device.seen.lock().unwrap()
                );
                assert!(
                    !readers.iter().any(tokio::task::JoinHandle::is_finished),
                    "a reader failed"
                );
                sleep(Duration::from_millis(20)).await;
            }
        }
    }

    done.cancel();
    for reader in readers {
        reader.await.expect("a reader failed");
    }

    check_truth(&histories, &outcomes);
    let cuts: usize = proxies
        .iter()
        .map(|proxy| proxy.was_cut.load(Ordering::SeqCst))
        .sum();
    let mut problems: BTreeMap<String, usize> = BTreeMap::new();

    for (_, device) in &devices {
        for (code, count) in &*device.problems.lock().unwrap() {
            *problems.entry(code.clone()).or_default() += count;
        }
    }

    eprintln!(
        "{} texts, {cuts} connections cut, refusals: {problems:?}",
        outcomes.len()
    );

    assert!(
        cuts >= CUTS,
        "the proxies cut {cuts} connections only: the test shows nothing"
    );
    assert!(
        !problems.is_empty(),
        "no send was refused in an outage longer than its time"
    );
    cluster.stop().await;
}

/// What was said to be written is there, once, where it was said to be; what was said not to be is
/// not.
fn check_truth(histories: &HashMap<String, Vec<Value>>, outcomes: &BTreeMap<String, Outcome>) {
    let mut texts = HashSet::new();
    for (name, events) in histories {
        for (i, event) in events.iter().enumerate() {
            assert_eq!(event["seq"], i as u64 + 1, "{name} is not dense");
            let Some(text) = event["text"].as_str() else {
                continue;
            };
            assert!(texts.insert(text.to_owned()), "{text} is there twice");
            let expected = outcomes
                .get(text)
                .unwrap_or_else(|| panic!("{text} was sent by nobody"));
            let found = Outcome::Written {
                conversation: name.clone(),
                seq: i as u64 + 1,
            };
            assert_eq!(*expected, found, "{text}: the answer was not true");
        }
    }

    let written = outcomes
        .values()
        .filter(|outcome| matches!(outcome, Outcome::Written { .. }))
        .count();
    assert_eq!(texts.len(), written, "something acknowledged is lost");
}
