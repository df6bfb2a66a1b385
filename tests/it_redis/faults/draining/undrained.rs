//! A drain that is refused, and one that is taken back.

use std::process::Output;

use super::*;
use crate::faults::common::handing::evened_out;
use crate::support::client::Client;

/// What a command printed, whether all is well or not.
fn json(output: &Output) -> Value {
    let said = || String::from_utf8_lossy(&output.stderr).into_owned();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", said()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
async fn a_drain_that_leaves_too_few_nodes_is_refused_and_who_is_undrained_gets_a_share_again() {
    let server = deployment(&["--balance", "on"]);
    let deployment = server.cluster();
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
