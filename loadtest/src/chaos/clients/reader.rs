//! Those who read all kinds of things, here and there.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::chaos::clients::person::{Person, users_of};
use crate::chaos::clients::{Group, World, finale};
use crate::chaos::history::Record;
use crate::chaos::history::item::{conversation_name, user_number};
use crate::chaos::random::Random;

/// Between two reads, in milliseconds.
const PAUSE_MS: (u64, u64) = (20, 120);

/// Reads until the load is over.
pub(crate) async fn run(world: Arc<World>, number: u32) {
    let mut random = world.random.split("reader", u64::from(number));
    while !world.is_over() {
        if let Some(group) = world.any_group(&mut random) {
            let user = random.pick(&group.members).copied().unwrap_or(group.admin);
            let mut person = Person::new(&world, user);
            for _ in 0..10 {
                one(&world, &mut person, &group, &mut random).await;
                let pause = random.between(PAUSE_MS.0, PAUSE_MS.1);
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
        }
    }
}

async fn one(world: &World, person: &mut Person, group: &Group, random: &mut Random) {
    let conversation = group.conversation;
    let last = world.log.ask(|checker| checker.last(conversation));

    match random.below(100) {
        0..40 => {
            let after = last.saturating_sub(random.below(30));
            person.page(world, conversation, (after, 50), false).await;
        }
        40..50 => {
            let after = random.below(last + 1);
            person.page(world, conversation, (after, 100), false).await;
        }
        50..75 => {
            newest(world, person, conversation, 30).await;
        }
        75..85 => shown(world, person, conversation).await,
        85..90 => drop(finale::list_noted(world, person, false).await),
        _ => marks(world, person, conversation).await,
    }
}

/// The newest messages; the last of them, with its id.
pub(crate) async fn newest(
    world: &World,
    person: &mut Person,
    conversation: u32,
    limit: u64,
) -> Option<(u64, String)> {
    let path = format!(
        "/v1/conversations/{}/messages?limit={limit}",
        conversation_name(conversation)
    );
    let (answer, read) = person.read(world, conversation, &path, false).await?;
    let mut items = person.items(world, &answer, "items")?;
    items.reverse();

    let last = items.last().map(|item| item.seq);
    world.log.note(&Record::Newest { read, items });

    let id = answer
        .body
        .get("items")?
        .get(0)?
        .get("id")?
        .as_str()?
        .to_owned();
    Some((last?, id))
}

async fn shown(world: &World, person: &mut Person, conversation: u32) {
    let path = format!("/v1/conversations/{}", conversation_name(conversation));
    let Some((answer, read)) = person.read(world, conversation, &path, false).await else {
        return;
    };
    let last = answer
        .body
        .get("last_seq")
        .and_then(Value::as_u64)
        .unwrap_or(0);
    world.log.note(&Record::Shown {
        read,
        last,
        users: users_of(&answer.body),
    });
}

/// The watermarks of all participants.
pub(crate) async fn marks(world: &World, person: &mut Person, conversation: u32) {
    let path = format!(
        "/v1/conversations/{}/watermarks?limit=1000",
        conversation_name(conversation)
    );
    let Some((answer, read)) = person.read(world, conversation, &path, false).await else {
        return;
    };

    let list = answer.body.get("items").and_then(Value::as_array);
    let number = |mark: &Value, field: &str| mark.get(field).and_then(Value::as_u64);
    let mark = |mark: &Value| {
        let user = user_number(mark.get("user")?.as_str()?)?;
        Some((
            user,
            number(mark, "delivered_up_to")?,
            number(mark, "read_up_to")?,
        ))
    };
    let marks = list.into_iter().flatten().filter_map(mark).collect();
    world.log.note(&Record::Marks { read, marks });
}
