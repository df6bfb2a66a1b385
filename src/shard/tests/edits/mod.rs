//! Edits and deletions, whatever comes between (ADR 22).

use super::*;
use crate::protocol::{EDITS_MAX, MessageCore};
use crate::shard::command::{Delete, Edit, Patch, core_of};

mod limits;
mod readers;

fn edit_with(id: MessageId, by: &str, text: &str, key: Option<IdempotencyKey>) -> Command {
    let text = Some(text.into());
    Command::Edit(Edit {
        message_id: id,
        by: user(by),
        text,
        data: Patch::Keep,
        mentions: None,
        key,
        unless: Vec::new(),
    })
}

fn edit(message: &Message, by: &str, text: &str) -> Command {
    edit_with(message.core.id, by, text, None)
}

fn edit_key(message: &Message, by: &str, text: &str, key: &str) -> Command {
    edit_with(message.core.id, by, text, Some(client_key(key)))
}

fn delete(message: &Message, by: &str) -> Command {
    Command::Delete(Delete {
        message_id: message.core.id,
        by: user(by),
    })
}

fn edited(done: Result<Done, ShardError>) -> MessageCore {
    match done {
        Ok(Done::Edited(message)) => message.core,
        other => panic!("{other:?}"),
    }
}

fn is_deleted(done: Result<Done, ShardError>) -> bool {
    matches!(done, Ok(Done::Deleted))
}

impl Bench {
    async fn done(&self, command: Command) -> Result<Done, ShardError> {
        in_time(self.execute(command)).await
    }

    async fn message(&self, message: &Message, reader: &str) -> MessageCore {
        let query = Query::Message {
            id: message.core.id,
            reader: user(reader),
        };
        match self.query(query).await {
            Ok(Found::Message(message)) => message.core,
            other => panic!("{other:?}"),
        }
    }
}

async fn bench() -> (Bench, Message) {
    let bench = Bench::new().await;
    bench.create("c", &["admin", "alice", "bob"]).await;
    let message = bench.send("c", "alice", "first words").await;
    bench.at_rest().await;
    (bench, message)
}

