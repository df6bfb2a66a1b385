//! Messages that a device sent by frame: their answers, each of which comes once, and what becomes
//! of those that have none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::chaos::clients::World;
use crate::chaos::clients::person::{Person, is_open, message};
use crate::chaos::history::item::{conversation_name, item, text_of};
use crate::chaos::history::{Act, Outcome, Record};
use crate::chaos::wire::{Socket, sent};

/// Answers that a device may wait for in all.
const UNDER_WAY_MAX: usize = 24;
/// For the answer to a frame.
const ANSWERED_WITHIN: Duration = Duration::from_secs(12);
/// Answers of a socket that are remembered, to find one that comes twice.
const ANSWERED_MAX: usize = 2_000;

/// What was sent by frame and is not answered.
pub(super) struct Unanswered {
    world: Arc<World>,
    user: u32,
    /// Operations, where, and when.
    pending: BTreeMap<u64, (u32, Instant)>,
    /// What was answered on this socket, the newest of it.
    answered: BTreeSet<u64>,
}

/// Whether the message of an operation has a key of the client's: one of four is sent by frame
/// without, and is under the key that the router stamps.
fn has_key(op: u64) -> bool {
    !op.is_multiple_of(4)
}

impl Unanswered {
    pub(super) fn new(world: &Arc<World>, user: u32) -> Self {
        Self {
            world: Arc::clone(world),
            user,
            pending: BTreeMap::new(),
            answered: BTreeSet::new(),
        }
    }

    /// A socket begins, on which nothing was answered yet.
    pub(super) fn on_a_new_socket(&mut self) {
        self.answered = BTreeSet::new();
    }

    /// Whether as much is under way as may be.
    pub(super) fn is_full(&self) -> bool {
        self.pending.len() >= UNDER_WAY_MAX
    }

    /// Whether an answer is overdue.
    pub(super) fn is_late(&self) -> bool {
        let mut pending = self.pending.values();
        pending.any(|(_, begun)| begun.elapsed() > ANSWERED_WITHIN)
    }

    /// Sends a message by frame and waits for no answer; false when the socket takes nothing.
    pub(super) async fn send(
        &mut self,
        socket: &mut Socket,
        session: u64,
        conversation: u32,
    ) -> bool {
        let log = &self.world.log;
        let op = log.begin(self.user, conversation, Act::Send);
        log.note(&Record::Framed {
            at: log.now(),
            op,
            session,
        });
        self.pending.insert(op, (conversation, Instant::now()));
        let text = text_of(op, self.world.shape.text_bytes);
        let name = conversation_name(conversation);
        let key = has_key(op).then(|| format!("k-{op}"));
        let frame =
            json!({"t": "send", "ref": op, "conversation": name, "text": text, "client_id": key});
        sent(socket, frame.to_string()).await
    }

    /// Whatever has no answer is settled by request.
    pub(super) fn give_away(&mut self) {
        for (op, (conversation, _)) in std::mem::take(&mut self.pending) {
            self.settle_later(op, conversation);
        }
    }

    /// The same key by request, until the outcome is sure. What has none is told no more.
    fn settle_later(&self, op: u64, conversation: u32) {
        if !has_key(op) {
            self.world.log.end(
                op,
                Outcome::Unknown {
                    code: "it has no key".to_owned(),
                },
            );
            return;
        }

        let (world, user) = (Arc::clone(&self.world), self.user);
        drop(tokio::spawn(async move {
            let Ok(_place) = world.settling.acquire().await else {
                return;
            };
            let mut person = Person::new(&world, user);
            let outcome = person
                .settle(&world, op, &message(&world, conversation, op), false)
                .await;
            world.log.end(op, outcome);
        }));
    }

    /// Takes the answer to a frame.
    pub(super) fn take(&mut self, frame: &Value) -> Result<(), String> {
        let Some(op) = frame.get("ref").and_then(Value::as_u64) else {
            return Ok(());
        };
        if !self.answered.insert(op) {
            return Err(format!("op-{op} is answered twice: {frame}"));
        }

        if self.answered.len() > ANSWERED_MAX {
            self.answered.pop_first();
        }

        let Some((op, (conversation, _))) = self.pending.remove_entry(&op) else {
            return Ok(());
        };

        if let Some(result) = frame.get("result") {
            let item = item(result).ok();
            self.world.log.end(op, Outcome::Ok { item, clean: true });
            return Ok(());
        }

        let problem = frame.get("problem");
        let code = problem
            .and_then(|problem| problem.get("code")?.as_str())
            .unwrap_or_default()
            .to_owned();
        if is_open(&code) {
            self.settle_later(op, conversation);
        } else {
            self.world.log.end(op, Outcome::Failed { code });
        }
        Ok(())
    }
}
