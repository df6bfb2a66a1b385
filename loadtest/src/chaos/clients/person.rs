//! A user who asks: over the routers in turn, again and again until the outcome is sure.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::chaos::clients::World;
use crate::chaos::clients::http::{Answer, Broken, Call, Client};
use crate::chaos::history::item::{conversation_name, item, text_of, user_name, user_number};
use crate::chaos::history::{Act, Item, Outcome, Record};
use crate::chaos::wire::token;

/// Between two attempts.
const RETRY_AFTER: Duration = Duration::from_millis(150);

/// Codes of 503 that leave open whether it was done.
const OPEN: [&str; 2] = ["outcome_unknown", "not_replicated"];

/// What one attempt tells.
enum Told {
    Done(Answer),
    Refused { code: String, again: bool },
    Unknown(String),
}

/// A user with a connection to each router.
#[derive(Debug)]
pub(crate) struct Person {
    /// Their number.
    pub(crate) user: u32,
    clients: Vec<Client>,
    turn: usize,
}

/// A write as it is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    /// Its method.
    pub(crate) method: Method,
    /// Its path.
    pub(crate) path: String,
    /// Its key, if it may have one.
    pub(crate) key: Option<String>,
    /// Its body.
    pub(crate) body: Option<Value>,
    /// Another asks for something else under the same key or name: a conflict says that this one is
    /// surely not done.
    pub(crate) rival: bool,
}

impl Person {
    /// A user of the routers.
    pub(crate) fn new(world: &World, user: u32) -> Self {
        Self::at(world, user, &world.routers)
    }

    /// A user of these addresses.
    pub(crate) fn at(world: &World, user: u32, addresses: &[String]) -> Self {
        // A secret of any length makes a token.
        let token = token(&world.secret, &user_name(user)).unwrap_or_default();
        let clients = addresses
            .iter()
            .map(|address| Client::new(address, &token))
            .collect();
        Self {
            user,
            clients,
            turn: usize::try_from(user).unwrap_or(0),
        }
    }

    /// One attempt, at the next router.
    pub(crate) async fn call(&mut self, call: Call<'_>) -> Result<Answer, Broken> {
        self.turn = self.turn.wrapping_add(1);
        let at = self.turn.checked_rem(self.clients.len()).unwrap_or(0);
        match self.clients.get_mut(at) {
            Some(client) => client.call(call).await,
            None => Err(Broken::NotSent("there is no router".to_owned())),
        }
    }

    /// A message with its own key, until its outcome is sure; where it is.
    pub(crate) async fn send(&mut self, world: &World, conversation: u32) -> (u64, Outcome) {
        let op = world.log.begin(self.user, conversation, Act::Send);
        let outcome = self
            .settle(world, op, &message(world, conversation, op), true)
            .await;
        world.log.end(op, outcome.clone());
        (op, outcome)
    }

    /// A message with its own key, at this address once; then over the routers until its outcome is
    /// sure.
    pub(crate) async fn send_once(&mut self, world: &World, conversation: u32) {
        let op = world.log.begin(self.user, conversation, Act::Send);
        let write = message(world, conversation, op);
        let call = Call {
            key: write.key.as_deref(),
            ..Call::write(Method::POST, &write.path, write.body.clone())
        };
        let outcome = match told(self.call(call).await) {
            Told::Done(answer) => Outcome::Ok {
                item: self.item_of(world, &answer),
                clean: true,
            },
            Told::Refused { code, .. } => Outcome::Failed { code },
            Told::Unknown(_) => {
                Self::new(world, self.user)
                    .settle(world, op, &write, false)
                    .await
            }
        };
        world.log.end(op, outcome);
    }

