//! Rows reach their users' shards, in whatever state other shards are.

use super::*;
use crate::node::link::frame::Outcome;
use crate::node::outbox::deliver::run;
use crate::node::owners::testing::{Fake, lone_node};
use crate::problem::{Code, Problem};
use crate::shard::command::{Done, ShardError};

#[tokio::test]
async fn every_row_reaches_its_users_shard_and_progress_reaches_the_last() {
    let fake = Fake::new(|_| Ok(Outcome::Done(Done::Indexed)));
    let (owners, _pushes) = lone_node(&fake);
    let (outbox, mut progress) = FakeOutbox::of((0..2_500).map(row));
    let last = OutboxPosition {
        offset: Offset(1),
        index: 2_499,
    };
    tokio::select! {
        () = run(&outbox, &owners) => panic!("ended"),
        () = async { while progress.recv().await.expect("progress") != last {} } => {}
    }

    let mut users = Vec::new();
    for (shard, change) in fake.bodies().iter().flat_map(|body| {
        let Body::Execute { shard, .. } = body else {
            panic!("{body:?}")
        };
        changes(body).into_iter().map(|change| (*shard, change))
    }) {
        assert_eq!(shard, owners.map().shard_of(change.user.slot()));
        users.push(change.user);
    }

    users.sort();
    users.dedup();
    assert_eq!(users.len(), 2_500);
}

#[tokio::test]
async fn progress_stays_before_the_first_row_that_could_not_be_delivered() {
    static OPEN: AtomicBool = AtomicBool::new(false);
    let blocked = UserId::parse("user3").expect("a name");
    let held = blocked.clone();
    let fake = Fake::new(move |body| {
        let holds = changes(body).iter().any(|change| change.user == held);
        if holds && !OPEN.load(Ordering::SeqCst) {
            return Err(ShardError::Problem(Problem::new(Code::Unavailable, "held")));
        }
        Ok(Outcome::Done(Done::Indexed))
    });

    let (owners, _pushes) = lone_node(&fake);
    let (outbox, mut progress) = FakeOutbox::of((0..100).map(row));
    let shard_of = |number: u32| owners.map().shard_of(row(number).change.user.slot());
    let first_held = (0..100)
        .find(|n| shard_of(*n) == shard_of(3))
        .expect("there is one");
    let shards: std::collections::BTreeSet<_> = (0..100).map(shard_of).collect();
    let check = async {
        // Every other shard has been served, and the one that refuses has been asked more than
        // once.
        eventually(|| fake.bodies().len() > shards.len() + 1).await;
        while let Ok(upto) = progress.try_recv() {
            assert!(upto.index < first_held);
        }
        OPEN.store(true, Ordering::SeqCst);
        while progress.recv().await.expect("progress").index != 99 {}
    };

    tokio::select! {
        () = run(&outbox, &owners) => panic!("ended"),
        () = check => {}
    }
}

/// Refuses what is for the users of one shard, until it is opened.
fn refusing(dead: ShardId, open: &Arc<AtomicBool>) -> Arc<Fake> {
    let open = Arc::clone(open);
    Fake::new(move |body| match body {
        Body::Execute { shard, .. } if *shard == dead && !open.load(Ordering::SeqCst) => {
            Err(ShardError::Problem(Problem::new(Code::Unavailable, "dead")))
        }
        _ => Ok(Outcome::Done(Done::Indexed)),
    })
}

#[tokio::test]
async fn rows_of_healthy_shards_pass_one_for_a_dead_shard_also_those_that_come_later() {
    let open = Arc::new(AtomicBool::new(false));
    let map = ShardMap::new(SHARDS).expect("a power of two");
    let shard_of = |number: u32| map.shard_of(row(number).change.user.slot());
    let fake = refusing(shard_of(0), &open);
    let (owners, _pushes) = lone_node(&fake);
    let (outbox, mut progress) = FakeOutbox::of([row(0)]);
    let mut delivered = outbox.delivered.subscribe();
    let check = async {
        // Its batch is under way, and refused; what comes afterwards goes to the others, one by
        // one.
        eventually(|| fake.bodies().len() > 1).await;
        let mut others = (1..1_000).filter(|number| shard_of(*number) != shard_of(0));
        for number in others.by_ref().take(20) {
            outbox
                .rows
                .lock()
                .expect("not poisoned")
                .push_back(row(number));
            outbox.wake.notify_one();
            let to = shard_of(number);
            let covered =
                delivered.wait_for(|delivered| delivered.covers(to, row(number).position));
            timeout(Duration::from_secs(20), covered)
                .await
                .expect("not held up")
                .expect("lives");
            assert!(
                !outbox
                    .delivered
                    .borrow()
                    .covers(shard_of(0), row(0).position)
            );
        }
        assert!(progress.try_recv().is_err(), "the log knows prefixes only");

        open.store(true, Ordering::SeqCst);
        outbox.hurry.send_replace(());
        let last = outbox
            .rows
            .lock()
            .expect("not poisoned")
            .back()
            .expect("some")
            .position;
        while progress.recv().await.expect("progress") != last {}
    };
    tokio::select! {
        () = run(&outbox, &owners) => panic!("ended"),
        () = check => {}
    }
}

#[tokio::test]
async fn what_is_on_its_way_when_the_outbox_ends_is_still_told_to_have_arrived() {
    let fake = Fake::new(|_| Ok(Outcome::Done(Done::Indexed)));
    *fake.delay.lock().expect("not poisoned") = Box::new(|_| Duration::from_millis(100));
    let (owners, _pushes) = lone_node(&fake);
    let (outbox, mut progress) = FakeOutbox::of([row(0)]);
    let ending = async {
        eventually(|| !fake.bodies().is_empty()).await;
        outbox.ended.store(true, Ordering::SeqCst);
        outbox.wake.notify_one();
    };
    let both = async { tokio::join!(run(&outbox, &owners), ending) };
    timeout(Duration::from_secs(20), both)
        .await
        .expect("it ends");
    assert_eq!(progress.try_recv().ok(), Some(row(0).position));
}
