//! The whole face over shards that answer from a script: what reaches them, in which order it is
//! checked, and what the client gets.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::Semaphore;

use self::asking::{Fixture, NOW_MS, SECRET};
use self::script::{Read, Script};
use crate::auth;
use crate::ids::{ConversationName, MessageId, NodeId, Seq, Slot, UserId};
use crate::log::record::{Event, EventKind};
use crate::node::http::shards::Shards;
use crate::problem::{Code, Problem};
use crate::protocol::{Conversation, Message, OwnView, Role, Settings, headers};
use crate::shard::command::{Done, Found, Freshness, Query, ShardError, core_of};

mod admission;
mod asking;
mod histories;
mod lists;
mod membership;
mod script;
mod sending;

fn user(name: &str) -> UserId {
    UserId::parse(name).expect("a name")
}

fn name(name: &str) -> ConversationName {
    ConversationName::parse(name).expect("a name")
}

fn conversation() -> Conversation {
    Conversation {
        retention_effective_s: None,
        first_seq: Seq(1),
        name: name("team"),
        title: None,
        direct: false,
        admin: user("bob"),
        created: 5,
        last_seq: Seq(1),
        participants_count: 2,
        participants: None,
        my_role: Role::Admin,
        my_muted_until: None,
        data: None,
        settings: Settings::default(),
        own: None,
    }
}

/// The same as one sees it who has so many unread messages.
fn seen(unread: u32) -> Conversation {
    Conversation {
        own: Some(OwnView {
            notify_after: None,
            pinned: None,
            archived: false,
            read_up_to: Seq(1),
            unread,
            unread_mentions: 0,
        }),
        ..conversation()
    }
}

fn message(seq: u64) -> Message {
    let event = Event {
        conversation: name("team"),
        seq: Seq(seq),
        created: 5,
        key: None,
        kind: EventKind::plain(MessageId::new(1, Slot(9), seq), user("bob"), "hi"),
    };
    Message {
        core: core_of(&event).expect("a message"),
        reactions: BTreeMap::new(),
        my_reaction: None,
    }
}

const MESSAGES: &str = "/v1/conversations/team/messages";
