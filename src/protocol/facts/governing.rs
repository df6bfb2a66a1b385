//! What the operations of those who lead a conversation take and answer: its settings, roles, mutes
//! and bans.

use schemars::SchemaGenerator;

use crate::problem::Code;
use crate::protocol::facts::common::{AFTER_USER, LIMIT_OF_USERS, NO_CONTENT};
use crate::protocol::facts::form::{Facts, Success};
use crate::protocol::policy::Action;
use crate::protocol::routes::Operation;
use crate::protocol::{
    Ban, BanBody, ChangeBody, Conversation, Page, Participant, ParticipantBody, Role,
};

pub(in crate::protocol) const CHANGE_CONVERSATION: Facts = Facts {
    summary: "Change title, data or settings of a conversation",
    about: "Settings are merged by field; what is absent stays, and what changes nothing makes no event.",
    query: &[],
    body: Some(SchemaGenerator::subschema_for::<ChangeBody>),
    successes: &[Success::new(
        200,
        "The conversation as it is now.",
        Some(SchemaGenerator::subschema_for::<Conversation>),
    )],
    refusals: &[Code::NotParticipant, Code::Forbidden],
};

pub(in crate::protocol) const DELETE_CONVERSATION: Facts = Facts {
    summary: "Delete a conversation",
    about: "For everybody: it is in no list any more, nothing of it can be read, and what was said in it is erased. Its \
            last event is `closed`. Its name stays taken.",
    query: &[],
    body: None,
    successes: NO_CONTENT,
    refusals: &[Code::NotParticipant, Code::Forbidden],
};

pub(in crate::protocol) const SET_PARTICIPANT: Facts = Facts {
    summary: "Change what a participant may do",
    about: "What is absent stays. The role `admin` hands the office over: the caller becomes moderator. A mute ends by \
            itself, without an event. Nobody mutes themselves.",
    query: &[],
    body: Some(SchemaGenerator::subschema_for::<ParticipantBody>),
    successes: &[Success::new(
        200,
        "The participant as they are now.",
        Some(SchemaGenerator::subschema_for::<Participant>),
    )],
    refusals: &[
        Code::NotParticipant,
        Code::Forbidden,
        Code::ParticipantUnknown,
    ],
};

pub(in crate::protocol) const LIST_BANS: Facts = Facts {
    summary: "List who is banned",
    about: "In the order of their names.",
    query: &[LIMIT_OF_USERS, AFTER_USER],
    body: None,
    successes: &[Success::read(
        "A page.",
        SchemaGenerator::subschema_for::<Page<Ban>>,
    )],
    refusals: &[Code::NotParticipant, Code::Forbidden],
};

pub(in crate::protocol) const BAN: Facts = Facts {
    summary: "Ban a user",
    about: "One who takes part is removed; one who is banned cannot be added. Again: the reason is replaced. The body may \
            be left out.",
    query: &[],
    body: Some(SchemaGenerator::subschema_for::<BanBody>),
    successes: NO_CONTENT,
    refusals: &[Code::NotParticipant, Code::Forbidden, Code::TooManyBans],
};

pub(in crate::protocol) const END_BAN: Facts = Facts {
    summary: "End a ban",
    about: "The user may be added again, and is not by this.",
    query: &[],
    body: None,
    successes: NO_CONTENT,
    refusals: &[Code::NotParticipant, Code::Forbidden],
};

/// What the policy has to say of an operation that it may forbid.
pub(in crate::protocol) fn actions(operation: Operation) -> &'static [Action] {
    match operation {
        Operation::ChangeConversation => &[Action::Change],
        Operation::DeleteConversation => &[Action::Close],
        Operation::AddParticipants => &[Action::Add],
        Operation::SetParticipant => &[
            Action::GiveRole,
            Action::Mute(Role::Member),
            Action::Mute(Role::Moderator),
        ],
        Operation::RemoveParticipant => &[
            Action::Remove(Role::Member),
            Action::Remove(Role::Moderator),
        ],
        Operation::ListBans | Operation::EndBan => &[Action::Unban],
        Operation::Ban => &[Action::Ban(Role::Member), Action::Ban(Role::Moderator)],
        Operation::SendMessage => &[Action::Send],
        Operation::EditMessage => &[Action::Edit],
        Operation::DeleteMessage => &[Action::DeleteOthers],
        Operation::ShowPresence => &[Action::SeePresence],
        _ => &[],
    }
}
