//! The examples of the document: one small story, written with the contract's own types, so that
//! they change with them. `tests/it/api/openapi.rs` plays it against a server and compares every
//! answer.

use serde_json::{Value, json};

use crate::ids::{ConversationName, MessageId, Seq, UserId};
use crate::protocol::routes::Operation;
use crate::protocol::{
    Ban, Conversation, ConversationItem, EventKind, EventsPage, HistoryPage, ListItem, ListPage,
    Message, MessageCore, OwnView, Page, Participant, Presence, PresencePage, Reaction, Receipt,
    Role, ServerFrame, Settings, Watermark, Whom, direct,
};

/// A request id.
pub(super) const REQUEST_ID: &str = "0199a3b2-1c00-7000-8000-000000000001";
/// An idempotency key.
pub(super) const KEY: &str = "example-1";

const CONVERSATION: &str = "crew";
const DELETED: &str = "old-crew";
const TITLE: &str = "The crew";
const TEXT: &str = "hello, bob";
const EDITED: &str = "hello, bob and carol";
const REASON: &str = "spam";
const THUMB_UP: u32 = 0x1f44d;
/// When all of it happens: 2026-01-01.
const NOW_MS: u64 = 1_767_225_600_000;

/// The example of a parameter in a path of an operation.
pub(super) fn path(operation: Operation, parameter: &str) -> Value {
    match parameter {
        // The story goes on in the other one.
        _ if operation == Operation::DeleteConversation => DELETED.into(),
        "user" => "bob".into(),
        "id" => json!(id()),
        _ => CONVERSATION.into(),
    }
}

/// The example of a request's body.
pub(super) fn body(operation: Operation) -> Value {
    match operation {
        Operation::CreateConversation => {
            json!({"participants": ["bob"], "title": TITLE, "name": CONVERSATION})
        }
        Operation::OpenDirect => json!({"user": "bob"}),
        Operation::AddParticipants => json!({"participants": ["bob", "carol"]}),
        Operation::SendMessage => json!({"text": TEXT}),
        Operation::EditMessage => json!({"text": EDITED}),
        Operation::React => json!({"reaction": THUMB_UP}),
        Operation::ChangeConversation => json!({"settings": {"post": "moderators"}}),
        Operation::SetParticipant => json!({"role": "moderator"}),
        Operation::SetOwnView => json!({"pinned": 0, "archived": false}),
        Operation::Ban => json!({"reason": REASON}),
        _ => Value::Null,
    }
}

/// The example of an answer's body.
#[expect(clippy::too_many_lines, reason = "one arm for each operation")]
pub(super) fn answer(operation: Operation) -> Option<Value> {
    Some(match operation {
        Operation::CreateConversation => json!(conversation(&["alice", "bob"], 1)),
        Operation::OpenDirect => json!(Conversation {
            name: direct::name_of(&user("alice")?, &user("bob")?)?,
            title: None,
            direct: true,
            ..conversation(&["alice", "bob"], 1)?
        }),
        Operation::AddParticipants => json!(conversation(&["alice", "bob", "carol"], 3)),
        Operation::SendMessage => json!(message(false)),
        Operation::ShowConversation => json!(seen(3, None)),
        Operation::SetOwnView => json!(seen(3, Some(0))),
        Operation::ChangeConversation => json!(Conversation {
            settings: Settings {
                post: Whom::Moderators,
                ..Settings::default()
            },
            ..conversation(&["alice", "bob", "carol"], 6)?
        }),
        Operation::SetParticipant => json!(Participant {
            role: Role::Moderator,
            ..participants(&["alice", "bob"]).pop()?
        }),
        Operation::ListBans => json!(page_of(Ban {
            user: user("bob")?,
            by: user("alice")?,
            at: NOW_MS,
            reason: Some(REASON.to_owned()),
        })),
        Operation::ShowMessage => json!(message(true)),
        Operation::EditMessage => json!(edited()),
        Operation::ListConversations => {
            let conversation = Conversation {
                participants: None,
                ..seen(3, None)?
            };
            let item = ConversationItem {
                conversation,
                last_message: message(true),
                changed: None,
            };
            json!(ListPage {
                items: vec![ListItem::Whole(Box::new(item))],
                next: None,
                partial: false,
                unread_total: Some(Some(0)),
                now: Some(NOW_MS),
            })
        }
        Operation::ListParticipants => {
            let items = participants(&["alice", "bob", "carol"]);
            json!(Page {
                items,
                next: None,
                partial: false
            })
        }
        Operation::ShowHistory => json!(HistoryPage {
            items: vec![message(true)?],
            before: None,
            after: None
        }),
        Operation::ShowEvents => {
            let participants = vec![user("alice")?, user("bob")?];
            let (by, title) = (user("alice")?, Some(TITLE.to_owned()));
            let created = EventKind::Created {
                by,
                title,
                participants,
                participants_count: 2,
                data: None,
                settings: Settings::default(),
            };
            let joined = EventKind::Joined {
                by: user("alice")?,
                users: vec![user("carol")?],
            };
            let name = name()?;
            let event = |seq, kind| {
                json!(ServerFrame::Event {
                    conversation: &name,
                    seq: Seq(seq),
                    created: NOW_MS,
                    kind
                })
            };
            let items = vec![
                event(1, &created),
                json!(ServerFrame::Message(&core()?)),
                event(3, &joined),
            ];
            json!(EventsPage { items, next: None })
        }
        Operation::ShowWatermarks => {
            // Only bob was given anything; everyone has read up to their own join, and so has got
            // it.
            let of = |name, delivered, read| {
                Some(Watermark {
                    user: user(name)?,
                    delivered_up_to: Seq(delivered),
                    read_up_to: Seq(read),
                })
            };
            let items = vec![of("alice", 1, 1)?, of("bob", 2, 2)?, of("carol", 3, 3)?];
            json!(Page {
                items,
                next: None,
                partial: false
            })
        }
        Operation::ShowPresence => {
            // Nobody has a session; carol has not done anything yet.
            let of = |name| {
                Some(Presence {
                    user: user(name)?,
                    online: false,
                    last_seen: None,
                })
            };
            json!(PresencePage {
                items: vec![of("alice")?, of("bob")?]
            })
        }
        Operation::ShowReceipts => {
            let bob = Receipt {
                message_id: id()?,
                user_id: user("bob")?,
                delivered: true,
                read: true,
                reaction: Some(THUMB_UP),
                delivered_at: Some(NOW_MS),
                read_at: Some(NOW_MS),
                ts: Some(NOW_MS),
            };
            json!(Page {
                items: vec![bob],
                next: None,
                partial: false
            })
        }
        Operation::ListReactions => json!(page_of(Reaction {
            user: user("bob")?,
            reaction: THUMB_UP,
            ts: NOW_MS,
        })),
        _ => return None,
    })
}

