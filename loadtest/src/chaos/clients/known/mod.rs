//! Conversations of which one client knows the whole truth, for nobody else touches them: what it
//! did last is what every strict read shows. So these clients judge by themselves, and tell the
//! history what is wrong. What they do may have to wait for all nodes to know it: then they try
//! again.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::chaos::clients::World;
use crate::chaos::clients::http::{Answer, Call};
use crate::chaos::clients::person::{Person, Write};
use crate::chaos::history::Outcome;
use crate::chaos::history::item::{text_of, user_name};

mod closed;

mod kept;

mod views;

/// Whose conversations these are: nobody of the rest of the load.
const FIRST_USER: u32 = 800_000;
/// How many of each kind there are. Few: each of them asks a lot.
const OF_EACH: u32 = 2;
/// Before what was refused is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// Starts all of them; they end when the load is over.
pub(super) fn start(world: &Arc<World>, working: &mut JoinSet<()>) {
    for number in 0..OF_EACH {
        working.spawn(views::run(Pair::new(world, "view", number)));
        working.spawn(kept::run(Pair::new(world, "kept", OF_EACH + number)));
        working.spawn(closed::run(Pair::new(
            world,
            "closed",
            2 * OF_EACH + number,
        )));
    }
}

/// Two users, and a third who has nothing to do with them.
#[derive(Debug)]
struct Pair {
    world: Arc<World>,
    admin: Person,
    member: Person,
    stranger: Person,
    /// What their conversations are named by.
    prefix: String,
    made: u32,
    /// How often something was done, and looked at.
    looked: u64,
    /// Why something was not done the last time.
    refused: Option<String>,
}

impl Pair {
    fn new(world: &Arc<World>, kind: &str, number: u32) -> Self {
        let first = FIRST_USER + 3 * number;
        Self {
            world: Arc::clone(world),
            admin: Person::new(world, first),
            member: Person::new(world, first + 1),
            stranger: Person::new(world, first + 2),
            prefix: format!("{kind}-{number}"),
            made: 0,
            looked: 0,
            refused: None,
        }
    }

    /// Makes a conversation of the two with these settings. `None`: the load is over.
    async fn make(&mut self, settings: Option<Value>) -> Option<String> {
        self.made += 1;
        let name = format!("{}-{}", self.prefix, self.made);
        let participants = [self.admin.user, self.member.user].map(user_name);
        let mut body = json!({"participants": participants, "name": name});
        if let (Some(settings), Some(body)) = (settings, body.as_object_mut()) {
            body.insert("settings".to_owned(), settings);
        }
        let write = Write {
            key: Some(format!("make-{name}")),
            ..write(Method::POST, "/v1/conversations", Some(body))
        };

        while !self.world.is_over() {
            let outcome = self.admin.settle(&self.world, 0, &write, true).await;
            if self.is_done(&outcome) {
                return Some(name);
            }
            tokio::time::sleep(AGAIN).await;
        }
        self.says_whether_it_looked();
        None
    }

    /// Whether that was done; if not, its reason is kept.
    fn is_done(&mut self, outcome: &Outcome) -> bool {
        match outcome {
            Outcome::Ok { .. } => true,
            Outcome::Failed { code } | Outcome::Unknown { code } => {
                self.refused = Some(code.clone());
                false
            }
        }
    }

    /// At the end: one that never got to look at anything has shown nothing.
    fn says_whether_it_looked(&self) {
        if self.looked == 0 {
            let said = format!("{} never came to look: {:?}", self.prefix, self.refused);
            self.wrong("everything is served again", said);
        }
    }

    /// One of them sends, with a key of its own.
    async fn send(&mut self, name: &str, number: u64) -> Outcome {
        let write = sending(name, number);
        self.admin.settle(&self.world, 0, &write, true).await
    }

    fn wrong(&self, rule: &str, said: String) {
        self.world.log.wrong(rule, None, said);
    }
}

/// A strict read; `None` when nobody answers who may know.
async fn strictly(world: &World, person: &mut Person, path: &str) -> Option<Answer> {
    let call = Call {
        strict: true,
        ..Call::get(path)
    };
    known(world, person.call(call).await.ok()?, path)
}

/// An answer that says something: not that nobody can answer now.
fn known(world: &World, answer: Answer, path: &str) -> Option<Answer> {
    match answer.status {
        421 | 429 | 503 => None,
        500.. => {
            let said = format!("{path}: {} {}", answer.status, answer.body);
            world.log.wrong("answers are as promised", None, said);
            None
        }
        _ => Some(answer),
    }
}

fn write(method: Method, path: &str, body: Option<Value>) -> Write {
    Write {
        method,
        path: path.to_owned(),
        key: None,
        body,
        rival: false,
    }
}

/// The message of that number, with its key.
fn sending(name: &str, number: u64) -> Write {
    let path = format!("/v1/conversations/{name}/messages");
    Write {
        key: Some(format!("{name}-{number}")),
        ..write(
            Method::POST,
            &path,
            Some(json!({"text": text_of(number, 40)})),
        )
    }
}
