//! After a crash everything acknowledged is there, once, in order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};

use crate::behaviour::load::drained;
use crate::support::client::Client;
use crate::support::server::Server;
use crate::support::socket::Socket;
use crate::support::{Fields, Group, eventually, token};

/// What one sender knows: what was acknowledged, and what was sent without an answer.
#[derive(Default)]
struct Sent {
    /// The messages of 201 and 200 by key.
    acknowledged: BTreeMap<String, Value>,
    /// Keys whose answer did not come.
    in_doubt: Vec<String>,
}

/// Sends until told to stop; the text is the key.
async fn send_until(
    client: Client,
    name: String,
    round: usize,
    acks: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
) -> Sent {
    let mut sent = Sent::default();
    let path = format!("/v1/conversations/{name}/messages");

    for i in 0_usize.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let key = format!("{}-{round}-{i}", client.user());
        let headers = [
            ("content-type", "application/json"),
            ("idempotency-key", key.as_str()),
        ];
        let body = json!({"text": key}).to_string();
        match client
            .try_call(Method::POST, &path, &headers, body.into())
            .await
        {
            Ok(answer) if answer.status == 201 => {
                acks.fetch_add(1, Ordering::Relaxed);
                sent.acknowledged.insert(key, answer.json());
            }
            Ok(answer) if answer.status == 503 => sent.in_doubt.push(key),
            Ok(answer) => panic!("neither sent nor unavailable: {answer:?}"),
            // The process is gone.
            Err(_) => {
                sent.in_doubt.push(key);
                break;
            }
        }
    }

    sent
}

/// Every acknowledged message is in the history once, where it was said to be; nothing came in that
/// nobody sent.
fn check(events: &[Value], sent: &[Sent]) {
    let mut found: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for event in events.iter().filter(|event| event["t"] == "message") {
        found.entry(event.text("text")).or_default().push(event);
    }

    for (text, events) in &found {
        assert_eq!(events.len(), 1, "{text} is there {} times", events.len());
    }

    for sent in sent {
        for (key, message) in &sent.acknowledged {
            let event = found
                .get(key.as_str())
                .unwrap_or_else(|| panic!("{key} was acknowledged and is lost"))[0];
            assert_eq!(
                (&event["id"], &event["seq"]),
                (&message["id"], &message["seq"]),
                "{key}"
            );
        }
    }

    let known = |text: &str| {
        sent.iter().any(|sent| {
            sent.acknowledged.contains_key(text) || sent.in_doubt.iter().any(|key| key == text)
        })
    };

    assert!(
        found.keys().all(|text| known(text)),
        "a message that nobody sent"
    );
}

/// A client of the same user at the server's present address.
fn again(server: &Server, client: &Client) -> Client {
    server.client(client.user())
}

/// Retries, with the same key, what had no answer; each becomes acknowledged, written now or then.
async fn settle(client: &Client, name: &str, sent: &mut Sent) {
    let path = format!("/v1/conversations/{name}/messages");
    for key in std::mem::take(&mut sent.in_doubt) {
        let answer = client
            .post_with_key(&path, &json!({"text": key}), &key)
            .await;
        assert!(matches!(answer.status, 200 | 201), "{answer:?}");
        sent.acknowledged.insert(key, answer.json());
    }
}

