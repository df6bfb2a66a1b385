//! A device that does not read costs a bounded amount of memory, and nobody else anything. One that
//! reads is never closed for a burst of others.

use futures_util::future::join_all;
use serde_json::json;

use crate::support::opening::Opening;
use crate::support::server::Server;
use crate::support::socket::{Socket, reading};
use crate::support::{Fields, Group, eventually, resident_kib, token};

/// Sockets that never read.
const SLOW: usize = 8;
/// Messages of 16 KiB: more than the outbox and all socket buffers on the way can hold.
const MESSAGES: u64 = 1_500;

// what must not happen: 21 — a slow reader is closed and resumes; buffers do not grow without
// bound.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
async fn a_slow_reader_is_closed_and_the_others_do_not_notice() {
    let server = Server::start_with(&["--write-timeout", "1s"]);
    let group = Group::create(&server, 1).await;
    let bob = &group.members[0];
    let mut slow = Vec::new();

    for _ in 0..SLOW {
        let opening = Opening {
            header_token: Some(token(bob.user())),
            receive_buffer: Some(4_096),
            ..Opening::default()
        };
        let mut socket = Socket::try_open(&server, opening).await.unwrap();
        socket.until_t("ready").await;
        slow.push(socket);
    }

    let mut quick = Socket::ready(&server, bob.user()).await;
    let before = resident_kib(&server);
    let text = "x".repeat(16_000);
    for i in 1..=MESSAGES / 10 {
        join_all((0..10).map(|_| group.admin.say(&group.name, &text))).await;
        // Quick means that it reads as fast as is sent, also where this process gets little of the
        // machine.
        quick.until_seq(&group.name, i * 10 + 1).await;
    }

    assert_eq!(
        quick.seqs(&group.name),
        (2..=MESSAGES + 1).collect::<Vec<u64>>(),
        "the quick device got all"
    );

    let grown = resident_kib(&server).saturating_sub(before);
    assert!(grown < 200 * 1_024, "the server grew by {grown} KiB");

    eventually("all that take nothing are given up", async || {
        let closed = server.metric("rookery_session_slow_total").await;
        (closed >= SLOW as f64).then_some(())
    })
    .await;

    for mut socket in slow {
        let code = socket.closed().await;
        assert!(
            matches!(code, Some(4420) | None),
            "a slow consumer: {code:?}"
        );
        let seen = socket.seqs(&group.name);
        assert!((seen.len() as u64) < MESSAGES, "it did not get everything");
        assert_eq!(
            seen,
            (2..seen.len() as u64 + 2).collect::<Vec<u64>>(),
            "what it got has no hole"
        );
    }

    // It comes back and goes on where it was, or is told of the gap.
    let mut socket = Socket::open_at(&server, bob.user(), "/v1/ws?resume=wait").await;
    socket
        .send(&json!({"t": "resume", "positions": {&group.name: MESSAGES - 10}}))
        .await;
    socket.until_t("ready").await;

    assert_eq!(
        socket.seqs(&group.name),
        (MESSAGES - 9..=MESSAGES + 1).collect::<Vec<u64>>()
    );
    assert_eq!(
        group
            .admin
            .get(&group.path(""))
            .await
            .expect(200)
            .number("last_seq"),
        MESSAGES + 1
    );
}

/// Messages of 16 KiB that are sent before anybody is slow, so that caches and buffers have their
/// size.
const WARM: u64 = 1_500;
/// And while some are slow: 64 MiB, on each of the three nodes.
const FLOOD: u64 = 4_096;
/// What the server may grow by meanwhile: a tenth of what the slow ones do not read, and room for
/// chance.
const GROWTH_KIB: u64 = 64 * 1_024;

// what must not happen: 21 — what is not read is not kept. The outbox alone bounds it here: no
// socket stalls for long enough to be dropped for that.
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
        let opening = Opening {
            header_token,
            receive_buffer: Some(4_096),
            ..Opening::default()
        };
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
    assert!(
        closed == 0.0,
        "{closed} were closed though nobody was silent for long enough"
    );

    // They read again, side by side and step by step: with so small a buffer each takes its time.
    let last = WARM / 16 * 16 + FLOOD + 1;
    join_all(slow.iter_mut().map(async |socket| {
        for seq in (last - 900..=last).step_by(100) {
            socket.until_seq(&group.name, seq).await;
        }
    }))
    .await;

    for socket in slow {
        // They got what is newest, with a gap for what was too far back.
        let (seen, gaps) = (socket.seqs(&group.name), socket.gaps(&group.name));
        assert!(
            !gaps.is_empty() && (seen.len() as u64) < FLOOD,
            "it did not get everything"
        );
        assert!(seen.is_sorted(), "in order");
        let mut told: Vec<(u64, u64)> = seen.iter().map(|seq| (*seq, *seq)).chain(gaps).collect();
        told.sort_unstable();
        let whole = told.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0);
        assert!(whole, "each seq once, or within one gap");
    }
}

/// Large messages of one burst: more than an outbox holds.
const LARGE: u64 = 40;
/// And small ones.
const SMALL: u64 = 500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_closes_neither_its_sender_nor_readers_that_keep_up() {
    let server = Server::start();
    let group = Group::create(&server, 6).await;
    let mut readers = Vec::new();

    for member in &group.members {
        readers.push(reading(
            Socket::ready(&server, member.user()).await,
            &group.name,
            LARGE + SMALL + 1,
        ));
    }

    let mut sender = Socket::ready(&server, group.admin.user()).await;
    for text in (0..LARGE)
        .map(|_| "x".repeat(16_000))
        .chain((0..SMALL).map(|number| number.to_string()))
    {
        sender
            .post(json!({"t": "send", "conversation": &group.name, "text": text}))
            .await;
    }

    sender.until_seq(&group.name, LARGE + SMALL + 1).await;
    let all: Vec<u64> = (2..=LARGE + SMALL + 1).collect();
    for reader in readers {
        let mut socket = reader.await.expect("it reads to the end");
        assert_eq!(socket.seqs(&group.name), all);
        assert_eq!(
            socket.request(json!({"t": "ping"})).await["t"],
            "pong",
            "open"
        );
    }

    assert_eq!(sender.seqs(&group.name), all);
    assert_eq!(
        sender.request(json!({"t": "ping"})).await["t"],
        "pong",
        "open"
    );
    assert!(
        server.metric("rookery_session_slow_total").await == 0.0,
        "nobody was closed as slow"
    );
}
