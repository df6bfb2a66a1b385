//! Whom a write concerns beside its conversation: whose message is read back for the answer, and
//! whose lists the answer waits for.

use std::collections::HashSet;

use crate::ids::{ShardId, UserId};
use crate::shard::command::Command;
use crate::shard::state::Inner;

/// Whom a write concerns, beside its conversation.
#[derive(Debug, Default)]
pub(super) struct Concerned {
    /// Who sends or edits a message.
    pub(super) sender: Option<UserId>,
    /// The shards of the users whose indexes change, each once; the creator's first.
    pub(super) indexes: Vec<ShardId>,
}

impl Inner {
    pub(super) fn concerned(&self, command: &Command) -> Concerned {
        let users = match command {
            Command::Create(create) => create.participants.as_slice(),
            Command::Add(add) => add.users.as_slice(),
            Command::Remove(remove) => std::slice::from_ref(&remove.user),
            Command::Ban(ban) => std::slice::from_ref(&ban.user),
            Command::View(set) => std::slice::from_ref(&set.by),
            // Who else took part is told by the outbox alone.
            Command::Close(close) => std::slice::from_ref(&close.by),
            _ => &[],
        };

        let mut known = HashSet::new();
        let indexes = users
            .iter()
            .map(|user| self.outbox.map.shard_of(user.slot()))
            .filter(|shard| known.insert(*shard));
        let sender = match command {
            Command::Send(send) => Some(send.source.clone()),
            Command::Edit(edit) => Some(edit.by.clone()),
            _ => None,
        };

        Concerned {
            sender,
            indexes: indexes.collect(),
        }
    }
}
