//! Nodes are taken away for good and join while everybody works, and nobody notices (ADR 20).

use std::process::Output;

use serde_json::Value;

use crate::BACKEND;
use crate::faults::common::handing::{NODES, SHARDS, cluster, evened_out, in_sync, owned, printed};
use crate::load::Load;
use crate::load::check::Report;
use crate::support::client::Client;
use crate::support::cluster::Cluster;
use crate::support::server::Server;
use crate::support::{Fields as _, eventually};

/// A deployment of its own, that runs.
fn deployment(flags: &[&str]) -> Server {
    Server::Many(Cluster::start_alone(BACKEND, flags))
}

fn processes(server: &Server) -> &Cluster {
    match server {
        Server::Many(cluster) => cluster,
        Server::One(_) => panic!("one process has no node that could be taken away"),
    }
}

/// The nodes of each row, the owner first, as this node follows the table.
async fn rows(deployment: &Cluster, by: &str) -> Vec<Vec<String>> {
    let told = cluster(deployment, by).await;
    let name = |node: &Value| node.as_str().expect("a name").to_owned();
    let row = |shard: &Value| {
        std::iter::once(&shard["owner"])
            .chain(shard.list("standby"))
            .map(name)
            .collect()
    };
    told.list("shards").iter().map(row).collect()
}

/// Drains a node until it has nothing. What was printed.
async fn drained(deployment: &Cluster, node: &str) -> String {
    let told = printed(
        &deployment
            .ask_while(&["drain", node, "--by", "anna@desk"])
            .await,
        0,
    );
    assert!(
        told.contains(&format!(
            "{node} is drained: no shard names it, and others have everything"
        )),
        "{told}"
    );
    told
}

/// Every row has so many copies, on these nodes alone.
async fn is_kept_by(deployment: &Cluster, nodes: &[&str], copies: usize) {
    for row in rows(deployment, nodes[0]).await {
        let mut distinct = row.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!((row.len(), distinct.len()), (copies, copies), "{row:?}");
        assert!(
            row.iter().all(|node| nodes.contains(&node.as_str())),
            "{row:?}"
        );
    }
}

/// Nobody was refused anything, or lost a connection.
fn nobody_noticed(report: &Report) {
    assert!(
        report.not_written.is_empty() && report.unknown.is_empty(),
        "{report:?}"
    );
    assert_eq!(
        report.connections, report.readers,
        "no reader lost its connection: {report:?}"
    );
}

/// What a command printed, whether all is well or not.
fn json(output: &Output) -> Value {
    let said = || String::from_utf8_lossy(&output.stderr).into_owned();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", said()))
}

