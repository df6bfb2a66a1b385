//! Every change of a conversation, in order and without a hole.

use std::sync::Arc;

use crate::ids::UserId;
use crate::ids::{ConversationName, Seq};
use crate::log::record::Event;
use crate::shard::command::{Found, ShardError};
use crate::shard::read::barrier::Reading;
use crate::shard::read::paging::cut;
use crate::shard::read::shown::is_changed_after;
use crate::shard::read::shown::over_events;
use crate::shard::state::Inner;
use crate::shard::write::owner::Ticket;
use crate::shard::write::owner::Want;

impl Inner {
    /// The page of at most so many changes after this seq, where the next one begins, and what is
    /// gone before it.
    pub(super) async fn events_page(
        &self,
        name: &ConversationName,
        reader: &UserId,
        (after, limit): (Seq, u32),
        reading: &Reading,
    ) -> Result<Found, ShardError> {
        let ticket = self.begin(name, reader, Want::Tail, reading).await?;
        let (mut items, pruned) = self
            .events(name, after, limit.saturating_add(1), &ticket)
            .await?;

        // Its reader may have been removed since, or nobody may read it any more.
        items.retain(|event| event.seq <= ticket.last_seq);
        if is_changed_after(&items, ticket.last_seq) || self.closed_since(&ticket) {
            self.still_in(name, reader, reading).await?;
        }

        let (items, next) = cut(items, limit, |event| event.seq);
        Ok(Found::Events {
            items,
            next,
            pruned,
        })
    }

    /// Events after `after`, dense: first from SQLite, then from the tail in memory; messages as
    /// they stand now. Also up to which seq all are gone: they begin behind that.
    pub(in crate::shard) async fn events(
        &self,
        name: &ConversationName,
        after: Seq,
        limit: u32,
        ticket: &Ticket,
    ) -> Result<(Vec<Arc<Event>>, Seq), ShardError> {
        let in_memory = ticket.tail.first().map_or(Seq(u64::MAX), |event| event.seq);
        let (mut items, mut pruned) = (Vec::new(), Seq(0));
        if after.next() < in_memory {
            (items, pruned) = self.store.span(name, after, limit).await?;
        }

        let begins = after.max(pruned);
        let mut last = items.last().map_or(begins, |event| event.seq);
        for event in &ticket.tail {
            if items.len() >= limit as usize {
                break;
            }
            if event.seq == last.next() {
                last = event.seq;
                items.push(Arc::clone(event));
            }
        }

        over_events(&mut items, &ticket.tail);
        Ok((items, pruned))
    }
}
