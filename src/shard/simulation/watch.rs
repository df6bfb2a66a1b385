//! The takeover watch, as `node/custody/watch.rs` has it.

use std::time::Duration;

use crate::ids::Epoch;
use crate::log::Token;
use crate::shard::simulation::redis::Control;

#[derive(Debug, Default)]
pub(super) struct Watch {
    seen: Option<(Option<(Token, u64)>, u64)>,
    since: Duration,
}

impl Watch {
    pub(super) fn saw(
        &mut self,
        control: Option<&Control>,
        lineage: u64,
        sent: Duration,
        received: Duration,
    ) {
        let now = Some((
            control.map(|control| (control.token, control.beat)),
            lineage,
        ));
        if self.seen != now || received.saturating_sub(sent) > Duration::from_millis(750) {
            self.seen = now;
            self.since = received;
        }
    }

    pub(super) fn due(
        &self,
        now: Duration,
        watch: Duration,
        rank: u32,
        max_epoch: Epoch,
    ) -> Option<Option<(Token, u64)>> {
        let (expected, _) = self.seen?;
        let rolled_back = expected.is_some_and(|(token, _)| token.epoch < max_epoch);
        let wait = if rolled_back || expected.is_none() {
            Duration::ZERO
        } else {
            watch + Duration::from_millis(250)
        };
        (now.saturating_sub(self.since) >= wait + rank * Duration::from_millis(500))
            .then_some(expected)
    }
}
