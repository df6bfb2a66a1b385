//! Dead shards hold up neither sessions, nor spans, nor marks of another.

use super::*;
use crate::node::session::board::state::{Cursor, Cut};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_end_of_an_interest_never_overtakes_the_beginning_of_the_next() {
    let owners = Arc::new(Owners::default());
    let (hub, _pushes) = hub(&owners);
    let (first, second) = (session("fresh"), session("fresh"));
    let calls = || owners.calls.lock().expect("lock").clone();
    let until = async |count: usize| {
        let deadline = Instant::now() + Duration::from_secs(10);
        while calls()
            .iter()
            .filter(|call| call.ends_with("_index"))
            .count()
            < count
            && Instant::now() < deadline
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    hub.inner.admit(&first, Begin::Anew).expect("room");

    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_live(&hub, "fresh") && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    owners.preempted.store(true, Ordering::SeqCst);
    let inner = Arc::clone(&hub.inner);
    let leaving = tokio::task::spawn_blocking(move || inner.leave(&first));
    tokio::time::sleep(Duration::from_millis(20)).await;
    hub.inner.admit(&second, Begin::Anew).expect("room");
    leaving.await.expect("ends");
    until(3).await;

    let indexes: Vec<_> = calls()
        .into_iter()
        .filter(|call| call.ends_with("_index"))
        .collect();
    let expected = ["subscribe_index", "unsubscribe_index", "subscribe_index"];

    assert_eq!(
        indexes, expected,
        "the owner would push no change of their index to the second session"
    );
}

#[tokio::test(start_paused = true)]
async fn a_dead_shard_does_not_hold_up_sessions_that_have_nothing_there() {
    let owners = Arc::new(Owners::default());
    let (hub, _pushes) = hub(&owners);
    for count in [0, 60, 300, 1_000] {
        for number in hub.sessions()..count {
            hub.inner
                .admit(&session(&format!("user{number}")), Begin::Anew)
                .expect("room");
        }
        tokio::time::sleep(Duration::from_secs(120)).await;
        let waited = until_live(&hub, &format!("fresh{count}")).await;
        assert!(
            waited < Duration::from_secs(1),
            "{count} sessions with dead shards: {waited:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_in_dead_shards_too_is_live_at_once_where_the_owner_answers() {
    let owners = Arc::new(Owners::default());
    let (hub, _pushes) = hub(&owners);
    for number in 0..300 {
        hub.inner
            .admit(&session(&format!("user{number}")), Begin::Anew)
            .expect("room");
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(
        (0..300).all(|number| is_live(&hub, &format!("user{number}"))),
        "before the first dead owner was given up"
    );
}

#[tokio::test(start_paused = true)]
async fn users_whose_index_is_lost_hold_up_nobody_of_another_shard() {
    let owners = Arc::new(Owners::default());
    let (hub, _pushes) = hub(&owners);
    let fresh = user_in("fresh", "lost", false);
    for number in 0..200 {
        let who = user_in(&format!("lost-{number}-"), "lost", true);
        hub.inner.admit(&session(&who), Begin::Anew).expect("room");
    }
    let waited = until_live(&hub, &fresh).await;
    assert!(waited < Duration::from_secs(1), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn spans_of_a_dead_shard_hold_up_no_span_of_another() {
    let owners = Arc::new(Owners::default());
    let (hub, _pushes) = hub(&owners);
    let bob = session("bob");
    hub.inner.admit(&bob, Begin::Anew).expect("room");
    while !is_live(&hub, "bob") {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    hub.inner.on_board(|board| {
        for of in dead().iter().map(String::as_str).chain(["healthy"]) {
            for member in board.feed(&name(of)).members.values_mut() {
                member.places.iter_mut().for_each(|place| {
                    place.cursor = Cursor::Behind {
                        seq: Seq(1),
                        cut: Cut::Never,
                    }
                });
            }
            board.enqueue(bob.id, &name(of));
        }
    });

    let begun = tokio::time::Instant::now();
    let mut written = String::new();
    while !written.contains("text-3") && begun.elapsed() < Duration::from_secs(600) {
        tokio::time::sleep(Duration::from_millis(10)).await;
        written.push_str(&texts(&bob));
    }

    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn marks_for_a_dead_shard_hold_up_no_marks_of_another() {
    let owners = Arc::new(Owners::default());
    let (hub, _pushes) = hub(&owners);
    let begun = tokio::time::Instant::now();

    for seq in 1..=4 {
        let of = |text: &str| (name(text), Seq(seq));
        hub.inner.gather.add(
            &user("bob"),
            dead()
                .iter()
                .map(|text| of(text))
                .chain([of("healthy")])
                .collect(),
        );
        while owners.marks.lock().expect("lock").last() != Some(&Seq(seq))
            && begun.elapsed() < Duration::from_secs(60)
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "four rounds took {:?}",
        begun.elapsed()
    );
}
