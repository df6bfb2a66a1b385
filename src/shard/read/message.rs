//! One message, as it stands for its reader: where it is, what it says, and how others reacted.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::ids::{ConversationName, MessageId, Offset, Seq, UserId};
use crate::log::PerStream;
use crate::problem::{Code, Problem};
use crate::protocol::{Message, MessageCore};
use crate::shard::command::{Around, ShardError, core_of};
use crate::shard::file::store::{HistoryRead, Located, ShownMessage};
use crate::shard::read::barrier::Reading;
use crate::shard::read::shown::over_messages;
use crate::shard::state::Inner;
use crate::shard::write::owner::{Input, Ticket, Want, message_unknown};

impl Inner {
    /// The message of this id, if its reader may know of it.
    pub(super) async fn message_by_id(
        &self,
        id: MessageId,
        reader: &UserId,
        reading: &Reading,
    ) -> Result<Message, ShardError> {
        let (at, ticket) = self.find_message(id, reader, reading).await?;
        let message = self.message(&at.conversation, at.seq, reader, &ticket, reading);
        Box::pin(message).await.map_err(hidden)
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

    pub(super) async fn find_message(
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
        if found.is_none() {
            // Erased since, perhaps.
            self.still_in(name, reader, reading).await?;
        }
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

    #[expect(
        clippy::too_many_arguments,
        reason = "where, of which, for whom, with what is known, until when"
    )]
    pub(super) async fn with_reactions(
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
        ShardError::Problem(Problem {
            code: Code::NotParticipant | Code::ConversationClosed,
            ..
        }) => message_unknown().into(),
        error => error,
    }
}
