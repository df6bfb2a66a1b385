//! Pages of the history of a conversation: the committed tail in memory merged with the rows of the
//! file.

use crate::ids::Seq;
use crate::protocol::{HistoryPage, MessageCore};
use crate::shard::command::{Around, HistoryQuery, ShardError, core_of};
use crate::shard::file::store::{HistoryRead, ShownMessage, StoreError};
use crate::shard::read::barrier::Reading;
use crate::shard::read::paging::{merge, pick};
use crate::shard::read::shown::{over_events, over_messages};
use crate::shard::state::Inner;
use crate::shard::write::owner::Want;

impl Inner {
    pub(super) async fn history(
        &self,
        query: &HistoryQuery,
        reading: &Reading,
    ) -> Result<HistoryPage, ShardError> {
        let ticket = self
            .begin(&query.conversation, &query.reader, Want::Tail, reading)
            .await?;
        let last = ticket.last_seq;
        let mut rows = self.rows_up_to(query, last).await?;
        over_messages(&mut rows, &ticket.tail);
        if rows.iter().any(|message| message.changed > last) || self.closed_since(&ticket) {
            // Edited or erased since, and its reader may have been removed before.
            self.still_in(&query.conversation, &query.reader, reading)
                .await?;
        }

        let rows = rows.into_iter().map(|message| message.core).collect();
        let matching = |message: &MessageCore| {
            query
                .source
                .as_ref()
                .is_none_or(|source| message.source == *source)
                && query.reply_to.is_none_or(|id| message.reply_to == Some(id))
        };
        let mut tail = ticket.tail.clone();
        over_events(&mut tail, &ticket.tail);

        let tail = tail
            .iter()
            .filter_map(|event| core_of(event))
            .filter(matching)
            .collect();
        let picked = pick(merge(rows, tail), query.around, query.limit as usize);

        let before = picked
            .items
            .first()
            .map(|message| message.seq)
            .filter(|_| picked.older);
        let after = picked
            .items
            .last()
            .map(|message| message.seq)
            .filter(|_| picked.newer);
        let name = &query.conversation;

        let mut items = self
            .with_reactions(name, picked.items, &query.reader, &ticket, reading)
            .await?;
        if !query.ascending {
            items.reverse();
        }

        Ok(HistoryPage {
            items,
            before,
            after,
        })
    }

    /// The rows on the side that is asked for, and one on the other side: it tells whether the page
    /// goes on there. The file may have gone on since `last`, and its reader may have been removed:
    /// nothing beyond it is looked at.
    async fn rows_up_to(
        &self,
        query: &HistoryQuery,
        last: Seq,
    ) -> Result<Vec<ShownMessage>, StoreError> {
        let within = |around| match around {
            Around::Newest => Around::Before(last.next()),
            Around::Before(seq) => Around::Before(seq.min(last.next())),
            Around::Around(seq) => Around::Around(seq.min(last.next())),
            around => around,
        };
        let mut rows = self
            .history_rows(query, within(query.around), query.limit)
            .await?;

        let other = match query.around {
            Around::Before(seq) => Some(Around::After(Seq(seq.0.saturating_sub(1)))),
            Around::After(seq) => Some(Around::Before(seq.next())),
            Around::Newest | Around::Oldest | Around::Around(_) => None,
        };
        if let Some(other) = other {
            rows.extend(self.history_rows(query, within(other), 1).await?);
        }

        rows.retain(|message| message.core.seq <= last);
        Ok(rows)
    }

    async fn history_rows(
        &self,
        query: &HistoryQuery,
        around: Around,
        limit: u32,
    ) -> Result<Vec<ShownMessage>, StoreError> {
        let (conversation, source, reply_to) =
            (&query.conversation, query.source.as_ref(), query.reply_to);
        self.store
            .history(HistoryRead {
                conversation,
                around,
                limit,
                source,
                reply_to,
            })
            .await
    }
}
