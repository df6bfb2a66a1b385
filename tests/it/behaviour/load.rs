//! Under load nothing is refused without a reason, nothing lags behind its answer, nothing piles
//! up.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::server::{Server, shared};
use crate::support::socket::{Socket, reading};
use crate::support::{Fields, Group, eventually, unique};

/// Everything called `lag` in the state that the operations port shows.
fn lags(state: &Value, found: &mut Vec<u64>) {
    match state {
        Value::Object(fields) => {
            for (name, value) in fields {
                if name == "lag" {
                    numbers(value, found);
                } else {
                    lags(value, found);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| lags(item, found)),
        _ => {}
    }
}

fn numbers(value: &Value, found: &mut Vec<u64>) {
    match value {
        Value::Number(number) => found.extend(number.as_u64()),
        Value::Object(fields) => fields.values().for_each(|value| numbers(value, found)),
        Value::Array(items) => items.iter().for_each(|value| numbers(value, found)),
        _ => {}
    }
}

/// Waits until the workers have persisted everything that is committed.
pub(crate) async fn drained(server: &Server) {
    let operators = server.operators();
    eventually("the workers have persisted everything", || async {
        let mut found = Vec::new();
        for operator in &operators {
            lags(&operator.get("/cluster").await.json(), &mut found);
        }
        assert!(!found.is_empty(), "/cluster tells the lag of each shard");
        found.iter().all(|&lag| lag == 0).then_some(())
    })
    .await;
}

// what must not happen: 29 — many creations at once all succeed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_creations_at_once_all_succeed() {
    let server = shared();
    let creations = (0..200).map(|_| {
        let client = server.client(&unique("creator"));
        tokio::spawn(async move {
            let body = json!({"participants": ["bob", "carol"], "title": "at once"});
            client
                .post("/v1/conversations", &body)
                .await
                .expect(201)
                .text("name")
                .to_owned()
        })
    });

    let names: BTreeSet<String> = join_all(creations)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert_eq!(names.len(), 200);
}

// what must not happen: 29 — of many creations of one name exactly one succeeds, the others are
// told so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_twenty_creations_of_one_name_one_succeeds_and_the_others_are_409() {
    let server = shared();
    let name = unique("contested");
    let creations = (0..20).map(|_| {
        let (client, name) = (server.client(&unique("creator")), name.clone());
        tokio::spawn(async move {
            let body = json!({"participants": ["bob"], "name": name});
            (
                client.clone(),
                client.post("/v1/conversations", &body).await,
            )
        })
    });

    let answers: Vec<_> = join_all(creations)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let (made, refused): (Vec<_>, Vec<_>) =
        answers.iter().partition(|(_, answer)| answer.status == 201);
    assert_eq!(made.len(), 1);

    for (_, answer) in refused {
        answer.refused(409, "name_taken");
    }

    let (admin, answer) = made[0];
    assert_eq!(answer.json().text("admin"), admin.user());
    assert_eq!(admin.all_events(&name).await.len(), 1);
}

/// Messages of each of the 16 senders. Persisting one row at a time would miss the deadline by this
/// number.
const BURST: u64 = 320;

// what must not happen: 1 — persisting goes on under load, and the backlog drains to the last
// message. what must not happen: 24 — what was answered is in the history at once; the backlog does
// not grow without bound.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_is_in_the_history_at_once_and_in_the_database_soon() {
    let server = Server::start();
    let mut groups = Vec::new();
    for _ in 0..16 {
        groups.push(Group::create(&server, 1).await);
    }

    let senders: Vec<_> = groups
        .into_iter()
        .map(|group| {
            tokio::spawn(async move {
                for i in 0..BURST {
                    let sent = group.admin.say(&group.name, &format!("m{i}")).await;
                    assert_eq!(sent.number("seq"), i + 2);
                }
                let events = group.members[0].all_events(&group.name).await;
                assert_eq!(events.len() as u64, BURST + 1);
                group
            })
        })
        .collect();
    let groups: Vec<Group> = join_all(senders)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    drained(&server).await;

    for group in &groups {
        let texts: Vec<String> = group.members[0].all_events(&group.name).await[1..]
            .iter()
            .map(|e| e.text("text").to_owned())
            .collect();
        assert_eq!(
            texts,
            (0..BURST).map(|i| format!("m{i}")).collect::<Vec<String>>()
        );
    }
}

