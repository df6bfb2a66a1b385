//! Sends of one user keep their order while links break, shards move and nodes refuse; and a line
//! of theirs that gets nowhere holds up no other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::ids::{ConversationName, IdempotencyKey, ShardId, UserId};
use crate::link::Config;
use crate::node::link::frame::Body;
use crate::node::owners::Owners;
use crate::node::owners::testing::{Fake, Pair, eventually, node, soon, table};
use crate::node::owners::tests::{marked, pair_through, text};
use crate::problem::{Code, Problem};
use crate::shard::command::{Command, Done, Send, ShardError};

const PATIENCE: Duration = Duration::from_secs(20);

fn config() -> Config {
    Config {
        backoff_max: Duration::from_millis(100),
        ..Config::default()
    }
}

fn send_to(conversation: &str, text: &str) -> Command {
    let conversation = ConversationName::parse(conversation).expect("a name");
    let source = UserId::parse("alice").expect("a name");
    Command::Send(Send {
        key: Some(IdempotencyKey::stamp()),
        ..Send::plain(conversation, source, text)
    })
}

type Sent = JoinHandle<Result<Done, Problem>>;

/// Sends `c<conversation>` the numbers in turn, enqueued one after the other before anything is
/// awaited.
fn send_all(owners: &Owners, conversations: u64, numbers: std::ops::Range<u64>) -> Vec<Sent> {
    let each = numbers
        .flat_map(|number| (0..conversations).map(move |conversation| (conversation, number)));
    let begun = each.map(|(conversation, number)| {
        let command = send_to(
            &format!("c{conversation}"),
            &format!("{conversation} {number}"),
        );
        owners.execute(ShardId(1), command, soon())
    });
    begun.map(tokio::spawn).collect()
}

async fn all_sent(sent: Vec<Sent>) {
    for answer in sent {
        let answer = answer.await.expect("no panic");
        assert!(matches!(answer, Ok(Done::Marked)), "{answer:?}");
    }
}

/// Fails unless each conversation has these numbers, in order and nothing else, among the requests.
fn assert_in_order(bodies: &[Body], conversations: u64, numbers: std::ops::Range<u64>) {
    for conversation in 0..conversations {
        let of = format!("{conversation} ");
        let served: Vec<String> = bodies
            .iter()
            .map(text)
            .filter(|text| text.starts_with(&of))
            .collect();
        let expected: Vec<_> = numbers
            .clone()
            .map(|number| format!("{conversation} {number}"))
            .collect();
        assert_eq!(served, expected);
    }
}

/// A node that answers nothing until it is told to.
fn held_up() -> (Arc<Fake>, Arc<AtomicBool>) {
    let (fake, held) = (Fake::new(marked), Arc::new(AtomicBool::new(true)));
    let is_held = Arc::clone(&held);
    *fake.delay.lock().expect("not poisoned") = Box::new(move |_| {
        if is_held.load(Ordering::SeqCst) {
            PATIENCE
        } else {
            Duration::ZERO
        }
    });
    (fake, held)
}

#[tokio::test]
async fn sends_that_are_repeated_since_their_link_broke_are_repeated_in_order() {
    let (fake, held) = held_up();
    let (pair, between) = pair_through(&fake, config()).await;
    let mut sent = send_all(&pair.owners, 3, 0..8);
    eventually(|| fake.bodies().len() == 24).await;
    held.store(false, Ordering::SeqCst);
    between.cut.notify_waiters();
    // They are queued before anyone has seen that the connection is gone.
    sent.extend(send_all(&pair.owners, 3, 8..12));
    all_sent(sent).await;
    assert_in_order(&fake.bodies()[24..], 3, 0..12);
    assert_eq!(
        pair.owners.inner.lines.count(),
        0,
        "what is over is forgotten"
    );
}

