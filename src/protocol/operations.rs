//! What each operation of the client contract takes and answers: its query, its body, what success
//! looks like, and every code that it can be refused with. Nodes check requests by it, and the
//! OpenAPI document is made of it.

use schemars::{Schema, SchemaGenerator};

use crate::problem::Code;
pub use crate::protocol::facts::{Facts, Kind, Parameter, Shape, Success};
use crate::protocol::routes::{Endpoint, Operation};
use crate::protocol::{
    AddBody, Conversation, CreateBody, EditBody, EventsPage, HistoryPage, ListItem, Message, Page,
    Participant, PresencePage, ReactionBody, Receipt, SendBody, Watermark,
};

const NO_CONTENT: &[Success] = &[Success::new(
    204,
    "Done, also when there was nothing to do.",
    None,
)];

const REPEATED: &str =
    "The same request was made before under this key: what it made then, as it is now.";

/// Page of messages, events or conversations.
const LIMIT: Parameter = Parameter {
    name: "limit",
    kind: Kind::Limit {
        default: 50,
        max: 200,
    },
    about: "Items of the page.",
};
/// Page of participants, watermarks or receipts.
const LIMIT_OF_USERS: Parameter = Parameter {
    name: "limit",
    kind: Kind::Limit {
        default: 100,
        max: 1_000,
    },
    about: "Items of the page.",
};
const AFTER_USER: Parameter = Parameter {
    name: "after",
    kind: Kind::User,
    about: "The page after this user: `next` of the page before.",
};

