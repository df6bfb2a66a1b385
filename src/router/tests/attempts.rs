//! Whom a router asks, how often, and what it says of an outcome that it does not know.

use super::*;

#[tokio::test]
async fn a_hint_is_followed_with_the_same_key_and_makes_the_router_read_the_newer_table() {
    let owner = Node::scripted(|_, _| answer("201 Created", &[], "{}")).await;
    let hint = format!("rookery-owner: {}", owner.address);
    let old = Node::scripted(move |_, _| {
        answer(
            "421 Misdirected Request",
            &[&hint, "rookery-table-version: 2"],
            "",
        )
    })
    .await;
    let stand = Stand::new(&[old.address]).await;
    stand.shelf.put(table(2, &[owner.address]));
    assert_eq!(stand.ask(POST, "{}").await.status(), 201);

    let keys: Vec<_> = [&old, &owner]
        .map(|node| {
            node.seen()[0]
                .header("rookery-stamped-key")
                .map(str::to_owned)
        })
        .into();
    assert!(keys[0].is_some() && keys[0] == keys[1], "{keys:?}");

    let follows = || stand.router.0.directory.table().map(|table| table.version);
    timeout(PATIENCE, async {
        while follows() != Some(2) {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the newer table is read though the next poll is an hour away");

    stand.ask(POST, "{}").await;
    assert_eq!((old.seen().len(), owner.seen().len()), (1, 2));
}

#[tokio::test]
async fn two_nodes_that_point_at_each_other_end_with_the_budget() {
    let addresses = Arc::new(Mutex::new(Vec::<SocketAddr>::new()));
    let misled = |other: usize| {
        let addresses = Arc::clone(&addresses);
        Node::scripted(move |_, _| {
            let hint = format!("rookery-owner: {}", addresses.lock().unwrap()[other]);
            answer(
                "421 Misdirected Request",
                &[&hint, "rookery-table-version: 1"],
                "",
            )
        })
    };

    let nodes = [misled(1).await, misled(0).await];
    addresses
        .lock()
        .unwrap()
        .extend(nodes.iter().map(|node| node.address));
    let stand = Stand::with(short(300), table(1, &[nodes[0].address, nodes[1].address])).await;

    let got = stand.ask(POST, "{}").await;
    assert_eq!((got.status(), got.code().as_str()), (503, "unavailable"));

    let asked = nodes[0].seen().len() + nodes[1].seen().len();
    assert!((2..40).contains(&asked), "{asked} attempts");
}

// what must not happen: 5 (a send while the storage is down drops the connection without an answer)
#[tokio::test]
async fn a_node_that_is_down_is_a_503_and_never_a_dropped_connection() {
    let stand = Stand::with(short(200), table(1, &[nowhere().await])).await;
    let mut client = stand.client().await;
    for head in [POST, GET] {
        let got = client.ask(head, "").await;
        assert_eq!((got.status(), got.code().as_str()), (503, "unavailable"));
    }
}

#[tokio::test]
async fn a_node_that_dies_with_a_write_in_hand_leaves_the_outcome_unknown() {
    let node = Node::scripted(|_, _| Reply::SendAndClose).await;
    let stand = Stand::with(short(600), table(1, &[node.address])).await;
    let got = stand.ask(POST, "{}").await;
    assert_eq!(
        (got.status(), got.code().as_str()),
        (503, "outcome_unknown")
    );
    assert!(node.seen().len() > 1, "it was tried again");
    let keys: BTreeSet<_> = node
        .seen()
        .iter()
        .map(|seen| seen.header("rookery-stamped-key").map(str::to_owned))
        .collect();
    assert_eq!(keys.len(), 1, "always with the same key");
    assert_eq!(stand.ask(GET, "").await.code(), "unavailable");
}

#[tokio::test]
async fn a_node_that_never_answers_is_a_503_at_the_end_of_the_budget() {
    let node = Node::scripted(|_, _| Reply::Hang).await;
    let stand = Stand::with(short(200), table(1, &[node.address])).await;
    assert_eq!(stand.ask(POST, "{}").await.code(), "outcome_unknown");
    assert_eq!(stand.ask(GET, "").await.code(), "unavailable");
}

#[tokio::test]
async fn surely_not_written_is_not_said_after_an_attempt_that_may_have_been() {
    let node = Node::scripted(|at, _| {
        if at == 0 {
            Reply::SendAndClose
        } else {
            declined()
        }
    })
    .await;
    let stand = Stand::with(short(1000), table(1, &[node.address])).await;
    assert_eq!(stand.ask(POST, "{}").await.code(), "outcome_unknown");
}

/// The first attempt may have been executed, and its sender removed since.
#[tokio::test]
async fn a_refusal_that_may_be_of_later_than_a_broken_attempt_is_not_told_as_final() {
    for status in ["401 Unauthorized", "403 Forbidden", "404 Not Found"] {
        let node = Node::scripted(move |at, _| match at {
            0 => Reply::SendAndClose,
            _ => answer(status, &[], r#"{"code":"not_participant"}"#),
        })
        .await;
        let stand = Stand::new(&[node.address]).await;
        let got = stand.ask(POST, "{}").await;
        assert_eq!(
            (got.status(), got.code().as_str()),
            (503, "outcome_unknown"),
            "{status}"
        );
        let again = stand.ask(POST, "{}").await;
        assert_eq!(
            again.status(),
            status[..3].parse::<u16>().unwrap(),
            "an answer to a first attempt is final"
        );
    }
}

#[tokio::test]
async fn a_refusal_that_no_time_changes_is_final_after_a_broken_attempt() {
    let node = Node::scripted(|at, _| match at {
        0 => Reply::SendAndClose,
        _ => answer(
            "422 Unprocessable Entity",
            &[],
            r#"{"code":"idempotency_conflict"}"#,
        ),
    })
    .await;
    let stand = Stand::new(&[node.address]).await;
    assert_eq!(stand.ask(POST, "{}").await.status(), 422);
}

#[tokio::test]
async fn a_node_that_cannot_now_is_asked_again() {
    let node = Node::scripted(|at, _| {
        if at < 3 {
            declined()
        } else {
            answer("201 Created", &[], "{}")
        }
    })
    .await;
    let stand = Stand::new(&[node.address]).await;
    assert_eq!(stand.ask(POST, "{}").await.status(), 201);
    assert_eq!(node.seen().len(), 4);
}

#[tokio::test]
async fn other_refusals_of_a_node_are_final() {
    let bodies = [
        r#"{"code":"lagging"}"#,
        r#"{"code":"outcome_unknown"}"#,
        "not json",
    ];
    for body in bodies {
        let node = Node::scripted(move |_, _| {
            answer("503 Service Unavailable", &["retry-after: 3"], body)
        })
        .await;
        let stand = Stand::new(&[node.address]).await;
        let got = stand.ask(POST, "{}").await;
        assert_eq!(
            (got.status(), got.header("retry-after"), got.body.as_slice()),
            (503, Some("3"), body.as_bytes())
        );
        assert_eq!(node.seen().len(), 1);
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_asked_for_again() {
    let node = Node::scripted(|at, _| match at {
        0 => Reply::SendAndClose,
        _ => answer("200 OK", &[], "whole"),
    })
    .await;
    let stand = Stand::new(&[node.address]).await;
    let got = stand.ask(GET, "").await;
    assert_eq!(
        (got.status(), got.body.as_slice()),
        (200, b"whole".as_slice())
    );
}

#[tokio::test]
async fn a_request_is_held_until_there_is_a_table_and_while_its_node_moves() {
    let node = Node::ok().await;
    let stand = Stand::with(config(), None).await;
    assert_eq!(stand.router.readiness(), Err("no table yet"));
    let mut client = stand.client().await;
    client.send(POST, "{}").await;
    stand.shelf.put(table(1, &[nowhere().await]));
    timeout(PATIENCE, async {
        while stand.router.readiness().is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the held request makes the router ask for a table");
    stand.shelf.put(table(2, &[node.address]));
    assert_eq!(client.answer().await.expect("an answer").status(), 200);
}

#[tokio::test]
async fn without_a_table_the_budget_ends_with_503() {
    let stand = Stand::with(short(100), None).await;
    assert_eq!(stand.ask(POST, "{}").await.code(), "unavailable");
    assert!(stand.shelf.loads.load(Ordering::SeqCst) > 1);
}

#[tokio::test]
async fn the_next_node_of_the_row_is_asked_when_the_owner_is_unreachable() {
    let standby = Node::ok().await;
    let stand = Stand::new(&[nowhere().await, standby.address]).await;
    assert_eq!(stand.ask(GET, "").await.status(), 200);
}

#[tokio::test]
async fn a_node_that_tells_how_long_it_cannot_is_taken_at_its_word() {
    const UNAVAILABLE: &str = r#"{"code":"unavailable"}"#;
    let node = Node::scripted(|_, _| {
        answer(
            "503 Service Unavailable",
            &["content-type: application/problem+json", "retry-after: 5"],
            UNAVAILABLE,
        )
    });
    let node = node.await;
    let stand = Stand::new(&[node.address]).await;
    let got = stand.ask(POST, "{}").await;
    assert_eq!((got.status(), got.header("retry-after")), (503, Some("5")));
    assert_eq!(got.body, UNAVAILABLE.as_bytes());
    assert_eq!(node.seen().len(), 1, "asked once");
}

#[tokio::test]
async fn a_request_that_a_silent_node_has_goes_to_the_next_owner_once_the_table_names_it() {
    let silent = Node::scripted(|_, _| Reply::Hang).await;
    let next = Node::scripted(|_, _| answer("201 Created", &[], "{}")).await;
    let stand = Stand::new(&[silent.address]).await;
    let mut client = stand.client().await;
    client.send(POST, "{}").await;
    silent.asked().await;
    stand.shelf.put(table(2, &[next.address, silent.address]));
    stand.router.0.directory.refresh();
    let got = client
        .answer()
        .await
        .expect("an answer long before the budget ends");
    assert_eq!(got.status(), 201);
    assert!(next.seen()[0].header("rookery-stamped-key").is_some());
}

#[tokio::test]
async fn a_first_node_that_owns_nothing_and_names_nobody_is_followed_by_the_next_of_the_row() {
    let standby =
        Node::scripted(|_, _| answer("421 Misdirected Request", &["rookery-table-version: 1"], ""))
            .await;
    let owner = Node::ok().await;
    let stand = Stand::with(short(2_000), table(1, &[standby.address, owner.address])).await;
    let got = stand.ask(GET, "").await;
    assert_eq!(got.status(), 200);
    assert_eq!((standby.seen().len(), owner.seen().len()), (1, 1));
}
