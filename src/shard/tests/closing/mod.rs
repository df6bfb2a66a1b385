//! Conversations that are deleted, whatever comes between (ADR 26).

use super::*;
use crate::protocol::{Patch, Role};
use crate::shard::command::{Ban, Close, SetParticipant};

mod erasing;
mod setbacks;

fn close(by: &str) -> Command {
    Command::Close(Close {
        conversation: conversation("c"),
        by: user(by),
    })
}

fn is_closed(done: &Result<Done, ShardError>) -> bool {
    matches!(done, Ok(Done::Closed))
}

impl Bench {
    async fn closes(&self, by: &str) -> Result<Done, ShardError> {
        in_time(self.execute(close(by))).await
    }

    /// What those are told who ask for each thing under its name.
    async fn refusals(&self, who: &str) -> Vec<Code> {
        let (name, reader) = (conversation("c"), user(who));
        let queries = [
            Query::Conversation {
                name: name.clone(),
                reader: reader.clone(),
            },
            Query::Events {
                name: name.clone(),
                reader: reader.clone(),
                after: Seq(0),
                limit: 9,
            },
            Query::Participants {
                name: name.clone(),
                reader: reader.clone(),
                after: None,
                limit: 9,
            },
            Query::Watermarks {
                name,
                reader,
                after: None,
                limit: 9,
            },
        ];

        let mut codes = Vec::new();
        for query in queries {
            codes.push(code(self.query(query).await));
        }
        codes.push(code(self.history("c", who, Around::Newest, 9).await));
        codes.push(code(in_time(self.execute(send("c", who, "x"))).await));
        codes.push(code(self.add("c", who, &["dave"]).await));
        codes
    }

