//! What is under way while a session loses its node: sends, resumes and tokens.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::moving_tests::{ALL, Pair, is_quiet};
use crate::shard::command::Command;

#[tokio::test]
async fn what_was_under_way_is_answered_once_and_written_under_one_key() {
    let pair = Pair::start(1).await;
    let mut bob = pair.one.connect("/v1/ws", "bob").await.when_ready().await;
    for (reference, text) in [
        (1, "hold"),
        (2, "hold too"),
        (3, "plain"),
        (4, "hold, refuse"),
    ] {
        bob.send(json!({"t": "send", "ref": reference, "conversation": "c", "text": text}))
            .await;
    }
    assert_eq!(bob.expect("ok").await["ref"], 3);
    pair.lose_one().await;
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(bob.next().await);
    }
    let of = |reference: u64| {
        answers
            .iter()
            .find(|answer| answer["ref"] == reference)
            .expect("an answer")
    };
    assert_eq!((&of(1)["t"], &of(2)["t"]), (&json!("ok"), &json!("ok")));
    assert_eq!(
        of(4)["problem"]["code"],
        "outcome_unknown",
        "the first attempt may have been carried out"
    );
    is_quiet(&mut bob).await;

    let commands = pair.fake().commands.lock().expect("lock");
    let keys = |text: &str| -> Vec<_> {
        let sends = commands.iter().filter_map(|command| {
            if let Command::Send(send) = command {
                Some(send)
            } else {
                None
            }
        });
        sends
            .filter(|send| &*send.text == text)
            .map(|send| send.key.clone().expect("a key").key)
            .collect()
    };
    for text in ["hold", "hold too", "hold, refuse"] {
        let keys = keys(text);
        assert_eq!(
            (keys.len(), keys.iter().collect::<BTreeSet<_>>().len()),
            (2, 1),
            "{text}: {keys:?}"
        );
    }
    assert_eq!(keys("plain").len(), 1, "it was answered");
}

#[tokio::test]
async fn what_a_client_says_while_its_session_is_nowhere_is_carried_out_at_the_next_node() {
    let pair = Pair::start(1).await;
    let mut bob = pair.one.connect("/v1/ws", "bob").await.when_ready().await;
    let closed = pair.to.gate.acquire_many(ALL).await.expect("open");
    pair.lose_one().await;
    pair.one
        .until("it is nowhere", |_| {
            pair.to.asked.load(Ordering::SeqCst) == 1
        })
        .await;
    for reference in 1..=3 {
        bob.send(json!({"t": "send", "ref": reference, "conversation": "c", "text": "x"}))
            .await;
    }

    drop(closed);
    for reference in 1..=3 {
        assert_eq!(bob.expect("ok").await["ref"], reference);
    }

    assert_eq!(pair.fake().commands.lock().expect("lock").len(), 3);
    is_quiet(&mut bob).await;
}

#[tokio::test]
async fn a_resume_that_was_told_to_a_lost_node_holds_at_the_next_one() {
    let pair = Pair::start(5).await;
    let mut bob = pair.one.connect("/v1/ws?resume=wait", "bob").await;
    bob.expect("hello").await;
    bob.send(json!({"t": "resume", "ref": 1, "positions": {"c": 2}, "more": true}))
        .await;
    assert_eq!(bob.expect("ok").await["ref"], 1);

    pair.lose_one().await;
    bob.send(json!({"t": "resume", "ref": 2, "positions": {}}))
        .await;
    let mut told: Vec<Value> = Vec::new();

    while told.last().is_none_or(|frame| frame["t"] != "ready") {
        told.push(bob.next().await);
    }

    let seqs: Vec<_> = told
        .iter()
        .filter(|frame| frame["t"] == "message")
        .map(|frame| frame["seq"].clone())
        .collect();
    assert_eq!(seqs, [json!(3), json!(4), json!(5)], "{told:?}");
    let count = |t: &str| told.iter().filter(|frame| frame["t"] == t).count();

    assert_eq!(
        (count("ok"), count("live"), count("hello"), count("gap")),
        (1, 1, 0, 0),
        "{told:?}"
    );
    is_quiet(&mut bob).await;
}

#[tokio::test]
async fn the_newest_token_goes_with_the_session() {
    let pair = Pair::start(1).await;
    let mut bob = pair.one.connect("/v1/ws", "bob").await.when_ready().await;
    bob.send(json!({"t": "auth", "ref": 1, "token": "bob.3000"}))
        .await;
    assert_eq!(bob.expect("ok").await["ref"], 1);

    pair.lose_one().await;
    pair.other
        .until("the other node has the session", |node| {
            node.hub.sessions() == 1
        })
        .await;
    // Past the end of the first token, and its leeway.
    pair.other.clock.set(2_100_000);

    is_quiet(&mut bob).await;
    pair.other.clock.set(3_100_000);
    assert_eq!(bob.closed().await, 4401);
}
