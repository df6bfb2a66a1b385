//! Messages that only a diverged replica has come back through the owner.

use super::standby::{stranger, talkative};
use super::*;
use crate::log::record::{Fingerprint, Header, KeyUse};
use crate::shard::{Standby, Taking, orphans};

fn message_ids(events: &[Arc<Event>]) -> Vec<MessageId> {
    let id = |event: &Arc<Event>| match &event.kind {
        EventKind::Message { id, .. } => *id,
        other => panic!("{other:?}"),
    };
    events.iter().map(id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
async fn orphans_are_appended_again_with_their_ids_unless_they_have_no_place_any_more() {
    let mut bench = talkative().await;
    bench.create("d", &["alice"]).await;
    bench.at_rest().await;

    let common = bench.raws().await;
    let first = bench.send("c", "alice", "first").await;
    let of_bob = bench.send("c", "bob", "of one who is removed").await;
    let keyed = sent(in_time(bench.execute(send_key("c", "alice", "keyed", "k"))).await);
    let last = sent(in_time(bench.execute(send_key("d", "alice", "last", "l"))).await);
    bench.create("e", &["alice"]).await;

    let unknown = bench
        .send("e", "alice", "in a conversation that is lost")
        .await;
    bench.at_rest().await;
    let path = bench.opening().path;

    assert!(
        orphans(SHARD, bench.log.inner.as_ref(), &path)
            .await
            .expect("reads")
            .is_empty(),
        "the log has it all"
    );

    bench.handle().close(soon()).await;
    bench.pump.abort();

    // The log lost that, and another owner went on.
    let mut other = common.messages.clone();
    let end = Header::read(&other.last().expect("some").bytes)
        .expect("an entry")
        .tail();
    other.push(stranger(end, 1));

    bench
        .put_log(
            "other.db",
            1,
            PerStream {
                messages: &other,
                receipts: &common.receipts,
            },
        )
        .await;
    let control = bench
        .log
        .inner
        .control(SHARD)
        .await
        .expect("reads")
        .expect("claimed");
    let standby = Standby::open(bench.opening_of("node-c"))
        .await
        .expect("opens");
    let taking = Taking {
        expected: (control.token, control.beat),
    };

    bench.open = Some(
        in_time(standby.take_over(taking))
            .await
            .expect("takes over"),
    );

    bench.pump = pump(bench.handle().clone(), Arc::default(), 100);
    bench.remove("c", "alice", "bob").await.expect("removes");

    let again = sent(in_time(bench.execute(send_key("c", "alice", "keyed", "k"))).await);
    let found = orphans(SHARD, bench.log.inner.as_ref(), &path)
        .await
        .expect("reads");
    let ids = [&first, &of_bob, &keyed, &last, &unknown].map(|message| message.core.id);
    assert_eq!(message_ids(&found), ids);

    // Twice each at once, and then once more when they are applied.
    for round in 0..2 {
        let command = |event: &Arc<Event>| bench.execute(Command::Resubmit(Arc::clone(event)));
        let answers: Vec<_> = found
            .iter()
            .flat_map(|event| [command(event), command(event)])
            .collect();
        let mut written = Vec::new();
        for answer in answers {
            let Ok(Done::Resubmitted(now)) = in_time(answer).await else {
                panic!("refused")
            };
            written.push(now);
        }
        let expected = [
            true, false, false, false, false, false, true, false, false, false,
        ];
        assert_eq!(written, if round == 0 { expected } else { [false; 10] });
        bench.applied().await;
    }

    assert_eq!(
        bench.texts("c", "alice").await,
        ["m0", "m1", "m2", "m3", "m4", "keyed", "first"]
    );

    let events = bench.events("c", "alice").await;
    let EventKind::Message { id, .. } = &events.last().expect("some").kind else {
        panic!("no message")
    };
    assert_eq!((*id, events.len()), (first.core.id, 9));
    assert_ne!(again.core.id, keyed.core.id);

    // It keeps its key, too.
    let replay = in_time(bench.execute(send_key("d", "alice", "last", "l"))).await;
    assert!(replayed(replay.clone()));
    assert_eq!(sent(replay).core.id, last.core.id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orphan_whose_key_was_used_again_is_not_appended_while_that_use_is_being_applied() {
    let bench = talkative().await;
    let events = bench.events("c", "alice").await;
    let message = events
        .iter()
        .find(|event| matches!(event.kind, EventKind::Message { .. }))
        .expect("talks");
    let EventKind::Message { source, text, .. } = &message.kind else {
        panic!("no message")
    };

    for round in 0..360 {
        let key = format!("k{round}");
        sent(in_time(bench.execute(send_key("c", "alice", "the second use", &key))).await);
        let id = MessageId::new(message.created, message.conversation.slot(), round);
        let kind = EventKind::plain(id, source.clone(), Arc::clone(text));
        let key = KeyUse {
            key: key.as_str().into(),
            stamped: false,
            fingerprint: Fingerprint::default(),
        };
        let orphan = Event {
            key: Some(key),
            kind,
            ..(**message).clone()
        };
        // The look-up meets each moment of the apply.
        tokio::time::sleep(Duration::from_micros(100 * (round % 120))).await;
        let done = in_time(bench.execute(Command::Resubmit(Arc::new(orphan)))).await;
        assert!(
            matches!(done, Ok(Done::Resubmitted(false))),
            "round {round}: {done:?}"
        );
    }
}
