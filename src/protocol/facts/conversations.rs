//! What the operations of a conversation itself take and answer.

use schemars::SchemaGenerator;

use crate::problem::Code;
use crate::protocol::facts::common::{LIMIT, REPEATED};
use crate::protocol::facts::form::{Facts, Kind, Parameter, Success};
use crate::protocol::{Conversation, CreateBody, DirectBody, ListPage, ViewBody};

pub(in crate::protocol) const CREATE_CONVERSATION: Facts = Facts {
    summary: "Create a conversation",
    about: "The caller takes part and becomes its admin.",
    query: &[],
    body: Some(SchemaGenerator::subschema_for::<CreateBody>),
    successes: &[
        Success::created(201, "Created."),
        Success::created(200, REPEATED),
    ],
    refusals: &[
        Code::InvalidName,
        Code::NotParticipant,
        Code::NameTaken,
        Code::IdempotencyConflict,
    ],
};

pub(in crate::protocol) const OPEN_DIRECT: Facts = Facts {
    summary: "Open the conversation with one other",
    about: "There is one of each two, and its name follows from both. Nobody else can be added to it, and neither has rights over the other. Whoever of the two left it takes part again.",
    query: &[],
    body: Some(SchemaGenerator::subschema_for::<DirectBody>),
    successes: &[
        Success::created(201, "Created."),
        Success::created(200, "There already: both take part."),
    ],
    refusals: &[Code::InvalidName, Code::NameTaken],
};

pub(in crate::protocol) const LIST_CONVERSATIONS: Facts = Facts {
    summary: "List the caller's conversations",
    about: "What the caller pinned first, in their order, then the newest joined first.",
    query: &[
        LIMIT,
        Parameter {
            name: "after",
            kind: Kind::Cursor,
            about: "The page after this cursor.",
        },
        Parameter {
            name: "archived",
            kind: Kind::Word(&["any", "true", "false"]),
            about: "Only those that the caller put away, or the others.",
        },
        Parameter {
            name: "sort",
            kind: Kind::Word(&["joined", "activity"]),
            about: "`activity`: behind what is pinned that first in which something happened last.",
        },
        Parameter {
            name: "changed_since",
            kind: Kind::Seq,
            about: "Only those with a newer event, or receipt of the caller or change of their own view, in unix \
                    milliseconds.",
        },
    ],
    body: None,
    successes: &[Success::read(
        "A page.",
        SchemaGenerator::subschema_for::<ListPage>,
    )],
    refusals: &[Code::TooManyConversations],
};

pub(in crate::protocol) const SHOW_CONVERSATION: Facts = Facts {
    summary: "Show a conversation",
    about: "With the first of its participants.",
    query: &[],
    body: None,
    successes: &[Success::read(
        "The conversation.",
        SchemaGenerator::subschema_for::<Conversation>,
    )],
    refusals: &[Code::NotParticipant],
};

pub(in crate::protocol) const SET_OWN_VIEW: Facts = Facts {
    summary: "Change the caller's own view of a conversation",
    about: "What is absent stays. Nobody else sees it: it makes no event, and what others are shown of the caller's \
            reading does not go back with `read_up_to`. It ends when the caller leaves.",
    query: &[],
    body: Some(SchemaGenerator::subschema_for::<ViewBody>),
    successes: &[Success::read(
        "The conversation as it is now, with the caller's own view.",
        SchemaGenerator::subschema_for::<Conversation>,
    )],
    refusals: &[Code::NotParticipant],
};
