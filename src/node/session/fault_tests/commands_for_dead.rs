//! Commands for dead shards hold up none for another.

use super::*;

/// A client that sends as fast as it can, and reads all that it gets.
struct Pipelining {
    hub: Arc<Hub>,
    _pushes: mpsc::Sender<Push>,
    bob: Arc<Session>,
    told: Arc<Mutex<Vec<Value>>>,
}

impl Pipelining {
    fn new(owners: &Arc<Owners>) -> Self {
        let (hub, pushes) = hub(owners);
        let bob = session("bob");
        let (reading, told) = (Arc::clone(&bob), Arc::<Mutex<Vec<Value>>>::default());
        let read = Arc::clone(&told);
        tokio::spawn(async move {
            loop {
                read.lock().expect("lock").extend(frames(&reading));
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });

        Self {
            hub,
            _pushes: pushes,
            bob,
            told,
        }
    }

    async fn send(&self, of: &str, text: &str) {
        let frame = json!({"t": "send", "ref": of, "conversation": of, "text": text});
        let said = bytes::Bytes::from(frame.to_string());
        let message = Message {
            text: said,
            number: 0,
            key: None,
            repeat: Repeat::First,
            later: Vec::new(),
        };
        commands::handle(&self.hub.inner, &self.bob, &message).await;
    }

    /// How many answers of this kind there are to what was sent to a conversation.
    fn told(&self, of: &str, code: &str) -> usize {
        let told = self.told.lock().expect("lock");
        told.iter()
            .filter(|frame| {
                frame["ref"] == of && (frame["t"] == code || frame["problem"]["code"] == code)
            })
            .count()
    }

    async fn until(&self, what: &str, reached: impl Fn(&Self) -> bool) {
        let begun = tokio::time::Instant::now();
        while !reached(self) {
            assert!(begun.elapsed() < Duration::from_secs(60), "never: {what}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Sends far more to four dead shards than they may take of a session, and then to a healthy one.
async fn pass_dead_shards(text: &str) {
    let client = Pipelining::new(&Arc::default());
    let (begun, dead) = (tokio::time::Instant::now(), dead());
    for of in dead.iter().take(4) {
        for _ in 0..2 * PER_SHARD {
            client.send(of, text).await;
        }
    }

    client.send("healthy", "well").await;
    client
        .until("the healthy one answers", |client| {
            client.told("healthy", "ok") == 1
        })
        .await;
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );

    for of in dead.iter().take(4) {
        let refused = client.told(of, "unavailable");
        assert!(
            refused >= PER_SHARD,
            "{refused} were surely not written, and are told so at once"
        );
        let all =
            |of_all: &Pipelining| of_all.told(of, "outcome_unknown") + refused == 2 * PER_SHARD;
        client.until("those under way have their time", all).await;
    }

    assert!(
        begun.elapsed() >= Duration::from_secs(4),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn commands_for_dead_shards_hold_up_none_for_another() {
    pass_dead_shards("short").await;
}

#[tokio::test(start_paused = true)]
async fn long_commands_for_dead_shards_hold_up_none_for_another() {
    pass_dead_shards(&"long".repeat(4_000)).await;
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_answers_promptly_is_sent_as_much_as_the_client_likes() {
    let owners = Arc::<Owners>::default();
    *owners.takes.lock().expect("lock") = Duration::from_millis(200);
    let client = Pipelining::new(&owners);
    for _ in 0..5 * PER_SHARD {
        client.send("healthy", "well").await;
    }
    client
        .until("all are answered", |client| {
            client.told("healthy", "ok") == 5 * PER_SHARD
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_answers_again_is_sent_commands_again() {
    let owners = Arc::<Owners>::default();
    *owners.takes.lock().expect("lock") = Duration::from_secs(3);
    let client = Pipelining::new(&owners);
    for _ in 0..=PER_SHARD {
        client.send("healthy", "late").await;
    }

    let refused = |of: &Pipelining| of.told("healthy", "unavailable");
    client
        .until("one is refused", |client| refused(client) > 0)
        .await;
    client
        .until("the others are answered", |client| {
            client.told("healthy", "ok") + refused(client) == PER_SHARD + 1
        })
        .await;
    let answered = client.told("healthy", "ok");
    *owners.takes.lock().expect("lock") = Duration::ZERO;

    client.send("healthy", "again").await;
    client
        .until("it is answered", |client| {
            client.told("healthy", "ok") == answered + 1
        })
        .await;
}