#[tokio::test]
async fn sends_that_are_made_while_others_are_repeated_go_behind_them() {
    let (fake, held) = held_up();
    let (pair, between) = pair_through(&fake, config()).await;
    let mut sent = send_all(&pair.owners, 2, 0..4);
    eventually(|| fake.bodies().len() == 8).await;
    held.store(false, Ordering::SeqCst);
    between.cut.notify_waiters();
    for number in 4..12 {
        sent.extend(send_all(&pair.owners, 2, number..number + 1));
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    all_sent(sent).await;
    assert_in_order(&fake.bodies()[8..], 2, 0..12);
}

#[tokio::test]
async fn a_send_to_a_new_owner_waits_until_those_at_the_former_one_are_settled() {
    let (former, _held) = held_up();
    let (pair, between) = pair_through(&former, config()).await;
    let mut sent = send_all(&pair.owners, 1, 0..4);
    eventually(|| former.bodies().len() == 4).await;

    let next = Fake::new(marked);
    next.owned.lock().expect("not poisoned").insert(ShardId(1));

    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let (third, _pushes) = node("c", &next, pair.table.subscribe(), config());
    let _server = third.serve_peers(listener, None);
    let former_address = pair
        .table
        .borrow()
        .nodes
        .values()
        .next_back()
        .map(|of| of.peer.clone())
        .unwrap_or_default();
    pair.table
        .send_replace(table(2, &[("c", address), ("b", former_address)]));
    sent.extend(send_all(&pair.owners, 1, 4..8));

    // Another conversation is held up by nothing.
    let other = pair
        .owners
        .execute(ShardId(1), send_to("other", "other"), soon())
        .await;
    assert!(matches!(other, Ok(Done::Marked)), "{other:?}");

    assert_eq!(
        next.bodies().iter().map(text).collect::<Vec<_>>(),
        ["other"]
    );

    between.cut.notify_waiters();
    all_sent(sent).await;
    assert_in_order(&next.bodies(), 1, 0..8);
}

#[tokio::test]
async fn a_send_that_was_not_served_is_not_repeated_after_a_later_one_was() {
    let fake = Fake::new(|body| {
        if text(body) == "first" {
            Err(ShardError::NotOwner)
        } else {
            marked(body)
        }
    });
    *fake.delay.lock().expect("not poisoned") =
        Box::new(|body| Duration::from_millis(if text(body) == "first" { 0 } else { 200 }));
    let pair = Pair::new(&fake, config()).await;
    let send = |of: &str| tokio::spawn(pair.owners.execute(ShardId(1), send_to("c", of), soon()));
    let (first, second) = (send("first"), send("second"));
    assert!(matches!(second.await.expect("no panic"), Ok(Done::Marked)));

    let refused = first
        .await
        .expect("no panic")
        .expect_err("a later one was appended");
    assert_eq!(refused.code, Code::Unavailable, "it is surely not written");

    assert_eq!(
        fake.bodies().iter().map(text).collect::<Vec<_>>(),
        ["first", "second"]
    );
}

#[tokio::test]
async fn a_conversation_without_an_owner_takes_a_bounded_number_of_sends_and_holds_up_no_other() {
    let is_dead = |body: &Body| matches!(body, Body::Execute { command: Command::Send(send), .. } if send.conversation.as_str() == "dead");
    let fake = Fake::new(move |body| {
        if is_dead(body) {
            Err(ShardError::NotOwner)
        } else {
            marked(body)
        }
    });

    let pair = Pair::new(&fake, config()).await;
    let until = Instant::now() + Duration::from_secs(3);
    let waiting: Vec<Sent> = (0..40)
        .map(|number| {
            tokio::spawn(pair.owners.execute(
                ShardId(1),
                send_to("dead", &number.to_string()),
                until,
            ))
        })
        .collect();
    eventually(|| fake.bodies().len() > 80).await;

    let more = pair
        .owners
        .execute(ShardId(1), send_to("dead", "one more"), soon())
        .await;
    assert_eq!(more.expect_err("enough wait").code, Code::Unavailable);

    assert!(
        Instant::now() < until,
        "refused at once, not at its deadline"
    );

    let other = pair
        .owners
        .execute(ShardId(1), send_to("alive", "x"), soon())
        .await;
    assert!(matches!(other, Ok(Done::Marked)), "{other:?}");

    for refused in waiting {
        assert_eq!(
            refused
                .await
                .expect("no panic")
                .expect_err("nobody owns it")
                .code,
            Code::Unavailable
        );
    }
}

#[tokio::test]
async fn a_send_that_nobody_awaits_any_more_holds_up_none_behind_it() {
    let (fake, held) = held_up();
    let (pair, between) = pair_through(&fake, config()).await;
    let mut sent = send_all(&pair.owners, 1, 0..3);
    eventually(|| fake.bodies().len() == 3).await;
    drop(
        pair.owners
            .execute(ShardId(1), send_to("c0", "never polled"), soon()),
    );
    sent.remove(0).abort();
    held.store(false, Ordering::SeqCst);
    between.cut.notify_waiters();
    all_sent(sent).await;
    eventually(|| pair.owners.inner.lines.count() == 0).await;
}
