//! What an owner answers to an audit: nothing while all is well, whatever is under way; and each
//! thing that was changed behind its back.

use super::*;
use crate::shard::command::{AuditAsk, AuditTold, Differing, Pair, Row};

impl Bench {
    async fn audit(&self, ask: AuditAsk) -> AuditTold {
        match self.query(Query::Audit(ask)).await {
            Ok(Found::Audit(told)) => told,
            other => panic!("{other:?}"),
        }
    }

    /// What differs in all conversations, which are gone through page by page.
    async fn differing(&self, refill: bool) -> (u32, Vec<Differing>) {
        let (mut looked, mut all, mut after) = (0, Vec::new(), None);
        loop {
            let asked = AuditAsk::Conversations {
                after,
                limit: 32,
                refill,
            };
            let AuditTold::Conversations {
                looked_at,
                differing,
                next,
            } = self.audit(asked).await
            else {
                panic!("another answer")
            };
            looked += looked_at;
            all.extend(differing);
            after = next;
            if after.is_none() {
                return (looked, all);
            }
        }
    }
}

fn pair(user_name: &str, name: &str) -> Pair {
    Pair {
        user: user(user_name),
        conversation: conversation(name),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_people_talk_and_come_and_go_nothing_differs() {
    let bench = Bench::new().await;
    for name in ["c-0", "c-1"] {
        bench.create(name, &["alice", "bob"]).await;
    }

    for round in 0..20_u32 {
        let mut flying = Vec::new();
        for name in ["c-0", "c-1"] {
            flying.push(bench.execute(send(name, "alice", "hi")));
            flying.push(bench.execute(match round % 2 {
                0 => add(name, "alice", &["carol", "dave"]),
                _ => remove(name, "alice", "carol"),
            }));
            flying.push(bench.execute(send(name, "bob", "there")));
        }
        let (looked, differing) = bench.differing(false).await;
        assert_eq!((looked, differing), (2, Vec::new()), "round {round}");
        for answer in flying {
            let _accepted_or_not = in_time(answer).await;
        }
    }

    let AuditTold::Ends {
        applied,
        quarantined,
    } = bench.audit(AuditAsk::Ends).await
    else {
        panic!("another answer")
    };
    assert_eq!(quarantined, 0);
    assert!(applied.messages.offset > Offset(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conversations_are_gone_through_in_pages() {
    let bench = Bench::new().await;
    for number in 0..40 {
        bench.create(&format!("c-{number}"), &["alice"]).await;
    }
    bench.at_rest().await;
    assert_eq!(bench.differing(false).await, (40, Vec::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_differs_from_the_file_is_told_and_filled_again_when_that_is_asked_for() {
    let bench = Bench::new().await;
    bench.create("c", &["alice", "bob"]).await;
    bench.at_rest().await;
    let store = bench.handle().0.store.clone();
    store
        .execute("UPDATE conversations SET title = 'other'")
        .await;

    let (_, differing) = bench.differing(false).await;
    assert_eq!(differing.len(), 1, "{differing:?}");
    assert!(differing[0].what.contains("differ in its title"));
    assert!(!differing[0].mended);
    let shown = bench.view("c", "alice").await.expect("reads");
    assert_eq!(shown.title, None, "nothing was dropped");

    let (_, differing) = bench.differing(true).await;
    assert!(differing[0].mended, "{differing:?}");
    let shown = bench.view("c", "alice").await.expect("reads");
    assert_eq!(shown.title.as_deref(), Some("other"));
    assert_eq!(bench.differing(false).await, (1, Vec::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_whose_records_are_not_applied_is_not_compared() {
    let bench = Bench::new().await;
    bench.create("c", &["alice", "bob"]).await;
    bench.at_rest().await;
    bench.log.stall_reads(true);
    sent(in_time(bench.execute(send("c", "alice", "hi"))).await);
    let (name, deadline) = (conversation("c"), soon());
    let settled = bench
        .handle()
        .0
        .ask(deadline, |answer| Input::Settled(name, answer));
    assert_eq!(in_time(settled).await.expect("the loop answers"), None);
    bench.log.stall_reads(false);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_that_are_not_what_the_rows_say_are_told_and_left() {
    let bench = Bench::new().await;
    bench.create("c", &["alice", "bob"]).await;
    sent(in_time(bench.execute(send("c", "alice", "hi"))).await);
    bench.at_rest().await;
    let store = bench.handle().0.store.clone();
    store
        .execute("UPDATE conversations SET participants_count = 7")
        .await;
    store.execute("DELETE FROM messages").await;

    let (_, differing) = bench.differing(true).await;
    let words: Vec<&str> = differing.iter().map(|one| one.what.as_str()).collect();
    assert_eq!(
        words[..3],
        [
            "its last seq is 2, and its newest message or event has 1",
            "of its newest 2 seqs 1 have a message or an event",
            "it counts 7 participants, and has 2",
        ]
    );
    assert!(differing[..3].iter().all(|one| !one.mended));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_of_a_membership_are_read_as_they_were_acknowledged() {
    let bench = Bench::new().await;
    bench.create("c", &["alice", "bob"]).await;
    let index = IndexChange {
        user: user("bob"),
        conversation: conversation("c"),
        seq: Seq(1),
        joined: true,
        at: START,
        create_key: None,
        view: None,
    };
    let indexed = in_time(bench.execute(Command::Index(vec![index]))).await;
    assert!(matches!(indexed, Ok(Done::Indexed)), "{indexed:?}");
    sent(in_time(bench.execute(send("c", "alice", "hi"))).await);

    let AuditTold::Members { members, next } = bench
        .audit(AuditAsk::Members {
            after: Some(pair("alice", "c")),
            limit: 10,
        })
        .await
    else {
        panic!("another answer")
    };
    let [(of, stand)] = &members[..] else {
        panic!("{members:?}")
    };
    assert_eq!((of, next), (&pair("bob", "c"), None));
    let seq = |moment: Option<crate::shard::command::Moment>| moment.map(|moment| moment.seq);
    assert_eq!(
        (seq(stand.joined), seq(stand.last)),
        (Some(Seq(1)), Some(Seq(2)))
    );

    let pairs = vec![pair("bob", "c"), pair("carol", "c"), pair("bob", "none")];
    let AuditTold::Stands(stands) = bench.audit(AuditAsk::Stands(pairs.clone())).await else {
        panic!("another answer")
    };
    assert_eq!(stands[0], *stand);
    assert_eq!((stands[1].joined, stands[1].last), (None, stand.last));
    assert_eq!((stands[2].joined, stands[2].last), (None, None));

    let row = Row {
        seq: Seq(1),
        joined: true,
    };
    assert_eq!(
        bench.audit(AuditAsk::Rows(pairs)).await,
        AuditTold::Rows(vec![Some(row), None, None])
    );
    let listed = AuditAsk::Listed {
        after: Some(pair("alice", "c")),
        limit: 1,
    };
    let AuditTold::Listed { rows, next } = bench.audit(listed).await else {
        panic!("another answer")
    };
    assert_eq!(
        (rows, next),
        (vec![(pair("bob", "c"), row)], Some(pair("bob", "c")))
    );
}
