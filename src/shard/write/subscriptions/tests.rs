//! Who is told of what, and who misses it.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::ids::{ConversationName, Epoch, Seq, ShardId, UserId};
use crate::log::record::{Event, EventKind};
use crate::shard::command::Push;
use crate::shard::write::subscriptions::{Subscriber, Subscriptions};

fn name(text: &str) -> ConversationName {
    ConversationName::parse(text).expect("a name")
}

fn user(text: &str) -> UserId {
    UserId::parse(text).expect("a name")
}

fn left(who: &str, seq: u64) -> (Arc<Event>, Push) {
    let kind = EventKind::left(user(who), user(who), None);
    let event = Arc::new(Event {
        conversation: name("c"),
        seq: Seq(seq),
        created: 1,
        key: None,
        kind,
    });
    (
        Arc::clone(&event),
        Push::Event {
            epoch: Epoch(1),
            event,
        },
    )
}

#[test]
fn one_push_goes_to_a_node_however_many_users_it_has() {
    let (sender, mut queue) = mpsc::channel(8);
    let node = Subscriber::new(sender);
    let mut subscriptions = Subscriptions::new(ShardId(1));
    subscriptions.add(&node, &name("c"), &user("a"));
    subscriptions.add(&node, &name("c"), &user("b"));
    let (event, push) = left("x", 2);
    subscriptions.push_event(&event, &push);
    assert!(queue.try_recv().is_ok());
    assert!(queue.try_recv().is_err());
}

#[test]
fn who_left_gets_their_own_left_and_nothing_after_it() {
    let (sender, mut queue) = mpsc::channel(8);
    let node = Subscriber::new(sender);
    let mut subscriptions = Subscriptions::new(ShardId(1));
    subscriptions.add(&node, &name("c"), &user("a"));
    let (event, push) = left("a", 2);
    subscriptions.push_event(&event, &push);
    let (event, push) = left("b", 3);
    subscriptions.push_event(&event, &push);
    assert!(queue.try_recv().is_ok());
    assert!(queue.try_recv().is_err());
    assert!(!subscriptions.wants(&name("c")));
}

#[test]
fn a_full_queue_drops_until_the_node_was_told_to_subscribe_again() {
    let (sender, mut queue) = mpsc::channel(1);
    let node = Subscriber::new(sender);
    let mut subscriptions = Subscriptions::new(ShardId(1));
    subscriptions.add(&node, &name("c"), &user("a"));
    for seq in 2..5 {
        let (event, push) = left("x", seq);
        subscriptions.push_event(&event, &push);
    }

    assert!(matches!(queue.try_recv(), Ok(Push::Event { event, .. }) if event.seq == Seq(2)));
    let (event, push) = left("x", 5);
    subscriptions.push_event(&event, &push);

    assert!(
        queue.try_recv().is_err(),
        "nothing comes before the node was told"
    );

    subscriptions.tell_lagged();
    assert!(matches!(
        queue.try_recv(),
        Ok(Push::Resubscribe { shard: ShardId(1) })
    ));

    let (event, push) = left("x", 6);
    subscriptions.push_event(&event, &push);
    assert!(matches!(queue.try_recv(), Ok(Push::Event { event, .. }) if event.seq == Seq(6)));
}

#[test]
fn what_may_be_missing_takes_half_of_a_queue_at_most_and_nobody_subscribes_again_for_it() {
    let (sender, mut queue) = mpsc::channel(8);
    let node = Subscriber::new(sender);
    let mut subscriptions = Subscriptions::new(ShardId(1));
    for member in ["a", "b"] {
        subscriptions.add(&node, &name("c"), &user(member));
    }

    let typing = Push::Typing {
        conversation: name("c"),
        user: user("a"),
        until: 1,
    };
    let missed: usize = (0..20)
        .map(|_| subscriptions.push_spare(&name("c"), &typing, &user("a")))
        .sum();
    assert_eq!(missed, 16);
    let (event, push) = left("x", 2);
    subscriptions.push_event(&event, &push);
    subscriptions.tell_lagged();

    let queued: Vec<_> = std::iter::from_fn(|| queue.try_recv().ok()).collect();
    assert!(
        matches!(queued[..], [.., Push::Event { .. }]) && queued.len() == 5,
        "{queued:?}"
    );

    subscriptions.remove(node.id(), &name("c"), &user("b"));
    assert_eq!(subscriptions.push_spare(&name("c"), &typing, &user("a")), 0);
    assert!(queue.try_recv().is_err(), "nobody but the typist is there");
}

#[test]
fn whose_index_nobody_is_subscribed_to_any_more_is_told_once() {
    let node = Subscriber::new(mpsc::channel(1).0);
    let mut subscriptions = Subscriptions::new(ShardId(1));
    for who in ["a", "b", "c"] {
        subscriptions.add_index(&node, &user(who));
    }
    subscriptions.remove_index(node.id(), &user("a"));
    subscriptions.remove_index(node.id(), &user("b"));
    subscriptions.add_index(&node, &user("b"));
    assert_eq!(subscriptions.take_absent(), [user("a")]);
    subscriptions.forget(node.id());
    let mut absent = subscriptions.take_absent();
    absent.sort();
    assert_eq!(absent, [user("b"), user("c")]);
    assert_eq!(subscriptions.take_forgotten(), [node.id()]);
    assert!(subscriptions.take_absent().is_empty());
}
