//! One author of each conversation, who changes and erases what they said; and others who look at
//! once whether it is so.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::chaos::clients::person::{Person, Write};
use crate::chaos::clients::receipts::operate;
use crate::chaos::clients::{Group, World, reader};
use crate::chaos::history::item::{conversation_name, edited_text, item, op_of, user_name};
use crate::chaos::history::{Act, Item, Outcome, Record, What};
use crate::chaos::random::Random;

/// Between two changes, in milliseconds.
const PAUSE_MS: (u64, u64) = (200, 1_200);
/// In a hundred, so many erase; the others edit.
const ERASED_PERCENT: u64 = 30;
/// In a hundred erasures, so many are the admin's.
const BY_ADMIN_PERCENT: u64 = 30;
/// Messages of theirs among which they choose.
const RECENT: u64 = 12;

/// A message that is to be changed.
struct Chosen {
    seq: u64,
    op: u64,
    id: String,
}

/// Until the load is over.
pub(crate) async fn run(world: Arc<World>, group: Group) {
    let Some(&user) = group.members.get(1) else {
        return;
    };
    let conversation = group.conversation;
    let mut random = world.random.split("author", u64::from(conversation));
    let mut author = Person::new(&world, user);
    let mut admin = Person::new(&world, group.admin);
    // What an attempt of unknown outcome was made on is left alone: it may be done at any time.
    let mut left_alone = BTreeSet::new();

    while !world.is_over() {
        let pause = random.between(PAUSE_MS.0, PAUSE_MS.1);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let mine = recent(&world, &mut author, conversation).await;
        let open: Vec<&Chosen> = mine
            .iter()
            .filter(|one| !left_alone.contains(&one.seq))
            .collect();
        let Some(chosen) = random.pick(&open) else {
            continue;
        };

        let outcome = if random.percent(ERASED_PERCENT) {
            let by_admin = random.percent(BY_ADMIN_PERCENT);
            let by = if by_admin { &mut admin } else { &mut author };
            erase(&world, by, conversation, chosen).await
        } else {
            edit(&world, &mut author, conversation, chosen).await
        };
        match outcome {
            Outcome::Ok { .. } => look(&world, &group, chosen, &mut random).await,
            Outcome::Failed { .. } => {}
            Outcome::Unknown { .. } => drop(left_alone.insert(chosen.seq)),
        }
    }
}

/// The newest messages of somebody, but those that are erased.
async fn recent(world: &World, person: &mut Person, conversation: u32) -> Vec<Chosen> {
    let path = format!(
        "/v1/conversations/{}/messages?limit={RECENT}&source={}",
        conversation_name(conversation),
        user_name(person.user)
    );
    let Some((answer, read)) = person.read(world, conversation, &path, false).await else {
        return Vec::new();
    };
    let Some(items) = person.items(world, &answer, "items") else {
        return Vec::new();
    };

    let shown = answer.body.get("items").and_then(Value::as_array);
    let chosen = |(item, body): (&Item, &Value)| {
        let op = op_of(body.get("text")?.as_str()?)?;
        let id = body.get("id")?.as_str()?.to_owned();
        let seq = item.seq;
        Some(Chosen { seq, op, id })
    };
    let all = items
        .iter()
        .zip(shown.into_iter().flatten())
        .filter_map(chosen)
        .collect();
    world.log.note(&Record::Some { read, items });
    all
}

async fn edit(world: &World, author: &mut Person, conversation: u32, chosen: &Chosen) -> Outcome {
    let act = Act::Edit { seq: chosen.seq };
    let op = world.log.begin(author.user, conversation, act);
    let text = edited_text(chosen.op, op, world.shape.text_bytes);
    let write = Write {
        method: Method::PATCH,
        path: format!("/v1/messages/{}", chosen.id),
        key: Some(format!("e-{op}")),
        body: Some(json!({"text": text})),
        rival: false,
    };
    let outcome = author.settle(world, op, &write, true).await;
    world.log.end(op, outcome.clone());
    outcome
}

async fn erase(world: &World, by: &mut Person, conversation: u32, chosen: &Chosen) -> Outcome {
    let act = Act::Delete { seq: chosen.seq };
    let write = Write {
        method: Method::DELETE,
        path: format!("/v1/messages/{}", chosen.id),
        key: None,
        body: None,
        rival: false,
    };
    operate(world, by, conversation, act, &write).await
}

/// Somebody reads it right after it was changed, one way or another.
async fn look(world: &World, group: &Group, chosen: &Chosen, random: &mut Random) {
    let conversation = group.conversation;
    let user = random.pick(&group.members).copied().unwrap_or(group.admin);
    let mut other = Person::new(world, user);
    match random.below(3) {
        0 => by_id(world, &mut other, conversation, &chosen.id).await,
        1 => {
            let after = chosen.seq.saturating_sub(1);
            other.page(world, conversation, (after, 100), false).await;
        }
        _ => drop(reader::newest(world, &mut other, conversation, 30).await),
    }
}

async fn by_id(world: &World, person: &mut Person, conversation: u32, id: &str) {
    let path = format!("/v1/messages/{id}");
    let Some((answer, read)) = person.read(world, conversation, &path, false).await else {
        return;
    };
    match item(&answer.body) {
        Ok(
            item @ Item {
                what: What::Message { .. },
                ..
            },
        ) => {
            let items = vec![item];
            world.log.note(&Record::Some { read, items });
        }
        Ok(_) | Err(_) => world.log.wrong(
            "answers are as promised",
            Some(conversation),
            format!("{path}: {}", answer.body),
        ),
    }
}
