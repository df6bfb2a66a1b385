//! Which read a query is, and those that are short: what a conversation shows, who takes part, what
//! a user is in.

use crate::ids::{ConversationName, UserId};
use crate::problem::Problem;
use crate::protocol::{Conversation, Page};
use crate::shard::command::{Done, Found, Query, ShardError};
use crate::shard::file::store::StoreError;
use crate::shard::read::barrier::Reading;
use crate::shard::state::Inner;
use crate::shard::write::owner::{Input, Want};

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
        clippy::too_many_lines,
        clippy::cognitive_complexity,
        reason = "one arm for each query"
    )]
    pub(in crate::shard) async fn find(
        &self,
        query: Query,
        reading: &Reading,
    ) -> Result<Found, ShardError> {
        match query {
            Query::Conversation { name, reader } => {
                let found = Box::pin(self.conversation(&name, &reader, reading)).await;
                found.map(|found| Found::Conversation(self.retained(found)))
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
                self.events_page(&name, &reader, (after, limit), reading)
                    .await
            }
            Query::Watermarks {
                name,
                reader,
                after,
                limit,
            } => {
                let page = self.watermarks(&name, &reader, (after, limit), reading);
                Ok(Found::Watermarks(page.await?))
            }
            Query::Message { id, reader } => {
                let message = self.message_by_id(id, &reader, reading);
                Ok(Found::Message(message.await?))
            }
            Query::Receipts {
                id,
                reader,
                after,
                limit,
            } => {
                let page = self.receipts(id, &reader, (after, limit), reading);
                Ok(Found::Receipts(page.await?))
            }
            Query::Reactions {
                id,
                reader,
                after,
                limit,
            } => {
                let page = self.reactions(id, &reader, (after, limit), reading);
                Ok(Found::Reactions(page.await?))
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
                let mut items = self.store.summaries(&names, &reader).await?;
                let now_ms = self.clock.now_ms();
                for item in items.iter_mut().flatten() {
                    let muted = &mut item.conversation.my_muted_until;
                    *muted = muted.filter(|until| *until > now_ms);
                    self.say_retained(&mut item.conversation);
                }
                Ok(Found::Summaries(items))
            }
            Query::Index {
                user,
                after,
                archived,
                limit,
            } => {
                self.index_barrier(&user, reading).await?;
                let page = self.store.index_page(&user, after, archived, limit);
                Ok(Found::Index(page.await?))
            }
            Query::CreateKey { user, key } => {
                self.index_barrier(&user, reading).await?;
                Ok(Found::CreateKey(self.store.create_key(&user, &key).await?))
            }
            Query::Bans {
                name,
                reader,
                after,
                limit,
            } => Ok(Found::Bans(
                Box::pin(self.bans((&name, &reader), (after.as_ref(), limit), reading)).await?,
            )),
            Query::Acquainted { name, reader } => {
                let acquainted = Box::pin(self.acquainted(&name, &reader, reading)).await;
                acquainted.map(Found::Acquainted)
            }
            Query::Audit(ask) => Box::pin(self.audit(ask, reading)).await.map(Found::Audit),
        }
    }

    /// A conversation with the reader's own view of it.
    async fn conversation(
        &self,
        name: &ConversationName,
        reader: &UserId,
        reading: &Reading,
    ) -> Result<Conversation, ShardError> {
        let ticket = self.begin(name, reader, Want::View, reading).await?;
        let unknown = || Problem::unavailable("the conversation is not known yet; retry");
        let shown = ticket.view.ok_or_else(unknown)?;

        self.barrier(ticket.touched, reading).await?;
        let names = std::slice::from_ref(name);
        let items = self.store.summaries(names, reader).await?;
        let Some(item) = items.into_iter().flatten().next() else {
            // They have left meanwhile.
            self.still_in(name, reader, reading).await?;
            return Err(unknown().into());
        };
        Ok(Conversation {
            own: item.conversation.own,
            ..shown
        })
    }

    /// The conversation with for how long it keeps its events.
    pub(in crate::shard) fn retained(&self, mut conversation: Conversation) -> Conversation {
        self.say_retained(&mut conversation);
        conversation
    }

    /// What was done, likewise.
    pub(in crate::shard) fn told(&self, done: Done) -> Done {
        match done {
            Done::Added(conversation) => Done::Added(self.retained(conversation)),
            Done::Updated(conversation) => Done::Updated(self.retained(conversation)),
            done => done,
        }
    }

    fn say_retained(&self, conversation: &mut Conversation) {
        let set = conversation.settings.retention_s;
        conversation.retention_effective_s = self.config.retention.kept_s(set);
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
}