/// The texts of `edited` events, and which of them are superseded.
fn edits_of(events: &[Arc<Event>]) -> Vec<(u64, String, bool)> {
    let edit = |event: &Arc<Event>| match &event.kind {
        EventKind::Edited {
            text, superseded, ..
        } => Some((event.seq.0, text.to_string(), *superseded)),
        _ => None,
    };
    events.iter().filter_map(edit).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_is_an_event_and_every_read_has_it_at_once_and_later() {
    let (bench, message) = bench().await;
    let (node, mut queue) = subscriber(64);
    bench.interest(&node, "c", "bob", None).await;
    bench.log.stall_reads(true);

    let core = edited(bench.done(edit(&message, "alice", "second words")).await);
    assert_eq!(
        (core.text.as_str(), core.edited, core.seq),
        ("second words", Some(START), message.core.seq)
    );

    let pushed = pushed_event(&mut queue).await;
    assert!(
        matches!(&pushed.kind, EventKind::Edited { text, superseded: false, .. } if &**text == "second words")
    );

    for round in ["in memory", "in the file"] {
        assert_eq!(bench.message(&message, "bob").await, core, "{round}");
        let page = bench
            .history("c", "bob", Around::Newest, 9)
            .await
            .expect("reads");
        assert_eq!(page.items[0].core, core, "{round}");
        let events = bench.events("c", "bob").await;
        assert_eq!(core_of(&events[1]), Some(core.clone()), "{round}");
        assert_eq!(
            edits_of(&events),
            [(3, "second words".to_owned(), false)],
            "{round}"
        );
        bench.log.stall_reads(false);
        bench.applied().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
async fn a_deletion_leaves_the_place_and_nothing_of_what_was_said() {
    let (bench, message) = bench().await;
    let reply = send_with("c", "bob", "an answer", None, Some(message.core.id));
    let reply = sent(bench.done(reply).await);

    assert!(matches!(
        bench.done(react(&message, "bob", Some(5))).await,
        Ok(Done::Marked)
    ));

    edited(bench.done(edit(&message, "alice", "second words")).await);
    bench.log.stall_reads(true);
    assert!(is_deleted(bench.done(delete(&message, "alice")).await));

    for round in ["in memory", "in the file"] {
        let core = bench.message(&message, "bob").await;
        assert_eq!(
            (core.text.as_str(), core.deleted, core.edited),
            ("", true, None),
            "{round}"
        );
        assert_eq!(core.deleted_by, Some(user("alice")), "{round}");
        let events = bench.events("c", "bob").await;
        assert_eq!(edits_of(&events), [(4, String::new(), true)], "{round}");
        assert!(!format!("{events:?}").contains("words"), "{round}");
        assert_eq!(
            bench.message(&reply, "bob").await.reply_to,
            Some(message.core.id),
            "{round}"
        );
        // Again: nothing happens.
        assert!(
            is_deleted(bench.done(delete(&message, "alice")).await),
            "{round}"
        );
        assert_eq!(
            bench.events("c", "bob").await.last().expect("events").seq,
            Seq(5),
            "{round}"
        );
        let late = send_with("c", "bob", "late", None, Some(message.core.id));
        for refused in [
            late,
            edit(&message, "alice", "x"),
            react(&message, "bob", Some(6)),
        ] {
            assert_eq!(
                code(bench.done(refused).await),
                Code::MessageDeleted,
                "{round}"
            );
        }
        bench.log.stall_reads(false);
        bench.applied().await;
    }

    assert!(matches!(
        bench.done(react(&message, "bob", None)).await,
        Ok(Done::Marked)
    ));
    assert!(matches!(
        bench.done(mark_read(&message, "bob")).await,
        Ok(Done::Marked)
    ));

    let page = bench
        .history("c", "bob", Around::Oldest, 1)
        .await
        .expect("reads");
    assert!(page.items[0].reactions.is_empty() && page.items[0].my_reaction.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_in_the_batch_of_the_send_and_several_in_one_batch_are_decided_in_their_order() {
    let (bench, message) = bench().await;
    bench.log.hold();

    let attempts = bench.log.attempts_of(M);
    let held = bench.execute(send("c", "bob", "on its way"));
    bench.log.attempted(M, attempts + 1).await;

    // These gather in the next batch.
    let edits: Vec<_> = (0..20)
        .map(|n| bench.execute(edit(&message, "alice", &format!("edit {n}"))))
        .collect();
    let same = bench.execute(edit(&message, "alice", "edit 19"));
    let gone = bench.execute(delete(&message, "alice"));
    let late = bench.execute(edit(&message, "alice", "too late"));
    bench.waiting(24).await;

    let reply = bench.execute(send_with("c", "bob", "reply", None, Some(message.core.id)));
    bench.waiting(25).await;
    let before = bench.message(&message, "bob").await;
    assert_eq!(before.text, "first words", "nothing of it is committed");

    bench.log.release();
    sent(in_time(held).await);
    for edit in edits {
        // It is read after the commit of all of them.
        edited(in_time(edit).await);
    }

    edited(in_time(same).await);
    assert!(is_deleted(in_time(gone).await));
    assert_eq!(code(in_time(late).await), Code::MessageDeleted);
    assert_eq!(code(in_time(reply).await), Code::MessageDeleted);

    let events = bench.events("c", "bob").await;
    assert_eq!(events.len(), 2 + 1 + 20 + 1, "the same again is no event");
    assert!(
        edits_of(&events)
            .iter()
            .all(|(_, text, superseded)| text.is_empty() && *superseded)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_back_leaves_what_stood_before() {
    for applied in [true, false] {
        let (bench, message) = bench().await;
        bench.log.stall_reads(!applied);
        edited(bench.done(edit(&message, "alice", "stands")).await);
        if applied {
            bench.applied().await;
        }
        bench.log.hold();
        bench.log.fault(M, &[Fault::NotWritten]);
        let attempts = bench.log.attempts_of(M);
        let void = bench.execute(edit_key(&message, "alice", "void", "key"));
        bench.log.attempted(M, attempts + 1).await;
        let gone = bench.execute(delete(&message, "alice"));
        // Refused for what is void: decided anew.
        let later = bench.execute(edit(&message, "alice", "later"));
        bench.waiting(3).await;
        let reply = bench.execute(send_with("c", "bob", "reply", None, Some(message.core.id)));
        let reaction = tokio::spawn(bench.execute(react(&message, "bob", Some(7))));
        bench.waiting(5).await;
        bench.log.release();
        bench.log.stall_reads(false);
        assert_eq!(code(in_time(void).await), Code::Unavailable);
        assert_eq!(code(in_time(gone).await), Code::Unavailable);
        assert_eq!(edited(in_time(later).await).text, "later");
        assert_eq!(
            sent(in_time(reply).await).core.reply_to,
            Some(message.core.id)
        );
        assert!(matches!(in_time(reaction).await, Ok(Ok(Done::Marked))));
        let again = edited(bench.done(edit_key(&message, "alice", "void", "key")).await);
        assert_eq!(again.text, "void", "the key was free");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_decided_while_the_one_before_is_being_applied_goes_by_that() {
    let (bench, message) = bench().await;
    for round in 0..300_u64 {
        edited(
            bench
                .done(edit(&message, "alice", &format!("edit {round}")))
                .await,
        );
        // The look-up meets each moment of the apply.
        tokio::time::sleep(Duration::from_micros(100 * (round % 60))).await;
        let same = bench
            .done(edit(&message, "alice", &format!("edit {round}")))
            .await;
        assert_eq!(edited(same).text, format!("edit {round}"));
        let last = bench.view("c", "bob").await.expect("in").last_seq;
        assert_eq!(last, Seq(3 + round), "the same again is no event");
    }
}
