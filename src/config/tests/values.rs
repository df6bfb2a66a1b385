//! Defaults, and values that cannot be right.

use super::*;
use crate::config::cluster::CommitLevel;

#[test]
fn defaults_are_those_of_the_documents() {
    let found = settings(&[], &[]);
    assert_eq!(found.dev.listen.to_string(), "127.0.0.1:8082");
    assert_eq!(found.dev.operations_listen.to_string(), "127.0.0.1:9082");
    assert_eq!((found.dev.nodes, found.dev.shards), (3, 16));

    let session = found.session();
    assert_eq!(session.outbox_bytes_max, 512 * 1024);
    assert_eq!(session.heartbeat, Duration::from_secs(25));
    assert_eq!(session.delivered_every, Duration::from_millis(250));

    let shard = found.shard();
    assert_eq!(shard.stream_bytes_max, 128 << 20);
    assert_eq!(shard.barrier_max, Duration::from_secs(2));
    assert_eq!(
        (shard.worker.records_max, shard.worker.gather_max),
        (256, Duration::from_millis(20))
    );
    assert_eq!(
        (shard.store.checkpoint_pages, shard.store.checkpoint_every),
        (1_000, Duration::from_secs(5))
    );
    assert_eq!(
        (shard.worker.trim_floor, shard.worker.trim_floor_bytes),
        (Duration::from_secs(60), 8 << 20)
    );
}

#[test]
fn what_cannot_be_right_is_refused_with_the_name_of_the_setting() {
    for (args, variables, names) in [
        (&["--shards", "17"][..], &[][..], "--shards"),
        (&[], &[("ROOKERY_SHARDS", "0")], "--shards"),
        (&["--listen", "nowhere"], &[], "--listen"),
        (&["--heartbeat", "25"], &[], "--heartbeat"),
        (&["--outbox", "512kb"], &[], "--outbox"),
        (&["--nodes", "0"], &[], "--nodes"),
        (&["--drain-window", "1m"], &[], "--drain-window"),
        (&["--apply-tick", "9s"], &[], "--apply-tick"),
        (&["token", "not/a/name"], &[], "<USER>"),
        (&["--no-such-thing"], &[], "--no-such-thing"),
    ] {
        let told = refusal(args, variables);
        assert!(told.contains(names), "{args:?} {variables:?}: {told}");
    }
}

#[test]
fn a_node_tells_its_zone_or_none() {
    let zone = |args: &[&str], variables: &[(&str, &str)]| {
        node(args, variables).0.node.zone.unwrap_or_default()
    };
    assert_eq!(zone(&[], &[]), "");
    assert_eq!(zone(&["--zone", "eu-west-1a"], &[]), "eu-west-1a");
    assert_eq!(
        zone(&[], &[("ROOKERY_ZONE", "topology/rack:7")]),
        "topology/rack:7"
    );
    assert_eq!(
        zone(&["--zone="], &[]),
        "",
        "as a label that is not there comes from Kubernetes"
    );
    assert!(refusal(&["node", "--zone", "eu west"], &[]).contains("not at most 128 of"));
}

#[test]
fn the_separate_processes_have_the_defaults_of_the_documents() {
    let (found, _) = node(&[], &[]);
    assert_eq!((found.cluster.shards, found.cluster.expect_nodes), (256, 3));
    let config = found.node().expect("they fit together");
    assert_eq!(config.shard.takeover_watch, Some(Duration::from_secs(3)));
    assert_eq!(config.shard.renew_every, Duration::from_millis(750));
    assert!(!config.shard.adopt_local && !found.redis.redis_cluster);
    assert_eq!(
        (found.node.node_id, found.redis.redis_prefix.as_str()),
        (None, "rk")
    );
    let (front, _) = router(&[], &[]);
    assert_eq!(front.router.listen.to_string(), "127.0.0.1:8082");
    assert_eq!(front.router().expect("origins").sockets_max, 20_000);
}

#[test]
fn a_write_needs_a_replica_by_default_where_there_are_some() {
    let level = |args: &[&str]| {
        let args: Vec<&str> = args
            .iter()
            .copied()
            .chain(["--redis", "redis://h:1"])
            .collect();
        let (found, secrets) = node(&args, &[]);
        found.redis(&secrets).expect("a URL").commit
    };
    use crate::log::redis::CommitLevel::{Log, Replicated};

    assert_eq!(level(&[]), Log);
    assert_eq!(level(&["--redis-cluster"]), Replicated);
    assert_eq!(level(&["--redis-cluster", "--commit-level", "log"]), Log);
    assert_eq!(level(&["--commit-level", "replicated"]), Replicated);
    assert_eq!(
        node(&["--commit-level", "log"], &[]).0.commit.commit_level,
        Some(CommitLevel::Log)
    );
}

#[test]
fn what_cannot_be_right_of_a_cluster_is_refused_with_the_name_of_the_setting() {
    for (args, names) in [
        (&["node", "--node-id", "a/b"][..], "--node-id"),
        (&["node", "--shards", "3"], "--shards"),
        (&["node", "--expect-nodes", "0"], "--expect-nodes"),
        (&["node", "--redis-prefix", "a}b"], "--redis-prefix"),
        (&["node", "--commit-level", "maybe"], "--commit-level"),
        (
            &["node", "--advertise-peer", "http://h"],
            "--advertise-peer",
        ),
        (&["router", "--expect-nodes", "3"], "--expect-nodes"),
        (&["router", "--data", "x"], "--data"),
    ] {
        let told = refusal(args, &[]);
        assert!(told.contains(names), "{args:?}: {told}");
    }
    let line = node(&["--renew-every", "2s"], &[])
        .0
        .node()
        .expect_err("too seldom");
    assert!(
        line.contains("--renew-every") && line.contains("--takeover-watch"),
        "{line}"
    );
}
