//! What comes of a command, and what a subscriber is pushed.

use tokio::sync::mpsc;

use super::*;

pub(super) fn sent(done: Result<Done, ShardError>) -> Message {
    match done {
        Ok(Done::Sent { message, .. }) => message,
        other => panic!("{other:?}"),
    }
}

pub(super) fn replayed(done: Result<Done, ShardError>) -> bool {
    match done {
        Ok(Done::Sent { replayed, .. } | Done::Created { replayed, .. }) => replayed,
        other => panic!("{other:?}"),
    }
}

/// The code of a refusal.
pub(super) fn code<T: std::fmt::Debug>(outcome: Result<T, ShardError>) -> Code {
    match outcome {
        Err(ShardError::Problem(Problem { code, .. })) => code,
        other => panic!("{other:?}"),
    }
}

/// Each seq once, without a hole, beginning with `first`; times never fall.
pub(super) fn assert_dense(events: &[Arc<Event>], first: Seq) {
    for (expected, event) in (first.0..).zip(events) {
        assert_eq!(event.seq, Seq(expected), "{events:?}");
    }
    assert!(events.is_sorted_by_key(|event| event.created));
}

pub(super) fn subscriber(queue: usize) -> (Subscriber, mpsc::Receiver<Push>) {
    let (sender, receiver) = mpsc::channel(queue);
    (Subscriber::new(sender), receiver)
}

pub(super) async fn pushed(queue: &mut mpsc::Receiver<Push>) -> Push {
    in_time(queue.recv()).await.expect("the shard lives")
}

pub(super) async fn pushed_event(queue: &mut mpsc::Receiver<Push>) -> Arc<Event> {
    match pushed(queue).await {
        Push::Event { event, .. } => event,
        other => panic!("{other:?}"),
    }
}
