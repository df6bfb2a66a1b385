//! A Redis that is gone for a while, or that has lost what it held.

use serde_json::{Value, json};

use super::bench::Bench;
use super::client::{conversation, get, post, send, texts};
use super::spawned::Spawned;
use super::until;

#[test]
fn redis_gone_for_a_while_is_told_and_everything_goes_on_by_itself() {
    let mut bench = Bench::new();
    let (mut router, mut node) = (bench.router(), bench.node("node-1", &[]));
    node.serving();

    let client = conversation(&mut router);
    send(&client, "before");
    bench.redis = None;
    until("it says so", || {
        node.log()
            .contains("the table cannot be read")
            .then_some(())
    });

    assert_eq!(node.ask("/livez").0, 200);
    assert_eq!(
        node.ask("/readyz").0,
        200,
        "an outage must not take every node out"
    );
    assert_eq!(router.ask("/readyz").0, 200, "it has a table: reads go on");
    assert_eq!(texts(&client), ["before"]);

    bench.start_redis();
    until("it says that it is over", || {
        node.log()
            .contains("the table can be read again")
            .then_some(())
    });

    send(&client, "after");
    assert_eq!(texts(&client), ["before", "after"]);

    bench.redis = None;
    assert_eq!(node.terminate(), Some(0), "{}", node.log());
    assert_eq!(router.terminate(), Some(0), "{}", router.log());
}

#[test]
fn a_redis_that_lost_everything_is_refused_until_the_folders_are_adopted() {
    let bench = Bench::new();
    let (mut router, mut node) = (bench.router(), bench.node("node-1", &[]));
    node.serving();

    let client = conversation(&mut router);
    (0..5).for_each(|number| send(&client, &format!("m{number}")));
    assert_eq!(node.terminate(), Some(0));

    bench.redis(&["FLUSHALL"]);
    let line = bench.refused("node-1", &[]);
    assert!(
        line.contains("Redis knows no cluster") && line.contains("--adopt-local"),
        "{line}"
    );
    assert_eq!(bench.redis(&["DBSIZE"]).trim(), "0", "nothing was created");

    let mut node = bench.node("node-1", &["--adopt-local"]);
    node.serving();
    // The router lived through all of it, and follows the table that came back.
    send(&client, "m5");
    assert_eq!(texts(&client), ["m0", "m1", "m2", "m3", "m4", "m5"]);

    node.kill9();
    let mut node = bench.node("node-1", &[]);
    node.serving();
    assert_eq!(texts(&client).len(), 6);
}

/// Starts node-1, which refuses this shard and serves the others; the line that says why.
fn refused_shard(bench: &Bench, shard: u16) -> String {
    let mut node = bench.node("node-1", &[]);
    node.serving();
    let (status, ready) = node.ask("/readyz");
    assert!(status == 200 && ready.starts_with("ok\n"), "{ready}");

    let line = ready.lines().nth(1).expect("it names the shard").to_owned();
    let cluster: Value = serde_json::from_str(&node.ask("/cluster").1).unwrap();
    for of in cluster["shards"].as_array().unwrap() {
        let is_refused = of["shard"] == shard;
        assert_eq!(
            (of["refused"] == json!(line), of["epoch"].is_u64()),
            (is_refused, !is_refused),
            "{of}"
        );
    }

    assert!(node.log().contains("ERROR"), "a person must look");
    assert_eq!(node.terminate(), Some(0));

    line
}

#[test]
fn a_shard_that_redis_lost_or_trimmed_is_refused_and_costs_itself_only() {
    let bench = Bench::new();
    let (mut router, mut node) = (bench.router(), bench.node("node-1", &[]));
    node.serving();

    let client = conversation(&mut router);
    (0..5).for_each(|number| send(&client, &format!("m{number}")));
    assert_eq!(node.terminate(), Some(0));

    let longest = |stream: &str| {
        let length = |shard: &u16| {
            bench
                .redis(&["XLEN", &format!("{{rk:s{shard}}}:{stream}")])
                .trim()
                .parse::<u64>()
                .unwrap()
        };
        (0..4).max_by_key(length).unwrap()
    };
    let shard = longest("messages");

    // The entries are gone, and so is the file that had applied them.
    bench.redis(&["XTRIM", &format!("{{rk:s{shard}}}:messages"), "MAXLEN", "1"]);

    let file = bench
        .data("node-1")
        .join(format!("shards/{shard:04}.sqlite"));
    let aside = bench.folder.path().join("aside.sqlite");
    std::fs::rename(&file, &aside).unwrap();

    let line = refused_shard(&bench, shard);
    assert!(
        line.contains("what lies between was trimmed") && line.contains(&format!("s{shard}")),
        "{line}"
    );

    std::fs::remove_file(&file).unwrap();
    std::fs::rename(&aside, &file).unwrap();

    let mut node = bench.node("node-1", &[]);
    node.serving();
    assert_eq!(texts(&client).len(), 5);
    assert_eq!(node.terminate(), Some(0));

    // The control record is gone.
    let keys = ["ctl", "messages", "receipts"].map(|key| format!("{{rk:s{shard}}}:{key}"));
    bench.redis(&["DEL", &keys[0], &keys[1], &keys[2]]);

    let line = refused_shard(&bench, shard);
    assert!(
        line.contains("the log knows nothing of this shard") && line.contains("--adopt-local"),
        "{line}"
    );

    let mut node = bench.node("node-1", &["--adopt-local"]);
    node.serving();
    assert_eq!(texts(&client).len(), 5);
}

