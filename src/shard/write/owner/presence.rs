//! Who is online among the users of this shard: what the loop does for `Presences`. The file and
//! the standbys are told of it beside the loop, behind, and nothing waits for that.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::ids::UserId;
use crate::problem::Problem;
use crate::protocol::Presence;
use crate::shard::command::{Present, Push, Watched};
use crate::shard::write::owner::Owner;
use crate::shard::write::presence::Moment;
use crate::shard::write::subscriptions::Subscriber;
use crate::telemetry;

/// How long the standbys of a shard may take to take rows in.
const SEEN_WITHIN: Duration = Duration::from_secs(5);

impl Owner {
    /// Now, on both clocks.
    pub(super) fn moment(&self) -> Moment {
        Moment {
            now: self.setup.clock.since_boot(),
            ms: self.now(),
        }
    }

    /// A node subscribes to the user's index: it has a session of theirs.
    pub(super) fn user_came(&mut self, user: &UserId) {
        let at = self.moment();
        self.presences.came(user, at);
    }

    /// How these users are, as far as is known without the file; with `by` that node is told from
    /// now on when it changes. Also whether somebody may be online of whom nobody has told yet.
    pub(super) fn presence_of(
        &mut self,
        by: Option<&Subscriber>,
        users: &[Watched],
    ) -> Result<(Present, bool), Problem> {
        let at = self.moment();
        let (epoch, is_young) = (self.setup.token.epoch, self.presences.is_young(at));
        let Some(by) = by else {
            let users = users
                .iter()
                .map(|asked| self.presences.of(&asked.user))
                .collect();
            return Ok((Present { epoch, users }, is_young));
        };
        self.subscriptions.know(by);

        let known: Option<Vec<Presence>> = users
            .iter()
            .map(|watched| self.presences.watch(by.id(), watched, at))
            .collect();
        let told = known.ok_or_else(|| {
            Problem::unavailable("too many users of this shard are watched; try later")
        })?;
        Ok((Present { epoch, users: told }, is_young))
    }

    /// What has to be done about presence now and then.
    pub(super) fn look_at_presence(&mut self) {
        let at = self.moment();
        for user in self.subscriptions.take_absent() {
            self.presences.went(&user, at);
        }

        for gone in self.subscriptions.take_forgotten() {
            self.presences.forget(gone);
        }

        self.presences.pass(at);
        let (shard, epoch) = (self.setup.shard, self.setup.token.epoch);

        for (watcher, changes) in self.presences.take_changes(at.now) {
            let push = Push::Presence {
                shard,
                epoch,
                changes,
            };
            let is_told = self.subscriptions.push_spare_to(watcher, &push);
            telemetry::PUSHES.add(1, &[("result", if is_told { "queued" } else { "spared" })]);
            if let Push::Presence {
                changes: untold, ..
            } = push
                && !is_told
            {
                self.presences.missed(untold);
            }
        }

        if let Some((rows, shed)) = self.presences.take_rows(at.now) {
            telemetry::SEEN_SHED.add(shed, &[]);
            self.write_seen(rows);
        }
    }

    /// The shard changes hands, or ends here: whatever is to be written is, so that whoever owns it
    /// next knows it.
    pub(super) fn write_all_seen(&mut self) {
        let rows = self.presences.take_all_rows();
        if !rows.is_empty() {
            self.write_seen(rows);
        }
    }

    fn write_seen(&self, rows: Vec<(UserId, u64)>) {
        let (shard, store, replicas) = (
            self.setup.shard,
            self.setup.store.clone(),
            Arc::clone(&self.setup.replicas),
        );
        drop(tokio::spawn(async move {
            store.write_seen_behind(shard, rows.clone()).await;
            replicas
                .seen(shard, rows, Instant::now() + SEEN_WITHIN)
                .await;
        }));
    }
}
