//! The admin of each conversation silences its participants and keeps guests out; and those try
//! what they may not.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::chaos::clients::keeper::{adding, removing};
use crate::chaos::clients::person::{Person, Write};
use crate::chaos::clients::receipts::operate;
use crate::chaos::clients::{Group, World};
use crate::chaos::history::item::{conversation_name, user_name};
use crate::chaos::history::{Act, Outcome};
use crate::chaos::random::Random;

/// Between two turns, in milliseconds.
const PAUSE_MS: (u64, u64) = (500, 2_500);
/// Participants who are never silenced: the conversation is written to all the time.
const NEVER: usize = 3;
/// Sends of one who is silenced.
const SENDS: u64 = 3;
/// A mute ends by request, and not by itself, for clocks of nodes may be days ahead: the year 2100.
const MUTED_UNTIL_MS: u64 = 4_102_444_800_000;
/// Users who are kept out of each conversation in turn, without devices; nobody else lets them in.
const FIRST_OUTCAST: u32 = 700_000;
const OUTCASTS: u32 = 3;
/// Attempts to take a silence, or a ban, back.
const ATTEMPTS: usize = 50;
const AGAIN: Duration = Duration::from_millis(200);

/// Until the load is over.
pub(crate) async fn run(world: Arc<World>, group: Group) {
    let mut random = world
        .random
        .split("governor", u64::from(group.conversation));
    let mut admin = Person::new(&world, group.admin);
    let mut members: Vec<u32> = group.members.iter().skip(NEVER).copied().collect();
    let mut outcasts: Vec<u32> = (FIRST_OUTCAST..FIRST_OUTCAST + OUTCASTS).collect();

    while !world.is_over() {
        let pause = random.between(PAUSE_MS.0, PAUSE_MS.1);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        if random.percent(50) {
            let Some(user) = random.pick(&members).copied() else {
                continue;
            };
            if !silence(&world, (&group, &mut admin), user, &mut random).await {
                members.retain(|other| *other != user);
            }
        } else {
            let Some(user) = random.pick(&outcasts).copied() else {
                continue;
            };
            if !ban(&world, (group.conversation, &mut admin), user).await {
                outcasts.retain(|other| *other != user);
            }
        }
    }
}

/// One participant is silenced, and may speak again; false when they are left alone from now on.
async fn silence(
    world: &World,
    (group, admin): (&Group, &mut Person),
    user: u32,
    random: &mut Random,
) -> bool {
    let conversation = group.conversation;
    let (on, off) = if random.percent(50) {
        let on = json!({"muted_until": MUTED_UNTIL_MS});
        (on, json!({"muted_until": null}))
    } else {
        (json!({"role": "reader"}), json!({"role": "member"}))
    };

    let silence = standing(conversation, user, on);
    let asked = Act::Silence { user, on: true };
    let silenced = operate(world, admin, conversation, asked, &silence).await;
    if matches!(silenced, Outcome::Ok { .. }) {
        let mut person = Person::new(world, user);
        for _ in 0..SENDS {
            person.send(world, conversation).await;
        }
    }

    let end = standing(conversation, user, off);
    let ended = Act::Silence { user, on: false };
    taken_back(world, (conversation, admin), ended, &end).await
        && !matches!(silenced, Outcome::Unknown { .. })
}

/// One outcast is let in, kept out, tries to come back, and may again; false when not all of it was
/// answered at the first attempt.
async fn ban(world: &World, (conversation, admin): (u32, &mut Person), user: u32) -> bool {
    let path = format!(
        "/v1/conversations/{}/bans/{}",
        conversation_name(conversation),
        user_name(user)
    );
    let of = |method: Method| Write {
        method,
        path: path.clone(),
        key: None,
        body: None,
        rival: false,
    };
    let (add, remove) = (adding(conversation, user), removing(conversation, user));
    let steps = [
        (Act::Add { user }, &add),
        (Act::Ban { user }, &of(Method::PUT)),
        (Act::Add { user }, &add),
        (Act::Unban { user }, &of(Method::DELETE)),
        (Act::Add { user }, &add),
        (Act::Remove { user }, &remove),
    ];

    let mut outcast = Person::new(world, user);
    for (act, write) in steps {
        let banned = matches!(act, Act::Ban { .. });
        let must_be = matches!(act, Act::Unban { .. } | Act::Remove { .. });
        let is_clean = if must_be {
            taken_back(world, (conversation, admin), act, write).await
        } else {
            let outcome = operate(world, admin, conversation, act, write).await;
            !matches!(
                outcome,
                Outcome::Unknown { .. } | Outcome::Ok { clean: false, .. }
            )
        };
        if !is_clean {
            return false;
        }
        if banned {
            outcast.send(world, conversation).await;
        }
    }
    true
}

/// Asks until it is done; false when that is not sure, or was not to be had.
async fn taken_back(
    world: &World,
    (conversation, admin): (u32, &mut Person),
    act: Act,
    write: &Write,
) -> bool {
    for _ in 0..ATTEMPTS {
        match operate(world, admin, conversation, act.clone(), write).await {
            Outcome::Ok { clean, .. } => return clean,
            Outcome::Unknown { .. } => return false,
            Outcome::Failed { .. } if world.is_over() => return false,
            Outcome::Failed { .. } => tokio::time::sleep(AGAIN).await,
        }
    }
    false
}

fn standing(conversation: u32, user: u32, body: Value) -> Write {
    Write {
        method: Method::PUT,
        path: format!(
            "/v1/conversations/{}/participants/{}",
            conversation_name(conversation),
            user_name(user)
        ),
        key: None,
        body: Some(body),
        rival: false,
    }
}
