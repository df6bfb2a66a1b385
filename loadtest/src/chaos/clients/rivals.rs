//! Pairs of requests of which one at most may be done: two messages under one key, two
//! conversations of one name. Whoever is refused for the other is refused rightly only if that
//! other is done.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::json;

use crate::chaos::clients::person::{Person, Write};
use crate::chaos::clients::{Group, USERS, World, keeper};
use crate::chaos::history::item::{conversation_name, text_of};
use crate::chaos::history::{Act, Outcome, Record};
use crate::chaos::random::Random;

/// The first of the conversations that two want to make.
const FIRST: u32 = 700_000;
/// How many of them, at most.
const NAMES_MAX: u32 = 200;
/// Between two pairs, in milliseconds.
const PAUSE_MS: (u64, u64) = (200, 800);

async fn pause(random: &mut Random) {
    tokio::time::sleep(Duration::from_millis(
        random.between(PAUSE_MS.0, PAUSE_MS.1),
    ))
    .await;
}

/// Two want to make a conversation of the same name, again and again.
pub(crate) async fn names(world: Arc<World>) {
    let mut random = world.random.split("rival names", 0);
    for conversation in FIRST..FIRST + NAMES_MAX {
        pause(&mut random).await;
        if world.is_over() {
            return;
        }
        let mut any = || u32::try_from(random.below(u64::from(USERS))).unwrap_or(0);
        let (first, second, both) = (any(), any(), any());
        if first != second {
            race_for_name(&world, conversation, (first, second), both).await;
        }
    }
}

async fn race_for_name(world: &World, conversation: u32, (first, second): (u32, u32), both: u32) {
    let begin = |admin: u32| {
        let members = vec![admin, both];
        (
            world.log.begin(
                admin,
                conversation,
                Act::Create {
                    users: members.clone(),
                },
            ),
            members,
        )
    };

    let ((op, members), (other, of_other)) = (begin(first), begin(second));
    world.log.note(&Record::Rivals {
        at: world.log.now(),
        op,
        other,
    });

    tokio::join!(
        make(world, conversation, (op, first), members), //
        make(world, conversation, (other, second), of_other),
    );
}

async fn make(world: &World, conversation: u32, (op, admin): (u64, u32), members: Vec<u32>) {
    let write = Write {
        rival: true,
        ..keeper::creation(conversation, &members, format!("rival-{op}"))
    };
    if settled(world, &mut Person::new(world, admin), op, &write).await {
        world.add_group(Group {
            conversation,
            admin,
            members,
        });
    }
}

/// One user sends two different messages with the same key, again and again.
pub(crate) async fn keys(world: Arc<World>) {
    let mut random = world.random.split("rival keys", 0);
    while !world.is_over() {
        pause(&mut random).await;
        let groups = world.groups();
        let busy = groups
            .iter()
            .filter(|group| group.conversation < world.shape.conversations)
            .collect::<Vec<_>>();
        let Some(group) = random.pick(&busy) else {
            continue;
        };
        let (conversation, user) = (group.conversation, group.admin);
        let (mut first, mut second) = (Person::new(&world, user), Person::new(&world, user));
        let (op, other) = (
            world.log.begin(user, conversation, Act::Send),
            world.log.begin(user, conversation, Act::Send),
        );
        world.log.note(&Record::Rivals {
            at: world.log.now(),
            op,
            other,
        });
        let write = |of: u64| Write {
            method: Method::POST,
            path: format!(
                "/v1/conversations/{}/messages",
                conversation_name(conversation)
            ),
            key: Some(format!("rivals-{op}")),
            body: Some(json!({"text": text_of(of, world.shape.text_bytes)})),
            rival: true,
        };
        let (of_first, of_second) = (write(op), write(other));
        tokio::join!(
            settled(&world, &mut first, op, &of_first), //
            settled(&world, &mut second, other, &of_second),
        );
    }
}

/// Whether it is done, once that is sure.
async fn settled(world: &World, person: &mut Person, op: u64, write: &Write) -> bool {
    let outcome = person.settle(world, op, write, true).await;
    world.log.end(op, outcome.clone());
    matches!(outcome, Outcome::Ok { .. })
}
