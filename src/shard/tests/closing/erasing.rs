//! What is left of a deleted conversation goes, and the owner says so step by step.

use super::*;
use crate::shard::command::{AuditAsk, AuditTold};

/// How many rows of the conversation each table has, those alone that have some.
async fn rows(bench: &Bench) -> Vec<(&'static str, i64)> {
    bench.handle().0.store.rows_of("c").await
}

async fn nothing_differs(bench: &Bench) {
    let ask = AuditAsk::Conversations {
        after: None,
        limit: 32,
        refill: false,
    };
    match bench.query(Query::Audit(ask)).await {
        Ok(Found::Audit(AuditTold::Conversations { differing, .. })) => {
            assert_eq!(differing, []);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_but_the_name_the_last_event_and_who_took_part() {
    let (bench, message) = bench().await;
    for done in [
        react(&message, "bob", Some(7)),
        mark_read(&message, "bob"),
        Command::Ban(Ban {
            conversation: conversation("c"),
            by: user("admin"),
            user: user("outsider"),
            reason: Some("spam".into()),
        }),
        send_key("c", "alice", "keyed", "k"),
    ] {
        assert!(in_time(bench.execute(done)).await.is_ok());
    }
    assert!(is_closed(&bench.closes("admin").await));
    nothing_differs(&bench).await;
    bench.erased().await;
    assert_eq!(
        rows(&bench).await,
        [("events", 1), ("departures", 3), ("message_keys", 1)]
    );
    nothing_differs(&bench).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_one_goes_in_several_steps_and_others_are_served_meanwhile() {
    let (bench, _) = bench().await;
    bench.create("d", &["alice"]).await;
    let flying: Vec<_> = (0..2_500)
        .map(|number| bench.execute(send("c", "alice", &format!("{number}"))))
        .collect();
    for answer in flying {
        sent(in_time(answer).await);
    }
    assert!(is_closed(&bench.closes("admin").await));

    let store = bench.handle().0.store.clone();
    let mut pruned = Vec::new();
    in_time(async {
        while let Some(left) = store.left_to_erase().await.expect("reads") {
            if pruned.last() != Some(&left.pruned.0) {
                pruned.push(left.pruned.0);
                bench.send("d", "alice", "meanwhile").await;
            }
            nothing_differs(&bench).await;
        }
    })
    .await;
    let steps = [0, 1_000, 2_000, 2_503];
    let expected: Vec<u64> = steps
        .into_iter()
        .filter(|up_to| pruned.contains(up_to))
        .collect();
    assert_eq!(pruned, expected, "no other step, and none twice");
    assert_eq!(rows(&bench).await, [("events", 1), ("departures", 3)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reaction_on_its_way_when_it_is_deleted_goes_too() {
    let (bench, message) = bench().await;
    // The receipts stream stands still while the messages stream goes on.
    bench.log.hold();
    let attempts = bench.log.attempts_of(R);
    let reaction = tokio::spawn(bench.execute(react(&message, "bob", Some(7))));
    bench.log.attempted(R, attempts + 1).await;
    let closing = bench.execute(close("admin"));
    bench.log.release();

    assert!(matches!(in_time(reaction).await, Ok(Ok(Done::Marked))));
    assert!(is_closed(&in_time(closing).await));
    bench.erased().await;
    assert_eq!(rows(&bench).await, [("events", 1), ("departures", 3)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_goes_after_a_crash_at_any_step() {
    let (mut bench, message) = bench().await;
    assert!(
        in_time(bench.execute(react(&message, "bob", Some(7))))
            .await
            .is_ok()
    );
    let flying: Vec<_> = (0..1_200)
        .map(|number| bench.execute(send("c", "alice", &format!("{number}"))))
        .collect();
    for answer in flying {
        sent(in_time(answer).await);
    }
    assert!(is_closed(&bench.closes("admin").await));

    // Each life takes a step or two.
    for _ in 0..8 {
        bench.crash().await;
        let told = bench.refusals("bob").await;
        assert_eq!(told, [Code::ConversationClosed; 7]);
    }
    bench.erased().await;
    assert_eq!(rows(&bench).await, [("events", 1), ("departures", 3)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_the_log_refuses_is_taken_again() {
    let (bench, _) = bench().await;
    bench.log.stall_reads(true);
    assert!(is_closed(&bench.closes("admin").await));
    bench.log.fault(M, &[Fault::NotWritten]);
    bench.log.stall_reads(false);
    bench.erased().await;
    assert_eq!(rows(&bench).await, [("events", 1), ("departures", 3)]);
    assert_eq!(bench.refusals("bob").await, [Code::ConversationClosed; 7]);
}
