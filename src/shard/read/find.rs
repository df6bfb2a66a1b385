//! Reads: the message list merges the committed tail in memory with SQLite; everything else waits
//! until the worker has reached what touched it (the read barrier). Either way a read sees every
//! write acknowledged before it began.
//!
//! And none sees what came after the removal of its reader. The ticket says that they participate,
//! and how far the conversation reached at that moment: whatever the file has gained since is cut
//! off there. What has no seq to cut at (watermarks, receipts, reactions) is given only when they
//! still participate after it was gathered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::ids::{ConversationName, MessageId, Offset, Seq, UserId};
use crate::log::PerStream;
use crate::log::record::Event;
use crate::problem::{Code, Problem};
use crate::protocol::{HistoryPage, Message, MessageCore, Page};
use crate::shard::command::{Around, Found, HistoryQuery, Query, ShardError, core_of};
use crate::shard::file::store::{HistoryRead, Located, ShownMessage, StoreError};
use crate::shard::read::barrier::Reading;
use crate::shard::read::paging::{merge, pick};
use crate::shard::read::shown::{is_changed_after, over_events, over_messages};
use crate::shard::state::Inner;
use crate::shard::write::owner::{Input, Ticket, Want, message_unknown};

impl From<StoreError> for ShardError {
    fn from(error: StoreError) -> Self {
        tracing::warn!(%error, "read of the shard's file failed");
        Self::Problem(Problem::unavailable(
            "the shard's file cannot be read now; retry later",
        ))
    }
}

