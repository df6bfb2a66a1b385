//! How far each participant got, what became of a message, and who reacted to it. None of these has
//! a seq to cut at, so each is given only to a reader who still participates after it was gathered.

use crate::ids::{ConversationName, MessageId, UserId};
use crate::log::PerStream;
use crate::problem::{Code, Problem};
use crate::protocol::{Page, Reaction, Receipt, Watermark};
use crate::shard::command::ShardError;
use crate::shard::read::barrier::Reading;
use crate::shard::read::message::hidden;
use crate::shard::read::paging::cut;
use crate::shard::state::Inner;
use crate::shard::write::owner::Want;

impl Inner {
    /// The page of at most so many watermarks after this user.
    pub(super) async fn watermarks(
        &self,
        name: &ConversationName,
        reader: &UserId,
        (after, limit): (Option<UserId>, u32),
        reading: &Reading,
    ) -> Result<Page<Watermark>, ShardError> {
        let ticket = self.begin(name, reader, Want::Tail, reading).await?;
        self.barrier(ticket.touched, reading).await?;
        let items = self
            .store
            .watermarks(name, after.as_ref(), limit.saturating_add(1))
            .await?;
        self.still_in(name, reader, reading).await?;

        let (items, next) = cut(items, limit, |mark| mark.user.to_string());
        Ok(Page {
            items,
            next,
            partial: false,
        })
    }

    /// The page of at most so many receipts of a message after this user, for its sender.
    pub(super) async fn receipts(
        &self,
        id: MessageId,
        reader: &UserId,
        (after, limit): (Option<UserId>, u32),
        reading: &Reading,
    ) -> Result<Page<Receipt>, ShardError> {
        let (at, ticket) = self.find_message(id, reader, reading).await?;
        if at.source != *reader {
            return Err(Problem::new(
                Code::NotSender,
                "only the sender of a message may see its receipts",
            )
            .into());
        }

        self.barrier(ticket.touched, reading).await?;
        let items = self
            .store
            .receipts(id, &at, after.as_ref(), limit.saturating_add(1))
            .await?;
        self.still_in(&at.conversation, reader, reading)
            .await
            .map_err(hidden)?;

        let (items, next) = cut(items, limit, |receipt| receipt.user_id.to_string());
        Ok(Page {
            items,
            next,
            partial: false,
        })
    }

    /// The page of at most so many reactions to a message after this user.
    pub(super) async fn reactions(
        &self,
        id: MessageId,
        reader: &UserId,
        (after, limit): (Option<UserId>, u32),
        reading: &Reading,
    ) -> Result<Page<Reaction>, ShardError> {
        let (at, ticket) = self.find_message(id, reader, reading).await?;
        // That the message was deleted is told by the file, as it is when the page is read.
        let known = PerStream {
            messages: ticket.touched.messages,
            receipts: ticket.reaction,
        };
        self.barrier(known, reading).await?;
        let items = self
            .store
            .reactions_page(id, after.as_ref(), limit.saturating_add(1))
            .await?;
        self.still_in(&at.conversation, reader, reading)
            .await
            .map_err(hidden)?;

        let (items, next) = cut(items, limit, |reaction| reaction.user.to_string());
        Ok(Page {
            items,
            next,
            partial: false,
        })
    }
}
