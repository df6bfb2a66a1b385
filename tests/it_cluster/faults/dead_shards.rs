//! A node is gone, and with it the only replica of its shards: whoever has nothing there does not
//! notice.

use futures_util::future::join_all;
use serde_json::json;

use crate::BACKEND;
use crate::faults::places::{largest, names_at, rows, shard_of};
use crate::support::cluster::Cluster;
use crate::support::server::Server;
use crate::support::socket::Socket;
use crate::support::{Fields as _, eventually};

/// Creates among healthy users, after one that names somebody of a dead shard.
const CREATES: usize = 7;
/// Sessions with a conversation in each dead shard: far more than what a node asks side by side.
const CROWD: usize = 150;
/// Sessions that have nothing there.
const WELL: usize = 8;

/// A deployment in which each shard has one replica.
fn single() -> Server {
    Server::Many(Cluster::start_alone(BACKEND, &["--replicas", "1"]))
}

/// The node that is to die, and one that lives.
fn chosen(rows: &[Vec<String>]) -> (String, String) {
    let victim = largest(rows);
    let healthy = rows.iter().find(|row| row[0] != victim).unwrap()[0].clone();
    (victim, healthy)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn creating_among_healthy_users_goes_on_after_one_create_named_a_user_of_a_dead_shard() {
    let server = single();
    let cluster = server.cluster();
    let rows = rows(&server).await;
    let (victim, healthy) = chosen(&rows);
    let users = names_at(&rows, "healthy", &healthy, 3);
    let gone = names_at(&rows, "gone", &victim, 1).remove(0);
    // All of them in one shard, whose changes of lists go the same way.
    let mut names = names_at(&rows, "made", &healthy, 1);
    let shard = shard_of(&names[0], rows.len());
    let others = names_at(&rows, "made", &healthy, 100 * rows.len()).into_iter();
    names.extend(
        others
            .filter(|name| shard_of(name, rows.len()) == shard)
            .take(CREATES),
    );
    assert_eq!(names.len(), 1 + CREATES);
    let client = server.client(&users[0]);
    cluster.command(&["kill", &victim]).await;

    let first = json!({"name": names[0], "participants": [gone, users[1]]});
    client.post("/v1/conversations", &first).await.expect(201);
    for name in &names[1..] {
        let body = json!({"name": name, "participants": users});
        client.post("/v1/conversations", &body).await.expect(201);
    }

    cluster.command(&["start", &victim]).await;
    let returned = server.client(&gone);
    eventually("the list of who was named has the conversation", || async {
        let list = returned.get("/v1/conversations").await;
        (list.status == 200
            && list
                .json()
                .list("items")
                .iter()
                .any(|item| item["name"] == names[0]))
        .then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_without_anything_in_dead_shards_are_live_though_very_many_others_wait_for_those()
{
    let server = single();
    let cluster = server.cluster();
    let rows = rows(&server).await;
    let (victim, healthy) = chosen(&rows);
    let crowd = names_at(&rows, "crowd", &healthy, CROWD);
    let well = names_at(&rows, "well", &healthy, WELL);
    // One in each shard that will be dead.
    let mut dead = names_at(&rows, "dead", &victim, 40 * rows.len());
    dead.sort_by_key(|name| shard_of(name, rows.len()));
    dead.dedup_by_key(|name| shard_of(name, rows.len()));
    assert_eq!(
        dead.len(),
        rows.iter().filter(|row| row[0] == victim).count()
    );
    let client = server.client(&crowd[0]);
    for name in &dead {
        client
            .post(
                "/v1/conversations",
                &json!({"name": name, "participants": crowd}),
            )
            .await
            .expect(201);
    }
    let alive = names_at(&rows, "alive", &healthy, 1).remove(0);
    let speaker = server.client(&well[0]);
    speaker
        .post(
            "/v1/conversations",
            &json!({"name": alive, "participants": well}),
        )
        .await
        .expect(201);
    cluster.command(&["kill", &victim]).await;

    let waiting = join_all(crowd.iter().map(|user| Socket::open(&server, user))).await;
    let mut sockets = join_all(well.iter().map(|user| Socket::ready(&server, user))).await;
    let sent = speaker.say(&alive, "is anybody there").await;
    for socket in &mut sockets {
        socket.until_seq(&alive, sent.number("seq")).await;
    }

    // They get theirs as soon as their shards are served again.
    cluster.command(&["start", &victim]).await;
    join_all(
        waiting
            .into_iter()
            .map(|mut socket| async move { socket.until_t("ready").await }),
    )
    .await;
}
