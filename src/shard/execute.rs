//! The write side of the handle: queue a command, wait for its commit, then for what the caller
//! must find afterwards.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use crate::ids::{MessageId, Offset, ShardId};
use crate::log::lane::Standing;
use crate::log::record::OutboxPosition;
use crate::problem::{Code, Problem};
use crate::shard::command::{Command, Done, MarkRead, React, ShardError};
use crate::shard::concerned::Concerned;
use crate::shard::file::store::Located;
use crate::shard::read::message::hidden;
use crate::shard::state::Inner;
use crate::shard::typing::May;
use crate::shard::write::fate::Fate;
use crate::shard::write::owner::{Accepted, Asked, Change, Input, Write};
use crate::telemetry;

/// How long an answer to a changed membership waits for the users' indexes, beyond the caller's
/// own.
const INDEXES_WAIT: Duration = Duration::from_millis(500);

/// A command that is on its way.
pub(super) enum Begun {
    Queued(Boxed<Result<Accepted, ShardError>>, Concerned),
    Read(MarkRead),
    React(React),
    Typing(Option<May>),
    Shed,
}

pub(super) type Boxed<T> = std::pin::Pin<Box<dyn Future<Output = T> + Send>>;

impl Inner {
    /// Queues a write and waits for its answer.
    pub(super) fn write(
        &self,
        write: Write,
        deadline: Instant,
    ) -> impl Future<Output = Result<Accepted, ShardError>> + use<> {
        let (answer, mut answered) = oneshot::channel();
        let fate = Fate::default();
        let queued = self.inputs.try_send(Input::Write(Asked {
            write,
            deadline,
            fate: fate.clone(),
            answer,
            turn: 0,
        }));
        let (shard, lane) = (self.shard, self.lane.clone());

        async move {
            match queued {
                Err(mpsc::error::TrySendError::Full(_)) => {
                    return Err(Problem::unavailable(
                        "too many requests wait for this shard; retry later",
                    )
                    .into());
                }
                Err(mpsc::error::TrySendError::Closed(_)) => return Err(ShardError::NotOwner),
                Ok(()) => {}
            }
            match tokio::time::timeout_at(deadline.into(), &mut answered).await {
                Ok(Ok(outcome)) => outcome,
                // Dropped unanswered: it was never decided.
                Ok(Err(_)) => Err(ShardError::NotOwner),
                Err(_) => {
                    let standing = lane.standing(shard);
                    if fate.abandon() {
                        return Err(never_decided(standing).into());
                    }
                    // It may have been answered in this very moment.
                    answered
                        .try_recv()
                        .unwrap_or_else(|_| Err(decided_in_doubt(standing).into()))
                }
            }
        }
    }

    async fn finish(
        &self,
        accepted: Accepted,
        of: Concerned,
        deadline: Instant,
    ) -> Result<Done, ShardError> {
        let Concerned { sender, indexes } = of;
        match accepted {
            Accepted::Done(done) => Ok(self.told(done)),
            Accepted::SentAgain { conversation, seq } => {
                let sender = sender
                    .ok_or_else(|| Problem::unavailable("the message cannot be read now; retry"))?;
                let message = self
                    .sent_again(&conversation, seq, &sender, deadline)
                    .await?;
                Ok(Done::Sent {
                    message,
                    replayed: true,
                })
            }
            Accepted::Edited { conversation, seq } => {
                let sender = sender
                    .ok_or_else(|| Problem::unavailable("the message cannot be read now; retry"))?;
                let message = self
                    .sent_again(&conversation, seq, &sender, deadline)
                    .await
                    .map_err(hidden)?;
                Ok(Done::Edited(message))
            }
            Accepted::Created {
                view,
                replayed,
                offset,
                users,
            } => {
                self.wait_for_lists(&indexes, (offset, users), deadline)
                    .await?;
                Ok(Done::Created {
                    conversation: self.retained(view),
                    replayed,
                })
            }
            Accepted::Changed {
                done,
                offset,
                users,
            } => {
                if users > 0 {
                    let all = OutboxPosition {
                        offset,
                        index: users - 1,
                    };
                    self.outbox_covers(&indexes, all, deadline.min(Instant::now() + INDEXES_WAIT))
                        .await;
                }
                Ok(self.told(done))
            }
        }
    }

    /// Waits until the lists of the participants have a new conversation, for a while; and until
    /// the list of its creator has it, which must.
    async fn wait_for_lists(
        &self,
        indexes: &[ShardId],
        (offset, users): (Offset, u32),
        deadline: Instant,
    ) -> Result<(), ShardError> {
        let all = OutboxPosition {
            offset,
            index: users.saturating_sub(1),
        };
        self.outbox_covers(indexes, all, deadline.min(Instant::now() + INDEXES_WAIT))
            .await;
        // The creator comes first; their own list must have it.
        let own = indexes.get(..1).unwrap_or_default();

        if !self
            .outbox_covers(own, OutboxPosition { offset, index: 0 }, deadline)
            .await
        {
            let detail =
                "the conversation exists, but your list may lack it yet; retry with the same key";
            return Err(Problem::new(Code::OutcomeUnknown, detail).into());
        }

        Ok(())
    }

