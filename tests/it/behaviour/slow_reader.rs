//! A device that does not read costs a bounded amount of memory, and nobody else anything.

use futures_util::future::join_all;
use serde_json::json;

use crate::support::server::Server;
use crate::support::socket::{Opening, Socket};
use crate::support::{Fields, Group, resident_kib, token};

/// Sockets that never read.
const SLOW: usize = 8;
/// Messages of 16 KiB: more than the outbox and all socket buffers on the way can hold.
const MESSAGES: u64 = 1_500;

// what must not happen: 21 — a slow reader is closed and resumes; buffers do not grow without bound.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_is_closed_and_the_others_do_not_notice() {
    let server = Server::start();
    let group = Group::create(&server, 1).await;
    let bob = &group.members[0];
    let mut slow = Vec::new();
    for _ in 0..SLOW {
        let opening =
            Opening { header_token: Some(token(bob.user())), receive_buffer: Some(4_096), ..Opening::default() };
        let mut socket = Socket::try_open(&server, opening).await.unwrap();
        socket.until_t("ready").await;
        slow.push(socket);
    }
    let mut quick = Socket::ready(&server, bob.user()).await;
    let before = resident_kib(&server);
    let text = "x".repeat(16_000);
    for i in 1..=MESSAGES / 10 {
        join_all((0..10).map(|_| group.admin.say(&group.name, &text))).await;
        // Quick means that it reads as fast as is sent, also where this process gets little of the machine.
        quick.until_seq(&group.name, i * 10 + 1).await;
    }
    assert_eq!(quick.seqs(&group.name), (2..=MESSAGES + 1).collect::<Vec<u64>>(), "the quick device got all");
    let grown = resident_kib(&server).saturating_sub(before);
    assert!(grown < 200 * 1_024, "the server grew by {grown} KiB");
    for mut socket in slow {
        let code = socket.closed().await;
        assert!(matches!(code, Some(4420) | None), "a slow consumer: {code:?}");
        let seen = socket.seqs(&group.name);
        assert!((seen.len() as u64) < MESSAGES, "it did not get everything");
        assert_eq!(seen, (2..seen.len() as u64 + 2).collect::<Vec<u64>>(), "what it got has no hole");
    }
    // It comes back and goes on where it was, or is told of the gap.
    let mut socket = Socket::open_at(&server, bob.user(), "/v1/ws?resume=wait").await;
    socket.send(&json!({"t": "resume", "positions": {&group.name: MESSAGES - 10}})).await;
    socket.until_t("ready").await;
    assert_eq!(socket.seqs(&group.name), (MESSAGES - 9..=MESSAGES + 1).collect::<Vec<u64>>());
    assert_eq!(group.admin.get(&group.path("")).await.expect(200).number("last_seq"), MESSAGES + 1);
}

/// Messages of 16 KiB that are sent before anybody is slow, so that caches and buffers have their size.
const WARM: u64 = 1_500;
/// And while some are slow: 64 MiB, on each of the three nodes.
const FLOOD: u64 = 4_096;
/// What the server may grow by meanwhile: a tenth of what the slow ones do not read, and room for chance.
const GROWTH_KIB: u64 = 64 * 1_024;

// what must not happen: 21 — what is not read is not kept. The outbox alone bounds it here: no socket stalls for long
// enough to be dropped for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_stays_bounded_while_some_on_every_node_never_read() {
    let server = Server::start_with(&["--write-timeout", "10m"]);
    let group = Group::create(&server, 12).await;
    let text = "x".repeat(16_000);
    let flood = async |count: u64| {
        for _ in 0..count / 16 {
            join_all((0..16).map(|_| group.admin.say(&group.name, &text))).await;
        }
    };
    flood(WARM).await;
    let mut slow = Vec::new();
    for member in &group.members {
        let header_token = Some(token(member.user()));
        let opening = Opening { header_token, receive_buffer: Some(4_096), ..Opening::default() };
        let mut socket = Socket::try_open(&server, opening).await.unwrap();
        socket.until_t("ready").await;
        slow.push(socket);
    }
    let before = resident_kib(&server);
    flood(FLOOD).await;
    let grown = resident_kib(&server).saturating_sub(before);
    eprintln!("grown by {grown} KiB");
    assert!(grown < GROWTH_KIB, "the server grew by {grown} KiB");
    let closed = server.metric("rookery_session_slow_total").await;
    assert!(closed >= 12.0, "{closed} were closed as slow");
    for mut socket in slow {
        // The close frame stands behind what it did not read, and waits for some seconds only.
        let code = socket.closed().await;
        assert!(matches!(code, Some(4420) | None), "a slow consumer: {code:?}");
        let seen = socket.seqs(&group.name);
        let first = *seen.first().expect("what fits the buffers on the way");
        assert_eq!(seen, (first..first + seen.len() as u64).collect::<Vec<u64>>(), "what it got has no hole");
        assert!((seen.len() as u64) < FLOOD / 4, "it did not get everything");
    }
}
