//! Who sees what of messages that are edited and deleted.

use super::*;

/// Bob is removed, and then a message of before is edited, while bob reads.
async fn edited_meanwhile(query: impl FnOnce(&Message) -> Query) -> Result<Found, ShardError> {
    let (bench, message) = bench().await;
    let held = bench.handle().0.store.hold_readers().await;
    let handle = bench.handle().clone();
    let asked = query(&message);
    let read = tokio::spawn(async move { handle.query(asked, soon()).await });
    for _ in 0..20 {
        bench.turn().await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    drop(
        bench
            .handle()
            .execute(remove("c", "admin", "bob"), shortly())
            .await,
    );

    let secret = bench.execute(edit(&message, "alice", "secret after the removal"));
    // Its look-up needs a reader too.
    drop(held);
    drop(in_time(secret).await);
    bench.applied().await;
    in_time(read).await.expect("runs").map(|(found, _)| found)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_removed_while_they_read_gets_nothing_of_an_edit_after_that() {
    let (name, reader) = (conversation("c"), user("bob"));
    let history = HistoryQuery {
        conversation: name.clone(),
        reader: reader.clone(),
        around: Around::Newest,
        ascending: true,
        limit: 9,
        source: None,
        reply_to: None,
    };

    let events = Query::Events {
        name,
        reader: reader.clone(),
        after: Seq(0),
        limit: 9,
    };
    let by_id = |message: &Message| Query::Message {
        id: message.core.id,
        reader,
    };

    for outcome in [
        edited_meanwhile(|_| Query::History(history)).await,
        edited_meanwhile(|_| events).await,
        edited_meanwhile(by_id).await,
    ] {
        assert!(!format!("{outcome:?}").contains("secret"), "{outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_left_reads_up_to_their_left_without_what_was_edited_after_that() {
    let (bench, message) = bench().await;
    let other = bench.send("c", "alice", "stays as it was").await;
    bench.remove("c", "admin", "bob").await.expect("removed");

    for applied in [false, true] {
        bench.log.stall_reads(!applied);
        edited(
            bench
                .done(edit(&message, "alice", &format!("secret {applied}")))
                .await,
        );
        bench.log.stall_reads(false);
        if applied {
            bench.applied().await;
        }
        let (node, _queue) = subscriber(8);
        let Subscribed::Ended { left, events, .. } =
            bench.interest(&node, "c", "bob", Some(1)).await
        else {
            panic!("bob is out")
        };
        assert_eq!((left, events.len()), (Seq(4), 3));
        assert!(!format!("{events:?}").contains("secret"));
        let cores: Vec<_> = events.iter().filter_map(|event| core_of(event)).collect();
        assert_eq!((cores[0].text.as_str(), cores[0].edited), ("", None));
        assert_eq!(cores[1].text, other.core.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_resumes_between_an_edit_and_its_deletion_sees_no_hole_and_no_words() {
    let (bench, message) = bench().await;
    let (node, mut queue) = subscriber(64);
    edited(bench.done(edit(&message, "alice", "second words")).await);

    let Subscribed::Live { tail, events, .. } = bench.interest(&node, "c", "bob", Some(0)).await
    else {
        panic!()
    };

    assert_eq!(
        (tail, edits_of(&events)),
        (Seq(3), vec![(3, "second words".to_owned(), false)])
    );
    assert!(is_deleted(bench.done(delete(&message, "alice")).await));
    assert_eq!(pushed_event(&mut queue).await.seq, Seq(4));

    let (late, _late_queue) = subscriber(64);
    let Subscribed::Live { tail, events, .. } = bench.interest(&late, "c", "bob", Some(0)).await
    else {
        panic!()
    };

    assert_dense(&events, Seq(1));
    assert_eq!(
        (tail, edits_of(&events)),
        (Seq(4), vec![(3, String::new(), true)])
    );
    assert!(!format!("{events:?}").contains("words"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mentions_of_those_who_do_not_participate_are_left_out() {
    let (bench, _) = bench().await;
    let mentions = ["bob", "stranger", "alice", "bob"].map(user).to_vec();
    let Command::Send(plain) = send_key("c", "alice", "hi", "key") else {
        panic!("a send")
    };
    let command = |mentions: &[UserId]| {
        Command::Send(Send {
            mentions: mentions.to_vec(),
            ..plain.clone()
        })
    };

    let message = sent(bench.done(command(&mentions)).await);
    assert_eq!(message.core.mentions, ["bob", "alice"].map(user));
    assert!(replayed(bench.done(command(&mentions)).await));
    assert_eq!(
        code(bench.done(command(&mentions[..1])).await),
        Code::IdempotencyConflict,
        "compared as sent"
    );

    bench.remove("c", "bob", "bob").await.expect("left");
    let kept = Edit {
        message_id: message.core.id,
        by: user("alice"),
        text: Some("edited".into()),
        data: Patch::Set(Some(r#"{"a":1}"#.into())),
        mentions: None,
        key: None,
        unless: Vec::new(),
    };

    assert_eq!(
        edited(bench.done(Command::Edit(kept.clone())).await).mentions,
        ["bob", "alice"].map(user)
    );

    let given = Edit {
        mentions: Some(mentions),
        ..kept
    };
    let after = edited(bench.done(Command::Edit(given)).await);
    assert_eq!(after.mentions, [user("alice")]);
    assert_eq!(
        after.data.map(|data| data.text().to_string()).as_deref(),
        Some(r#"{"a":1}"#)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_learn_nothing_and_others_may_not() {
    let (bench, message) = bench().await;
    bench.add("c", "admin", &["carol"]).await.expect("added");
    bench.remove("c", "admin", "carol").await.expect("removed");

    let unknown = MessageId::new(START, conversation("c").slot(), 77);
    for who in ["stranger", "carol"] {
        for id in [message.core.id, unknown] {
            assert_eq!(
                code(bench.done(edit_with(id, who, "x", None)).await),
                Code::MessageUnknown
            );
            let delete = Command::Delete(Delete {
                message_id: id,
                by: user(who),
            });
            assert_eq!(code(bench.done(delete).await), Code::MessageUnknown);
        }
    }

    assert_eq!(
        code(bench.done(edit(&message, "bob", "x")).await),
        Code::NotSender
    );
    assert_eq!(
        code(bench.done(edit(&message, "admin", "x")).await),
        Code::NotSender
    );
    assert_eq!(
        code(bench.done(delete(&message, "bob")).await),
        Code::Forbidden
    );

    // The sender who left is a stranger too.
    bench.remove("c", "alice", "alice").await.expect("left");

    assert_eq!(
        code(bench.done(edit(&message, "alice", "x")).await),
        Code::MessageUnknown
    );
    assert_eq!(
        code(bench.done(delete(&message, "alice")).await),
        Code::MessageUnknown
    );
    assert!(is_deleted(bench.done(delete(&message, "admin")).await));
    assert_eq!(
        code(bench.done(delete(&message, "bob")).await),
        Code::Forbidden
    );
}
