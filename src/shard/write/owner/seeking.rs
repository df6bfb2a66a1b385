//! Writes come in here. Those that name a message by its id alone wait until it is known in which
//! conversation it is: in the order in which they came, so that two of one socket are decided in
//! that order.
//!
//! **Bound.** [`SOUGHT_MAX`] wait at most; more are refused. The file is asked for all of them side
//! by side, with the permits of every look-up.

use std::sync::Arc;

use crate::ids::MessageId;
use crate::log::Stream;
use crate::problem::Problem;
use crate::shard::command::ShardError;
use crate::shard::file::store::{Located, StoreError};
use crate::shard::write::owner::decide::message_unknown;
use crate::shard::write::owner::input::{Asked, Completion, Looked};
use crate::shard::write::owner::piece::WorkKind;
use crate::shard::write::owner::sought::Seeking;
use crate::shard::write::owner::write::Write;
use crate::shard::write::owner::{Owner, parking};

/// Writes that wait for the place of their message.
const SOUGHT_MAX: usize = 4_096;

impl Owner {
    pub(super) fn take_write(&mut self, asked: Asked) {
        if self.closing {
            asked.answer.send(Err(ShardError::NotOwner)).ok();
            return;
        }

        let Some(asked) = self.park(asked) else {
            return;
        };
        if let Some(problem) = self.no_room() {
            asked.answer.send(Err(problem.into())).ok();
            return;
        }

        if let Write::Change {
            conversation: None,
            change,
        } = &asked.write
        {
            let id = change.message_id();
            return self.seek(asked, id);
        }

        if let Some(conversation) = asked.write.conversation().cloned() {
            return self.work(&conversation, WorkKind::Write(asked));
        }

        if let Asked {
            write: Write::Index(changes),
            fate,
            answer,
            ..
        } = asked
            && fate.decide()
        {
            self.decide_index(changes, answer);
        }
    }

    /// Why no write is taken now, if so: the stream cap, or too much behind the batch in flight.
    pub(super) fn no_room(&self) -> Option<Problem> {
        if self.untrimmed_bytes() > self.setup.stream_bytes_max {
            // While the file takes nothing its worker does not catch up soon, and nobody need wait
            // for it.
            let detail = "the log of this shard is full until its worker catches up; retry later";
            let retry_after = self.setup.store.is_full().then_some(parking::SPACE_AFTER);
            return Some(Problem {
                retry_after,
                ..Problem::unavailable(detail)
            });
        }
        (self.appenders.messages.is_full() || self.appenders.receipts.is_full())
            .then(|| Problem::unavailable("the log does not keep up with this shard; retry later"))
    }

    /// Bytes of both streams that are not trimmed yet.
    pub(super) fn untrimmed_bytes(&self) -> u64 {
        let stood = self.setup.stood.borrow().bytes;
        Stream::BOTH
            .iter()
            .map(|&stream| stood[stream] + self.appenders[stream].untrimmed_bytes())
            .sum()
    }

    /// Puts a write behind those whose message is sought.
    fn seek(&mut self, asked: Asked, id: MessageId) {
        if self.sought.0.len() >= SOUGHT_MAX {
            let problem =
                Problem::unavailable("too many requests wait for this shard's file; retry later");
            asked.answer.send(Err(problem.into())).ok();
            return;
        }

        self.looked_up += 1;
        let lookup = self.looked_up;
        let known = self
            .messages
            .now(id)
            .map(|(_, message)| Ok(Some(message.at.conversation.clone())));
        if known.is_none() {
            self.ask_file(id, lookup);
        }

        self.sought.0.push_back(Seeking {
            asked,
            lookup,
            found: known,
        });
        self.pass_on();
    }

    fn ask_file(&self, id: MessageId, lookup: u64) {
        let (store, completions, permits) = (
            self.setup.store.clone(),
            self.completions.clone(),
            Arc::clone(&self.lookups),
        );
        drop(tokio::spawn(async move {
            let _permit = permits.acquire().await;
            let result = store.locate(id).await.map(Looked::At);
            completions
                .send(Completion {
                    conversation: None,
                    lookup,
                    result,
                })
                .await
                .ok();
        }));
    }

    /// Takes in where a message is.
    pub(super) fn found(&mut self, lookup: u64, at: Result<Option<Located>, StoreError>) {
        if let Some(seeking) = self
            .sought
            .0
            .iter_mut()
            .find(|seeking| seeking.lookup == lookup)
        {
            seeking.found = Some(at.map(|at| at.map(|at| at.conversation)));
        }
        self.pass_on();
    }

    /// Passes on those at the front whose place is known.
    fn pass_on(&mut self) {
        while let Some(Seeking {
            mut asked, found, ..
        }) = self.sought.0.pop_front_if(|first| first.found.is_some())
        {
            match found {
                Some(Ok(Some(name))) => {
                    if let Write::Change { conversation, .. } = &mut asked.write {
                        *conversation = Some(name.clone());
                    }
                    self.work(&name, WorkKind::Write(asked));
                }
                // Meanwhile it may have been written elsewhere.
                Some(Ok(None)) if self.setup.lease.has_ended(self.setup.clock.since_boot()) => {
                    let detail = "the log does not answer; nothing was written, retry later";
                    asked
                        .answer
                        .send(Err(Problem::unavailable(detail).into()))
                        .ok();
                }
                Some(Ok(None)) => drop(asked.answer.send(Err(message_unknown().into()))),
                Some(Err(error)) => {
                    tracing::warn!(shard = %self.setup.shard, %error, "look-up failed; refusing what waits for it");
                    let problem =
                        Problem::unavailable("the shard's file cannot be read now; retry later");
                    asked.answer.send(Err(problem.into())).ok();
                }
                None => {}
            }
        }
    }
}
