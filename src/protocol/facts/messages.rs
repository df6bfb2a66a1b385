//! What the operations of messages take and answer: sending, editing and deleting one, and what
//! became of it.

use schemars::SchemaGenerator;

use crate::problem::Code;
use crate::protocol::facts::common::{AFTER_USER, LIMIT_OF_USERS, NO_CONTENT, REPEATED};
use crate::protocol::facts::form::{Facts, Success};
use crate::protocol::{EditBody, Message, Page, Reaction, ReactionBody, Receipt, SendBody};

pub(in crate::protocol) const SEND_MESSAGE: Facts = Facts {
    summary: "Send a message",
    about: "When this is answered the message is durable; live delivery follows by itself. An `Idempotency-Key` makes \
            it safe to repeat after any error.",
    query: &[],
    body: Some(SchemaGenerator::subschema_for::<SendBody>),
    successes: &[Success::sent(201, "Sent."), Success::sent(200, REPEATED)],
    refusals: &[
        Code::NotParticipant,
        Code::Forbidden,
        Code::Muted,
        Code::MessageUnknown,
        Code::ReplyToUnknown,
        Code::MessageDeleted,
        Code::TextTooLong,
        Code::IdempotencyConflict,
    ],
};

pub(in crate::protocol) const SHOW_MESSAGE: Facts = Facts {
    summary: "Show a message",
    about: "By its id alone.",
    query: &[],
    body: None,
    successes: &[Success::read(
        "The message.",
        SchemaGenerator::subschema_for::<Message>,
    )],
    refusals: &[],
};

pub(in crate::protocol) const EDIT_MESSAGE: Facts = Facts {
    summary: "Edit a message",
    about: "For its sender. What is absent stays; what changes nothing makes no event. An `Idempotency-Key` makes it safe to \
            repeat after any error; it is of one space with those of sends.",
    query: &[],
    body: Some(SchemaGenerator::subschema_for::<EditBody>),
    successes: &[Success::new(
        200,
        "The message as it is now.",
        Some(SchemaGenerator::subschema_for::<Message>),
    )],
    refusals: &[
        Code::NotSender,
        Code::Forbidden,
        Code::Muted,
        Code::MessageDeleted,
        Code::EditWindowOver,
        Code::InvalidName,
        Code::TextTooLong,
        Code::IdempotencyConflict,
    ],
};

pub(in crate::protocol) const DELETE_MESSAGE: Facts = Facts {
    summary: "Delete a message",
    about: "For its sender, and for those who may delete the messages of others. What it said is erased; its place in the history stays.",
    query: &[],
    body: None,
    successes: NO_CONTENT,
    refusals: &[Code::Forbidden],
};

pub(in crate::protocol) const SHOW_RECEIPTS: Facts = Facts {
    summary: "List what became of a message",
    about: "For its sender: one receipt for each participant whose latest join precedes the message.",
    query: &[LIMIT_OF_USERS, AFTER_USER],
    body: None,
    successes: &[Success::read(
        "A page.",
        SchemaGenerator::subschema_for::<Page<Receipt>>,
    )],
    refusals: &[Code::NotSender],
};

pub(in crate::protocol) const LIST_REACTIONS: Facts = Facts {
    summary: "List the reactions to a message",
    about: "For every participant: who reacted, by name, those who have left included. Of a deleted message there are none.",
    query: &[LIMIT_OF_USERS, AFTER_USER],
    body: None,
    successes: &[Success::read(
        "A page.",
        SchemaGenerator::subschema_for::<Page<Reaction>>,
    )],
    refusals: &[],
};

pub(in crate::protocol) const REACT: Facts = Facts {
    summary: "React to a message",
    about: "One reaction for each user and message; another one takes its place.",
    query: &[],
    body: Some(SchemaGenerator::subschema_for::<ReactionBody>),
    successes: NO_CONTENT,
    refusals: &[Code::MessageDeleted],
};

pub(in crate::protocol) const TAKE_REACTION_BACK: Facts = Facts {
    summary: "Take a reaction back",
    about: "The caller's own.",
    query: &[],
    body: None,
    successes: NO_CONTENT,
    refusals: &[],
};

pub(in crate::protocol) const MARK_READ: Facts = Facts {
    summary: "Mark as read",
    about: "The message and all before it in its conversation. Behind the watermark: no change.",
    query: &[],
    body: None,
    successes: NO_CONTENT,
    refusals: &[],
};