/// Of a conversation: that its people are told neither that they are none of it nor that there is
/// none, and that nobody else gets its name.
fn is_unavailable_and_not_gone(client: &str, name: &str) {
    let (status, body) = get(
        client,
        &format!("/v1/conversations/{name}/messages"),
        Some("alice"),
    );
    assert_eq!(status, 503, "{name}: {body}");

    let (status, body) = post(
        client,
        &format!("/v1/conversations/{name}/messages"),
        &json!({"text": "x"}),
    );
    assert_eq!(status, 503, "{name}: {body}");

    let (status, body) = post(
        client,
        "/v1/conversations",
        &json!({"name": name, "participants": ["mallory"]}),
    );
    assert_eq!(status, 503, "{name}: {body}");
}

#[test]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
fn a_redis_that_is_emptied_under_running_nodes_makes_nobody_begin_anew() {
    let bench = Bench::new();
    let arguments = [
        "--expect-nodes",
        "4",
        "--shards",
        "16",
        "--replicas",
        "2",
        "--balance",
        "off",
    ];
    let names = ["node-1", "node-2", "node-3", "node-4"];
    let mut router = bench.router();
    let mut nodes: Vec<Spawned> = names
        .iter()
        .map(|name| bench.node(name, &arguments))
        .collect();
    nodes.iter_mut().for_each(|node| drop(node.serving()));
    let client = conversation(&mut router);
    let conversations: Vec<String> = (0..6).map(|number| format!("c{number}")).collect();
    conversations
        .iter()
        .for_each(|name| begin_with_a_text(&client, name));

    // What is only in Redis goes with it.
    until("owners and standbys have all of it in their files", || {
        let copies = |name: &String| {
            names
                .iter()
                .filter(|node| bench.has_in_files(node, &text_in(name)))
                .count()
        };
        conversations
            .iter()
            .all(|name| copies(name) == 2)
            .then_some(())
    });
    let table = |bench: &Bench| -> Option<Value> {
        serde_json::from_str(&bench.redis(&["HGET", "{rk:table}:table", "body"])).ok()
    };
    let before = until("every shard is claimed", || {
        table(&bench).filter(|table| {
            table["claimed"]
                .as_array()
                .is_some_and(|claimed| claimed.len() == 16)
        })
    });
    let leader = bench.redis(&["GET", "{rk:table}:leader"]).trim().to_owned();

    bench.redis(&["FLUSHALL"]);
    let place = names
        .iter()
        .position(|name| *name == leader)
        .expect("one leads");
    nodes[place].kill9();
    until("the table is written again", || table(&bench));
    nodes[place] = bench.node(&leader, &arguments);
    nodes[place].serving();
    let another = until("another one leads", || {
        let leads = bench.redis(&["GET", "{rk:table}:leader"]).trim().to_owned();
        (!leads.is_empty()).then_some(leads)
    });

    // Every node sees that its shards have gone, and each looks again at least once.
    let told = |node: &Spawned| node.log().matches("a shard cannot be opened").count();
    let owned = |table: &Value| {
        let rows = table["rows"].as_array().expect("rows").clone();
        names.map(|name| rows.iter().filter(|row| row[0] == name).count())
    };
    until("each node refuses what it owned", || {
        nodes
            .iter()
            .zip(owned(&before))
            .all(|(node, owned)| told(node) >= owned)
            .then_some(())
    });
    // Several nodes write what they remember; together that is everything.
    let after = until("the table has what it had", || {
        table(&bench).filter(|table| table["claimed"] == before["claimed"])
    });
    assert_eq!(after["rows"], before["rows"], "led by {another} now");
    for shard in 0..16 {
        let control = bench.redis(&["EXISTS", &format!("{{rk:s{shard}}}:ctl")]);
        assert_eq!(control.trim(), "0", "s{shard} began anew");
    }
    conversations
        .iter()
        .for_each(|name| is_unavailable_and_not_gone(&client, name));

    // What the line of refusal says: everything comes back from the files.
    for (node, name) in nodes.iter_mut().zip(names) {
        assert_eq!(node.terminate(), Some(0));
        *node = bench.node(name, &[&arguments[..], &["--adopt-local"]].concat());
    }
    nodes.iter_mut().for_each(|node| drop(node.serving()));
    conversations
        .iter()
        .for_each(|name| comes_back_with_its_text(&client, name));
}

/// A conversation of that name, with a message in it.
fn begin_with_a_text(client: &str, name: &str) {
    let (status, body) = post(
        client,
        "/v1/conversations",
        &json!({"name": name, "participants": ["bob"]}),
    );
    assert_eq!(status, 201, "{body}");
    let (status, body) = post(
        client,
        &format!("/v1/conversations/{name}/messages"),
        &json!({"text": text_in(name)}),
    );
    assert_eq!(status, 201, "{body}");
}

/// Waits until a conversation is served again: its message is there.
fn comes_back_with_its_text(client: &str, name: &str) {
    let found = until("its messages are back", || {
        let (status, body) = get(
            client,
            &format!("/v1/conversations/{name}/messages"),
            Some("bob"),
        );
        (status == 200).then_some(body)
    });
    assert!(
        found.contains(&format!("\"text\":\"{}\"", text_in(name))),
        "{found}"
    );
}

/// A text that stands in files for nothing else.
fn text_in(name: &str) -> String {
    format!("what was said in {name}")
}
