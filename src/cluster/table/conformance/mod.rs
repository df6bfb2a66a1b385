//! What every implementation of the table promises, as claims: `table_conformance!(factory)` makes
//! one test of each. The factory is an async function that returns a [`Setup`] over an empty store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;

use crate::cluster::table::changes::Changes;
use crate::cluster::table::{NodeAddresses, Table, TableStore};
use crate::ids::{ClusterId, NodeId};
use crate::log::Identity;

pub(crate) mod loads;
pub(crate) mod nodes;
pub(crate) mod swaps;

/// A store under test.
#[async_trait]
pub(crate) trait Setup: Send {
    /// The store.
    fn table(&self) -> Arc<dyn TableStore>;

    /// Ends everything that uses the store in this process and opens it again.
    async fn reopen(&mut self);
}

/// One test for each claim.
macro_rules! table_conformance {
    ($factory:path) => {
        $crate::cluster::table::conformance::table_conformance!(@each $factory,
            swaps {
                the_identity_is_written_once,
                the_first_swap_expects_version_0,
                a_swap_from_another_version_has_no_effect,
                of_swaps_that_name_one_version_one_wins,
                a_swap_that_is_sent_again_stands,
            }
            loads {
                what_is_known_is_not_loaded_again,
                a_table_that_is_gone_is_told_from_one_that_is_unchanged,
                that_a_shard_was_claimed_stands_with_the_table,
                which_nodes_drain_and_are_replaced_stands_with_the_table,
                identity_and_table_outlive_the_process,
            }
            nodes {
                registered_nodes_are_listed_with_their_latest_addresses,
                one_node_leads_until_its_time_is_over,
            }
        );
    };
    (@each $factory:path, $($subject:ident { $($claim:ident,)* })*) => {
        $($(
            $crate::cluster::table::conformance::table_conformance!(@one $factory, $subject $claim);
        )*)*
    };
    (@one $factory:path, $subject:ident $claim:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $claim() {
            $crate::cluster::table::conformance::$subject::$claim($factory().await).await;
        }
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