    /// An operation that has begun, until its outcome is sure or nobody waits any more. Clean:
    /// nothing was tried yet.
    pub(crate) async fn settle(
        &mut self,
        world: &World,
        op: u64,
        write: &Write,
        mut clean: bool,
    ) -> Outcome {
        loop {
            let call = Call {
                key: write.key.as_deref(),
                ..Call::write(write.method.clone(), &write.path, write.body.clone())
            };
            let code = match told(self.call(call).await) {
                Told::Done(answer) => {
                    return Outcome::Ok {
                        item: self.item_of(world, &answer),
                        clean,
                    };
                }
                Told::Refused { code, .. } if clean || write.rival && is_conflict(&code) => {
                    return Outcome::Failed { code };
                }
                Told::Refused { code, again: false } => {
                    if code == "idempotency_conflict" {
                        world.log.wrong(
                            "one key, one message",
                            None,
                            format!("op-{op} was refused as {code}"),
                        );
                    }
                    return Outcome::Unknown { code };
                }
                Told::Refused { code, .. } => code,
                Told::Unknown(code) => {
                    clean = false;
                    code
                }
            };
            if world.gave_up() {
                return Outcome::Unknown { code };
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }

    fn item_of(&self, world: &World, answer: &Answer) -> Option<Item> {
        answer.body.get("id")?;
        match item(&answer.body) {
            Ok(item) => Some(item),
            Err(error) => {
                world.log.wrong(
                    "answers are as promised",
                    None,
                    format!("u{}: {error}", self.user),
                );
                None
            }
        }
    }

    /// The same message with the same key once more, after it was acknowledged.
    pub(crate) async fn send_again(&mut self, world: &World, conversation: u32, op: u64) {
        let write = message(world, conversation, op);
        let call = Call {
            key: write.key.as_deref(),
            ..Call::write(write.method, &write.path, write.body)
        };
        let Ok(answer) = self.call(call).await else {
            return;
        };

        if answer.status == 422 {
            world.log.wrong(
                "one key, one message",
                Some(conversation),
                format!("op-{op}: {}", answer.body),
            );
        }

        if matches!(answer.status, 200 | 201)
            && let Some(item) = self.item_of(world, &answer)
        {
            world.log.note(&Record::Again {
                at: world.log.now(),
                op,
                item,
            });
        }
    }
}

/// The message of an operation.
pub(crate) fn message(world: &World, conversation: u32, op: u64) -> Write {
    Write {
        method: Method::POST,
        path: format!(
            "/v1/conversations/{}/messages",
            conversation_name(conversation)
        ),
        key: Some(format!("k-{op}")),
        body: Some(json!({"text": text_of(op, world.shape.text_bytes)})),
        rival: false,
    }
}

/// Names of participants, as numbers.
pub(crate) fn users_of(body: &Value) -> Vec<u32> {
    let list = body.get("participants").and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(|one| user_number(one.get("name")?.as_str()?))
        .collect()
}

/// What an attempt of unknown or known outcome tells.
fn told(answered: Result<Answer, Broken>) -> Told {
    match answered {
        Ok(answer) if (200..300).contains(&answer.status) => Told::Done(answer),
        Ok(answer) if answer.status >= 500 => refusal(&answer.code(), answer.status == 503),
        Ok(answer) => Told::Refused {
            code: answer.code(),
            again: answer.status == 429,
        },
        Err(Broken::NotSent(_)) => Told::Refused {
            code: "not sent".to_owned(),
            again: true,
        },
        Err(Broken::Unknown(error)) => Told::Unknown(error),
    }
}

fn refusal(code: &str, surely: bool) -> Told {
    if surely && !is_open(code) {
        Told::Refused {
            code: code.to_owned(),
            again: true,
        }
    } else {
        Told::Unknown(code.to_owned())
    }
}

/// Whether a code says that another has the key, or the name.
fn is_conflict(code: &str) -> bool {
    matches!(code, "idempotency_conflict" | "name_taken")
}

/// Whether a code leaves open whether it was done.
pub(crate) fn is_open(code: &str) -> bool {
    OPEN.contains(&code)
}
