//! `rookery backup` and `rookery restore` of the real binary, and people who talk meanwhile and
//! remember all they were told.
#![allow(
    dead_code,
    reason = "compiled for every test target; each uses its part of it"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::support::client::Client;
use crate::support::server::Server;
use crate::support::socket::Socket;
use crate::support::{Fields, Group, eventually};

/// Conversations that are talked in.
const GROUPS: usize = 6;

/// Between two messages of one person.
const PAUSE: Duration = Duration::from_millis(20);

/// The folder of a backup.
pub(crate) struct Backup {
    folder: TempDir,
}

/// What `rookery backup --json` told.
#[derive(Debug)]
pub(crate) struct Told {
    /// Its exit code.
    pub(crate) code: Option<i32>,
    /// The state of each shard, in order.
    pub(crate) states: Vec<String>,
    /// What it said on standard error.
    pub(crate) error: String,
}

impl Told {
    /// How many shards are in this state.
    pub(crate) fn count(&self, state: &str) -> usize {
        self.states.iter().filter(|of| *of == state).count()
    }
}

/// The binary, away from the environment of whoever runs the tests.
pub(crate) fn rookery(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rookery"));
    command
        .env_clear()
        .current_dir(std::env::temp_dir())
        .args(arguments)
        .stdin(Stdio::null());
    command
}

/// What a command said on standard error.
pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

impl Backup {
    /// No backup yet.
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("backup")
    }

    /// Its manifest.
    pub(crate) fn manifest(&self) -> Value {
        let text = std::fs::read(self.path().join("manifest.json")).unwrap();
        serde_json::from_slice::<Value>(&text).unwrap()["manifest"].clone()
    }

    /// The file of a shard.
    pub(crate) fn file(&self, shard: usize) -> PathBuf {
        self.path()
            .join(self.manifest()["files"][shard].text("file"))
    }

    /// The command that copies a server.
    pub(crate) fn command(&self, server: &Server, more: &[&str]) -> Command {
        let mut command = rookery(&["backup", "--json"]);
        command.arg("--to").arg(self.path()).args(more);
        match server {
            Server::One(process) => {
                command.args(["--operations", &format!("http://{}", process.operations())]);
                command.arg("--data").arg(process.data());
            }
            Server::Many(cluster) => {
                command.arg("--cluster").arg(cluster.folder());
            }
        }
        command
    }

    /// Copies a server.
    pub(crate) async fn take(&self, server: &Server, more: &[&str]) -> Told {
        let mut command = tokio::process::Command::from(self.command(server, more));
        told(&command.kill_on_drop(true).output().await.unwrap())
    }

    /// Copies a server, which succeeds. The state of each shard.
    pub(crate) async fn whole(&self, server: &Server) -> Told {
        let told = self.take(server, &[]).await;
        assert_eq!(told.code, Some(0), "{told:?}");
        told
    }

    /// Looks whether it is well.
    pub(crate) fn verify(&self) -> Output {
        rookery(&["backup", "verify"])
            .arg(self.path())
            .output()
            .unwrap()
    }

    /// Writes a data folder of it.
    pub(crate) fn restore(&self, data: &Path, more: &[&str]) -> Output {
        rookery(&["restore"])
            .arg("--from")
            .arg(self.path())
            .arg("--data")
            .arg(data)
            .args(more)
            .output()
            .unwrap()
    }

    /// The same, which succeeds. What it said.
    pub(crate) fn restored(&self, data: &Path, more: &[&str]) -> String {
        let output = self.restore(data, more);
        assert!(output.status.success(), "{}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }
}

/// What a backup told in lines of JSON.
pub(crate) fn told(output: &Output) -> Told {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    // Of the last line there is one for all.
    let of_shards = lines.filter(|line| line["shard"].is_u64() && line["state"] != "copying");
    let states: BTreeMap<u64, String> = of_shards
        .map(|line| (line.number("shard"), line.text("state").to_owned()))
        .collect();
    let states = states.into_values().collect();
    Told {
        code: output.status.code(),
        states,
        error: said(output),
    }
}

/// A message as its sender was told.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sent {
    group: usize,
    key: String,
    id: String,
    seq: u64,
}

