//! Links themselves: what they carry, whom they refuse, when they end.

use super::*;

/// A pair whose link is open, and whose peers give each other a sign of life every 100 ms.
async fn quick_pair(fake: &Arc<Fake>) -> (Pair, Arc<Between>) {
    let quick = Config {
        heartbeat: Duration::from_millis(100),
        ..config()
    };
    let (pair, between) = pair_through(fake, quick).await;
    pair.owners
        .execute(ShardId(1), send("x", false), soon())
        .await
        .expect("an answer");
    (pair, between)
}

#[tokio::test]
async fn a_peer_that_falls_silent_is_dropped() {
    let fake = Fake::new(marked);
    let (pair, between) = quick_pair(&fake).await;
    between.frozen.store(true, Ordering::SeqCst);
    let lost = pair
        .owners
        .execute(ShardId(1), send("y", false), soon())
        .await
        .expect_err("silence");
    assert_eq!(lost.code, Code::OutcomeUnknown);
    between.frozen.store(false, Ordering::SeqCst);
    pair.owners
        .execute(ShardId(1), send("z", false), soon())
        .await
        .expect("a new link");
    assert!(between.connections.load(Ordering::SeqCst) >= 2);
}

#[tokio::test]
async fn a_quiet_link_stays_open() {
    let fake = Fake::new(marked);
    let (pair, between) = quick_pair(&fake).await;
    let before = between.taken.lock().expect("not poisoned").len();
    // Twenty signs of life of 6 bytes.
    eventually(|| between.taken.lock().expect("not poisoned").len() > before + 120).await;
    pair.owners
        .execute(ShardId(1), send("y", false), soon())
        .await
        .expect("an answer");
    assert_eq!(between.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn too_many_requests_in_flight_are_refused_at_once() {
    let fake = Fake::new(marked);
    *fake.delay.lock().expect("not poisoned") = Box::new(|_| PATIENCE);
    let pair = Pair::new(
        &fake,
        Config {
            in_flight_max: 4,
            ..config()
        },
    )
    .await;

    let _waiting: Vec<_> = (0..4)
        .map(|_| tokio::spawn(pair.owners.execute(ShardId(1), send("x", true), soon())))
        .collect();
    let refused = pair.owners.execute(ShardId(1), send("x", true), soon());
    let refused = timeout(PATIENCE / 2, refused)
        .await
        .expect("at once")
        .expect_err("full");
    assert_eq!(refused.code, Code::Unavailable);
}

#[tokio::test]
async fn large_answers_pass_and_too_large_ones_fail_alone() {
    let fake = Fake::new(|body| {
        let Body::Query {
            query: Query::Participants { reader, .. },
            ..
        } = body
        else {
            return marked(body);
        };
        let bytes = if reader.as_str() == "big" {
            FRAME_BYTES_MAX - 1024
        } else {
            FRAME_BYTES_MAX
        };
        let page = crate::protocol::Page {
            items: Vec::new(),
            next: Some("x".repeat(bytes)),
            partial: false,
        };
        Ok(Outcome::Found(Found::Participants(page), Freshness::Strict))
    });
    let pair = Pair::new(&fake, config()).await;

    assert!(
        pair.owners
            .query(ShardId(1), participants("big"), soon())
            .await
            .is_ok()
    );

    let refused = pair
        .owners
        .query(ShardId(1), participants("bigger"), soon())
        .await
        .expect_err("too large");
    assert_eq!(refused.code, Code::TooLarge);

    pair.owners
        .execute(ShardId(1), send("x", false), soon())
        .await
        .expect("the link lives");
}

#[tokio::test]
async fn who_cannot_prove_the_key_the_cluster_and_the_node_is_served_nothing() {
    let fake = Fake::new(marked);
    let pair = Pair::new(&fake, config()).await;
    let address = pair.server.address().expect("an address").to_string();
    let right = || credentials("a");
    let mut wrong_key = right();
    wrong_key.key = ClusterKey::new(&[8; 32]).expect("long enough");

    let mut wrong_cluster = right();
    wrong_cluster.cluster = crate::ids::ClusterId::random();

    for (who, node, served) in [
        (wrong_key, "b", false),
        (wrong_cluster, "b", false),
        (right(), "not-b", false),
        (right(), "b", true),
    ] {
        let (_table, table) = watch::channel(table(1, &[(node, address.clone())]));
        let (pushes, _pushed) = tokio::sync::mpsc::channel(1);
        let stop = tokio_util::sync::CancellationToken::new();
        let setup = Setup {
            credentials: who,
            peer: NodeId::from(node),
            table,
            pushes,
            broken: Box::new(|_| {}),
            reach: Arc::default(),
            config: config(),
            stop: stop.clone(),
        };
        let body = Body::Execute {
            shard: ShardId(1),
            command: send("x", false),
        };
        let wait = if served {
            PATIENCE
        } else {
            Duration::from_millis(400)
        };
        let answer = Link::spawn(setup).call(&body, Instant::now() + wait).await;
        stop.cancel();
        assert_eq!(answer.is_ok(), served, "{answer:?}");
        assert!(
            served || matches!(answer, Err(Failure::NotSent(_))),
            "{answer:?}"
        );
        assert_eq!(fake.bodies().len(), usize::from(served));
    }
}

/// Reads until the server closes; it must do so by itself.
async fn until_closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut bytes))
        .await
        .expect("the server closes");
    // A reset is as good as an end.
    read.ok();
    bytes
}