const CREATE_CONVERSATION: Facts = Facts {
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

const LIST_CONVERSATIONS: Facts = Facts {
    summary: "List the caller's conversations",
    about: "The newest joined first.",
    query: &[
        LIMIT,
        Parameter {
            name: "after",
            kind: Kind::Cursor,
            about: "The page after this cursor.",
        },
    ],
    body: None,
    successes: &[Success::read(
        "A page.",
        SchemaGenerator::subschema_for::<Page<ListItem>>,
    )],
    refusals: &[],
};

const SHOW_CONVERSATION: Facts = Facts {
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

const LIST_PARTICIPANTS: Facts = Facts {
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

const ADD_PARTICIPANTS: Facts = Facts {
    summary: "Add participants",
    about: "For the admin. Who takes part already is left as he is.",
    query: &[],
    body: Some(SchemaGenerator::subschema_for::<AddBody>),
    successes: &[Success::new(
        200,
        "The conversation as it is now.",
        Some(SchemaGenerator::subschema_for::<Conversation>),
    )],
    refusals: &[Code::NotParticipant, Code::Forbidden],
};

const REMOVE_PARTICIPANT: Facts = Facts {
    summary: "Remove a participant, or leave",
    about: "The admin removes anyone, anyone leaves. When the admin leaves, the longest-standing participant becomes admin.",
    query: &[],
    body: None,
    successes: NO_CONTENT,
    refusals: &[Code::NotParticipant, Code::Forbidden],
};

const SEND_MESSAGE: Facts = Facts {
    summary: "Send a message",
    about: "When this is answered the message is durable; live delivery follows by itself. An `Idempotency-Key` makes \
            it safe to repeat after any error.",
    query: &[],
    body: Some(SchemaGenerator::subschema_for::<SendBody>),
    successes: &[Success::sent(201, "Sent."), Success::sent(200, REPEATED)],
    refusals: &[
        Code::NotParticipant,
        Code::ReplyToUnknown,
        Code::MessageDeleted,
        Code::TextTooLong,
        Code::IdempotencyConflict,
    ],
};

const SHOW_HISTORY: Facts = Facts {
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

const SHOW_EVENTS: Facts = Facts {
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

const SHOW_WATERMARKS: Facts = Facts {
    summary: "List how far each participant got",
    about: "What was delivered to him, and what he has read.",
    query: &[LIMIT_OF_USERS, AFTER_USER],
    body: None,
    successes: &[Success::read(
        "A page.",
        SchemaGenerator::subschema_for::<Page<Watermark>>,
    )],
    refusals: &[Code::NotParticipant],
};

const SHOW_PRESENCE: Facts = Facts {
    summary: "Show who is there",
    about: "Participants who have sent, read or reacted since they joined, of conversations of at most 250 participants.",
    query: &[],
    body: None,
    successes: &[Success::read(
        "How they are.",
        SchemaGenerator::subschema_for::<PresencePage>,
    )],
    refusals: &[Code::NotParticipant, Code::TooManyParticipants],
};

const SHOW_MESSAGE: Facts = Facts {
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

const EDIT_MESSAGE: Facts = Facts {
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
        Code::MessageDeleted,
        Code::EditWindowOver,
        Code::InvalidName,
        Code::TextTooLong,
        Code::IdempotencyConflict,
    ],
};

const DELETE_MESSAGE: Facts = Facts {
    summary: "Delete a message",
    about: "For its sender, and for the admin. What it said is erased; its place in the history stays.",
    query: &[],
    body: None,
    successes: NO_CONTENT,
    refusals: &[Code::Forbidden],
};

const SHOW_RECEIPTS: Facts = Facts {
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

const REACT: Facts = Facts {
    summary: "React to a message",
    about: "One reaction for each user and message; another one takes its place.",
    query: &[],
    body: Some(SchemaGenerator::subschema_for::<ReactionBody>),
    successes: NO_CONTENT,
    refusals: &[Code::MessageDeleted],
};

const TAKE_REACTION_BACK: Facts = Facts {
    summary: "Take a reaction back",
    about: "The caller's own.",
    query: &[],
    body: None,
    successes: NO_CONTENT,
    refusals: &[],
};

const MARK_READ: Facts = Facts {
    summary: "Mark as read",
    about: "The message and all before it in its conversation. Behind the watermark: no change.",
    query: &[],
    body: None,
    successes: NO_CONTENT,
    refusals: &[],
};

const OPEN_SESSION: Facts = Facts {
    summary: "Open a WebSocket",
    about: "Everything of the caller's conversations arrives here, and can be sent from here: `x-websocket` of this \
            operation has the frames and the close codes, docs/api.md says what they mean. A browser, which cannot set \
            headers, offers the subprotocols `rookery.v1, rookery.bearer.<token>`; a bad token is then told by close \
            4401. A token in the query is refused.",
    query: &[Parameter {
        name: "resume",
        kind: Kind::Word(&["wait"]),
        about: "Nothing is sent until the client's `resume` frame came, 10 s at most.",
    }],
    body: None,
    successes: &[Success::new(101, "From here on it is a WebSocket.", None)],
    refusals: &[],
};

const SHOW_DOCUMENT: Facts = Facts {
    summary: "Show this document",
    about: "Needs no token.",
    query: &[],
    body: None,
    successes: &[Success::new(200, "OpenAPI 3.1.", Some(any_object))],
    refusals: &[],
};

fn any_object(_generator: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({"type": "object"})
}

impl Operation {
    /// What it takes and answers.
    #[must_use]
    pub fn facts(self) -> &'static Facts {
        match self {
            Self::CreateConversation => &CREATE_CONVERSATION,
            Self::ListConversations => &LIST_CONVERSATIONS,
            Self::ShowConversation => &SHOW_CONVERSATION,
            Self::ListParticipants => &LIST_PARTICIPANTS,
            Self::AddParticipants => &ADD_PARTICIPANTS,
            Self::RemoveParticipant => &REMOVE_PARTICIPANT,
            Self::SendMessage => &SEND_MESSAGE,
            Self::ShowHistory => &SHOW_HISTORY,
            Self::ShowEvents => &SHOW_EVENTS,
            Self::ShowWatermarks => &SHOW_WATERMARKS,
            Self::ShowPresence => &SHOW_PRESENCE,
            Self::ShowMessage => &SHOW_MESSAGE,
            Self::EditMessage => &EDIT_MESSAGE,
            Self::DeleteMessage => &DELETE_MESSAGE,
            Self::ShowReceipts => &SHOW_RECEIPTS,
            Self::React => &REACT,
            Self::TakeReactionBack => &TAKE_REACTION_BACK,
            Self::MarkRead => &MARK_READ,
            Self::OpenSession => &OPEN_SESSION,
            Self::ShowDocument => &SHOW_DOCUMENT,
        }
    }

    /// Every code that it can be refused with, in the order of [`Code::ALL`]. `not_found` and
    /// `method_not_allowed` are no operation's: they tell that there is none; nor is
    /// `head_too_large`, which is found before it is known.
    #[must_use]
    pub fn refusals(self) -> Vec<Code> {
        let (endpoint, _) = self.place();
        let names = |parameter: &str| endpoint.template().contains(parameter);
        let by_user = self
            .facts()
            .query
            .iter()
            .any(|parameter| matches!(parameter.kind, Kind::User));
        let common = |code: Code| match code {
            Code::Invalid => true,
            Code::Unauthorized | Code::Unavailable => endpoint != Endpoint::Document,
            Code::RateLimited | Code::Lagging | Code::Stale => {
                !matches!(endpoint, Endpoint::Document | Endpoint::WebSocket)
            }
            Code::OutcomeUnknown | Code::NotReplicated => self.writes(),
            Code::TooLarge => self.takes_body(),
            // Also where no body is needed: one that is sent may be encoded.
            Code::UnsupportedMediaType => self.writes(),
            Code::UpgradeRequired => endpoint == Endpoint::WebSocket,
            Code::InvalidName => names("{name}") || names("{user}") || by_user,
            Code::MessageUnknown => names("{id}"),
            _ => false,
        };
        Code::ALL
            .into_iter()
            .filter(|code| common(*code) || self.facts().refusals.contains(code))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_some_operations_but_those_that_tell_that_there_is_none() {
        let refused: Vec<Code> = Operation::ALL
            .into_iter()
            .flat_map(Operation::refusals)
            .collect();
        for code in Code::ALL {
            let of_none = matches!(
                code,
                Code::NotFound | Code::MethodNotAllowed | Code::HeadTooLarge
            );
            assert_eq!(refused.contains(&code), !of_none, "{code:?}");
        }
    }

    #[test]
    fn no_parameter_is_declared_twice_and_only_writes_take_bodies() {
        for operation in Operation::ALL {
            let query = operation.facts().query;
            for (at, parameter) in query.iter().enumerate() {
                assert!(
                    query[at + 1..]
                        .iter()
                        .all(|other| other.name != parameter.name),
                    "{operation:?}"
                );
            }
            assert!(
                operation.writes() || !operation.takes_body(),
                "{operation:?}"
            );
        }
    }
}
