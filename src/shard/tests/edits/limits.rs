//! What an edit is refused for, and what is known of one that was made.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_makes_one_edit_and_a_repeat_is_the_message_as_it_is_now() {
    let (mut bench, message) = bench().await;
    let router = IdempotencyKey::stamp();
    let with_router = |text: &str| edit_with(message.core.id, "alice", text, Some(router.clone()));
    edited(bench.done(edit_key(&message, "alice", "one", "key")).await);
    edited(bench.done(with_router("two")).await);

    for round in ["in memory", "in the file", "after a crash"] {
        assert_eq!(
            edited(bench.done(edit_key(&message, "alice", "one", "key")).await).text,
            "two",
            "{round}"
        );
        assert_eq!(
            edited(bench.done(with_router("two")).await).text,
            "two",
            "{round}"
        );
        assert_eq!(
            code(
                bench
                    .done(edit_key(&message, "alice", "other", "key"))
                    .await
            ),
            Code::IdempotencyConflict
        );
        assert_eq!(
            code(bench.done(send_key("c", "alice", "one", "key")).await),
            Code::IdempotencyConflict
        );
        assert_eq!(bench.events("c", "bob").await.len(), 4, "{round}");
        match round {
            "in memory" => bench.applied().await,
            _ => bench.crash().await,
        }
    }

    // A key of a send is none for an edit; a repeated send is the message as it is now, also when
    // that is deleted.
    let keyed = sent(bench.done(send_key("c", "alice", "keyed", "k")).await);

    assert_eq!(
        code(bench.done(edit_key(&keyed, "alice", "x", "k")).await),
        Code::IdempotencyConflict
    );

    edited(bench.done(edit_key(&keyed, "alice", "changed", "k2")).await);
    assert_eq!(
        sent(bench.done(send_key("c", "alice", "keyed", "k")).await)
            .core
            .text,
        "changed"
    );
    assert!(is_deleted(bench.done(delete(&keyed, "alice")).await));

    for _ in 0..2 {
        let again = bench.done(send_key("c", "alice", "keyed", "k")).await;
        assert!(replayed(again.clone()));
        assert!(sent(again).core.deleted);
        assert!(edited(bench.done(edit_key(&keyed, "alice", "changed", "k2")).await).deleted);
        bench.crash().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_nothing_uses_its_key_up_too() {
    let (mut bench, message) = bench().await;
    let router = IdempotencyKey::stamp();
    let same =
        |key: Option<IdempotencyKey>| edit_with(message.core.id, "alice", "first words", key);
    let keys = [Some(client_key("key")), Some(router)];
    for key in keys.iter().cloned().chain([None]) {
        assert_eq!(edited(bench.done(same(key)).await).edited, None);
    }

    assert_eq!(bench.events("c", "bob").await.len(), 2);
    edited(bench.done(edit(&message, "alice", "changed")).await);

    for round in ["in memory", "in the file", "after a crash"] {
        for key in keys.clone() {
            assert_eq!(
                edited(bench.done(same(key)).await).text,
                "changed",
                "{round}"
            );
        }
        match round {
            "in memory" => bench.applied().await,
            _ => bench.crash().await,
        }
    }

    assert_eq!(
        code(bench.done(edit_key(&message, "alice", "x", "key")).await),
        Code::IdempotencyConflict
    );
    assert_eq!(edited(bench.done(same(None)).await).text, "first words");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_edited_a_thousand_times_at_most() {
    let (bench, message) = bench().await;
    let edits: Vec<_> = (0..EDITS_MAX)
        .map(|n| bench.execute(edit(&message, "alice", &format!("{n}"))))
        .collect();
    for edit in edits {
        edited(in_time(edit).await);
    }

    for _ in 0..2 {
        assert_eq!(
            code(bench.done(edit(&message, "alice", "more")).await),
            Code::EditWindowOver
        );
        assert_eq!(
            edited(bench.done(edit(&message, "alice", "999")).await).text,
            "999"
        );
        bench.applied().await;
    }

    assert!(is_deleted(bench.done(delete(&message, "alice")).await));
    assert_eq!(
        code(bench.done(edit(&message, "alice", "more")).await),
        Code::MessageDeleted
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_new_is_written_before_every_node_reads_it() {
    let common = Common::reading(1);
    let agreed = Arc::clone(&common.agreed);
    let bench = Bench::with(Config { common, ..config() }).await;
    bench.create("c", &["alice", "bob"]).await;

    let message = sent(bench.done(send_key("c", "alice", "hello", "key")).await);
    let with_data = |text: &str| match send("c", "alice", text) {
        Command::Send(send) => Command::Send(Send {
            data: Some("{}".into()),
            ..send
        }),
        other => other,
    };

    for refused in [
        edit(&message, "alice", "x"),
        delete(&message, "alice"),
        with_data("x"),
    ] {
        let Err(ShardError::Problem(problem)) = bench.done(refused).await else {
            panic!("written")
        };
        assert_eq!(problem.code, Code::Unavailable);
        assert!(
            problem.retry_after_s() > Some(1),
            "no router tries again meanwhile"
        );
    }

    agreed.note_records(RECORDS_VERSION);
    assert!(
        replayed(bench.done(send_key("c", "alice", "hello", "key")).await),
        "keys of before are recognised"
    );

    edited(bench.done(edit(&message, "alice", "x")).await);
    let sent = sent(bench.done(with_data("with data")).await);
    assert!(sent.core.data.is_some());
    assert!(is_deleted(bench.done(delete(&message, "alice")).await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletions_that_only_a_diverged_file_has_hold_all_the_same() {
    let (bench, message) = bench().await;
    let deletion = |id| {
        let kind = EventKind::Deleted {
            message_id: id,
            message_seq: message.core.seq,
            by: user("alice"),
        };
        let event = Event {
            conversation: conversation("c"),
            seq: Seq(9),
            created: START,
            key: None,
            kind,
        };
        Command::Resubmit(Arc::new(event))
    };
    let unknown = MessageId::new(START, conversation("c").slot(), 9);

    assert!(matches!(
        bench.done(deletion(unknown)).await,
        Ok(Done::Resubmitted(false))
    ));

    for written in [true, false] {
        let done = bench.done(deletion(message.core.id)).await;
        assert!(
            matches!(done, Ok(Done::Resubmitted(now)) if now == written),
            "{done:?}"
        );
        bench.applied().await;
    }

    assert!(bench.message(&message, "bob").await.deleted);
}
