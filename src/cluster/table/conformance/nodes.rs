//! The nodes that are registered beside the table, and which of them leads.

use std::time::Duration;

use super::*;

pub(crate) async fn registered_nodes_are_listed_with_their_latest_addresses(setup: impl Setup) {
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

pub(crate) async fn one_node_leads_until_its_time_is_over(setup: impl Setup) {
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
