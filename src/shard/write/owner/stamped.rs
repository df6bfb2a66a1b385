//! Keys that were used: those of clients, in the filter; and those that the router stamped: in
//! memory for a minute, so that a router's own retry has no second effect. Kept beside the
//! conversations, so that they hold no head in memory.

use std::time::Duration;

use crate::ids::Offset;
use crate::shard::file::store::UsedKey as ClientKey;
use crate::shard::write::owner::Owner;
use crate::shard::write::owner::keys::StampedUse;
use crate::shard::write::owner::keys::UsedKey;

/// How long a stamped key is remembered, on a clock that nobody sets, and how many at most; the
/// oldest are forgotten first.
const STAMPED_FOR: Duration = Duration::from_secs(60);

const STAMPED_MAX: usize = 65_536;

impl Owner {
    pub(super) fn remember_stamped_key(&mut self, of: StampedUse, used: UsedKey) {
        self.stamped_order
            .push_back((self.setup.clock.since_boot() + STAMPED_FOR, of.clone()));
        self.stamped.insert(of, used);
        if self.stamped.len() > STAMPED_MAX {
            self.expire_stamped();
        }
    }

    /// Remembers the stamped keys that were found in the raw entries at open: from now on, for
    /// nobody can say how old they are.
    pub(super) fn remember_stamped(&mut self) {
        for found in std::mem::take(&mut self.setup.stamped) {
            let used = UsedKey {
                fingerprint: found.fingerprint,
                seq: found.seq,
                offset: Offset(0),
            };
            self.remember_stamped_key((found.conversation, found.sender, found.key), used);
        }
    }

    pub(super) fn expire_stamped(&mut self) {
        let now = self.setup.clock.since_boot();
        while let Some((expires, _)) = self.stamped_order.front() {
            if *expires > now && self.stamped.len() <= STAMPED_MAX {
                return;
            }
            let Some((_, of)) = self.stamped_order.pop_front() else {
                return;
            };
            self.stamped.remove(&of);
        }
    }

    /// Forgets the uses whose records are void.
    pub(super) fn take_back_stamped(&mut self, committed: Offset) {
        self.stamped.retain(|_, used| used.offset <= committed);
        let stamped = &self.stamped;
        self.stamped_order
            .retain(|(_, of)| stamped.contains_key(of));
    }

    /// Keys that clients used before the shard was opened; `last`: there are no more.
    pub(super) fn remember_used(&mut self, keys: &[ClientKey], last: bool) {
        let since_boot = self.setup.clock.since_boot();
        for (conversation, sender, key) in keys {
            self.setup
                .filter
                .insert(conversation, sender, key, since_boot);
        }
        if last {
            self.setup.filter.filled();
        }
    }
}
