//! When all is quiet: every conversation is read to its end by several, and every list of
//! conversations is compared with the memberships.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::chaos::clients::World;
use crate::chaos::clients::http::Call;
use crate::chaos::clients::person::Person;
use crate::chaos::history::Record;
use crate::chaos::history::item::conversation_number;

/// For everything to be readable again.
const READABLE_WITHIN: Duration = Duration::from_secs(60);
/// For lists of conversations to be right: they follow by themselves.
const LISTED_WITHIN: Duration = Duration::from_secs(60);
/// Participants of each conversation who read all of it.
const READERS: usize = 2;
/// Conversations that are read at once.
const AT_ONCE: usize = 8;

/// Reads all of it; the last seq of each conversation.
pub(crate) async fn read_all(world: &Arc<World>) -> BTreeMap<u32, u64> {
    let end = Instant::now() + READABLE_WITHIN;
    let groups = world.groups();
    let mut lasts = BTreeMap::new();

    for some in groups.chunks(AT_ONCE) {
        let reading = some
            .iter()
            .map(|group| read_one(world, group.conversation, &group.members, end));
        for (group, last) in some
            .iter()
            .zip(futures_util::future::join_all(reading).await)
        {
            let conversation = group.conversation;
            match last {
                Some(last) => {
                    world.log.note(&Record::Final {
                        at: world.log.now(),
                        conversation,
                        last,
                    });
                    lasts.insert(conversation, last);
                }
                None => {
                    let said = format!(
                        "c{conversation} could not be read strictly within {READABLE_WITHIN:?}"
                    );
                    world
                        .log
                        .wrong("everything is served again", Some(conversation), said);
                }
            }
        }
    }

    lasts
}

async fn read_one(world: &World, conversation: u32, members: &[u32], end: Instant) -> Option<u64> {
    let mut lasts = BTreeSet::new();
    for member in members.iter().rev().take(READERS) {
        let mut person = Person::new(world, *member);
        let mut after = 0;
        loop {
            let (last, is_end) = person.page_surely(world, conversation, after, end).await?;
            after = last;
            if is_end {
                break;
            }
        }
        lasts.insert(after);
    }

    if lasts.len() > 1 {
        let said = format!(
            "c{conversation} ends at {lasts:?}, by who reads it, though nothing is written any more"
        );
        world
            .log
            .wrong("all readers end at the same", Some(conversation), said);
    }

    lasts.last().copied()
}

/// Compares the list of each user's conversations with the memberships, until they are equal.
pub(crate) async fn lists(world: &Arc<World>) {
    let mut memberships: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    world.log.ask(|checker| {
        for conversation in checker.conversations() {
            for user in checker.members(conversation) {
                memberships.entry(user).or_default().insert(conversation);
            }
        }
    });

    let end = Instant::now() + LISTED_WITHIN;
    for (user, expected) in memberships {
        let mut person = Person::new(world, user);
        loop {
            let listed = list_noted(world, &mut person, true).await;
            if listed.as_ref() == Some(&expected) {
                break;
            }
            if Instant::now() > end {
                let said = difference(user, &expected, listed.as_ref());
                world.log.wrong(
                    "the list of conversations equals the memberships",
                    None,
                    said,
                );
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

fn difference(user: u32, expected: &BTreeSet<u32>, listed: Option<&BTreeSet<u32>>) -> String {
    match listed {
        None => {
            format!("the conversations of u{user} could not be listed within {LISTED_WITHIN:?}")
        }
        Some(listed) => {
            let missing: Vec<&u32> = expected.difference(listed).collect();
            let extra: Vec<&u32> = listed.difference(expected).collect();
            format!("u{user}: missing are {missing:?}, too many are {extra:?}")
        }
    }
}

/// The conversations of a user, strictly.
pub(crate) async fn list(person: &mut Person) -> Option<BTreeSet<u32>> {
    listed(person, true).await.map(|(all, _)| all)
}

/// The same, held against what was acknowledged before; not strictly, they may carry a mark.
pub(crate) async fn list_noted(
    world: &World,
    person: &mut Person,
    strict: bool,
) -> Option<BTreeSet<u32>> {
    let begun = world.log.now();
    let (all, stale) = listed(person, strict).await?;
    let (at, user, conversations) = (world.log.now(), person.user, all.iter().copied().collect());
    world.log.note(&Record::Listed {
        begun,
        at,
        user,
        stale,
        conversations,
    });
    Some(all)
}

async fn listed(person: &mut Person, strict: bool) -> Option<(BTreeSet<u32>, bool)> {
    let (items, stale) = items(person, strict).await?;
    let number = |item: &Value| conversation_number(item.get("name")?.as_str()?);
    Some((items.iter().filter_map(number).collect(), stale))
}

/// All items of the list of a user, and whether it carries a mark; `None` when a page of it could
/// not be had.
pub(super) async fn items(person: &mut Person, strict: bool) -> Option<(Vec<Value>, bool)> {
    let (mut all, mut stale) = (Vec::new(), false);
    let mut after = String::new();

    loop {
        let path = format!("/v1/conversations?limit=200{after}");
        let answer = person
            .call(Call {
                strict,
                ..Call::get(&path)
            })
            .await
            .ok()?;
        if answer.status != 200 {
            return None;
        }
        stale |= answer.stale;
        let items = answer.body.get("items").and_then(Value::as_array)?;
        all.extend(items.iter().cloned());
        match answer.body.get("next").and_then(Value::as_str) {
            Some(next) => after = format!("&after={next}"),
            None => return Some((all, stale)),
        }
    }
}
