//! Records of messages and of what changes them, for tests.

use super::*;

pub(crate) fn message(name: &str, seq: u64, source: &str, number: u64, at: u64) -> Record {
    message_to(name, seq, source, number, at, None)
}

pub(super) fn message_to(
    name: &str,
    seq: u64,
    source: &str,
    number: u64,
    at: u64,
    to: Option<MessageId>,
) -> Record {
    let content = Content {
        text: format!("text {number}").into(),
        ..Content::none()
    };
    event(
        name,
        seq,
        at,
        EventKind::message(id(number), user(source), content, to),
    )
}

pub(crate) fn edited(
    name: &str,
    seq: u64,
    by: &str,
    (number, message_seq): (u64, u64),
    text: &str,
) -> Record {
    let (message_id, message_seq) = (id(number), Seq(message_seq));
    let (data, mentions) = (
        Some(format!(r#"{{"of":"{text}"}}"#).into()),
        vec![user("bob")],
    );
    let (by, text, superseded) = (user(by), text.into(), false);

    event(
        name,
        seq,
        START + seq,
        EventKind::Edited {
            message_id,
            message_seq,
            by,
            text,
            data,
            mentions,
            superseded,
        },
    )
}

pub(crate) fn deleted(name: &str, seq: u64, by: &str, (number, message_seq): (u64, u64)) -> Record {
    let (message_id, message_seq) = (id(number), Seq(message_seq));
    event(
        name,
        seq,
        START + seq,
        EventKind::Deleted {
            message_id,
            message_seq,
            by: user(by),
        },
    )
}

pub(crate) fn key_used(
    name: &str,
    who: &str,
    message_seq: u64,
    key: &str,
    stamped: bool,
) -> Record {
    let key = KeyUse {
        key: key.into(),
        stamped,
        fingerprint: [8; 16],
    };
    let (conversation, sender) = (conversation(name), user(who));
    Record::KeyUsed(Arc::new(UsedUp {
        conversation,
        sender,
        message_seq: Seq(message_seq),
        key,
        at: START,
    }))
}
