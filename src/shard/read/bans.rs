//! Who is banned, for those who may ban.

use crate::ids::{ConversationName, UserId};
use crate::protocol::policy::Action;
use crate::protocol::{Ban, Page};
use crate::shard::command::ShardError;
use crate::shard::read::barrier::Reading;
use crate::shard::state::Inner;
use crate::shard::write::owner::Want;

impl Inner {
    /// A page of those who are banned, by name. They have no seq to cut at: what was read is given
    /// only when its reader may still ask for it.
    pub(in crate::shard) async fn bans(
        &self,
        (name, reader): (&ConversationName, &UserId),
        (after, limit): (Option<&UserId>, u32),
        reading: &Reading,
    ) -> Result<Page<Ban>, ShardError> {
        let ticket = self
            .begin(name, reader, Want::May(Action::Unban), reading)
            .await?;
        self.barrier(ticket.touched, reading).await?;
        let mut items = self
            .store
            .bans(name, after, limit.saturating_add(1))
            .await?;
        self.begin(name, reader, Want::May(Action::Unban), reading)
            .await?;

        let more = items.len() > limit as usize;
        items.truncate(limit as usize);
        let next = items.last().filter(|_| more);
        let next = next.map(|last| last.user.to_string());
        Ok(Page {
            items,
            next,
            partial: false,
        })
    }
}
