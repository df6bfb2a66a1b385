//! Those who make conversations, and let others in and put them out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Method;
use serde_json::json;

use crate::chaos::clients::person::{Person, Write};
use crate::chaos::clients::receipts::operate;
use crate::chaos::clients::{FIRST_GUEST, GUESTS, Group, World, finale};
use crate::chaos::history::item::{conversation_name, user_name};
use crate::chaos::history::{Act, Outcome};
use crate::chaos::random::Random;

/// Attempts to make a conversation.
const ATTEMPTS: usize = 100;
/// How long the first page of a new conversation is asked for.
const FIRST_SEEN_WITHIN: Duration = Duration::from_secs(30);
/// In a hundred visits, so many ask for their lists right after they came, and after they went.
const LIST_PERCENT: u64 = 40;
/// Sends of a guest that meet their removal, and the pause between two.
const RACES_MAX: u64 = 40;
const BETWEEN_RACES: Duration = Duration::from_millis(20);
/// Guests without devices, for when the others are used up.
const FRESH_GUESTS: u32 = 100_000;

/// Makes a conversation by number.
pub(crate) async fn create(
    world: &World,
    conversation: u32,
    members: &[u32],
) -> Result<(), String> {
    let admin = *members.first().ok_or("a conversation of nobody")?;
    let mut person = Person::new(world, admin);
    let write = creation(conversation, members, format!("create-{conversation}"));

    for _ in 0..ATTEMPTS {
        let act = Act::Create {
            users: members.to_vec(),
        };
        match operate(world, &mut person, conversation, act, &write).await {
            Outcome::Ok { .. } => {
                world.add_group(Group {
                    conversation,
                    admin,
                    members: members.to_vec(),
                });
                // Who is in is known from the first event on: whatever others see, that one has
                // been seen.
                let until = tokio::time::Instant::now() + FIRST_SEEN_WITHIN;
                person.page_surely(world, conversation, 0, until).await;
                return Ok(());
            }
            Outcome::Failed { code } if code != "unavailable" && code != "not sent" => {
                return Err(format!("c{conversation} cannot be made: {code}"));
            }
            Outcome::Failed { .. } | Outcome::Unknown { .. } if world.is_over() => break,
            Outcome::Failed { .. } | Outcome::Unknown { .. } => {
                tokio::time::sleep(Duration::from_millis(200)).await
            }
        }
    }

    Err(format!(
        "c{conversation} was not made in {ATTEMPTS} attempts"
    ))
}

/// Making a conversation with these, as it is asked for.
pub(crate) fn creation(conversation: u32, members: &[u32], key: String) -> Write {
    let names: Vec<String> = members.iter().map(|user| user_name(*user)).collect();
    Write {
        method: Method::POST,
        path: "/v1/conversations".to_owned(),
        key: Some(key),
        body: Some(json!({"participants": names, "name": conversation_name(conversation)})),
        rival: false,
    }
}

/// Makes further conversations now and then, and writes into each.
pub(crate) async fn make_more(world: Arc<World>, most: u32) {
    let mut random = world.random.split("maker", 0);
    for conversation in world.shape.conversations..world.shape.conversations + most {
        let pause = random.between(1_000, 4_000);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        if world.is_over() {
            return;
        }
        let mut members: Vec<u32> = (0..4)
            .map(|_| u32::try_from(random.below(48)).unwrap_or(0))
            .collect();
        members.sort_unstable();
        members.dedup();
        if create(&world, conversation, &members).await.is_err() {
            continue;
        }
        for member in members {
            Person::new(&world, member).send(&world, conversation).await;
        }
    }
}

/// Lets guests in and puts them out until the load is over; each tries what they may, and then what
/// they may not.
pub(crate) async fn run(world: Arc<World>, group: Group) {
    let conversation = group.conversation;
    let mut random = world.random.split("keeper", u64::from(conversation));
    let mut admin = Person::new(&world, group.admin);
    let mut guests: Vec<u32> = (FIRST_GUEST..FIRST_GUEST + GUESTS).collect();
    let mut fresh = FRESH_GUESTS;

    while !world.is_over() {
        let pause = random.between(world.shape.churn_ms / 2, world.shape.churn_ms * 3 / 2);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let guest = random.pick(&guests).copied().unwrap_or(fresh);
        fresh += 1;
        if !visit(&world, conversation, (&mut admin, guest), &mut random).await {
            // An attempt of unknown outcome may be done later: nothing is sure of them here any
            // more.
            guests.retain(|other| *other != guest);
        }
    }
}

