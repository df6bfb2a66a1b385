//! What the operations of the history of a conversation take and answer.

use schemars::SchemaGenerator;

use crate::problem::Code;
use crate::protocol::facts::common::LIMIT;
use crate::protocol::facts::form::{Facts, Kind, Parameter, Success};
use crate::protocol::{EventsPage, HistoryPage};

pub(in crate::protocol) const SHOW_HISTORY: Facts = Facts {
    summary: "Read the messages of a conversation",
    about: "At most one of `before`, `after` and `around` picks the page nearest to that seq; `order` only sorts it. \
            Without one: the newest page for `desc`, the oldest for `asc`. What it gives is marked as delivered to the \
            caller.",
    query: &[
        LIMIT,
        Parameter {
            name: "before",
            kind: Kind::Seq,
            about: "Messages before this seq.",
        },
        Parameter {
            name: "after",
            kind: Kind::Seq,
            about: "Messages after this seq.",
        },
        Parameter {
            name: "around",
            kind: Kind::Seq,
            about: "Messages on both sides of this seq, and its own.",
        },
        Parameter {
            name: "order",
            kind: Kind::Word(&["desc", "asc"]),
            about: "Newest or oldest first.",
        },
        Parameter {
            name: "source",
            kind: Kind::User,
            about: "Messages of this user only.",
        },
        Parameter {
            name: "reply_to",
            kind: Kind::Message,
            about: "Answers to this message only.",
        },
    ],
    body: None,
    successes: &[Success::read(
        "A page.",
        SchemaGenerator::subschema_for::<HistoryPage>,
    )],
    refusals: &[Code::NotParticipant],
};

pub(in crate::protocol) const SHOW_EVENTS: Facts = Facts {
    summary: "Read every change of a conversation",
    about: "Messages and all else that has a seq, without a hole: for what a `gap` frame did not send.",
    query: &[
        LIMIT,
        Parameter {
            name: "after",
            kind: Kind::Seq,
            about: "Changes after this seq; without it all.",
        },
    ],
    body: None,
    successes: &[Success::read(
        "A page.",
        SchemaGenerator::subschema_for::<EventsPage>,
    )],
    refusals: &[Code::NotParticipant],
};