impl Inner {
    #[expect(
        clippy::cognitive_complexity,
        clippy::too_many_lines,
        reason = "one arm for each query"
    )]
    pub(in crate::shard) async fn find(
        &self,
        query: Query,
        reading: &Reading,
    ) -> Result<Found, ShardError> {
        match query {
            Query::Conversation { name, reader } => {
                let ticket = self.begin(&name, &reader, Want::View, reading).await?;
                let view = ticket.view.ok_or_else(|| {
                    Problem::unavailable("the conversation is not known yet; retry")
                });
                Ok(Found::Conversation(view?))
            }
            Query::Participants {
                name,
                reader,
                after,
                limit,
            } => {
                let ticket = self
                    .begin(&name, &reader, Want::Participants { after, limit }, reading)
                    .await?;
                let page = ticket.participants.unwrap_or(Page {
                    items: Vec::new(),
                    next: None,
                    partial: false,
                });
                Ok(Found::Participants(page))
            }
            Query::History(query) => Ok(Found::History(
                Box::pin(self.history(&query, reading)).await?,
            )),
            Query::Events {
                name,
                reader,
                after,
                limit,
            } => {
                let ticket = self.begin(&name, &reader, Want::Tail, reading).await?;
                let mut items = self
                    .events(&name, after, limit.saturating_add(1), &ticket)
                    .await?;
                // Its reader may have been removed since.
                items.retain(|event| event.seq <= ticket.last_seq);
                if is_changed_after(&items, ticket.last_seq) {
                    self.still_in(&name, &reader, reading).await?;
                }
                let more = items.len() > limit as usize;
                items.truncate(limit as usize);
                let next = items.last().map(|event| event.seq).filter(|_| more);
                Ok(Found::Events { items, next })
            }
            Query::Watermarks {
                name,
                reader,
                after,
                limit,
            } => {
                let ticket = self.begin(&name, &reader, Want::Tail, reading).await?;
                self.barrier(ticket.touched, reading).await?;
                let items = self
                    .store
                    .watermarks(&name, after.as_ref(), limit.saturating_add(1))
                    .await?;
                self.still_in(&name, &reader, reading).await?;
                Ok(Found::Watermarks(cut(items, limit, |mark| {
                    mark.user.to_string()
                })))
            }
            Query::Message { id, reader } => {
                let (at, ticket) = self.find_message(id, &reader, reading).await?;
                let message =
                    Box::pin(self.message(&at.conversation, at.seq, &reader, &ticket, reading))
                        .await;
                Ok(Found::Message(message.map_err(hidden)?))
            }
            Query::Receipts {
                id,
                reader,
                after,
                limit,
            } => {
                let (at, ticket) = self.find_message(id, &reader, reading).await?;
                if at.source != reader {
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
                self.still_in(&at.conversation, &reader, reading)
                    .await
                    .map_err(hidden)?;
                Ok(Found::Receipts(cut(items, limit, |receipt| {
                    receipt.user_id.to_string()
                })))
            }
            Query::Summaries { names, reader } => {
                let conversations = names.clone();
                let touched = self
                    .ask(reading.deadline, |answer| Input::Touched {
                        conversations,
                        user: None,
                        answer,
                    })
                    .await?;
                self.barrier(touched, reading).await?;
                Ok(Found::Summaries(
                    self.store.summaries(&names, &reader).await?,
                ))
            }
            Query::Index { user, after, limit } => {
                self.index_barrier(&user, reading).await?;
                let mut items = self
                    .store
                    .index_page(&user, after, limit.saturating_add(1))
                    .await?;
                let more = items.len() > limit as usize;
                items.truncate(limit as usize);
                let next = items.last().map(|item| item.version).filter(|_| more);
                Ok(Found::Index { items, next })
            }
            Query::CreateKey { user, key } => {
                self.index_barrier(&user, reading).await?;
                Ok(Found::CreateKey(self.store.create_key(&user, &key).await?))
            }
            Query::Acquainted { name, reader } => Ok(Found::Acquainted(
                Box::pin(self.acquainted(&name, &reader, reading)).await?,
            )),
        }
    }

    async fn index_barrier(&self, user: &UserId, reading: &Reading) -> Result<(), ShardError> {
        let user = Some(user.clone());
        let touched = self
            .ask(reading.deadline, |answer| Input::Touched {
                conversations: Vec::new(),
                user,
                answer,
            })
            .await?;
        self.barrier(touched, reading).await
    }

    async fn history(
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
        if rows.iter().any(|message| message.changed > last) {
            // Edited since, and its reader may have been removed before.
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

    #[expect(
        clippy::too_many_arguments,
        reason = "where, of which, for whom, with what is known, until when"
    )]
    async fn with_reactions(
        &self,
        name: &ConversationName,
        messages: Vec<MessageCore>,
        reader: &UserId,
        ticket: &Ticket,
        reading: &Reading,
    ) -> Result<Vec<Message>, ShardError> {
        self.barrier(
            PerStream {
                messages: Offset(0),
                receipts: ticket.reaction,
            },
            reading,
        )
        .await?;
        // Of a deleted one none are shown.
        let ids: Vec<MessageId> = messages
            .iter()
            .filter(|message| !message.deleted)
            .map(|message| message.id)
            .collect();
        let mut counts: BTreeMap<MessageId, (BTreeMap<u32, u64>, Option<u32>)> = BTreeMap::new();
        if !ids.is_empty() {
            let found = self.store.reactions(&ids).await?;
            if found.iter().any(|(_, user, _)| user != reader) {
                self.still_in(name, reader, reading).await?;
            }
            for (id, user, code) in found {
                let (reactions, mine) = counts.entry(id).or_default();
                *reactions.entry(code).or_default() += 1;
                if user == *reader {
                    *mine = Some(code);
                }
            }
        }
        let with = |core: MessageCore| {
            let (reactions, my_reaction) = counts.remove(&core.id).unwrap_or_default();
            Message {
                core,
                reactions,
                my_reaction,
            }
        };
        Ok(messages.into_iter().map(with).collect())
    }

    /// Events after `after`, dense: first from SQLite, then from the tail in memory; messages as
    /// they stand now.
    pub(in crate::shard) async fn events(
        &self,
        name: &ConversationName,
        after: Seq,
        limit: u32,
        ticket: &Ticket,
    ) -> Result<Vec<Arc<Event>>, ShardError> {
        let in_memory = ticket.tail.first().map_or(Seq(u64::MAX), |event| event.seq);
        let mut items = Vec::new();
        if after.next() < in_memory {
            items = self.store.events(name, after, limit).await?;
        }
        let mut last = items.last().map_or(after, |event| event.seq);
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
        Ok(items)
    }

    /// Where a message is: in memory until it is applied, then in SQLite.
    pub(in crate::shard) async fn locate(
        &self,
        id: MessageId,
        deadline: Instant,
    ) -> Result<Located, ShardError> {
        let found = self
            .ask(deadline, |answer| Input::Locate { id, answer })
            .await?;
        let found = match found {
            Some(at) => Some(at),
            None => self.store.locate(id).await?,
        };
        Ok(found.ok_or_else(message_unknown)?)
    }

    async fn find_message(
        &self,
        id: MessageId,
        reader: &UserId,
        reading: &Reading,
    ) -> Result<(Located, Ticket), ShardError> {
        let at = self.locate(id, reading.deadline).await?;
        match self
            .begin(&at.conversation, reader, Want::Tail, reading)
            .await
        {
            // Decided but not committed: no one may know of it yet.
            Ok(ticket) if ticket.last_seq < at.seq => Err(message_unknown().into()),
            Ok(ticket) => Ok((at, ticket)),
            Err(error) => Err(hidden(error)),
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "where, for whom, with what is known, until when"
    )]
    async fn message(
        &self,
        name: &ConversationName,
        seq: Seq,
        reader: &UserId,
        ticket: &Ticket,
        reading: &Reading,
    ) -> Result<Message, ShardError> {
        let in_memory = ticket
            .tail
            .iter()
            .find(|event| event.seq == seq)
            .and_then(|event| core_of(event));
        let found = match in_memory {
            Some(core) => Some(ShownMessage {
                core,
                changed: Seq(0),
            }),
            None => {
                let around = Around::After(Seq(seq.0.saturating_sub(1)));
                let read = HistoryRead {
                    conversation: name,
                    around,
                    limit: 1,
                    source: None,
                    reply_to: None,
                };
                self.store
                    .history(read)
                    .await?
                    .into_iter()
                    .find(|message| message.core.seq == seq)
            }
        };
        let mut found = [found.ok_or_else(message_unknown)?];
        over_messages(&mut found, &ticket.tail);
        let [ShownMessage { core, changed }] = found;
        if changed > ticket.last_seq {
            self.still_in(name, reader, reading).await?;
        }
        let mut messages = self
            .with_reactions(name, vec![core], reader, ticket, reading)
            .await?;
        Ok(messages.pop().ok_or_else(message_unknown)?)
    }

    /// The message that a key made before, for its sender, as it is now.
    pub(in crate::shard) async fn sent_again(
        &self,
        name: &ConversationName,
        seq: Seq,
        sender: &UserId,
        deadline: Instant,
    ) -> Result<Message, ShardError> {
        let reading = Reading::whole(deadline);
        let read = async {
            let ticket = self.begin(name, sender, Want::Tail, &reading).await?;
            self.message(name, seq, sender, &ticket, &reading).await
        };
        read.await.map_err(|error| match error {
            // Both would say that nothing was written.
            ShardError::Problem(Problem { code: Code::Unavailable | Code::Lagging, .. }) => {
                let detail = "the message was written before, but cannot be read now; retry with the same key";
                Problem::new(Code::OutcomeUnknown, detail).into()
            }
            error => error,
        })
    }
}

/// Whoever does not participate is not told whether a message exists.
pub(in crate::shard) fn hidden(error: ShardError) -> ShardError {
    match error {
        ShardError::Problem(problem) if problem.code == Code::NotParticipant => {
            message_unknown().into()
        }
        error => error,
    }
}

/// Cuts a list that was read one too long.
fn cut<T>(mut items: Vec<T>, limit: u32, cursor: impl Fn(&T) -> String) -> Page<T> {
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let next = items.last().map(cursor).filter(|_| more);
    Page {
        items,
        next,
        partial: false,
    }
}