// what must not happen: 26 — whoever got an answer reads their own write, in every way there is to
// read it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
async fn every_read_after_the_answer_has_the_write() {
    let server = shared();
    let noise = Group::create(&server, 1).await;
    let (noisy, noise_name) = (noise.admin.clone(), noise.name.clone());
    let background = tokio::spawn(async move {
        loop {
            join_all((0..8).map(|i| noisy.say(&noise_name, if i == 0 { "a" } else { "b" }))).await;
        }
    });
    let group = Group::create(&server, 1).await;
    let (alice, bob) = (&group.admin, &group.members[0]);

    for i in 0..25 {
        let sent = alice.say(&group.name, &format!("m{i}")).await;
        let (id, seq) = (sent.text("id"), sent.number("seq"));
        assert_eq!(
            alice
                .receipt_of(&sent, bob.user())
                .await
                .expect("its receipt")["read"],
            json!(false)
        );
        assert_eq!(
            bob.get(&format!("/v1/messages/{id}")).await.expect(200)["text"],
            sent["text"]
        );
        assert_eq!(
            bob.history(&group.name, "limit=1").await.list("items")[0]["id"],
            sent["id"]
        );
        let events = bob
            .get(&group.path(&format!("/events?after={}", seq - 1)))
            .await
            .expect(200);
        assert_eq!(events.seqs(), [seq]);
        assert_eq!(
            alice
                .get(&group.path(""))
                .await
                .expect(200)
                .number("last_seq"),
            seq
        );
        let list = alice.get("/v1/conversations").await.expect(200);
        assert_eq!(
            list.list("items")[0]["last_message"]["id"],
            sent["id"],
            "{list}"
        );
        bob.put(
            &format!("/v1/messages/{id}/reaction"),
            &json!({"reaction": i + 1}),
        )
        .await
        .expect(204);
        assert_eq!(
            alice.history(&group.name, "limit=1").await.list("items")[0]["reactions"],
            json!({(i + 1).to_string(): 1})
        );
        bob.post_nothing(&format!("/v1/messages/{id}/read"))
            .await
            .expect(204);
        let receipt = alice.receipt_of(&sent, bob.user()).await.unwrap();
        assert_eq!(
            (&receipt["read"], &receipt["reaction"]),
            (&json!(true), &json!(i + 1))
        );
        let marks = alice.get(&group.path("/watermarks")).await.expect(200);
        let bobs = marks
            .list("items")
            .iter()
            .find(|mark| mark.text("user") == bob.user())
            .unwrap();
        assert_eq!(bobs.number("read_up_to"), seq);
    }
    background.abort();
}

// what must not happen: 25 — receipts cost by the advance, not one per recipient and message: they
// keep up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_delivered_marks_of_twenty_members_keep_up() {
    let server = shared();
    let group = Group::create(&server, 20).await;
    let mut readers = Vec::new();

    for member in &group.members {
        let mut socket = Socket::ready(&server, member.user()).await;
        readers.push(tokio::spawn(async move {
            socket.until("an end that does not come", |_| false).await
        }));
    }

    // With one row per recipient and message, this would be twenty thousand rows.
    for _ in 0..50 {
        join_all((0..20).map(|i| {
            group
                .admin
                .say(&group.name, if i % 2 == 0 { "even" } else { "odd" })
        }))
        .await;
    }

    let sent = group.admin.say(&group.name, "the last").await;
    eventually("all twenty have it delivered", || async {
        let path = format!("/v1/messages/{}/receipts", sent.text("id"));
        let page = group.admin.get(&path).await.expect(200);
        assert_eq!(page.list("items").len(), 20);
        page.list("items")
            .iter()
            .all(|receipt| receipt["delivered"] == true)
            .then_some(())
    })
    .await;

    let first = group
        .admin
        .history(&group.name, "order=asc&limit=1")
        .await
        .list("items")[0]
        .clone();
    for member in &group.members {
        let receipt = group.admin.receipt_of(&first, member.user()).await.unwrap();
        assert_eq!(
            receipt["delivered"], true,
            "a mark covers everything before it"
        );
    }
    readers.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_online_recipients_get_every_message() {
    let server = shared();
    let group = Group::create(&server, 100).await;
    let mut readers = Vec::new();

    for member in &group.members {
        readers.push(reading(
            Socket::ready(&server, member.user()).await,
            &group.name,
            21,
        ));
    }

    for i in 0..20 {
        group.admin.say(&group.name, &format!("m{i}")).await;
    }

    for reader in readers {
        assert_eq!(
            reader.await.unwrap().seqs(&group.name),
            (2..=21).collect::<Vec<u64>>()
        );
    }
}
