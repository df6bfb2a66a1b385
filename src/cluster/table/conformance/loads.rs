//! What is read of a table, and what stands with it.

use super::*;
use crate::cluster::table::Polled;
use crate::cluster::table::changes::Drain;
use crate::ids::ShardId;

pub(crate) async fn what_is_known_is_not_loaded_again(setup: impl Setup) {
    let (table, identity) = (setup.table(), fresh_identity());
    assert_eq!(table.load_unless(None).await.unwrap(), Polled::Gone);

    let first = table_of(identity, 1, "a");
    assert!(table.swap(0, first.clone()).await.unwrap());
    assert_eq!(
        table.load_unless(None).await.unwrap(),
        Polled::Changed(first.clone())
    );
    assert_eq!(
        table.load_unless(Some(&first)).await.unwrap(),
        Polled::Unchanged
    );

    let again = table_of(identity, 1, "b");
    assert_eq!(
        table.load_unless(Some(&again)).await.unwrap(),
        Polled::Changed(first.clone()),
        "its version was given twice"
    );

    let elsewhere = table_of(fresh_identity(), 1, "a");
    assert_eq!(
        table.load_unless(Some(&elsewhere)).await.unwrap(),
        Polled::Changed(first.clone()),
        "of another cluster"
    );
    assert!(table.swap(1, table_of(identity, 2, "b")).await.unwrap());
    assert_eq!(
        table.load_unless(Some(&first)).await.unwrap(),
        Polled::Changed(table_of(identity, 2, "b"))
    );
}

pub(crate) async fn a_table_that_is_gone_is_told_from_one_that_is_unchanged(setup: impl Setup) {
    let (table, known) = (setup.table(), table_of(fresh_identity(), 7, "a"));
    assert_eq!(
        table.load_unless(Some(&known)).await.unwrap(),
        Polled::Gone,
        "it stood before the store lost it"
    );
    let first = Table {
        version: 1,
        ..known
    };
    assert!(table.swap(0, first.clone()).await.unwrap());
    assert_eq!(
        table.load_unless(Some(&first)).await.unwrap(),
        Polled::Unchanged
    );
}

pub(crate) async fn that_a_shard_was_claimed_stands_with_the_table(mut setup: impl Setup) {
    let (table, identity) = (setup.table(), fresh_identity());
    assert!(table.swap(0, table_of(identity, 1, "a")).await.unwrap());

    let first = table.load().await.unwrap().unwrap();
    let claimed = Table {
        version: 2,
        claimed: BTreeSet::from([ShardId(1), ShardId(3)]),
        ..first.clone()
    };
    assert!(table.swap(1, claimed.clone()).await.unwrap());

    let twice = Table {
        version: 2,
        ..first
    };

    assert_eq!(
        table.load_unless(Some(&twice)).await.unwrap(),
        Polled::Changed(claimed.clone()),
        "it makes another table"
    );
    assert!(!table.swap(1, twice).await.unwrap());

    setup.reopen().await;
    assert_eq!(setup.table().load().await.unwrap(), Some(claimed));
}

pub(crate) async fn which_nodes_drain_and_are_replaced_stands_with_the_table(
    mut setup: impl Setup,
) {
    let (table, identity, node) = (setup.table(), fresh_identity(), NodeId::from("a"));
    assert!(table.swap(0, table_of(identity, 1, "a")).await.unwrap());

    let first = table.load().await.unwrap().unwrap();
    let drain = Drain {
        since_ms: 7,
        by: "anna@desk".to_owned(),
    };
    let changes = Changes {
        draining: BTreeMap::from([(node.clone(), drain)]),
        replaced: BTreeMap::from([(ShardId(3), node)]),
    };
    let marked = Table {
        version: 2,
        changes,
        ..first.clone()
    };
    assert!(table.swap(1, marked.clone()).await.unwrap());

    let twice = Table {
        version: 2,
        ..first
    };
    let told = table.load_unless(Some(&twice)).await.unwrap();

    assert_eq!(
        told,
        Polled::Changed(marked.clone()),
        "it makes another table"
    );
    assert!(!table.swap(1, twice).await.unwrap());

    setup.reopen().await;
    assert_eq!(setup.table().load().await.unwrap(), Some(marked.clone()));
    assert_eq!(
        setup.table().load_unless(Some(&marked)).await.unwrap(),
        Polled::Unchanged
    );
}

pub(crate) async fn identity_and_table_outlive_the_process(mut setup: impl Setup) {
    let identity = fresh_identity();
    assert_eq!(setup.table().create(identity).await.unwrap(), identity);
    assert!(
        setup
            .table()
            .swap(0, table_of(identity, 1, "a"))
            .await
            .unwrap()
    );

    setup.reopen().await;
    assert_eq!(setup.table().identity().await.unwrap(), Some(identity));
    assert_eq!(
        setup.table().load().await.unwrap(),
        Some(table_of(identity, 1, "a"))
    );
    assert!(
        !setup
            .table()
            .swap(0, table_of(identity, 1, "b"))
            .await
            .unwrap()
    );

    assert!(
        setup
            .table()
            .swap(1, table_of(identity, 2, "b"))
            .await
            .unwrap()
    );
}
