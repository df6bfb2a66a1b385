//! Which idempotency keys were used before a shard was opened, out of its file: those of routers
//! before it serves, those of clients while it does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::ids::{Offset, ShardId};
use crate::log::Stream;
use crate::log::record::{Entry, EventKind, Record};
use crate::shard::file::store::{Store, StoreError};
use crate::shard::write::owner::{Input, StampedKey};

/// Raw entries read at once while looking for stamped keys.
const KEPT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Used keys that are read at once for the filter.
const USED_KEYS_MAX: u32 = 1_000;
/// After SQLite refused to read them.
const USED_KEYS_AGAIN: Duration = Duration::from_secs(1);

/// Reads the keys that clients have used, as far as the file remembers them, for the filter. There
/// may be very many: the shard serves meanwhile, and looks up every key that it is given. Ends with
/// the shard.
pub(in crate::shard) async fn read(store: Store, shard: ShardId, inputs: mpsc::WeakSender<Input>) {
    let mut after = None;
    loop {
        let page = store.recent_keys(after.as_ref(), USED_KEYS_MAX).await;
        let Some(inputs) = inputs.upgrade() else {
            return;
        };
        match page {
            Ok(keys) => {
                let last = keys.len() < USED_KEYS_MAX as usize;
                after = keys.last().cloned();
                if inputs.send(Input::UsedKeys { keys, last }).await.is_err() || last {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%shard, %error, "used keys cannot be read; every key is looked up meanwhile");
                drop(inputs);
                tokio::time::sleep(USED_KEYS_AGAIN).await;
            }
        }
    }
}

/// Keys that routers stamped, out of the raw entries, which reach back a minute at least: a router
/// may still retry with them. All of them, for their times are those of another clock.
pub(in crate::shard) async fn stamped(store: &Store) -> Result<Vec<StampedKey>, StoreError> {
    let begun = Instant::now();
    let mut found = Vec::new();
    let mut after = Offset(0);

    loop {
        let kept = store
            .kept_entries(Stream::Messages, after, KEPT_BYTES_MAX)
            .await?;
        let Some(last) = kept.last() else { break };
        after = last.last;
        for entry in &kept {
            found.extend(
                Entry::records_of(&entry.bytes)
                    .iter()
                    .filter_map(stamped_key),
            );
        }
    }

    tracing::debug!(
        keys = found.len(),
        seconds = begun.elapsed().as_secs_f64(),
        "stamped keys read back"
    );
    Ok(found)
}

fn stamped_key(record: &Record) -> Option<StampedKey> {
    let (conversation, sender, key, seq) = match record {
        Record::Event(event) => {
            // A creation is recognised by the conversation itself.
            let seq = match &event.kind {
                EventKind::Message { .. } => event.seq,
                EventKind::Edited { message_seq, .. } => *message_seq,
                _ => return None,
            };
            (&event.conversation, event.actor(), event.key.as_ref()?, seq)
        }
        Record::KeyUsed(used) => (
            &used.conversation,
            &used.sender,
            &used.key,
            used.message_seq,
        ),
        _ => return None,
    };
    key.stamped.then(|| StampedKey {
        conversation: conversation.clone(),
        sender: sender.clone(),
        key: Arc::clone(&key.key),
        fingerprint: key.fingerprint,
        seq,
    })
}