#[tokio::test]
async fn a_recorded_link_played_again_is_served_nothing() {
    let fake = Fake::new(marked);
    let (pair, between) = pair_through(&fake, config()).await;
    pair.owners
        .execute(ShardId(1), send("x", false), soon())
        .await
        .expect("an answer");
    assert_eq!(fake.bodies().len(), 1);

    let recorded = between.taken.lock().expect("not poisoned").clone();
    let mut replay = TcpStream::connect(pair.server.address().expect("an address"))
        .await
        .expect("connected");
    replay.write_all(&recorded).await.expect("written");
    let answered = until_closed(&mut replay).await;

    assert!(
        answered.starts_with(b"HTTP/1.1 101"),
        "the upgrade itself proves nothing"
    );
    assert_eq!(fake.bodies().len(), 1);
}

#[tokio::test]
async fn garbage_and_silence_on_the_peer_port_are_closed_and_block_nobody() {
    let fake = Fake::new(marked);
    let strict = Config {
        handshake_timeout: Duration::from_millis(500),
        unproven_max: 2,
        ..config()
    };
    let pair = Pair::new(&fake, strict).await;
    let address = pair.server.address().expect("an address");
    let mut silent = Vec::new();
    for _ in 0..6 {
        silent.push(TcpStream::connect(address).await.expect("connected"));
    }

    for (garbage, status) in [
        (
            &b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..],
            &b"HTTP/1.1 404"[..],
        ),
        (b"GET /link HTTP/1.1\r\nhost: x\r\n\r\n", b"HTTP/1.1 404"),
        (b"\x00\xff\x16\x03\x01 nonsense\r\n\r\n", b"HTTP/1.1 400"),
    ] {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        stream.write_all(garbage).await.expect("written");
        let answered = until_closed(&mut stream).await;
        assert!(
            answered.starts_with(status),
            "{}",
            String::from_utf8_lossy(&answered)
        );
    }

    for stream in &mut silent {
        until_closed(stream).await;
    }

    pair.owners
        .execute(ShardId(1), send("x", false), soon())
        .await
        .expect("served in the end");
}

#[tokio::test]
async fn a_newer_link_of_a_node_takes_the_place_of_the_older() {
    let fake = Fake::new(marked);
    let pair = Pair::new(&fake, config()).await;
    pair.owners
        .execute(ShardId(1), send("x", false), soon())
        .await
        .expect("the first link");
    let older = fake.subscribers.lock().expect("not poisoned")[0].id();

    let (restarted, _pushed) = node("a", &Fake::new(marked), pair.table.subscribe(), config());
    restarted
        .execute(ShardId(1), send("y", false), soon())
        .await
        .expect("the second link");
    eventually(|| {
        fake.forgotten
            .lock()
            .expect("not poisoned")
            .contains(&older)
    })
    .await;

    restarted
        .execute(ShardId(1), send("z", false), soon())
        .await
        .expect("the second link lives");
}
