//! How far a device has seen each conversation, and what it missed too much of.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::chaos::clients::World;
use crate::chaos::clients::person::Person;
use crate::chaos::history::item::{conversation_name, conversation_number, item};
use crate::chaos::history::{Record, What};
use crate::chaos::wire::{Socket, sent};

/// Positions of one frame.
const POSITIONS_MAX: usize = 500;

/// What one device has seen.
pub(super) struct Seen {
    world: Arc<World>,
    user: u32,
    /// The last seq of each conversation.
    pub(super) positions: BTreeMap<u32, u64>,
    /// Conversations of which a part has to be read by request, from there.
    missed: BTreeMap<u32, u64>,
}

impl Seen {
    /// Nothing yet.
    pub(super) fn new(world: &Arc<World>, user: u32) -> Self {
        Self {
            world: Arc::clone(world),
            user,
            positions: BTreeMap::new(),
            missed: BTreeMap::new(),
        }
    }

    /// Says from where on a new socket is to go on; false when it takes nothing.
    pub(super) async fn resume(&self, socket: &mut Socket) -> bool {
        let all: Vec<(String, u64)> = self
            .positions
            .iter()
            .map(|(c, s)| (conversation_name(*c), *s))
            .collect();
        let mut parts: Vec<&[(String, u64)]> = all.chunks(POSITIONS_MAX).collect();

        if parts.is_empty() {
            parts.push(&[]);
        }

        let last = parts.len();
        for (i, part) in parts.into_iter().enumerate() {
            let positions: BTreeMap<&str, u64> = part
                .iter()
                .map(|(name, seq)| (name.as_str(), *seq))
                .collect();
            let frame = json!({"t": "resume", "positions": positions, "more": i + 1 < last});
            if !sent(socket, frame.to_string()).await {
                return false;
            }
        }

        true
    }

    /// Takes a message, or what else changed.
    pub(super) fn change(
        &mut self,
        session: u64,
        conversation: u32,
        frame: &Value,
    ) -> Result<(), String> {
        let item = item(frame)?;
        self.positions.insert(conversation, item.seq);
        if matches!(item.what, What::Left { user } if user == self.user) {
            self.positions.remove(&conversation);
        }
        self.world.log.frame(session, conversation, item);
        Ok(())
    }

    /// Takes a gap: what is too far back is read by request.
    pub(super) fn gap(
        &mut self,
        session: u64,
        conversation: u32,
        (from, to): (u64, u64),
        reason: String,
    ) {
        match reason.as_str() {
            "not_participant" => drop(self.positions.remove(&conversation)),
            "replaced" => drop(self.positions.insert(conversation, from.saturating_sub(1))),
            _ => {
                self.positions.insert(conversation, to);
                self.missed.insert(conversation, from.saturating_sub(1));
            }
        }
        self.world.log.note(&Record::Gap {
            at: self.world.log.now(),
            session,
            conversation,
            from,
            to,
            reason,
        });
    }

    /// Takes where conversations are live.
    pub(super) fn caught_up(&mut self, session: u64, frame: &Value) -> Result<(), String> {
        let named = frame
            .get("positions")
            .and_then(Value::as_object)
            .ok_or("live without positions")?;
        let position =
            |(name, seq): (&String, &Value)| Some((conversation_number(name)?, seq.as_u64()?));
        let positions: Vec<(u32, u64)> = named.iter().filter_map(position).collect();

        for (conversation, seq) in &positions {
            self.positions.insert(*conversation, *seq);
        }

        self.world.log.note(&Record::Live {
            at: self.world.log.now(),
            session,
            positions,
        });
        Ok(())
    }

    /// Reads what a gap left out by request, of one conversation.
    pub(super) fn read_missed(&mut self) {
        let Some((conversation, mut after)) = self.missed.pop_first() else {
            return;
        };
        let (world, user) = (Arc::clone(&self.world), self.user);
        drop(tokio::spawn(async move {
            let mut person = Person::new(&world, user);
            while let Some((last, false)) =
                person.page(&world, conversation, (after, 200), false).await
            {
                after = last;
            }
        }));
    }
}