/// People who talk, each message with a key of its own.
pub(crate) struct Talk {
    groups: Arc<Vec<Group>>,
    sent: Arc<Mutex<Vec<Sent>>>,
    over: Arc<AtomicBool>,
    talking: Vec<JoinHandle<()>>,
    /// A message that one of each group has read and reacted to.
    marked: Vec<Value>,
    /// Who was in and has left, of each group.
    gone: Vec<Client>,
}

/// What was acknowledged at one moment.
pub(crate) struct Heard(Vec<Sent>);

impl Talk {
    /// Begins, and waits until everybody was heard.
    pub(crate) async fn start(server: &Server) -> Self {
        let (mut groups, mut marked, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..GROUPS {
            let mut group = Group::create(server, 3).await;
            let message = group.admin.say(&group.name, "to be read").await;
            let path = format!("/v1/messages/{}", message.text("id"));
            group.members[1]
                .post_nothing(&format!("{path}/read"))
                .await
                .expect(204);
            group.members[1]
                .put(&format!("{path}/reaction"), &json!({"reaction": 128_077}))
                .await
                .expect(204);
            let leaver = group.members.pop().unwrap();
            group
                .admin
                .remove(&group.name, leaver.user())
                .await
                .expect(204);
            marked.push(message);
            gone.push(leaver);
            groups.push(group);
        }
        let (groups, sent, over) = (Arc::new(groups), Arc::default(), Arc::default());
        let talk = Self {
            groups,
            sent,
            over,
            talking: Vec::new(),
            marked,
            gone,
        };
        let talking = (0..GROUPS).map(|at| tokio::spawn(talk.say(at))).collect();
        let talk = Self { talking, ..talk };
        talk.goes_on().await;
        talk
    }

    fn say(&self, group: usize) -> impl Future<Output = ()> + Send + 'static {
        let (groups, sent, over) = (
            Arc::clone(&self.groups),
            Arc::clone(&self.sent),
            Arc::clone(&self.over),
        );
        async move {
            let Group { name, members, .. } = &groups[group];
            for number in 0.. {
                let (sender, key) = (&members[number % 2], format!("{name}-{number}"));
                let body = json!({"text": key});
                // A shard that is being taken over answers later: the key makes it one message.
                let headers = [
                    ("content-type", "application/json"),
                    ("idempotency-key", &*key),
                ];
                let path = format!("/v1/conversations/{name}/messages");
                let said = eventually("a message is taken", || async {
                    let answer = sender
                        .try_call(Method::POST, &path, &headers, body.to_string().into())
                        .await
                        .ok()?;
                    matches!(answer.status, 200 | 201).then(|| answer.json())
                });
                let said = said.await;
                let one = Sent {
                    group,
                    key,
                    id: said.text("id").to_owned(),
                    seq: said.number("seq"),
                };
                sent.lock().unwrap().push(one);
                if over.load(Ordering::Relaxed) {
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Waits until each group has heard some more.
    pub(crate) async fn goes_on(&self) {
        let count = |group| {
            self.sent
                .lock()
                .unwrap()
                .iter()
                .filter(|sent| sent.group == group)
                .count()
        };
        let before: Vec<usize> = (0..GROUPS).map(count).collect();
        eventually("everybody is heard", || async {
            (0..GROUPS)
                .all(|group| count(group) >= before[group] + 3)
                .then_some(())
        })
        .await;
    }

    /// What was acknowledged so far.
    pub(crate) fn heard(&self) -> Heard {
        Heard(self.sent.lock().unwrap().clone())
    }

    /// Everybody ends. What was acknowledged.
    pub(crate) async fn end(&mut self) -> Heard {
        self.over.store(true, Ordering::Relaxed);
        for talking in self.talking.drain(..) {
            talking.await.unwrap();
        }
        self.heard()
    }

    /// Compares what another server has with what was heard: each message once, in order, under its
    /// id and seq; people, lists, receipts, reactions and keys; it goes on without a hole; and
    /// whoever resumes hears all or a truthful gap.
    pub(crate) async fn is_in(&self, server: &Server, heard: &Heard) {
        for at in 0..GROUPS {
            let events = self.history_is_in(server, heard, at).await;
            self.receipts_are_in(server, at).await;
            self.people_are_in(server, at).await;
            self.goes_on_in(server, heard, at, events).await;
        }
    }

    async fn history_is_in(&self, server: &Server, heard: &Heard, at: usize) -> u64 {
        let group = &self.groups[at];
        let reader = server.client(group.admin.user());
        // Whoever has just started may still open a shard.
        eventually("the group is served", || async {
            (reader.get(&group.path("/messages?limit=1")).await.status == 200).then_some(())
        })
        .await;
        let events = reader.all_events(&group.name).await;
        for sent in heard.0.iter().filter(|sent| sent.group == at) {
            let found: Vec<&Value> = events
                .iter()
                .filter(|event| event["text"] == json!(sent.key))
                .collect();
            let [event] = found[..] else {
                panic!("{sent:?} is there {} times", found.len())
            };
            assert_eq!(
                (event.text("id"), event.number("seq")),
                (&*sent.id, sent.seq)
            );
            let shown = reader
                .get(&format!("/v1/messages/{}", sent.id))
                .await
                .expect(200);
            assert_eq!(shown["text"], json!(sent.key), "its id leads to it");
        }
        events.len() as u64
    }

    async fn receipts_are_in(&self, server: &Server, at: usize) {
        let (group, message) = (&self.groups[at], &self.marked[at]);
        let reader = server.client(group.admin.user());
        let receipt = reader
            .receipt_of(message, group.members[1].user())
            .await
            .expect("a receipt");
        assert_eq!(
            (&receipt["read"], &receipt["reaction"]),
            (&json!(true), &json!(128_077))
        );
    }

    async fn people_are_in(&self, server: &Server, at: usize) {
        let (group, gone) = (&self.groups[at], server.client(self.gone[at].user()));
        let one = server
            .client(group.admin.user())
            .get(&group.path(""))
            .await
            .expect(200);
        assert_eq!(
            (one.number("participants_count"), one.text("admin")),
            (3, group.admin.user())
        );
        gone.post(&group.path("/messages"), &json!({"text": "x"}))
            .await
            .refused(403, "not_participant");
        for (client, is_in) in [
            (&server.client(group.members[0].user()), true),
            (&gone, false),
        ] {
            let list = client.get("/v1/conversations").await.expect(200);
            let names: Vec<&str> = list
                .list("items")
                .iter()
                .map(|item| item.text("name"))
                .collect();
            assert_eq!(
                names.contains(&&*group.name),
                is_in,
                "the list of {}: {list}",
                client.user()
            );
        }
    }

    async fn goes_on_in(&self, server: &Server, heard: &Heard, at: usize, events: u64) {
        let group = &self.groups[at];
        let sent = heard.0.iter().rfind(|sent| sent.group == at).expect("some");
        let number: usize = sent.key.rsplit('-').next().unwrap().parse().unwrap();
        let again = server.client(group.members[number % 2].user());
        let again = again
            .post_with_key(
                &group.path("/messages"),
                &json!({"text": sent.key}),
                &sent.key,
            )
            .await
            .expect(200);
        assert_eq!(
            (again.text("id"), again.number("seq")),
            (&*sent.id, sent.seq),
            "its key is known"
        );

        let reader = group.members[1].user();
        let mut behind = Socket::open_at(server, reader, "/v1/ws?resume=wait").await;
        behind
            .send(&json!({"t": "resume", "positions": {&group.name: sent.seq - 1}}))
            .await;
        let mut ahead = Socket::open_at(server, reader, "/v1/ws?resume=wait").await;
        ahead
            .send(&json!({"t": "resume", "positions": {&group.name: events + 7}}))
            .await;
        for socket in [&mut behind, &mut ahead] {
            socket.until_t("ready").await;
        }
        let gaps = |socket: &Socket| {
            socket
                .frames
                .iter()
                .filter(|frame| frame["t"] == "gap")
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(gaps(&behind), [] as [Value; 0]);
        assert_eq!(
            behind.seqs(&group.name),
            (sent.seq..=events).collect::<Vec<u64>>()
        );
        let told = gaps(&ahead);
        let [gap] = &told[..] else {
            panic!("one gap: {told:?}")
        };
        assert_eq!(
            (gap.text("reason"), gap.number("from"), gap.number("to")),
            ("replaced", events + 1, events + 7)
        );

        let next = server
            .client(group.admin.user())
            .say(&group.name, "after the restore")
            .await;
        assert_eq!(next.number("seq"), events + 1);
        for socket in [&mut behind, &mut ahead] {
            socket.until_seq(&group.name, events + 1).await;
        }
    }
}
