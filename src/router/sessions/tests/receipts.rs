//! Receipts: when a message is delivered, and who is told.

use super::*;
use crate::shard::command::Unread;

#[tokio::test]
async fn delivered_is_told_after_the_pong_and_not_for_own_messages() {
    let node = Node::start(config(), 1).await;
    let mut bob = node.connect("/v1/ws", "bob").await.when_ready().await;
    let mut alice = node.connect("/v1/ws", "alice").await.when_ready().await;
    node.say("one").await;
    bob.expect("message").await;
    alice.expect("message").await;

    let delivered = |node: &Node| {
        let commands = node.fake.commands.lock().expect("lock");
        let marks: Vec<_> = commands
            .iter()
            .filter_map(|command| {
                if let Command::Delivered(marks) = command {
                    Some(marks.clone())
                } else {
                    None
                }
            })
            .flatten()
            .map(|mark| (mark.user.to_string(), mark.up_to))
            .collect();
        marks
    };

    assert!(
        delivered(&node).is_empty(),
        "bob has not answered the ping yet"
    );

    // Reading on is what makes the client answer.
    bob.send(json!({"t": "ping"})).await;
    bob.expect("pong").await;
    alice.send(json!({"t": "ping"})).await;
    alice.expect("pong").await;
    while delivered(&node).is_empty() {
        bob.send(json!({"t": "ping"})).await;
        bob.expect("pong").await;
    }

    assert_eq!(delivered(&node), [("bob".to_owned(), Seq(2))]);
    assert_eq!(alice.pings, 0, "a message of one's own needs no mark");
}

#[tokio::test]
async fn receipts_reach_senders_and_other_devices() {
    let node = Node::start(config(), 1).await;
    let mut alice = node.connect("/v1/ws", "alice").await.when_ready().await;
    let mut bob = node.connect("/v1/ws", "bob").await;
    let origin =
        serde_json::from_value(bob.expect("hello").await["session"].clone()).expect("an id");
    bob.expect("ready").await;
    let mut bobs_other = node.connect("/v1/ws", "bob").await.when_ready().await;
    let user = |name| UserId::parse(name).expect("a name");
    let push = Push::Watermark {
        conversation: name(),
        user: user("bob"),
        read: true,
        up_to: Seq(1),
        ts: 9,
        targets: vec![user("alice"), user("nobody")],
        origin: Some(origin),
        unread: Some(Unread {
            messages: 4,
            mentions: 1,
        }),
    };
    node.pushes.send(push).await.expect("the hub follows");

    let expected = json!({"t": "receipt", "conversation": "c", "user": "bob", "kind": "read", "up_to": 1, "ts": 9});
    assert_eq!(alice.next().await, expected);
    let own = json!({"t": "receipt", "conversation": "c", "user": "bob", "kind": "read", "up_to": 1, "ts": 9,
        "unread": 4, "unread_mentions": 1});
    assert_eq!(bobs_other.next().await, own);

    let message_id = MessageId::new(1, Slot(0), 1);
    let push = Push::Reaction {
        conversation: name(),
        user: user("alice"),
        message_id,
        reaction: Some(128_077),
        ts: 9,
        previous: Some(7),
    };

    node.pushes.send(push).await.expect("the hub follows");
    for client in [&mut alice, &mut bob, &mut bobs_other] {
        let told = client.expect("receipt").await;
        assert_eq!(told["reaction"], json!(128_077));
        assert_eq!(told["previous"], json!(7));
    }
}