/// The cluster is well, in the words of `status`.
async fn well(deployment: &Cluster) -> String {
    eventually("all is well", || async {
        let output = deployment.ask(&["status"]);
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_taken_away_for_good_under_load_and_its_folder_is_deleted_and_nothing_is_lost() {
    let server = deployment(&["--nodes", "4"]);
    let deployment = processes(&server);
    in_sync(deployment, &["node-1", "node-2", "node-3", "node-4"]).await;
    let held = rows(deployment, "node-1")
        .await
        .iter()
        .filter(|row| row.contains(&"node-4".to_owned()))
        .count();
    assert!(held > 4, "it has something: {held}");

    let load = Load::start(&server).await;
    let told = drained(deployment, "node-4").await;
    assert!(told.starts_with("node-4 is draining: it owns "), "{told}");
    is_kept_by(deployment, &NODES, 2).await;
    let status = well(deployment).await;
    assert!(
        status.contains(
            "node-4 is drained and may be stopped, and its folder deleted (anna@desk asked"
        ),
        "{status}"
    );
    let log = deployment.log();
    assert!(
        log.contains("by=\"anna@desk\"") || log.contains("by=anna@desk"),
        "who asked is in the log"
    );
    load.flows("when a node is drained").await;

    deployment.command(&["stop", "node-4"]).await;
    assert_eq!(deployment.exit_of("node-4"), Some(0));
    let files =
        std::fs::read_dir(deployment.folder_of("node-4").join("data/shards")).expect("its folder");
    let left: Vec<_> = files
        .filter_map(|file| file.unwrap().file_name().into_string().ok())
        .collect();
    assert!(
        !left.iter().any(|file| file.ends_with(".sqlite")),
        "{left:?}"
    );
    deployment.remove_data("node-4");
    load.flows("without it").await;
    nobody_noticed(&load.finish().await);

    // It is no trouble that it is gone, and it stays marked.
    let status = well(deployment).await;
    assert!(
        status.starts_with("All is well.\n") && status.contains("node-4 is drained"),
        "{status}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
async fn a_drain_that_leaves_too_few_nodes_is_refused_and_who_is_undrained_gets_a_share_again() {
    let server = deployment(&["--balance", "on"]);
    let deployment = processes(&server);
    in_sync(deployment, &NODES).await;
    let unknown = printed(&deployment.ask(&["drain", "node-9"]), 2);
    assert!(
        unknown.contains("the table knows no node node-9"),
        "{unknown}"
    );
    drained(deployment, "node-3").await;
    is_kept_by(deployment, &["node-1", "node-2"], 2).await;
    let again = printed(&deployment.ask(&["drain", "node-3", "--no-wait"]), 0);
    assert!(
        again.starts_with("node-3 is draining already: it owns 0 shards"),
        "{again}"
    );

    let refused = printed(&deployment.ask(&["drain", "node-2"]), 2);
    assert!(
        refused.contains("node-2 cannot be drained: 2 copies of each shard"),
        "{refused}"
    );
    assert!(
        refused
            .contains("only node-1 would be left (node-3 is draining). Start another node first"),
        "{refused}"
    );
    let (from, to) = ("node-1", "node-3");
    let shard = rows(deployment, from)
        .await
        .iter()
        .position(|row| row[0] == from)
        .expect("it owns something");
    let given = printed(&deployment.ask(&["move", &shard.to_string(), to]), 2);
    assert!(
        given.contains("node-3 is draining and gets nothing"),
        "{given}"
    );
    for (path, delete) in [
        ("/nodes/node-2/drain", false),
        ("/nodes/node-3/drain", true),
        ("/balance", false),
    ] {
        let stranger =
            Client::new(deployment.port("node-1.operations"), "operator").with_token(None);
        let answer = if delete {
            stranger.delete(path).await
        } else {
            stranger.post(path, &Value::Null).await
        };
        assert_eq!(answer.status, 401, "{path}");
    }
    let nodes = json(&deployment.ask(&["nodes", "--json"]));
    assert!(
        nodes["node-3"]["draining"]["by"] == "anna@desk" && nodes["node-1"]["draining"].is_null(),
        "{nodes}"
    );
    let told = json(&deployment.ask(&["--json", "status"]));
    assert_eq!(
        told["draining"]
            .as_object()
            .expect("marks")
            .keys()
            .collect::<Vec<_>>(),
        ["node-3"]
    );

    let load = Load::start(&server).await;
    let undrained = printed(&deployment.ask(&["undrain", "node-3"]), 0);
    assert_eq!(
        undrained,
        "node-3 is draining no more, and gets shards as any other\n"
    );
    assert_eq!(
        printed(&deployment.ask(&["undrain", "node-3"]), 0),
        "node-3 was not draining\n"
    );
    let plan = eventually("it is told what is to be moved, and why", || async {
        let output = deployment.ask(&["rebalance", "--dry-run", "--json"]);
        let plan: Value = serde_json::from_slice(&output.stdout).ok()?;
        plan.list("steps")
            .iter()
            .any(|step| step["to"] == "node-3")
            .then_some(plan)
    })
    .await;
    let step = &plan["steps"][0];
    assert!(
        !step.text("why").is_empty() && ["owner", "copy"].contains(&step.text("what")),
        "{plan}"
    );
    assert!(NODES.contains(&plan.text("leader")), "{plan}");
    let looked = printed(&deployment.ask(&["rebalance"]), 0);
    assert!(looked.contains("coordinates, and looks now."), "{looked}");
    evened_out(deployment, &NODES).await;
    load.flows("when all is even").await;
    nobody_noticed(&load.finish().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_goes_on_when_the_drained_node_and_the_coordinator_have_died_and_are_back() {
    let server = deployment(&["--nodes", "4"]);
    let deployment = processes(&server);
    let all = ["node-1", "node-2", "node-3", "node-4"];
    in_sync(deployment, &all).await;
    let load = Load::start(&server).await;
    let leader = eventually("somebody coordinates", || async {
        let output = deployment.ask(&["rebalance", "--dry-run", "--json"]);
        let plan: Value = serde_json::from_slice(&output.stdout).ok()?;
        Some(plan.text("leader").to_owned())
    })
    .await;
    let drains = all
        .into_iter()
        .find(|node| *node != leader)
        .expect("another one");
    printed(&deployment.ask(&["drain", drains, "--no-wait"]), 0);

    deployment.command(&["kill", drains, &leader]).await;
    deployment.command(&["start", drains, &leader]).await;
    load.flows("when both are back").await;
    drained(deployment, drains).await;
    let others: Vec<&str> = all.into_iter().filter(|node| *node != drains).collect();
    is_kept_by(deployment, &others, 2).await;

    // It is started again, and gets nothing.
    deployment.command(&["stop", drains]).await;
    deployment.command(&["start", drains]).await;
    let told = printed(&deployment.ask_while(&["drain", drains, "--json"]).await, 0);
    let last: Value = serde_json::from_str(told.lines().last().expect("a line")).expect("JSON");
    assert_eq!(
        (&last["done"], last.number("owned"), last.number("standbys")),
        (&Value::Bool(true), 0, 0)
    );
    load.flows("at the end").await;
    load.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_three_replicas_a_node_is_stopped_and_another_drained_and_nobody_notices() {
    let server = deployment(&["--nodes", "4", "--replicas", "3"]);
    let deployment = processes(&server);
    let all = ["node-1", "node-2", "node-3", "node-4"];
    in_sync(deployment, &all).await;
    is_kept_by(deployment, &all, 3).await;
    let load = Load::start(&server).await;
    deployment.command(&["stop", "node-1"]).await;
    assert_eq!(deployment.exit_of("node-1"), Some(0));
    load.flows("while a node is stopped").await;
    deployment.command(&["start", "node-1"]).await;
    in_sync(deployment, &all).await;
    drained(deployment, "node-4").await;
    is_kept_by(deployment, &NODES, 3).await;
    load.flows("with three nodes").await;
    nobody_noticed(&load.finish().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_one_replica_a_node_that_joins_gets_shards_and_one_that_drains_gives_them_and_nobody_notices()
 {
    let flags = [
        "--nodes",
        "3",
        "--expect-nodes",
        "2",
        "--replicas",
        "1",
        "--balance",
        "on",
    ];
    let server = Server::Many(Cluster::prepared(BACKEND, &flags));
    let deployment = processes(&server);
    deployment
        .command(&["start", "redis", "node-1", "node-2", "routers"])
        .await;
    let load = Load::start(&server).await;
    deployment.command(&["start", "node-3"]).await;
    eventually("it owns its share, and each shard has one node", || async {
        let rows = rows(deployment, "node-3").await;
        let counts = NODES.map(|node| rows.iter().filter(|row| row[0] == node).count());
        (rows.iter().all(|row| row.len() == 1)
            && counts.iter().all(|count| (5..=6).contains(count)))
        .then_some(())
    })
    .await;
    load.flows("when all is even").await;
    drained(deployment, "node-1").await;
    is_kept_by(deployment, &["node-2", "node-3"], 1).await;
    deployment.command(&["stop", "node-1"]).await;
    deployment.remove_data("node-1");
    load.flows("without the first").await;
    nobody_noticed(&load.finish().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_stand_in_different_zones_and_a_drain_keeps_them_so() {
    let server = Server::Many(Cluster::prepared(BACKEND, &["--nodes", "4"]));
    let deployment = processes(&server);
    let zone = |node: &str| {
        if ["node-1", "node-2"].contains(&node) {
            "east"
        } else {
            "west"
        }
    };
    let all = ["node-1", "node-2", "node-3", "node-4"];
    for node in all {
        deployment.write(node, "flags", &format!("--zone {}", zone(node)));
    }
    deployment
        .command(&["start", "redis", "nodes", "routers"])
        .await;
    in_sync(deployment, &all).await;
    let are_apart = |rows: Vec<Vec<String>>| {
        rows.iter()
            .all(|row| zone(&row[0]) != zone(&row[1]) && row.len() == 2)
    };
    assert!(are_apart(rows(deployment, "node-1").await));
    let told = cluster(deployment, "node-1").await;
    assert_eq!(
        all.map(|node| told["nodes"][node].text("zone").to_owned()),
        all.map(zone)
    );
    let nodes = printed(&deployment.ask(&["nodes"]), 0);
    assert!(
        nodes
            .lines()
            .skip(1)
            .all(|line| line.ends_with("east") || line.ends_with("west")),
        "{nodes}"
    );

    drained(deployment, "node-1").await;
    assert!(are_apart(rows(deployment, "node-2").await));
    assert_eq!(owned(deployment, "node-2", "node-1").await, 0);
    assert_eq!(rows(deployment, "node-2").await.len(), SHARDS);
}