    /// Waits until nothing of the conversation is left to erase.
    async fn erased(&self) {
        self.applied().await;
        let store = self.handle().0.store.clone();
        in_time(async {
            while store.left_to_erase().await.expect("reads").is_some() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

/// An admin, two members, one who left, and a message.
async fn bench() -> (Bench, Message) {
    let bench = Bench::new().await;
    bench.create("c", &["admin", "alice", "bob", "gone"]).await;
    bench.remove("c", "gone", "gone").await.expect("left");
    let message = bench.send("c", "alice", "words").await;
    bench.at_rest().await;
    (bench, message)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_ends_everything_for_everybody_and_its_name_stays_taken() {
    let (mut bench, message) = bench().await;
    assert_eq!(code(bench.closes("alice").await), Code::Forbidden);
    assert_eq!(code(bench.closes("stranger").await), Code::NotParticipant);
    assert_eq!(code(bench.closes("gone").await), Code::NotParticipant);
    assert!(is_closed(&bench.closes("admin").await));

    for round in ["in memory", "in the file", "erased", "opened again"] {
        for who in ["admin", "alice", "bob"] {
            let told = bench.refusals(who).await;
            assert_eq!(told, [Code::ConversationClosed; 7], "{who} {round}");
            let left = bench.remove("c", who, who).await;
            assert_eq!(code(left), Code::ConversationClosed, "{who} {round}");
        }
        for who in ["gone", "stranger"] {
            let told = bench.refusals(who).await;
            assert_eq!(told, [Code::NotParticipant; 7], "{who} {round}");
        }

        for refused in [
            mark_read(&message, "bob"),
            react(&message, "bob", Some(7)),
            react(&message, "stranger", Some(7)),
        ] {
            let told = code(in_time(bench.execute(refused)).await);
            assert_eq!(told, Code::MessageUnknown, "{round}");
        }
        let by_id = Query::Message {
            id: message.core.id,
            reader: user("alice"),
        };
        assert_eq!(
            code(bench.query(by_id).await),
            Code::MessageUnknown,
            "{round}"
        );

        assert!(is_closed(&bench.closes("admin").await), "again, {round}");
        assert_eq!(code(bench.closes("alice").await), Code::ConversationClosed);
        let taken = in_time(bench.execute(create("c", &["alice"]))).await;
        assert_eq!(code(taken), Code::NameTaken, "{round}");

        match round {
            "in memory" => bench.applied().await,
            "in the file" => bench.erased().await,
            _ => bench.restart().await,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_that_created_it_tells_that_it_was_deleted() {
    let mut bench = Bench::new().await;
    let made = |fingerprint| create_with("c", &["admin", "alice"], Some("k"), fingerprint);
    assert!(!replayed(in_time(bench.execute(made(1))).await));
    assert!(is_closed(&bench.closes("admin").await));
    for _ in 0..2 {
        for fingerprint in [1, 2] {
            let again = in_time(bench.execute(made(fingerprint))).await;
            assert_eq!(code(again), Code::ConversationClosed);
        }
        bench.restart().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_behind_it_in_one_batch_is_refused_when_it_is_committed() {
    let (bench, message) = bench().await;
    bench.log.hold();

    let before = bench.execute(send("c", "alice", "before"));
    let closing = bench.execute(close("admin"));
    let handed = bench.execute(Command::SetParticipant(SetParticipant {
        conversation: conversation("c"),
        by: user("admin"),
        user: user("bob"),
        role: Some(Role::Admin),
        muted_until: Patch::Keep,
    }));
    let behind = [
        send("c", "alice", "after"),
        add("c", "admin", &["dave"]),
        remove("c", "bob", "bob"),
        Command::Ban(Ban {
            conversation: conversation("c"),
            by: user("admin"),
            user: user("outsider"),
            reason: None,
        }),
        create("c", &["stranger"]),
    ];
    let behind = behind.map(|command| bench.execute(command));
    let again = bench.execute(close("admin"));
    let reaction = tokio::spawn(bench.execute(react(&message, "bob", Some(7))));
    bench.waiting(10).await;

    bench.log.release();
    assert_eq!(sent(in_time(before).await).core.text, "before");
    assert!(is_closed(&in_time(closing).await) && is_closed(&in_time(again).await));
    assert_eq!(code(in_time(handed).await), Code::ConversationClosed);
    let codes = [
        Code::ConversationClosed,
        Code::ConversationClosed,
        Code::ConversationClosed,
        Code::ConversationClosed,
        Code::NameTaken,
    ];
    for (refused, expected) in behind.into_iter().zip(codes) {
        assert_eq!(code(in_time(refused).await), expected);
    }
    let told = in_time(reaction).await.expect("ends");
    assert_eq!(code(told), Code::MessageUnknown);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_gets_its_last_event_and_nothing_before_it() {
    let (mut bench, _) = bench().await;
    let (node, mut queue) = subscriber(64);
    let live = bench.interest(&node, "c", "alice", None).await;
    assert!(matches!(live, Subscribed::Live { .. }), "{live:?}");
    bench.send("c", "bob", "one more").await;
    assert!(is_closed(&bench.closes("admin").await));
    let seqs = [
        pushed_event(&mut queue).await,
        pushed_event(&mut queue).await,
    ];
    assert_eq!(seqs.each_ref().map(|event| event.seq.0), [4, 5]);
    let kind = EventKind::Closed { by: user("admin") };
    assert_eq!(seqs[1].kind, kind);

    for round in ["in memory", "in the file", "erased", "opened again"] {
        for after in [None, Some(0), Some(2), Some(4)] {
            let told = bench.interest(&node, "c", "bob", after).await;
            let Subscribed::Closed { event } = told else {
                panic!("{after:?} {round}: {told:?}")
            };
            assert_eq!((event.seq, &event.kind), (Seq(5), &kind), "{round}");
            assert_eq!(event.created, seqs[1].created, "{round}");
        }
        // Who has seen it, and who was none when it was deleted.
        for (who, after) in [("bob", 5), ("bob", 9), ("gone", 0), ("gone", 1), ("x", 0)] {
            let told = bench.interest(&node, "c", who, Some(after)).await;
            assert!(
                matches!(told, Subscribed::NotParticipant),
                "{who} {after} {round}: {told:?}"
            );
        }
        match round {
            "in memory" => bench.applied().await,
            "in the file" => bench.erased().await,
            _ => bench.restart().await,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_who_took_part_is_told_by_the_outbox() {
    let (bench, _) = bench().await;
    assert!(is_closed(&bench.closes("admin").await));
    bench.at_rest().await;
    let mut told: Vec<_> = bench
        .delivered
        .lock()
        .expect("whole")
        .iter()
        .filter(|change| !change.joined)
        .map(|change| (change.user.to_string(), change.seq.0))
        .collect();
    told.sort();
    let expected = [("admin", 4), ("alice", 4), ("bob", 4), ("gone", 2)];
    assert_eq!(told, expected.map(|(who, seq)| (who.to_owned(), seq)));
    let index = Query::Index {
        user: user("alice"),
        after: None,
        archived: None,
        limit: 9,
    };
    let Ok(Found::Index(items)) = bench.query(index).await else {
        panic!("no index")
    };
    assert_eq!(items, []);
}
