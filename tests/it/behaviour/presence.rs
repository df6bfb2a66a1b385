//! When somebody was seen last is known after a restart.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::server::Server;
use crate::support::socket::{Next, Socket};
use crate::support::{Fields, Group, now_s};

/// Half a minute, and what a slow machine needs.
const GONE_WITHIN: Duration = Duration::from_secs(90);

#[tokio::test]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
async fn last_seen_survives_kill_9_of_everything() {
    let mut server = Server::start();
    let group = Group::create(&server, 1).await;
    let bob = group.members[0].user().to_owned();
    group.members[0].say(&group.name, "here").await;

    let begun = now_s() * 1_000;
    let bobs = Socket::ready(&server, &bob).await;
    let mut alice = Socket::ready(&server, group.admin.user()).await;
    let ok = alice
        .request(json!({"t": "watch", "conversations": [group.name]}))
        .await;
    assert_eq!(ok["t"], "ok", "{ok}");
    alice
        .find("bob is online", |frame| {
            frame["t"] == "presence" && frame["online"] == true
        })
        .await;
    bobs.vanish();

    let end = Instant::now() + GONE_WITHIN;
    while alice
        .frames
        .iter()
        .all(|frame| frame["t"] != "presence" || frame["online"] == true)
    {
        assert!(
            Instant::now() < end,
            "bob is not told of as offline: {:?}",
            alice.frames
        );
        if let Some(Next::Closed(code)) = alice.next_within(Duration::from_secs(1)).await {
            panic!("closed with {code:?}");
        }
    }

    let ended = now_s() * 1_000;
    server.kill9();
    server.restart();

    let admin = server.client(group.admin.user());
    // Who was seen a moment before has half a minute to come back.
    let end = Instant::now() + GONE_WITHIN;
    let seen = loop {
        assert!(Instant::now() < end, "it is not known when bob was seen");
        let answer = admin.get(&group.path("/presence")).await;
        let page = if answer.status == 200 {
            answer.json()
        } else {
            json!({"items": []})
        };
        let of_bob = page
            .list("items")
            .iter()
            .find(|item| item["user"] == bob.as_str());
        if let Some(seen) = of_bob
            .filter(|item| item["online"] == false)
            .and_then(|item| item["last_seen"].as_u64())
        {
            break seen;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };

    assert!(
        seen % 60_000 == 0 && seen + 60_000 > begun && seen <= ended,
        "{seen} of {begun} to {ended}"
    );
}
