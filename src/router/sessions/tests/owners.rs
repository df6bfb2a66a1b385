//! Owners of one conversation, played by a fake.

use std::collections::HashSet;
use std::sync::Mutex;

use async_trait::async_trait;
use futures_util::future::BoxFuture;

use super::*;
use crate::cluster::map::ShardMap;
use crate::ids::{ConversationName, Offset, ShardId};
use crate::log::record::EventKind;
use crate::problem::Code;
use crate::protocol::{Message as ShownMessage, MessageCore};
use crate::shard::IndexPage;
use crate::shard::command::{Done, IndexItem, Interest, Subscribed};

/// Owners of one conversation `c`, in which everybody is since seq 1. A message that begins with
/// `hold` is answered only when it is sent once more.
#[derive(Default)]
pub(crate) struct Fake {
    pub(crate) events: Mutex<Vec<Arc<Event>>>,
    pub(crate) commands: Mutex<Vec<Command>>,
    held: Mutex<HashSet<String>>,
}

#[async_trait]
impl Upstream for Fake {
    fn map(&self) -> ShardMap {
        ShardMap::new(1).expect("a power of two")
    }

    fn execute(
        &self,
        _: ShardId,
        command: Command,
        _: Instant,
    ) -> BoxFuture<'static, Result<Done, Problem>> {
        self.commands.lock().expect("lock").push(command.clone());
        if let Command::Send(send) = &command
            && send.text.starts_with("hold")
            && self
                .held
                .lock()
                .expect("lock")
                .insert(send.text.as_ref().to_owned())
        {
            return Box::pin(std::future::pending());
        }

        let done = match command {
            Command::Send(send) if send.text.contains("refuse") => {
                Err(Problem::new(Code::NotParticipant, "no"))
            }
            Command::Send(send) => {
                let core = MessageCore {
                    id: MessageId::new(1, send.conversation.slot(), 1),
                    conversation: send.conversation,
                    seq: Seq(2),
                    source: send.source,
                    text: send.text.as_ref().to_owned(),
                    reply_to: None,
                    created: 1,
                    edited: None,
                    deleted: false,
                    data: None,
                    mentions: Vec::new(),
                    deleted_by: None,
                };
                let message = ShownMessage {
                    core,
                    reactions: std::collections::BTreeMap::new(),
                    my_reaction: None,
                };
                Ok(Done::Sent {
                    message,
                    replayed: false,
                })
            }
            _ => Ok(Done::Marked),
        };
        Box::pin(std::future::ready(done))
    }

    async fn subscribe(&self, interests: Vec<Interest>, _: Instant) -> Vec<Subscribed> {
        let events = self.events.lock().expect("lock");
        let tail = Seq(events.len() as u64);
        let answer = |interest: Interest| {
            if interest.conversation.as_str() != "c" {
                return Subscribed::NotParticipant;
            }
            let after = interest.after.unwrap_or(tail);
            let span = events.iter().filter(|event| event.seq > after);
            Subscribed::Live {
                pruned: Seq(0),
                tail,
                joined: Seq(1),
                events: span.take(interest.limit as usize).cloned().collect(),
                departed: None,
            }
        };
        interests.into_iter().map(answer).collect()
    }

    fn unsubscribe(&self, _: Vec<(ConversationName, UserId)>) {}

    async fn subscribe_index(
        &self,
        _: UserId,
        _: Offset,
        _: u32,
        _: Instant,
    ) -> Result<IndexPage, Problem> {
        let item = IndexItem {
            conversation: name(),
            seq: Seq(1),
            joined: true,
            version: Offset(1),
        };
        Ok(IndexPage {
            items: vec![item],
            more: false,
        })
    }

    fn unsubscribe_index(&self, _: UserId) {}
}

pub(super) fn name() -> ConversationName {
    ConversationName::parse("c").expect("a name")
}

pub(super) fn event(seq: u64, text: &str) -> Arc<Event> {
    let source = UserId::parse("alice").expect("a name");
    let id = MessageId::new(1, Slot(0), seq);
    let kind = EventKind::plain(id, source, text);
    Arc::new(Event {
        conversation: name(),
        seq: Seq(seq),
        created: seq,
        key: None,
        kind,
    })
}

impl Fake {
    /// Commits one message.
    pub(crate) fn commit(&self, text: &str) -> Arc<Event> {
        let mut events = self.events.lock().expect("lock");
        let event = event(events.len() as u64 + 1, text);
        events.push(Arc::clone(&event));
        event
    }
}
