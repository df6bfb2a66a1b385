//! Who waits for the outbox, and for which rows of it.

use super::*;
use crate::shard::outbox::OutboxPage;

/// The first rows behind a place, and all of their record: a page that is read while the commit is
/// being told ends at its last row, and only the next one ends behind the record.
async fn rows_behind(handle: &ShardHandle, mut after: OutboxPosition) -> OutboxPage {
    let mut rows = Vec::new();
    loop {
        let page = in_time(handle.outbox_page(after, 10)).await.expect("open");
        rows.extend(page.rows);
        after = page.upto;
        if !rows.is_empty() && after.index == u32::MAX {
            return OutboxPage { rows, upto: after };
        }
    }
}

/// A user of another shard than Alice's, and both shards.
fn another(handle: &ShardHandle) -> (String, ShardId, ShardId) {
    let shard_of = |name: &str| handle.0.outbox.map.shard_of(user(name).slot());
    let home = shard_of("alice");
    let mut names = (0..100).map(|number| format!("u{number}"));
    let name = names
        .find(|name| shard_of(name) != home)
        .expect("one of another shard");
    let of = shard_of(&name);
    (name, home, of)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_waits_for_its_own_row_and_not_for_those_of_a_dead_shard() {
    let bench = Bench::new().await;
    bench.pump.abort();
    let handle = bench.handle().clone();
    let (other, _, dead) = another(&handle);

    let naming = bench.execute(create("a", &["alice", &other]));
    let page = rows_behind(&handle, OutboxPosition::default()).await;
    let stuck = BTreeMap::from([(dead, page.rows[1].position)]);
    handle.outbox_delivered(
        Reached {
            seen: page.upto,
            open: stuck.clone(),
        },
        None,
    );
    assert!(matches!(in_time(naming).await, Ok(Done::Created { .. })));

    // Nor does any later one.
    let among_healthy = bench.execute(create("b", &["alice"]));
    let later = rows_behind(&handle, page.upto).await;
    handle.outbox_delivered(
        Reached {
            seen: later.upto,
            open: stuck,
        },
        None,
    );
    assert!(matches!(
        in_time(among_healthy).await,
        Ok(Done::Created { .. })
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outbox_is_clear_once_its_rows_are_delivered_and_the_next_owner_asks_itself_the_same() {
    let mut bench = Bench::new().await;
    bench.pump.abort();
    let (other, home, of_other) = another(bench.handle());
    let creating = bench.execute(create("a", &["alice", &other]));
    let page = rows_behind(bench.handle(), OutboxPosition::default()).await;
    assert_eq!(
        bench.handle().outbox_clear(home, shortly()).await.ok(),
        Some(false)
    );

    let open = BTreeMap::from([(of_other, page.rows[1].position)]);
    bench.handle().outbox_delivered(
        Reached {
            seen: page.upto,
            open,
        },
        None,
    );
    assert_eq!(
        bench.handle().outbox_clear(home, soon()).await.ok(),
        Some(true)
    );
    assert_eq!(
        bench.handle().outbox_clear(of_other, shortly()).await.ok(),
        Some(false)
    );
    assert!(in_time(creating).await.is_ok());

    // Its owner dies between the commit and the delivery.
    bench.crash().await;
    bench.pump.abort();
    assert_eq!(
        bench.handle().outbox_clear(of_other, shortly()).await.ok(),
        Some(false)
    );
    let handle = bench.handle().clone();
    let asking = tokio::spawn(async move { handle.outbox_clear(of_other, soon()).await });
    let again = rows_behind(bench.handle(), OutboxPosition::default()).await;
    bench
        .handle()
        .outbox_delivered(Reached::upto(again.upto), None);
    assert_eq!(
        in_time(asking).await.expect("runs").ok(),
        Some(true),
        "who waits is told"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_what_is_not_delivered_hurries_it() {
    let bench = Bench::new().await;
    bench.pump.abort();
    let handle = bench.handle().clone();
    let (_, home, _) = another(&handle);
    let creating = bench.execute(create("a", &["alice"]));
    let page = rows_behind(&handle, OutboxPosition::default()).await;
    let mut hurried = handle.outbox_hurried();
    let asked = handle.clone();
    let asking = tokio::spawn(async move { asked.outbox_clear(home, soon()).await });
    in_time(hurried.changed()).await.expect("open");
    handle.outbox_delivered(Reached::upto(page.upto), None);
    assert_eq!(in_time(asking).await.expect("runs").ok(), Some(true));
    assert!(in_time(creating).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_may_have_been_replaced_proves_nothing_of_its_outbox() {
    let watch = Duration::from_secs(3);
    let bench = Bench::with(Config {
        takeover_watch: Some(watch),
        ..config()
    })
    .await;
    bench.create("a", &["alice"]).await;
    let (_, home, _) = another(bench.handle());
    assert_eq!(
        bench.handle().outbox_clear(home, soon()).await.ok(),
        Some(true)
    );
    bench.clock.pass(watch);
    assert_eq!(
        bench.handle().outbox_clear(home, soon()).await.ok(),
        Some(false),
        "another may own it by now"
    );

    let handle = bench.handle().clone();
    in_time(handle.close(soon())).await;
    assert!(matches!(
        handle.outbox_clear(home, soon()).await,
        Err(ShardError::NotOwner)
    ));
}
