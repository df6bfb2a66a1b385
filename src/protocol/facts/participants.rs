//! What the operations of participants take and answer: who takes part, how far each one got, and
//! who is there.

use schemars::SchemaGenerator;

use crate::problem::Code;
use crate::protocol::facts::common::{AFTER_USER, LIMIT_OF_USERS, NO_CONTENT};
use crate::protocol::facts::form::{Facts, Success};
use crate::protocol::{AddBody, Conversation, Page, Participant, PresencePage, Watermark};

pub(in crate::protocol) const LIST_PARTICIPANTS: Facts = Facts {
    summary: "List the participants of a conversation",
    about: "In the order of their names.",
    query: &[LIMIT_OF_USERS, AFTER_USER],
    body: None,
    successes: &[Success::read(
        "A page.",
        SchemaGenerator::subschema_for::<Page<Participant>>,
    )],
    refusals: &[Code::NotParticipant],
};

pub(in crate::protocol) const ADD_PARTICIPANTS: Facts = Facts {
    summary: "Add participants",
    about: "Who takes part already is left as they are. Nobody is added when one of them is banned. Whoever left muted is \
            muted again; a reader comes back as a reader, unless the admin or a moderator adds them.",
    query: &[],
    body: Some(SchemaGenerator::subschema_for::<AddBody>),
    successes: &[Success::new(
        200,
        "The conversation as it is now.",
        Some(SchemaGenerator::subschema_for::<Conversation>),
    )],
    refusals: &[Code::NotParticipant, Code::Forbidden, Code::Banned],
};

pub(in crate::protocol) const REMOVE_PARTICIPANT: Facts = Facts {
    summary: "Remove a participant, or leave",
    about: "Anyone leaves. When the admin leaves, the longest-standing moderator becomes admin, else the longest-standing \
            member, else reader.",
    query: &[],
    body: None,
    successes: NO_CONTENT,
    refusals: &[Code::NotParticipant, Code::Forbidden],
};

pub(in crate::protocol) const SHOW_WATERMARKS: Facts = Facts {
    summary: "List how far each participant got",
    about: "What was delivered to them, and what they have read.",
    query: &[LIMIT_OF_USERS, AFTER_USER],
    body: None,
    successes: &[Success::read(
        "A page.",
        SchemaGenerator::subschema_for::<Page<Watermark>>,
    )],
    refusals: &[Code::NotParticipant],
};

pub(in crate::protocol) const SHOW_PRESENCE: Facts = Facts {
    summary: "Show who is there",
    about: "Participants who have sent, read or reacted since they joined, of conversations of at most 250 participants.",
    query: &[],
    body: None,
    successes: &[Success::read(
        "How they are.",
        SchemaGenerator::subschema_for::<PresencePage>,
    )],
    refusals: &[
        Code::NotParticipant,
        Code::Forbidden,
        Code::TooManyParticipants,
    ],
};
