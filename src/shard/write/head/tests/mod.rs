//! What is decided against a head, and what it becomes.

mod bans;
mod direct;
mod members;
mod roles;

use crate::ids::Offset;
use crate::log::record::Event;
use crate::problem::{Code, Problem};
use crate::protocol::policy::Action;
use crate::protocol::{Patch, Role, Settings, SettingsChange};
use crate::shard::command::{Add, Ban, Create, Remove, SetParticipant, Update};
use crate::shard::file::store::tests::{conversation, user};
use crate::shard::write::head::{Banned, Head, decide_create};

const NOW: u64 = 1_000;

/// The first is admin.
fn begun(users: &[&str], settings: Settings) -> Head {
    let create = Create {
        settings,
        ..Create::of("c", users)
    };
    Head::begun(&decide_create(&create, 100), Offset(7)).expect("a creation")
}

fn crew() -> Head {
    let mut head = begun(&["admin", "mod", "member", "reader"], Settings::default());
    set(
        &mut head,
        "admin",
        "mod",
        Some(Role::Moderator),
        Patch::Keep,
    )
    .expect("set");

    set(
        &mut head,
        "admin",
        "reader",
        Some(Role::Reader),
        Patch::Keep,
    )
    .expect("set");
    head
}

fn set(
    head: &mut Head,
    by: &str,
    whom: &str,
    role: Option<Role>,
    muted_until: Patch<Option<u64>>,
) -> Result<bool, Code> {
    let set = SetParticipant {
        conversation: conversation("c"),
        by: user(by),
        user: user(whom),
        role,
        muted_until,
    };
    took(head, |head| head.decide_set(&set, NOW))
}

fn took(
    head: &mut Head,
    decide: impl FnOnce(&Head) -> Result<Option<Event>, Problem>,
) -> Result<bool, Code> {
    let event = decide(head).map_err(|problem| problem.code)?;
    Ok(event.map(|event| head.advance(&event)).is_some())
}

fn mute(head: &mut Head, by: &str, whom: &str, until: u64) -> Result<bool, Code> {
    set(head, by, whom, None, Patch::Set(Some(until)))
}

fn give(head: &mut Head, by: &str, whom: &str, role: Role) -> Result<bool, Code> {
    set(head, by, whom, Some(role), Patch::Keep)
}

fn add(head: &mut Head, by: &str, users: &[&str]) -> Result<bool, Code> {
    let users = users.iter().map(|name| user(name)).collect();
    let add = Add {
        conversation: conversation("c"),
        by: user(by),
        users,
    };
    took(head, |head| head.decide_add(&add, NOW))
}

fn remove(head: &mut Head, by: &str, whom: &str) -> Result<bool, Code> {
    let remove = Remove {
        conversation: conversation("c"),
        by: user(by),
        user: user(whom),
    };
    took(head, |head| head.decide_remove(&remove, NOW))
}

fn update(head: &mut Head, by: &str, settings: SettingsChange) -> Result<bool, Code> {
    let update = Update {
        conversation: conversation("c"),
        by: user(by),
        title: Patch::Keep,
        data: Patch::Keep,
        settings,
    };
    took(head, |head| head.decide_update(&update, NOW))
}

/// Whether a user who took part was removed.
fn ban(head: &mut Head, by: &str, whom: &str) -> Result<bool, Code> {
    let ban = Ban {
        conversation: conversation("c"),
        by: user(by),
        user: user(whom),
        reason: None,
    };
    match head.decide_ban(&ban, NOW).map_err(|problem| problem.code)? {
        Banned::Removed(event) => {
            head.advance(&event);
            Ok(true)
        }
        Banned::Noted(change) => {
            head.ban(&change.user, true);
            Ok(false)
        }
    }
}

fn may_send(head: &Head, who: &str, now_ms: u64) -> Result<(), Code> {
    head.may_write(&user(who), Action::Send, now_ms)
        .map_err(|problem| problem.code)
}
