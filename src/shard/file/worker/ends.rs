//! What ends the workers of a shard, and how that is told.

use std::time::Duration;

use tokio::sync::watch;

use crate::shard::file::store::StoreError;
use crate::shard::replicas::Following;

/// What a standby reads of the log may for a moment be that of a server which is cut off: only what
/// it reads for so long is taken to be so.
pub(in crate::shard) const PERSISTS: Duration = Duration::from_secs(3);

/// The first reason stays.
pub(in crate::shard) fn tell(following: &watch::Sender<Following>, why: Following) {
    following.send_if_modified(|now| {
        let first = *now == Following::Live;
        if first {
            *now = why;
        }
        first
    });
}

/// Damage that any read of the file meets ends its workers, too.
pub(super) async fn tell_damage(
    mut damaged: watch::Receiver<Option<StoreError>>,
    following: &watch::Sender<Following>,
) {
    let found = damaged
        .wait_for(Option::is_some)
        .await
        .ok()
        .and_then(|found| found.clone());
    if let Some(error) = found {
        tell(following, Following::Damaged(error.to_string()));
    }
}
