//! Bounds of a request: its head, its body, its answer, the memory that holds it, a drain.

use super::*;
use crate::auth;
use crate::auth::Verifier;
use crate::clock::Clock;

#[tokio::test]
async fn a_body_over_the_limit_is_read_to_its_end_and_refused_by_the_node_in_its_order() {
    let node = Node::scripted(|_, seen| match seen.header("rookery-body-too-large") {
        Some(_) => answer("413 Content Too Large", &[], "{}"),
        None => answer("200 OK", &[], "{}"),
    })
    .await;
    let stand = Stand::new(&[node.address]).await;
    let mut client = stand.client().await;
    let body = "x".repeat(3 * 1024 * 1024);
    assert_eq!(client.ask(POST, &body).await.status(), 413);
    assert_eq!(
        client.ask(GET, "").await.status(),
        200,
        "the connection goes on"
    );

    let limit = "x".repeat(128 * 1024);
    assert_eq!(client.ask(POST, &limit).await.status(), 200);

    let seen = node.seen();
    assert_eq!(
        (seen[0].header("rookery-body-too-large"), seen[0].body.len()),
        (Some("1"), 0)
    );
    assert_eq!(seen[0].header("content-type"), Some("application/json"));
    assert_eq!(seen[2].body.len(), limit.len());
    assert_eq!(
        stand
            .ask(&format!("{POST}\nrookery-body-too-large: 1"), "{}")
            .await
            .status(),
        200,
        "no client can claim it"
    );
}

#[tokio::test]
async fn a_long_answer_comes_whole() {
    let long = "y".repeat(1_000_000);
    let sent = long.clone();
    let node = Node::scripted(move |_, _| answer("200 OK", &[], &sent)).await;
    let stand = Stand::new(&[node.address]).await;
    assert_eq!(stand.ask(GET, "").await.body, long.as_bytes());
}

#[tokio::test]
async fn a_long_answer_without_a_place_in_memory_is_refused_to_a_read_and_told_to_a_write() {
    let long = "y".repeat(200_000);
    let sent = long.clone();
    let node = Node::scripted(move |_, _| answer("201 Created", &[], &sent)).await;
    let small = Config {
        hold_bytes_max: 128 * 1024,
        ..config()
    };
    let stand = Stand::with(small, table(1, &[node.address])).await;
    assert_eq!(stand.ask(GET, "").await.code(), "unavailable");
    let got = stand.ask(POST, "{}").await;
    assert_eq!((got.status(), got.body.as_slice()), (201, long.as_bytes()));
}

