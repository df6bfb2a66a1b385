//! Processes start in any order, wait for each other, and come back after their end.

use serde_json::{Value, json};

use super::bench::Bench;
use super::client::{conversation, post, send, texts};
use super::until;

#[test]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
fn router_and_nodes_start_in_any_order_and_wait_for_redis_and_for_each_other() {
    let mut bench = Bench::without_redis();
    let mut router = bench.router();
    let three = ["--expect-nodes", "3"];
    let mut second = bench.node("node-2", &three);

    for process in [&router, &second] {
        let told = until("it says that redis does not answer", || {
            let (status, why) = process.ask("/readyz");
            (status == 503 && why.contains("Redis")).then_some(why)
        });
        assert!(told.contains("refused"), "the reason: {told}");
        assert_eq!(process.ask("/livez").0, 200);
    }

    let mut impatient = bench.node("node-4", &three);
    until("it waits", || {
        impatient
            .log()
            .contains("redis does not answer")
            .then_some(())
    });

    assert_eq!(impatient.terminate(), Some(0), "what waits can be stopped");
    bench.start_redis();
    until("it waits for the others", || {
        let (status, why) = second.ask("/readyz");
        (status == 503 && why.contains("1 of 3 have registered (--expect-nodes): node-2"))
            .then_some(())
    });

    assert_eq!(router.ask("/readyz"), (503, "no table yet\n".to_owned()));
    let (mut third, mut first) = (bench.node("node-3", &three), bench.node("node-1", &three));

    for node in [&mut first, &mut second, &mut third] {
        let ready = node.serving();
        assert!(
            ready["peer"].is_string() && ready["pid"].is_u64(),
            "{ready}"
        );
        assert_eq!(node.ask("/readyz"), (200, "ok\n".to_owned()));
        assert!(
            node.log().contains("of the 4 shards of cluster"),
            "what a person reads"
        );
    }

    let client = conversation(&mut router);
    send(&client, "hello");
    assert_eq!(texts(&client), ["hello"]);

    // All tell the same table; each the state of its own shards.
    for process in [&router, &first, &second, &third] {
        let cluster: Value = serde_json::from_str(&process.ask("/cluster").1).unwrap();
        assert_eq!(
            (
                cluster["shards"].as_array().unwrap().len(),
                cluster["nodes"].as_object().unwrap().len()
            ),
            (4, 3)
        );
    }

    let log = second.log();
    assert_eq!(
        log.matches("redis does not answer").count(),
        1,
        "an outage is told once: {log}"
    );
    assert_eq!(
        log.matches("redis answers").count(),
        1,
        "and its end: {log}"
    );
}

#[test]
fn what_was_acknowledged_is_there_after_kill_9_and_after_sigterm() {
    let bench = Bench::new();
    let (mut router, mut node) = (bench.router(), bench.node("node-1", &[]));
    node.serving();

    let client = conversation(&mut router);
    let mut sent = Vec::new();

    for end in ["kill", "term", "kill"] {
        for number in 0..5 {
            let text = format!("{end}-{}-{number}", sent.len());
            send(&client, &text);
            sent.push(text);
        }
        if end == "kill" {
            node.kill9();
        } else {
            assert_eq!(node.terminate(), Some(0), "{}", node.log());
            let (status, body) = post(
                &client,
                "/v1/conversations/c/messages",
                &json!({"text": "lost"}),
            );
            assert_eq!(status, 503, "its shards wait for it: {body}");
        }
        // On other ports, and at once: nobody waits for the watch time.
        node = bench.node("node-1", &["--takeover-watch", "1d"]);
        node.serving();
        assert_eq!(texts(&client), sent);
    }

    assert!(!node.log().contains("ERROR"), "{}", node.log());
}

#[test]
fn a_node_that_listens_everywhere_tells_others_the_name_of_its_host() {
    let bench = Bench::new();
    let mut node = bench.node("node-1", &["--peer-listen", "0.0.0.0:0"]);
    let ready = node.serving();
    let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
    assert!(
        ready["peer"]
            .as_str()
            .unwrap()
            .starts_with(&format!("{host}:")),
        "{ready}"
    );
    let mut router = bench.router();
    let client = conversation(&mut router);
    send(&client, "by name");
}
