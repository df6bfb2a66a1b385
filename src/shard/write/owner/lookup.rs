//! Look-ups in SQLite: beside the loop, as many at once as there are permits.

use std::sync::Arc;

use tokio::sync::watch;

use crate::ids::{ConversationName, IdempotencyKey, MessageId, Offset, UserId};
use crate::log::record::Tail;
use crate::shard::file::store::{Store, StoreError};
use crate::shard::write::owner::Owner;
use crate::shard::write::owner::input::{Completion, Looked};

/// What a piece of work waits for.
#[derive(Debug)]
pub(super) enum Lookup {
    /// The head of its conversation.
    Head,
    /// Its watermarks.
    Marks,
    /// How a user reacted to a message.
    Reaction(MessageId, UserId),
    /// What a key was used for.
    Key(UserId, IdempotencyKey),
    /// Where a message is.
    At(MessageId),
    /// All that decides what may be done to a message.
    Held(MessageId),
    /// Whether one of these keys was used.
    Later(UserId, Vec<IdempotencyKey>),
}

impl Owner {
    /// Begins a look-up, which comes back under that number.
    pub(super) fn spawn_lookup(&self, name: &ConversationName, lookup: Lookup, number: u64) {
        let (store, name) = (self.setup.store.clone(), name.clone());
        let (completions, permits) = (self.completions.clone(), Arc::clone(&self.lookups));
        let (applied, floor) = (self.setup.applied.clone(), self.fill_floor);

        drop(tokio::spawn(async move {
            let reached = match lookup {
                Lookup::Head => applied_to(applied.messages, floor.messages).await,
                Lookup::Marks | Lookup::Reaction(..) => {
                    applied_to(applied.receipts, floor.receipts).await
                }
                _ => Ok(()),
            };
            // Only now: what waits for the worker takes no place of what needs none.
            let _permit = permits.acquire().await;
            let result = match reached {
                Ok(()) => look(&store, &name, lookup).await,
                Err(error) => Err(error),
            };
            completions
                .send(Completion {
                    conversation: Some(name),
                    lookup: number,
                    result,
                })
                .await
                .ok();
        }));
    }
}

async fn look(
    store: &Store,
    name: &ConversationName,
    lookup: Lookup,
) -> Result<Looked, StoreError> {
    match lookup {
        Lookup::Head => store.head(name).await.map(Looked::Head),
        Lookup::Marks => store.marks(name).await.map(Looked::Marks),
        Lookup::Reaction(id, user) => store.reaction(id, &user).await.map(Looked::Reaction),
        Lookup::Key(sender, key) => store.key(name, &sender, &key).await.map(Looked::Key),
        Lookup::At(id) => store.locate(id).await.map(Looked::At),
        Lookup::Held(id) => store.held(id).await.map(Looked::Held),
        Lookup::Later(sender, keys) => any_is_used(store, name, &sender, &keys)
            .await
            .map(Looked::Later),
    }
}

/// Whether the file has a message under one of the keys after which another may not be written any
/// more.
async fn any_is_used(
    store: &Store,
    name: &ConversationName,
    sender: &UserId,
    keys: &[IdempotencyKey],
) -> Result<bool, StoreError> {
    for key in keys.iter().filter(|key| !key.stamped) {
        if store.key(name, sender, key).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Waits until the file holds what was committed; without its worker it may be too old to decide
/// on.
async fn applied_to(mut applied: watch::Receiver<Tail>, floor: Offset) -> Result<(), StoreError> {
    let reached = applied.wait_for(|tail| tail.offset >= floor).await.is_ok();
    if reached {
        Ok(())
    } else {
        Err(StoreError::Closed)
    }
}
