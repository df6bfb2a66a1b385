//! The messages stream: conversations that are closed, and what goes of them afterwards (ADR 26).

use std::collections::BTreeMap;

use crate::ids::{Offset, UserId};
use crate::log::record::{Erasure, Event, Pruning};
use crate::shard::file::apply::changes::{ClosingRow, MessageStep, event_row};
use crate::shard::file::apply::messages::Fold;

impl Fold {
    /// Nobody takes part any more. Who did is in the file, and is not looked at here.
    pub(super) fn closed(&mut self, offset: Offset, event: &Event, by: &UserId) {
        self.changes.events.push(event_row(event, "closed"));
        self.changes
            .admins
            .insert(event.conversation.clone(), by.clone());
        self.changes.closings.push(ClosingRow {
            name: event.conversation.clone(),
            seq: event.seq,
            offset,
            at: event.created,
        });
    }

    /// Messages and events up to a seq are gone; of a closed conversation its last event stays.
    pub(super) fn pruned(&mut self, pruning: &Pruning) -> Result<(), String> {
        let (name, up_to) = (&pruning.conversation, pruning.up_to);
        match self.stands(name) {
            None => return Err(format!("{name} does not exist")),
            Some((last, closed)) if up_to > last || closed && up_to == last => {
                return Err(format!("prunes {name} up to {up_to}, its last is {last}"));
            }
            Some(_) => {}
        }

        // In its place between what is sent before and after: an id that is free may come again.
        let gone = (name.clone(), up_to);
        match self.changes.messages.last_mut() {
            Some(MessageStep::Prune(all)) => {
                let held = all.entry(gone.0).or_default();
                *held = up_to.max(*held);
            }
            _ => self
                .changes
                .messages
                .push(MessageStep::Prune(BTreeMap::from([gone]))),
        }

        let held = self.changes.pruned.entry(name.clone()).or_default();
        *held = up_to.max(*held);
        Ok(())
    }

    /// The next rows of a closed conversation are gone.
    pub(super) fn erased(&mut self, erasure: &Erasure) -> Result<(), String> {
        let name = &erasure.conversation;
        if !matches!(self.stands(name), Some((_, true))) {
            return Err(format!("{name} is not closed"));
        }
        self.changes.erased.push((name.clone(), erasure.is_last));
        Ok(())
    }
}