    /// Where the message of a receipt is, then the write.
    async fn receipt(
        &self,
        id: MessageId,
        deadline: Instant,
        write: impl FnOnce(Located) -> Write,
    ) -> Result<Done, ShardError> {
        let at = match self.locate(id, deadline).await {
            // Meanwhile it may have been written elsewhere.
            Err(ShardError::Problem(_)) if self.is_unproven() => {
                return Err(Problem::unavailable(
                    "the log does not answer; nothing was written, retry later",
                )
                .into());
            }
            located => located?,
        };
        let accepted = self.write(write(at), deadline).await?;
        self.finish(accepted, Concerned::default(), deadline).await
    }

    pub(super) async fn execute(
        self: Arc<Self>,
        begun: Begun,
        deadline: Instant,
    ) -> Result<Done, ShardError> {
        match begun {
            Begun::Queued(answer, of) => {
                let accepted = answer.await?;
                self.finish(accepted, of, deadline).await
            }
            Begun::Read(read) => {
                let (id, user, origin) = (read.message_id, read.user, read.origin);
                let write = |Located {
                                 conversation, seq, ..
                             }| Write::Read {
                    conversation,
                    seq,
                    user,
                    origin,
                };
                self.receipt(id, deadline, write).await
            }
            Begun::React(react) => {
                let (id, user, reaction) = (react.message_id, react.user, react.reaction);
                let write = |at| Write::React {
                    at,
                    id,
                    user,
                    reaction,
                };
                self.receipt(id, deadline, write).await
            }
            Begun::Typing(answered) => self.typed(answered, deadline).await,
            Begun::Shed => Ok(Done::Marked),
        }
    }

    pub(super) fn begin_execute(&self, command: Command, deadline: Instant) -> Begun {
        let of = self.concerned(&command);
        let write = match command {
            Command::Create(create) => Write::Create(create),
            Command::Send(send) => Write::Send(send),
            Command::Edit(edit) => Write::Change {
                conversation: None,
                change: Change::Edit(edit),
            },
            Command::Delete(delete) => Write::Change {
                conversation: None,
                change: Change::Delete(delete),
            },
            Command::Add(add) => Write::Add(add),
            Command::Remove(remove) => Write::Remove(remove),
            Command::Update(update) => Write::Update(update),
            Command::Close(close) => Write::Close(close),
            Command::SetParticipant(set) => Write::Set(set),
            Command::Ban(ban) => Write::Ban(ban),
            Command::Unban(unban) => Write::Unban(unban),
            Command::View(set) => Write::View(set),
            Command::OwnMark(set) => Write::OwnMark(set),
            Command::Index(changes) => Write::Index(changes),
            Command::Resubmit(event) => Write::Resubmit(event),
            Command::MarkRead(read) => return Begun::Read(read),
            Command::React(react) => return Begun::React(react),
            Command::Typing(typing) => return Begun::Typing(self.begin_typing(typing)),
            Command::Delivered(marks) => {
                let count = marks.len() as u64;
                if self.inputs.try_send(Input::Delivered(marks)).is_err() {
                    telemetry::RECEIPTS_SHED.add(count, &[]);
                }
                return Begun::Shed;
            }
        };
        Begun::Queued(Box::pin(self.write(write, deadline)), of)
    }
}

/// Of a write that was not decided before its budget ended: surely not written, and never will be.
fn never_decided(standing: Standing) -> Problem {
    match standing {
        Standing::NotReplicated { .. } => Problem::new(
            Code::NotReplicated,
            "the log makes no second copy now; nothing was written, retry later with the same key",
        ),
        Standing::InDoubt { .. } => Problem::unavailable(
            "the log does not answer; nothing was written, retry later with the same key",
        ),
        Standing::Clear => Problem::unavailable(
            "the shard did not get to this request in time; nothing was written, retry",
        ),
    }
}

/// Of one that was.
fn decided_in_doubt(standing: Standing) -> Problem {
    match standing {
        Standing::NotReplicated { .. } => Problem::new(
            Code::NotReplicated,
            "the log made no second copy in time; the write may yet appear, retry with the same \
             key",
        ),
        Standing::InDoubt { .. } | Standing::Clear => Problem::new(
            Code::OutcomeUnknown,
            "the log did not answer in time; the write may yet appear, retry with the same key",
        ),
    }
}
