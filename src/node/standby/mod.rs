//! Seeding: a standby without a file of use gets one from the owner of its shard, as a snapshot
//! over the link.

use std::num::NonZeroU32;
use std::time::Duration;

pub(in crate::node) mod seed;

pub(super) mod reports;

pub(super) mod verify;

pub(super) mod orphans;

/// Bytes a second, unless it is said otherwise.
const RATE: NonZeroU32 = NonZeroU32::MIN.saturating_add((64 << 20) - 1);

/// Pause between two checks of a standby, unless it is said otherwise.
const VERIFY_EVERY: Duration = Duration::from_secs(3_600);

/// Settings of a node's standbys.
#[derive(Debug, Clone)]
pub struct Config {
    /// Bytes a second at which snapshots come in, all together.
    pub snapshot_rate: NonZeroU32,
    /// How often each standby is compared with its owner; `None`: never.
    pub verify_every: Option<Duration>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            snapshot_rate: RATE,
            verify_every: Some(VERIFY_EVERY),
        }
    }
}

#[cfg(test)]
mod tests;