#[tokio::test]
async fn a_head_that_does_not_arrive_closes_the_connection() {
    let node = Node::ok().await;
    let quick = Config {
        head_timeout: Duration::from_millis(500),
        ..config()
    };
    let stand = Stand::with(quick, table(1, &[node.address])).await;
    let mut silent = stand.client().await;
    assert_eq!(silent.rest().await, b"");

    let mut second = stand.client().await;
    assert_eq!(second.ask(GET, "").await.status(), 200);

    second
        .stream
        .write_all(b"GET /v1/conversations/general HTTP/1.1\r\nx-slow: ")
        .await
        .unwrap();
    assert_eq!(
        second.rest().await,
        b"",
        "the second head of a connection is timed too"
    );
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_refused_and_its_connection_closed() {
    let node = Node::ok().await;
    let quick = Config {
        body_timeout: Duration::from_millis(100),
        ..config()
    };
    let stand = Stand::with(quick, table(1, &[node.address])).await;
    let mut client = stand.client().await;
    client
        .send(&format!("{POST}\ncontent-length: 10"), "")
        .await;
    let got = client.answer().await.expect("an answer");
    assert_eq!((got.status(), got.code().as_str()), (400, "invalid"));
    assert_eq!(client.rest().await, b"");
    assert!(node.seen().is_empty());
}

#[tokio::test]
async fn a_malformed_body_framing_is_the_clients_error() {
    let node = Node::ok().await;
    let stand = Stand::new(&[node.address]).await;
    let mut client = stand.client().await;
    client
        .send(&format!("{POST}\ntransfer-encoding: chunked"), "")
        .await;
    client
        .stream
        .write_all(b"zz\r\nnonsense\r\n")
        .await
        .unwrap();
    assert_eq!(client.answer().await.expect("an answer").code(), "invalid");
}

#[tokio::test]
async fn a_head_over_the_limit_is_refused() {
    let node = Node::ok().await;
    let stand = Stand::new(&[node.address]).await;
    let got = stand
        .ask(&format!("{GET}\nx-long: {}", "x".repeat(40_000)), "")
        .await;
    assert_eq!(got.status(), 431);
    assert!(node.seen().is_empty());
}

#[tokio::test]
async fn a_full_hold_memory_refuses_at_once_and_recovers() {
    let node = Node::scripted(|at, _| {
        if at == 0 {
            Reply::Hang
        } else {
            answer("200 OK", &[], "{}")
        }
    })
    .await;

    let small = Config {
        hold_bytes_max: 16 * 1024,
        budget: Duration::from_millis(2500),
        ..config()
    };
    let stand = Stand::with(small, table(1, &[node.address])).await;
    let mut held = stand.client().await;
    held.send(POST, &"x".repeat(3 * 1024)).await;
    node.asked().await;

    assert_eq!(
        stand.ask(POST, "{}").await.code(),
        "unavailable",
        "the quarter of the unverified is full"
    );
    assert_eq!(node.seen().len(), 1, "refused without a node");
    assert_eq!(held.answer().await.unwrap().code(), "outcome_unknown");
    assert_eq!(stand.ask(POST, "{}").await.status(), 200);
}

#[tokio::test]
async fn a_good_token_has_the_whole_hold_memory() {
    let secret = "0123456789abcdef0123456789abcdef";
    let clock = Clock::system();
    let settings = auth::Config {
        hs256_secret: Some(secret.to_owned()),
        cache_max: 10,
        ..auth::Config::default()
    };

    let verifier = Verifier::new(settings, clock.clone()).unwrap();
    let good = auth::issue(
        secret,
        &"alice".parse().unwrap(),
        Duration::from_secs(60),
        &clock,
    )
    .unwrap();

    let node = Node::ok().await;
    let small = Config {
        hold_bytes_max: 64 * 1024,
        ..config()
    };
    let stand = Stand::verifying(small, table(1, &[node.address]), Some(verifier)).await;
    let body = "x".repeat(30 * 1024);

    assert_eq!(
        stand
            .ask(&format!("{POST}\nauthorization: Bearer {good}"), &body)
            .await
            .status(),
        200
    );
    assert_eq!(
        stand
            .ask(
                &format!("{POST}\nauthorization: Bearer {}", token("alice")),
                &body
            )
            .await
            .status(),
        503
    );
    assert_eq!(node.seen().len(), 1);
}

#[tokio::test]
async fn a_drain_finishes_requests_begun_and_takes_no_more() {
    let told = Arc::new(Notify::new());
    let when = Arc::clone(&told);
    let node = Node::scripted(move |_, _| {
        Reply::SendAfter(
            Arc::clone(&when),
            "HTTP/1.1 201 Created\r\n\r\n{}".to_owned(),
        )
    });
    let node = node.await;
    let mut stand = Stand::new(&[node.address]).await;
    assert_eq!(stand.router.readiness(), Ok(()));

    let mut client = stand.client().await;
    client.send(POST, "{}").await;
    node.asked().await;
    stand.drain.cancel();
    timeout(PATIENCE, async {
        while stand.router.readiness() != Err("draining") {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();

    assert!(
        TcpStream::connect(stand.address).await.is_err(),
        "no new connection"
    );

    told.notify_one();
    assert_eq!(client.answer().await.expect("the answer").status(), 201);
    assert_eq!(client.rest().await, b"");

    timeout(PATIENCE, &mut stand.served)
        .await
        .expect("the router ends")
        .unwrap();
}
