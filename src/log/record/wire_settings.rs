//! Roles and settings between the protobuf of a record ([`super::wire`]) and their types. Numbers
//! are for ever.

use std::sync::Arc;

use super::wire::{Number, Settings, Text};
use crate::protocol::{Patch, Role, SettingsChange, Whom};

type Bad = &'static str;

pub(super) fn wire_role(role: Role) -> u32 {
    match role {
        Role::Admin => 1,
        Role::Moderator => 2,
        Role::Member => 3,
        Role::Reader => 4,
    }
}

pub(super) fn typed_role(number: u32) -> Result<Role, Bad> {
    let role = Role::ALL
        .into_iter()
        .find(|role| wire_role(*role) == number);
    role.ok_or("a role that this version does not know")
}

fn wire_whom(whom: Whom) -> u32 {
    match whom {
        Whom::All => 1,
        Whom::Moderators => 2,
    }
}

fn typed_whom(number: u32) -> Result<Whom, Bad> {
    match number {
        1 => Ok(Whom::All),
        2 => Ok(Whom::Moderators),
        _ => Err("a setting has a value that this version does not know"),
    }
}

/// `None` when nothing changes.
pub(super) fn wire_settings(change: &SettingsChange) -> Option<Settings> {
    (!change.is_empty()).then(|| Settings {
        post: change.post.map(wire_whom),
        add: change.add.map(wire_whom),
        edit_window_s: change
            .edit_window_s
            .set()
            .map(|window| Number { value: *window }),
        typing: change.typing,
        presence: change.presence,
        retention_s: change
            .retention_s
            .set()
            .map(|retention| Number { value: *retention }),
    })
}

pub(super) fn typed_settings(settings: Option<Settings>) -> Result<SettingsChange, Bad> {
    let settings = settings.unwrap_or_default();
    Ok(SettingsChange {
        post: settings.post.map(typed_whom).transpose()?,
        add: settings.add.map(typed_whom).transpose()?,
        edit_window_s: typed_number(settings.edit_window_s),
        typing: settings.typing,
        presence: settings.presence,
        retention_s: typed_number(settings.retention_s),
    })
}

fn typed_number(number: Option<Number>) -> Patch<Option<u32>> {
    number.map_or(Patch::Keep, |number| Patch::Set(number.value))
}

pub(super) fn wire_text(text: &Patch<Option<Arc<str>>>) -> Option<Text> {
    text.set().map(|text| Text {
        value: text.as_deref().map(str::to_owned),
    })
}

pub(super) fn typed_text(text: Option<Text>) -> Patch<Option<Arc<str>>> {
    text.map_or(Patch::Keep, |text| Patch::Set(text.value.map(Arc::from)))
}
