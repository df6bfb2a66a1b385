//! One participant of each conversation who marks as read, and reacts; and looks whether that is
//! there.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::chaos::clients::person::{Person, Write};
use crate::chaos::clients::{Group, World, reader};
use crate::chaos::history::{Act, Outcome, Record};

/// Between two rounds, in milliseconds.
const PAUSE_MS: (u64, u64) = (300, 1_500);

/// Until the load is over.
pub(crate) async fn run(world: Arc<World>, group: Group) {
    let Some(&user) = group.members.last() else {
        return;
    };
    let conversation = group.conversation;
    let mut random = world.random.split("receipts", u64::from(conversation));
    let mut person = Person::new(&world, user);

    while !world.is_over() {
        let pause = random.between(PAUSE_MS.0, PAUSE_MS.1);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let Some((seq, id)) = reader::newest(&world, &mut person, conversation, 5).await else {
            continue;
        };
        if random.percent(50) {
            let path = format!("/v1/messages/{id}/read");
            let write = Write {
                method: Method::POST,
                path,
                key: None,
                body: None,
                rival: false,
            };
            operate(&world, &mut person, conversation, Act::Read { seq }, &write).await;
            reader::marks(&world, &mut person, conversation).await;
            continue;
        }
        let value = random
            .percent(70)
            .then(|| u32::try_from(random.between(1, 100)).unwrap_or(1));
        let path = format!("/v1/messages/{id}/reaction");
        let write = match value {
            Some(value) => {
                let body = Some(json!({"reaction": value}));
                Write {
                    method: Method::PUT,
                    path,
                    key: None,
                    body,
                    rival: false,
                }
            }
            None => Write {
                method: Method::DELETE,
                path,
                key: None,
                body: None,
                rival: false,
            },
        };
        operate(
            &world,
            &mut person,
            conversation,
            Act::React { seq, value },
            &write,
        )
        .await;
        look(&world, &mut person, conversation, (seq, &id)).await;
    }
}

/// One operation of a participant, from its begin to its end.
pub(crate) async fn operate(
    world: &World,
    person: &mut Person,
    conversation: u32,
    act: Act,
    write: &Write,
) -> Outcome {
    let op = world.log.begin(person.user, conversation, act);
    let outcome = person.settle(world, op, write, true).await;
    world.log.end(op, outcome.clone());
    outcome
}

async fn look(world: &World, person: &mut Person, conversation: u32, (seq, id): (u64, &str)) {
    let path = format!("/v1/messages/{id}");
    let Some((answer, read)) = person.read(world, conversation, &path, false).await else {
        return;
    };
    let value = answer
        .body
        .get("my_reaction")
        .and_then(Value::as_u64)
        .and_then(|value| u32::try_from(value).ok());
    world.log.note(&Record::Reaction { read, seq, value });
}
