//! When all is quiet: what each user's list counts as unread is what the order says.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::chaos::clients::person::Person;
use crate::chaos::clients::{World, finale, reader};
use crate::chaos::history::Record;
use crate::chaos::history::item::conversation_number;

/// For the counts of all users.
const COUNTED_WITHIN: Duration = Duration::from_secs(60);
/// Before a list that lacks some of them is asked for again.
const AGAIN: Duration = Duration::from_millis(200);

/// Notes the watermarks of each conversation, and then what each of its members has not read.
pub(super) async fn count(world: &Arc<World>) {
    let groups = world.groups();
    let mut users = BTreeSet::new();
    for group in &groups {
        let mut person = Person::new(world, group.admin);
        reader::marks(world, &mut person, group.conversation).await;
        users.extend(group.members.iter().copied());
    }

    let end = Instant::now() + COUNTED_WITHIN;
    for user in users {
        let mut person = Person::new(world, user);
        while !counted(world, &mut person).await {
            if Instant::now() > end {
                let said = format!("the unread counts of u{user} within {COUNTED_WITHIN:?}");
                let rule = "everything is served again";
                world.log.wrong(rule, None, said);
                return;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// Notes all counts of one user; false when some could not be had.
async fn counted(world: &World, person: &mut Person) -> bool {
    let Some((items, _)) = finale::items(person, true).await else {
        return false;
    };
    for item in &items {
        let name = item.get("name").and_then(Value::as_str);
        let Some(conversation) = name.and_then(conversation_number) else {
            continue;
        };
        let Some(unread) = item.get("unread").and_then(Value::as_u64) else {
            return false;
        };
        world.log.note(&Record::Counted {
            at: world.log.now(),
            user: person.user,
            conversation,
            unread,
        });
    }
    true
}
