//! People who talk while a server is copied, and remember all they were told.
#![allow(
    dead_code,
    reason = "compiled for every test target; each uses its part of it"
)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::client::{Answer, Client};
use crate::support::server::Server;
use crate::support::{Fields, Group, eventually};

/// Conversations that are talked in.
pub(super) const GROUPS: usize = 6;

/// Between two messages of one person.
const PAUSE: Duration = Duration::from_millis(20);

/// A message as its sender was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) group: usize,
    pub(super) key: String,
    pub(super) id: String,
    pub(super) seq: u64,
}

/// People who talk, each message with a key of its own.
pub(crate) struct Talk {
    pub(super) groups: Arc<Vec<Group>>,
    sent: Arc<Mutex<Vec<Sent>>>,
    over: Arc<AtomicBool>,
    talking: Vec<JoinHandle<()>>,
    /// A message that one of each group has read and reacted to.
    pub(super) marked: Vec<Value>,
    /// One of each group as its sender has edited it, and one that was deleted.
    pub(super) changed: Vec<[Value; 2]>,
    /// Who was in and has left, of each group.
    pub(super) gone: Vec<Client>,
}

/// What was acknowledged at one moment.
pub(crate) struct Heard(pub(super) Vec<Sent>);

/// A message with data and mentions that was edited, as it is then.
async fn edit(group: &Group) -> Value {
    let mentions = [group.members[0].user()];
    let body = json!({"text": "to be edited", "data": {"of": "before"}, "mentions": mentions});
    let sent = group
        .admin
        .post(&group.path("/messages"), &body)
        .await
        .expect(201);
    edit_again(&group.admin, &sent).await.expect(200)
}

/// The edit of that message, each time the same under one key.
pub(super) async fn edit_again(sender: &Client, message: &Value) -> Answer {
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", "the edit"),
    ];
    let body = json!({"text": "edited", "data": {"of": "after", "number": 1.0}}).to_string();
    let path = format!("/v1/messages/{}", message.text("id"));
    sender
        .call(Method::PATCH, &path, &headers, body.into())
        .await
}

/// A message that was deleted, as it is then.
async fn delete(group: &Group) -> Value {
    let path = format!(
        "/v1/messages/{}",
        group
            .admin
            .say(&group.name, "to be deleted")
            .await
            .text("id")
    );
    group.admin.delete(&path).await.expect(204);
    group.admin.get(&path).await.expect(200)
}

impl Talk {
    /// Begins, and waits until everybody was heard.
    pub(crate) async fn start(server: &Server) -> Self {
        let (mut groups, mut marked, mut changed, mut gone) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
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
            changed.push([edit(&group).await, delete(&group).await]);
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
            changed,
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
}