// what must not happen: 2 — records that come again after a crash neither block the worker nor
// appear twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
async fn everything_acknowledged_survives_kill_9_under_load_three_times() {
    let mut server = Server::start();
    let shared = Group::create(&server, 8).await;
    let mut own = Vec::new();
    for _ in 0..4 {
        own.push(Group::create(&server, 1).await);
    }

    let senders: Vec<(Client, String)> = shared
        .members
        .iter()
        .map(|member| (member.clone(), shared.name.clone()))
        .chain(
            own.iter()
                .map(|group| (group.admin.clone(), group.name.clone())),
        )
        .collect();
    let mut all: Vec<Sent> = senders.iter().map(|_| Sent::default()).collect();

    for round in 0..3 {
        let (acks, stop) = (
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let running: Vec<_> = senders
            .iter()
            .map(|(client, name)| {
                let client = again(&server, client);
                tokio::spawn(send_until(
                    client,
                    name.clone(),
                    round,
                    Arc::clone(&acks),
                    Arc::clone(&stop),
                ))
            })
            .collect();
        let enough = 150 + 100 * round;
        eventually("enough is acknowledged", || async {
            (acks.load(Ordering::Relaxed) >= enough).then_some(())
        })
        .await;
        server.kill9();
        stop.store(true, Ordering::Relaxed);
        for (sent, new) in all.iter_mut().zip(join_all(running).await) {
            let new = new.unwrap();
            sent.acknowledged.extend(new.acknowledged);
            sent.in_doubt.extend(new.in_doubt);
        }
        server.restart();
        check(
            &again(&server, &shared.admin).all_events(&shared.name).await,
            &all[..8],
        );
        for ((client, name), sent) in senders.iter().zip(&mut all) {
            settle(&again(&server, client), name, sent).await;
        }
        check(
            &again(&server, &shared.admin).all_events(&shared.name).await,
            &all[..8],
        );
        for (group, sent) in own.iter().zip(&all[8..]) {
            check(
                &again(&server, &group.admin).all_events(&group.name).await,
                std::slice::from_ref(sent),
            );
        }
        // The worker goes on where it was: everything reaches the database.
        drained(&server).await;
    }
}

// what must not happen: 6 — a read or a reaction that was answered is not lost with the process.
#[tokio::test]
async fn reads_reactions_and_members_survive_kill_9() {
    let mut server = Server::start();
    let group = Group::create(&server, 2).await;
    let (alice, bob) = (&group.admin, &group.members[0]);
    let sent = alice.say(&group.name, "hello").await;
    let path = format!("/v1/messages/{}", sent.text("id"));

    for i in 1..=50 {
        bob.put(&format!("{path}/reaction"), &json!({"reaction": i}))
            .await
            .expect(204);
    }

    bob.post_nothing(&format!("{path}/read")).await.expect(204);
    alice
        .remove(&group.name, group.members[1].user())
        .await
        .expect(204);
    server.kill9();

    server.restart();
    let (alice, bob) = (again(&server, alice), again(&server, bob));
    let receipt = alice
        .receipt_of(&sent, bob.user())
        .await
        .expect("bob's receipt");
    assert_eq!(
        (&receipt["read"], &receipt["reaction"]),
        (&json!(true), &json!(50))
    );

    assert_eq!(
        bob.get(&path).await.expect(200)["reactions"],
        json!({"50": 1})
    );

    let list = bob.get("/v1/conversations").await.expect(200);
    assert_eq!(
        (
            list.list("items")[0].text("name"),
            list.list("items")[0].number("unread")
        ),
        (group.name.as_str(), 0)
    );

    let gone = again(&server, &group.members[1]);
    gone.get(&group.path(""))
        .await
        .refused(403, "not_participant");
    eventually("it is gone from the list too", || async {
        let list = gone.get("/v1/conversations").await.expect(200);
        list.list("items").is_empty().then_some(())
    })
    .await;
    assert_eq!(alice.say(&group.name, "again").await.number("seq"), 4);
}

// what must not happen: 20 — a device resumes over a crash without a hole.
#[tokio::test]
async fn a_device_resumes_after_kill_9() {
    let mut server = Server::start();
    let group = Group::create(&server, 1).await;
    let mut socket = Socket::ready(&server, group.members[0].user()).await;
    for i in 0..10 {
        group.admin.say(&group.name, &format!("m{i}")).await;
    }

    socket.until_seq(&group.name, 11).await;
    server.kill9();
    let code = socket.closed().await;
    assert!(matches!(code, None | Some(1001 | 1006 | 1012)), "{code:?}");

    server.restart();
    let alice = again(&server, &group.admin);
    for i in 0..10 {
        alice.say(&group.name, &format!("missed {i}")).await;
    }

    let mut socket = Socket::open_at(&server, group.members[0].user(), "/v1/ws?resume=wait").await;
    socket
        .send(&json!({"t": "resume", "positions": {&group.name: 11}}))
        .await;
    socket.until_t("ready").await;
    assert_eq!(socket.seqs(&group.name), (12..=21).collect::<Vec<u64>>());
}

#[tokio::test]
async fn keys_and_names_survive_a_restart() {
    let mut server = Server::start();
    let alice = server.client("alice");
    let body = json!({"participants": ["bob"], "name": "kept"});
    alice
        .post_with_key("/v1/conversations", &body, "create")
        .await
        .expect(201);
    let path = "/v1/conversations/kept/messages";

    let first = alice
        .post_with_key(path, &json!({"text": "x"}), "send")
        .await
        .expect(201);
    for graceful in [true, false] {
        if graceful {
            assert!(server.terminate().await.success());
        }
        server.restart();
        let alice = server.client("alice").with_token(Some(token("alice")));
        alice
            .post_with_key("/v1/conversations", &body, "create")
            .await
            .expect(200);
        alice
            .post("/v1/conversations", &body)
            .await
            .refused(409, "name_taken");
        assert_eq!(
            alice
                .post_with_key(path, &json!({"text": "x"}), "send")
                .await
                .expect(200)["id"],
            first["id"]
        );
        alice
            .post_with_key(path, &json!({"text": "y"}), "send")
            .await
            .refused(422, "idempotency_conflict");
        assert_eq!(alice.history("kept", "").await.list("items").len(), 1);
    }
}
