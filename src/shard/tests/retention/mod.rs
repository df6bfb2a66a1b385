//! Conversations lose what is older than they keep it, whatever comes between (ADR 27).

use super::*;
use crate::protocol::{Patch, SettingsChange};
use crate::shard::command::{AuditAsk, AuditTold, Close, Update};

mod setbacks;

const HOUR: Duration = Duration::from_secs(3_600);

/// What the admin changes: for how long everything is kept.
fn keep(retention_s: Option<u32>) -> Command {
    Command::Update(Update {
        conversation: conversation("c"),
        by: user("admin"),
        title: Patch::Keep,
        data: Patch::Keep,
        settings: SettingsChange {
            retention_s: Patch::Set(retention_s),
            ..SettingsChange::default()
        },
    })
}

fn kept_for(default_s: Option<u32>) -> Config {
    Config {
        retention: Retention {
            default_s,
            max_s: None,
        },
        ..config()
    }
}

impl Bench {
    async fn first_seq(&self) -> u64 {
        self.view("c", "admin").await.expect("in").first_seq.0
    }

    /// Waits until everything before that seq is gone.
    async fn begins_at(&self, first: u64) {
        in_time(async {
            while self.first_seq().await != first {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        self.applied().await;
    }

    async fn nothing_differs(&self) {
        let ask = AuditAsk::Conversations {
            after: None,
            limit: 32,
            refill: false,
        };
        match self.query(Query::Audit(ask)).await {
            Ok(Found::Audit(AuditTold::Conversations { differing, .. })) => {
                assert_eq!(differing, []);
            }
            other => panic!("{other:?}"),
        }
    }

    async fn page_of_events(&self, after: u64) -> (Vec<u64>, Option<Seq>, Seq) {
        let query = Query::Events {
            name: conversation("c"),
            reader: user("bob"),
            after: Seq(after),
            limit: 9,
        };
        match self.query(query).await {
            Ok(Found::Events {
                items,
                next,
                pruned,
            }) => (items.iter().map(|one| one.seq.0).collect(), next, pruned),
            other => panic!("{other:?}"),
        }
    }

    async fn unread_of_bob(&self) -> (Option<u32>, Option<String>, u64) {
        let query = Query::Summaries {
            names: vec![conversation("c")],
            reader: user("bob"),
        };
        let Ok(Found::Summaries(items)) = self.query(query).await else {
            panic!("no list")
        };
        let item = items[0].clone().expect("in");
        (
            item.unread(),
            item.last_message.map(|last| last.core.text),
            item.conversation.first_seq.0,
        )
    }
}

/// Two old messages, the first with a reaction and read, and two new ones, an hour later.
async fn bench(config: Config) -> (Bench, Message) {
    let bench = Bench::with(config).await;
    bench.create("c", &["admin", "alice", "bob"]).await;
    let done = in_time(bench.execute(send_key("c", "alice", "old", "k"))).await;
    let old = sent(done);
    bench.send("c", "alice", "old too").await;
    for done in [react(&old, "bob", Some(7)), mark_read(&old, "bob")] {
        assert!(in_time(bench.execute(done)).await.is_ok());
    }
    bench.at_rest().await;
    bench.clock.pass(HOUR);
    bench.send("c", "alice", "new").await;
    bench.send("c", "alice", "new too").await;
    bench.at_rest().await;
    (bench, old)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
async fn what_is_too_old_is_gone_for_every_reader_and_its_key_is_known() {
    let (mut bench, old) = bench(config()).await;
    let (node, mut queue) = subscriber(64);
    let live = bench.interest(&node, "c", "bob", None).await;
    assert!(matches!(live, Subscribed::Live { .. }), "{live:?}");
    assert_eq!(
        bench.unread_of_bob().await,
        (Some(3), Some("new too".to_owned()), 1)
    );
    assert!(in_time(bench.execute(keep(Some(1_800)))).await.is_ok());
    bench.begins_at(4).await;

    let event = pushed_event(&mut queue).await;
    assert_eq!(event.seq, Seq(6), "the change of the settings");
    let Push::Pruned { up_to, .. } = pushed(&mut queue).await else {
        panic!("sessions are not told")
    };
    assert_eq!(up_to, Seq(3));

    for round in ["in memory", "opened again"] {
        bench.nothing_differs().await;
        let view = bench.view("c", "bob").await.expect("in");
        assert_eq!(
            (view.first_seq, view.retention_effective_s, view.last_seq),
            (Seq(4), Some(1_800), Seq(6)),
            "{round}"
        );
        assert_eq!(bench.texts("c", "bob").await, ["new", "new too"]);
        let page = bench.history("c", "bob", Around::Newest, 1).await;
        let older = page.expect("reads").before;
        assert_eq!(older, Some(Seq(5)));
        let page = bench.history("c", "bob", Around::Before(Seq(5)), 9).await;
        let page = page.expect("reads");
        assert_eq!((page.items.len(), page.before), (1, None), "{round}");
        for (after, gone) in [(0, 3), (2, 3), (3, 3), (4, 3)] {
            let (seqs, next, pruned) = bench.page_of_events(after).await;
            let expected: Vec<u64> = (after.max(3) + 1..=6).collect();
            assert_eq!((seqs, next), (expected, None), "{after} {round}");
            assert!(pruned == Seq(gone) || after >= gone, "{after} {round}");
        }
        assert_eq!(
            bench.unread_of_bob().await,
            (Some(2), Some("new too".to_owned()), 4),
            "{round}"
        );

        for told in [
            bench.execute(mark_read(&old, "bob")),
            bench.execute(react(&old, "bob", Some(8))),
        ] {
            let told = code(in_time(told).await);
            assert_eq!(told, Code::MessageUnknown, "{round}");
        }
        let by_id = Query::Message {
            id: old.core.id,
            reader: user("alice"),
        };
        let told = code(bench.query(by_id).await);
        assert_eq!(told, Code::MessageUnknown, "{round}");
        let reply = send_with("c", "alice", "re", None, Some(old.core.id));
        let told = code(in_time(bench.execute(reply)).await);
        assert_eq!(told, Code::ReplyToUnknown, "{round}");
        let again = in_time(bench.execute(send_key("c", "alice", "old", "k"))).await;
        assert_eq!(code(again), Code::MessageUnknown, "known, {round}");
        let other = in_time(bench.execute(send_key("c", "alice", "other", "k"))).await;
        assert_eq!(code(other), Code::IdempotencyConflict, "{round}");

        for after in [0, 2] {
            let told = bench.interest(&node, "c", "bob", Some(after)).await;
            let Subscribed::Live { events, pruned, .. } = told else {
                panic!("{told:?}")
            };
            let seqs: Vec<_> = events.iter().map(|event| event.seq.0).collect();
            assert_eq!((seqs, pruned), (vec![4, 5, 6], Seq(3)), "{round}");
        }
        bench.restart().await;
    }

    let rows = bench.handle().0.store.rows_of("c").await;
    assert!(
        !rows.iter().any(|(table, _)| *table == "reactions"),
        "{rows:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_event_may_go_too_and_what_comes_then_is_the_first() {
    let (bench, _) = bench(kept_for(Some(60))).await;
    bench.begins_at(4).await;
    bench.clock.pass(HOUR);
    bench.begins_at(6).await;
    bench.nothing_differs().await;
    assert_eq!(bench.unread_of_bob().await, (Some(0), None, 6));
    let (seqs, next, pruned) = bench.page_of_events(0).await;
    assert_eq!((seqs.len(), next, pruned), (0, None, Seq(5)));
    let page = bench.history("c", "bob", Around::Newest, 9).await;
    let page = page.expect("reads");
    assert_eq!((page.items.len(), page.before), (0, None));

    let message = bench.send("c", "alice", "goes on").await;
    assert_eq!(message.core.seq, Seq(6));
    bench.applied().await;
    assert_eq!(bench.page_of_events(0).await.0, [6]);
    let unread = bench.unread_of_bob().await;
    assert_eq!(unread, (Some(1), Some("goes on".to_owned()), 6));
    bench.nothing_differs().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_one_goes_in_several_steps_and_sessions_are_told_of_the_last() {
    let bench = Bench::with(kept_for(None)).await;
    bench.create("c", &["admin", "bob"]).await;
    let flying: Vec<_> = (0..2_500)
        .map(|number| bench.execute(send("c", "bob", &format!("{number}"))))
        .collect();
    for answer in flying {
        sent(in_time(answer).await);
    }
    bench.clock.pass(HOUR);
    let (node, mut queue) = subscriber(64);
    let live = bench.interest(&node, "c", "bob", None).await;
    assert!(matches!(live, Subscribed::Live { .. }), "{live:?}");
    assert!(in_time(bench.execute(keep(Some(60)))).await.is_ok());

    let event = pushed_event(&mut queue).await;
    assert_eq!(event.seq, Seq(2_502));
    let Push::Pruned { up_to, .. } = pushed(&mut queue).await else {
        panic!("sessions are not told")
    };
    assert_eq!(up_to, Seq(2_501), "of the last step alone");
    bench.begins_at(2_502).await;
    bench.nothing_differs().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_ends_it() {
    let (bench, _) = bench(kept_for(Some(60))).await;
    bench.begins_at(4).await;
    let close = Command::Close(Close {
        conversation: conversation("c"),
        by: user("admin"),
    });
    assert!(in_time(bench.execute(close)).await.is_ok());
    let store = bench.handle().0.store.clone();
    bench.applied().await;
    in_time(async {
        while store.left_to_erase().await.expect("reads").is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    bench.clock.pass(HOUR);
    let next = store.next_retained(bench.config.retention).await;
    assert_eq!(next.expect("reads"), None);
    let rows = store.rows_of("c").await;
    assert!(rows.contains(&("events", 1)), "its last one: {rows:?}");
    bench.nothing_differs().await;
}
