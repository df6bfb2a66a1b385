//! How a table is made, and replaced by the next version of it.

use super::*;

pub(crate) async fn the_identity_is_written_once(setup: impl Setup) {
    let table = setup.table();
    assert_eq!(table.identity().await.unwrap(), None);
    let (first, second) = (fresh_identity(), fresh_identity());
    assert_eq!(table.create(first).await.unwrap(), first);
    assert_eq!(table.create(second).await.unwrap(), first);
    assert_eq!(table.identity().await.unwrap(), Some(first));
}

pub(crate) async fn the_first_swap_expects_version_0(setup: impl Setup) {
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

pub(crate) async fn a_swap_from_another_version_has_no_effect(setup: impl Setup) {
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

pub(crate) async fn of_swaps_that_name_one_version_one_wins(setup: impl Setup) {
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

pub(crate) async fn a_swap_that_is_sent_again_stands(setup: impl Setup) {
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