fn page_of<T>(item: T) -> Page<T> {
    Page {
        items: vec![item],
        next: None,
        partial: false,
    }
}

fn user(name: &str) -> Option<UserId> {
    UserId::parse(name).ok()
}

fn name() -> Option<ConversationName> {
    ConversationName::parse(CONVERSATION).ok()
}

fn id() -> Option<MessageId> {
    Some(MessageId::new(NOW_MS, name()?.slot(), 1))
}

fn participants(names: &[&str]) -> Vec<Participant> {
    let role = |at| if at == 0 { Role::Admin } else { Role::Member };
    let participant = |(at, name): (usize, &&str)| {
        Some(Participant {
            name: user(name)?,
            role: role(at),
            muted_until: None,
            // Carol is added later.
            joined_seq: Seq(if at < 2 { 1 } else { 3 }),
        })
    };
    names.iter().enumerate().filter_map(participant).collect()
}

fn conversation(names: &[&str], last_seq: u64) -> Option<Conversation> {
    let participants = participants(names);
    Some(Conversation {
        retention_effective_s: None,
        first_seq: Seq(1),
        name: name()?,
        title: Some(TITLE.to_owned()),
        direct: false,
        admin: user("alice")?,
        created: NOW_MS,
        last_seq: Seq(last_seq),
        participants_count: u64::try_from(participants.len()).ok()?,
        participants: Some(participants),
        my_role: Role::Admin,
        my_muted_until: None,
        data: None,
        settings: Settings::default(),
        own: None,
    })
}

/// The same as the caller sees it, who pinned it or did not.
fn seen(last_seq: u64, pinned: Option<u32>) -> Option<Conversation> {
    Some(Conversation {
        own: Some(OwnView {
            notify_after: None,
            pinned,
            archived: false,
            read_up_to: Seq(1),
            unread: 0,
            unread_mentions: 0,
        }),
        ..conversation(&["alice", "bob", "carol"], last_seq)?
    })
}

fn core() -> Option<MessageCore> {
    Some(MessageCore {
        id: id()?,
        conversation: name()?,
        seq: Seq(2),
        source: user("alice")?,
        text: TEXT.to_owned(),
        reply_to: None,
        created: NOW_MS,
        edited: None,
        deleted: false,
        data: None,
        mentions: Vec::new(),
        deleted_by: None,
    })
}

/// The message after alice edited it.
fn edited() -> Option<Message> {
    let before = message(false)?;
    let core = MessageCore {
        text: EDITED.to_owned(),
        edited: Some(NOW_MS),
        ..before.core
    };
    Some(Message { core, ..before })
}

/// The message, before or after bob's reaction.
fn message(reacted: bool) -> Option<Message> {
    let reactions = reacted.then_some((THUMB_UP, 1)).into_iter().collect();
    Some(Message {
        core: core()?,
        reactions,
        my_reaction: None,
    })
}