/// Lets one and the same guest in and puts them out until the load is over, whatever becomes of
/// each attempt.
pub(crate) async fn run_regular(world: Arc<World>, group: Group) {
    let conversation = group.conversation;
    let mut random = world.random.split("regular", u64::from(conversation));
    let mut admin = Person::new(&world, group.admin);
    let guest = FIRST_GUEST + conversation % GUESTS;
    let (add, remove) = (adding(conversation, guest), removing(conversation, guest));
    while !world.is_over() {
        for (act, write) in [
            (Act::Add { user: guest }, &add),
            (Act::Remove { user: guest }, &remove),
        ] {
            let pause = random.between(world.shape.churn_ms / 2, world.shape.churn_ms * 3 / 2);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            operate(&world, &mut admin, conversation, act, write).await;
        }
    }
}

/// Letting one in, as it is asked for.
pub(super) fn adding(conversation: u32, guest: u32) -> Write {
    Write {
        method: Method::POST,
        path: format!(
            "/v1/conversations/{}/participants",
            conversation_name(conversation)
        ),
        key: None,
        body: Some(json!({"participants": [user_name(guest)]})),
        rival: false,
    }
}

/// Putting one out, as it is asked for.
pub(super) fn removing(conversation: u32, guest: u32) -> Write {
    let path = format!(
        "/v1/conversations/{}/participants/{}",
        conversation_name(conversation),
        user_name(guest)
    );
    Write {
        method: Method::DELETE,
        path,
        key: None,
        body: None,
        rival: false,
    }
}

/// One guest comes and goes; false when not all of it was answered at the first attempt.
async fn visit(
    world: &World,
    conversation: u32,
    (admin, guest): (&mut Person, u32),
    random: &mut Random,
) -> bool {
    let mut visitor = Person::new(world, guest);
    let clean = |outcome: &Outcome| {
        matches!(
            outcome,
            Outcome::Ok { clean: true, .. } | Outcome::Failed { .. }
        )
    };

    let added = operate(
        world,
        admin,
        conversation,
        Act::Add { user: guest },
        &adding(conversation, guest),
    )
    .await;

    if !matches!(added, Outcome::Ok { .. }) {
        return clean(&added);
    }

    if random.percent(LIST_PERCENT) {
        let strict = random.percent(50);
        finale::list_noted(world, &mut visitor, strict).await;
    }

    visitor.send(world, conversation).await;
    let last = world.log.ask(|checker| checker.last(conversation));
    visitor
        .page(world, conversation, (last.saturating_sub(5), 50), false)
        .await;
    let pause = random.below(world.shape.churn_ms);
    tokio::time::sleep(Duration::from_millis(pause)).await;

    let remove = removing(conversation, guest);
    let leaves = random.percent(30);
    let mut racer = Person::new(world, guest);
    let over = AtomicBool::new(false);
    let racing = async {
        // Sends that meet the removal, for as long as it takes: each is before it, or not at all.
        for _ in 0..random.below(RACES_MAX) {
            racer.send(world, conversation).await;
            tokio::time::sleep(BETWEEN_RACES).await;
            if over.load(Ordering::Relaxed) {
                return;
            }
        }
    };

    let act = Act::Remove { user: guest };
    let putting_out = async {
        let by = if leaves { &mut visitor } else { admin };
        let removed = operate(world, by, conversation, act, &remove).await;
        over.store(true, Ordering::Relaxed);
        removed
    };
    let (removed, ()) = tokio::join!(putting_out, racing);

    if matches!(removed, Outcome::Ok { .. }) {
        visitor.send(world, conversation).await;
        visitor.page(world, conversation, (0, 5), false).await;
        if random.percent(LIST_PERCENT) {
            finale::list_noted(world, &mut visitor, false).await;
        }
    }

    // One that was not put out stays: what they do later is no visit.
    clean(&added) && matches!(removed, Outcome::Ok { clean: true, .. })
}
