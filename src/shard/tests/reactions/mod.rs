//! Who reacted to a message and what became of it, by pages, whatever came before.

use proptest::prelude::*;

use self::model::{Model, Step, USERS, step, take};
use super::*;
use crate::protocol::{Page, Reaction, Receipt};
use crate::shard::command::Delete;

mod model;

async fn reactions(
    bench: &Bench,
    (id, reader): (MessageId, &str),
    (after, limit): (Option<UserId>, u32),
) -> Result<Page<Reaction>, ShardError> {
    let query = Query::Reactions {
        id,
        reader: user(reader),
        after,
        limit,
    };
    match bench.query(query).await? {
        Found::Reactions(page) => Ok(page),
        other => panic!("{other:?}"),
    }
}

async fn receipts(
    bench: &Bench,
    (id, reader): (MessageId, &str),
    (after, limit): (Option<UserId>, u32),
) -> Result<Page<Receipt>, ShardError> {
    let query = Query::Receipts {
        id,
        reader: user(reader),
        after,
        limit,
    };
    match bench.query(query).await? {
        Found::Receipts(page) => Ok(page),
        other => panic!("{other:?}"),
    }
}

/// All pages, one after the other: each but the last is full, and says by whom it goes on.
async fn paged<T>(
    limit: u32,
    of: impl Fn(&T) -> &UserId,
    mut page: impl AsyncFnMut(Option<UserId>) -> Page<T>,
) -> Vec<T> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let Page { items, next, .. } = page(after).await;
        assert!(items.len() <= limit as usize);
        let last = items.last().map(|last| of(last).to_string());
        all.extend(items);
        let Some(next) = next else { return all };
        assert_eq!(all.len() % limit as usize, 0, "a page that is not full");
        assert_eq!(Some(&next), last.as_ref());
        after = Some(user(&next));
    }
}

/// What everybody is shown of every message is what the model has.
async fn look(bench: &Bench, model: &Model, limit: u32) {
    for said in &model.said {
        let (id, source) = (said.message.core.id, &said.message.core.source);
        for reader in USERS {
            let first = reactions(bench, (id, reader), (None, limit)).await;
            let told = receipts(bench, (id, reader), (None, limit)).await;
            if !model.has(reader) {
                assert_eq!(code(first), Code::MessageUnknown);
                assert_eq!(code(told), Code::MessageUnknown);
                continue;
            }

            let all = paged(
                limit,
                |one: &Reaction| &one.user,
                async |after| {
                    let page = reactions(bench, (id, reader), (after, limit)).await;
                    page.expect("a page")
                },
            );
            let all = all.await.into_iter().map(|one| (one.user, one.reaction));
            assert!(all.eq(model.reactions(said)), "{reader}: {said:?}");

            if source.as_str() != reader {
                assert_eq!(code(told), Code::NotSender);
                continue;
            }
            let all = paged(
                limit,
                |one: &Receipt| &one.user_id,
                async |after| {
                    let page = receipts(bench, (id, reader), (after, limit)).await;
                    page.expect("a page")
                },
            );
            let all = all.await.into_iter();
            let all = all.map(|one| (one.user_id, one.read, one.reaction));
            assert!(all.eq(model.receipts(said)), "{reader}: {said:?}");
        }
    }
}

async fn play(steps: Vec<Step>, is_lost_at: Option<usize>) {
    let mut bench = Bench::new().await;
    bench.create("c", &USERS).await;
    let mut model = Model::new();

    for (at, step) in steps.into_iter().enumerate() {
        if is_lost_at == Some(at) {
            bench.crash().await;
        }
        take(&bench, &mut model, step).await;
    }
    look(&bench, &model, 2).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn pages_of_reactions_and_receipts_are_what_was_done_each_user_once_and_in_order(
        steps in prop::collection::vec(step(), 1..60),
        is_lost_at in prop::option::of(0..60_usize),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(play(steps, is_lost_at));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_reactions_has_what_is_acknowledged_and_not_what_is_only_decided() {
    let bench = Bench::new().await;
    bench.create("c", &["alice", "bob"]).await;
    let message = bench.send("c", "alice", "hello").await;
    let of_bob = (message.core.id, "bob");
    in_time(bench.execute(react(&message, "alice", Some(1))))
        .await
        .expect("set");
    bench.at_rest().await;

    // A deletion that is on its way, and then did not happen.
    bench.log.hold();
    bench.log.fault(M, &[Fault::NotWritten]);
    let deleting = bench.execute(Command::Delete(Delete {
        message_id: message.core.id,
        by: user("alice"),
    }));
    bench.waiting(1).await;
    let page = reactions(&bench, of_bob, (None, 10)).await.expect("reads");
    assert_eq!(page.items.len(), 1, "it is not deleted yet");
    bench.log.release();
    assert_eq!(code(in_time(deleting).await), Code::Unavailable);

    for (with, shown) in [(Some(2), 2), (None, 1)] {
        in_time(bench.execute(react(&message, "bob", with)))
            .await
            .expect("it holds");
        let page = reactions(&bench, of_bob, (None, 10)).await.expect("reads");
        assert_eq!(page.items.len(), shown, "without waiting for the worker");
    }
}
