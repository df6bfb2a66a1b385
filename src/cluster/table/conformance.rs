//! What every implementation of the table promises, as claims: `table_conformance!(factory)` makes
//! one test of each. The factory is an async function that returns a [`Setup`] over an empty store.

#![expect(missing_docs, reason = "the name of a claim is the claim")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::cluster::table::changes::{Changes, Drain};
use crate::cluster::table::{NodeAddresses, Polled, Table, TableStore};
use crate::ids::{ClusterId, NodeId, ShardId};
use crate::log::Identity;

/// A store under test.
#[async_trait]
pub trait Setup: Send {
    /// The store.
    fn table(&self) -> Arc<dyn TableStore>;

    /// Ends everything that uses the store in this process and opens it again.
    async fn reopen(&mut self);
}

/// One test for each claim.
macro_rules! table_conformance {
    ($factory:path) => {
        $crate::cluster::table::conformance::table_conformance!(@each $factory,
            the_identity_is_written_once,
            the_first_swap_expects_version_0,
            a_swap_from_another_version_has_no_effect,
            of_swaps_that_name_one_version_one_wins,
            a_swap_that_is_sent_again_stands,
            what_is_known_is_not_loaded_again,
            a_table_that_is_gone_is_told_from_one_that_is_unchanged,
            that_a_shard_was_claimed_stands_with_the_table,
            which_nodes_drain_and_are_replaced_stands_with_the_table,
            registered_nodes_are_listed_with_their_latest_addresses,
            one_node_leads_until_its_time_is_over,
            identity_and_table_outlive_the_process,
        );
    };
    (@each $factory:path, $($claim:ident,)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $claim() {
            $crate::cluster::table::conformance::$claim($factory().await).await;
        })*
    };
}
pub(crate) use table_conformance;

fn addresses(host: &str) -> NodeAddresses {
    NodeAddresses {
        http: format!("{host}:1"),
        peer: format!("{host}:2"),
        ..NodeAddresses::default()
    }
}

fn table_of(identity: Identity, version: u64, owner: &str) -> Table {
    let nodes = BTreeMap::from([(NodeId::from(owner), addresses(owner))]);
    Table {
        version,
        identity,
        nodes,
        rows: vec![vec![NodeId::from(owner)]; 4],
        claimed: BTreeSet::new(),
        changes: Changes::default(),
    }
}

fn fresh_identity() -> Identity {
    Identity {
        cluster: ClusterId::random(),
        shards: 4,
    }
}

pub async fn the_identity_is_written_once(setup: impl Setup) {
    let table = setup.table();
    assert_eq!(table.identity().await.unwrap(), None);
    let (first, second) = (fresh_identity(), fresh_identity());
    assert_eq!(table.create(first).await.unwrap(), first);
    assert_eq!(table.create(second).await.unwrap(), first);
    assert_eq!(table.identity().await.unwrap(), Some(first));
}

pub async fn the_first_swap_expects_version_0(setup: impl Setup) {
    let (table, identity) = (setup.table(), fresh_identity());
    assert_eq!(table.load().await.unwrap(), None);
    assert!(!table.swap(1, table_of(identity, 2, "a")).await.unwrap());
    assert_eq!(table.load().await.unwrap(), None);
    assert!(table.swap(0, table_of(identity, 1, "a")).await.unwrap());
    assert_eq!(
        table.load().await.unwrap(),
        Some(table_of(identity, 1, "a"))
    );
}

pub async fn a_swap_from_another_version_has_no_effect(setup: impl Setup) {
    let (table, identity) = (setup.table(), fresh_identity());
    assert!(table.swap(0, table_of(identity, 1, "a")).await.unwrap());
    assert!(table.swap(1, table_of(identity, 2, "b")).await.unwrap());
    for stale in [0, 1, 3] {
        assert!(
            !table
                .swap(stale, table_of(identity, stale + 1, "c"))
                .await
                .unwrap(),
            "from {stale}"
        );
    }

    assert_eq!(
        table.load().await.unwrap(),
        Some(table_of(identity, 2, "b"))
    );

    assert!(
        table.swap(2, table_of(identity, 9, "c")).await.is_err(),
        "a version that does not follow"
    );
}

pub async fn of_swaps_that_name_one_version_one_wins(setup: impl Setup) {
    let identity = fresh_identity();
    for version in 0..8 {
        let rivals = (0..4).map(|rival| {
            let (table, named) = (setup.table(), format!("rival-{rival}"));
            tokio::spawn(async move {
                (
                    table
                        .swap(version, table_of(identity, version + 1, &named))
                        .await,
                    named,
                )
            })
        });
        let mut winners = Vec::new();
        for rival in rivals.collect::<Vec<_>>() {
            let (swapped, named) = rival.await.unwrap();
            winners.extend(swapped.unwrap().then_some(named));
        }
        assert_eq!(winners.len(), 1, "{winners:?}");
        assert_eq!(
            setup.table().load().await.unwrap(),
            Some(table_of(identity, version + 1, &winners[0]))
        );
    }
}

pub async fn a_swap_that_is_sent_again_stands(setup: impl Setup) {
    let (table, identity) = (setup.table(), fresh_identity());
    for _ in 0..2 {
        assert!(
            table.swap(0, table_of(identity, 1, "a")).await.unwrap(),
            "its answer may have been lost"
        );
    }

    assert!(
        !table.swap(0, table_of(identity, 1, "b")).await.unwrap(),
        "another one of that version"
    );

    assert!(table.swap(1, table_of(identity, 2, "b")).await.unwrap());
    assert!(
        !table.swap(0, table_of(identity, 1, "a")).await.unwrap(),
        "replaced since"
    );
}

pub async fn what_is_known_is_not_loaded_again(setup: impl Setup) {
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

pub async fn a_table_that_is_gone_is_told_from_one_that_is_unchanged(setup: impl Setup) {
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

pub async fn that_a_shard_was_claimed_stands_with_the_table(mut setup: impl Setup) {
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

pub async fn which_nodes_drain_and_are_replaced_stands_with_the_table(mut setup: impl Setup) {
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

pub async fn registered_nodes_are_listed_with_their_latest_addresses(setup: impl Setup) {
    let table = setup.table();
    assert!(table.nodes().await.unwrap().is_empty());
    let (one, two) = (NodeId::from("one"), NodeId::from("two"));
    table.register(&one, &addresses("old")).await.unwrap();
    table.register(&two, &addresses("two")).await.unwrap();
    let zoned = NodeAddresses {
        zone: "east".to_owned(),
        ..addresses("new")
    };
    table.register(&one, &zoned).await.unwrap();
    let expected = BTreeMap::from([(one, zoned), (two, addresses("two"))]);
    assert_eq!(table.nodes().await.unwrap(), expected);
}

pub async fn one_node_leads_until_its_time_is_over(setup: impl Setup) {
    let table = setup.table();
    let (one, two) = (NodeId::from("one"), NodeId::from("two"));
    let long = Duration::from_secs(60);
    assert!(table.lead(&one, long).await.unwrap());
    assert!(!table.lead(&two, long).await.unwrap());
    assert!(
        table.lead(&one, Duration::from_millis(50)).await.unwrap(),
        "as long as it says now"
    );

    let over = async {
        while !table.lead(&two, long).await.unwrap() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), over)
        .await
        .expect("it has ended");
    assert!(!table.lead(&one, long).await.unwrap());
}

pub async fn identity_and_table_outlive_the_process(mut setup: impl Setup) {
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
