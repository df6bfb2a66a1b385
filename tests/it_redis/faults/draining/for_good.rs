//! A node is taken away for good, whatever dies meanwhile.

use super::*;

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
    let deployment = server.cluster();
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
async fn a_drain_goes_on_when_the_drained_node_and_the_coordinator_have_died_and_are_back() {
    let server = deployment(&["--nodes", "4"]);
    let deployment = server.cluster();
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
