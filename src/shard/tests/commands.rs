//! Commands, by the names of who is concerned.

use super::*;
use crate::shard::command::{Add, Create, React, Remove};

pub(super) fn users(names: &[&str]) -> Vec<UserId> {
    names.iter().map(|name| user(name)).collect()
}

pub(super) fn create_with(name: &str, of: &[&str], key: Option<&str>, fingerprint: u8) -> Command {
    Command::Create(Create {
        key: key.map(client_key),
        fingerprint: [fingerprint; 16],
        ..Create::of(name, of)
    })
}

pub(super) fn create(name: &str, of: &[&str]) -> Command {
    create_with(name, of, None, 0)
}

pub(super) fn send(name: &str, source: &str, text: &str) -> Command {
    send_with(name, source, text, None, None)
}

pub(super) fn send_with(
    name: &str,
    source: &str,
    text: &str,
    key: Option<IdempotencyKey>,
    reply_to: Option<MessageId>,
) -> Command {
    Command::Send(Send {
        reply_to,
        key,
        ..Send::plain(conversation(name), user(source), text)
    })
}

pub(super) fn send_key(name: &str, source: &str, text: &str, key: &str) -> Command {
    send_with(name, source, text, Some(client_key(key)), None)
}

pub(super) fn client_key(key: &str) -> IdempotencyKey {
    IdempotencyKey::from_client(key).expect("a good key")
}

pub(super) fn add(name: &str, by: &str, of: &[&str]) -> Command {
    Command::Add(Add {
        conversation: conversation(name),
        by: user(by),
        users: users(of),
    })
}

pub(super) fn remove(name: &str, by: &str, whom: &str) -> Command {
    Command::Remove(Remove {
        conversation: conversation(name),
        by: user(by),
        user: user(whom),
    })
}

pub(super) fn mark_read(message: &Message, who: &str) -> Command {
    Command::MarkRead(MarkRead {
        message_id: message.core.id,
        user: user(who),
        origin: None,
    })
}

pub(super) fn react(message: &Message, who: &str, reaction: Option<u32>) -> Command {
    Command::React(React {
        message_id: message.core.id,
        user: user(who),
        reaction,
    })
}

pub(super) fn delivered(name: &str, who: &str, up_to: u64) -> Command {
    Command::Delivered(vec![Delivered {
        conversation: conversation(name),
        user: user(who),
        up_to: Seq(up_to),
    }])
}
