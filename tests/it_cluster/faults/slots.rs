//! The slot of a shard moves from one master to another, key by key, while it is written to.

use std::net::SocketAddr;

use crate::load::Load;
use crate::load::breakable::breakable;
use crate::load::servers::{ask, servers, told, with_role};
use crate::support::cluster::Cluster;

/// Servers of Redis Cluster.
const SERVERS: usize = 6;

/// Shards of the deployment.
const SHARDS: usize = 16;

/// The master that serves a slot, by what a server of the cluster says.
fn owner_of(slot: &str, among: &[(String, SocketAddr)]) -> (SocketAddr, String) {
    for &(_, server) in among {
        let id: String = told(server, &["CLUSTER", "MYID"]);
        let keys: Result<u64, _> = ask(server, &["CLUSTER", "COUNTKEYSINSLOT", slot]);
        if keys.is_ok_and(|count| count > 0) {
            return (server, id);
        }
    }
    panic!("no master has keys in slot {slot}");
}

/// Moves a slot to another master, one key after the other.
async fn migrate(cluster: &Cluster, slot: &str) {
    let masters = with_role(cluster, SERVERS, true);
    let (from, from_id) = owner_of(slot, &masters);
    let &(_, to) = masters.iter().find(|(_, server)| *server != from).unwrap();
    let to_id: String = told(to, &["CLUSTER", "MYID"]);
    told::<()>(to, &["CLUSTER", "SETSLOT", slot, "IMPORTING", &from_id]);
    told::<()>(from, &["CLUSTER", "SETSLOT", slot, "MIGRATING", &to_id]);

    let (host, port) = (to.ip().to_string(), to.port().to_string());
    let keys: Vec<String> = told(from, &["CLUSTER", "GETKEYSINSLOT", slot, "100"]);
    for key in keys {
        told::<()>(from, &["MIGRATE", &host, &port, &key, "0", "5000"]);
        // Long enough for appends that find only some of the keys on either side.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    }

    for (_, server) in [(String::new(), to), (String::new(), from)]
        .into_iter()
        .chain(servers(cluster, SERVERS))
    {
        // Replicas refuse; they hear of it from the masters.
        drop(ask::<()>(
            server,
            &["CLUSTER", "SETSLOT", slot, "NODE", &to_id],
        ));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_slots_of_live_shards_are_migrated_and_nothing_is_lost_or_there_twice() {
    let deployment = breakable().await;
    let cluster = deployment.cluster();
    let load = Load::start(deployment.server()).await;
    let (_, any) = servers(cluster, SERVERS)[0];
    for shard in 0..SHARDS {
        let key = format!("{{{}:s{shard}}}:ctl", cluster.prefix);
        let slot: u64 = told(any, &["CLUSTER", "KEYSLOT", &key]);
        // Those of every fourth shard, so that some of them have load.
        if shard % 4 == 0 {
            migrate(cluster, &slot.to_string()).await;
        }
    }
    load.flows("after the moves").await;
    load.finish().await;
}
