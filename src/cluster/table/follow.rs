//! How a process follows the table: every poll's answer goes through one [`Follower`], in nodes and
//! routers alike.
//!
//! **Invariants.** A table of another cluster is never taken. While the store does not answer, the
//! last table stands. A newer version is taken at once. A table that is *not* newer and yet another
//! one (Redis lost the end of it with a master, or gave the version away again) is taken once it
//! has stood for [`FALLEN_AFTER`]: a master that was cut off may tell an old one for a moment, a
//! master that was promoted tells what holds from now on. ADR 14, "A table that fell back".

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::cluster::table::{Polled, Table, TableError, TableStore};

/// A table that is not newer is taken after it stood for this long. Above `cluster-node-timeout`
/// (1.2 s), after which a master that is cut off answers no more.
pub(crate) const FALLEN_AFTER: Duration = Duration::from_secs(2);

/// Longest wait for one poll.
const POLL_MAX: Duration = Duration::from_secs(2);

/// What one process knows of the table; see the head of this file.
#[derive(Debug)]
pub(crate) struct Follower {
    store: Arc<dyn TableStore>,
    known: Option<Arc<Table>>,
    /// Since when another table stands that is not newer.
    fallen: Option<Instant>,
    foreign: bool,
    failing: bool,
}

impl Follower {
    /// Knows no table yet.
    #[must_use]
    pub(crate) fn new(store: Arc<dyn TableStore>) -> Self {
        Self {
            store,
            known: None,
            fallen: None,
            foreign: false,
            failing: false,
        }
    }

    /// Asks the store once, for 2 s at most. The table to follow from now on, when it is another
    /// one than before. Logs when the store begins to fail and when it answers again, not each
    /// failure. Cancel safe.
    ///
    /// # Errors
    /// The store did not answer, or not in time: the last table stands.
    pub(crate) async fn poll(&mut self) -> Result<Option<Arc<Table>>, TableError> {
        let polled = timeout(POLL_MAX, self.store.load_unless(self.known.as_deref())).await;
        match polled.unwrap_or(Err(TableError::Unanswered)) {
            Ok(table) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!("the table can be read again");
                }
                Ok(self.read(table, Instant::now()))
            }
            Err(error) => {
                // What stood before the outage may not stand after it.
                self.fallen = None;
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(%error, "the table cannot be read, the last one stands");
                }
                Err(error)
            }
        }
    }

    /// Where there is none any more, the last one stands until it is written anew.
    fn read(&mut self, polled: Polled, now: Instant) -> Option<Arc<Table>> {
        let Polled::Changed(table) = polled else {
            (self.foreign, self.fallen) = (false, None);
            return None;
        };

        if let Some(known) = &self.known {
            if known.identity != table.identity {
                // Once, not at every poll.
                if !std::mem::replace(&mut self.foreign, true) {
                    let (ours, theirs) = (&known.identity, &table.identity);
                    tracing::error!(
                        ?ours,
                        ?theirs,
                        "the table now belongs to another cluster, keeping ours"
                    );
                }
                self.fallen = None;
                return None;
            }
            self.foreign = false;
            if table.version <= known.version {
                if now.duration_since(*self.fallen.get_or_insert(now)) < FALLEN_AFTER {
                    return None;
                }
                let (from, to) = (known.version, table.version);
                tracing::warn!(from, to, "the table fell back, following what stands now");
            }
        }

        self.fallen = None;
        let table = Arc::new(table);
        self.known = Some(Arc::clone(&table));
        Some(table)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::cluster::table::changes::Changes;
    use crate::cluster::table::embedded::EmbeddedTable;
    use crate::ids::{ClusterId, NodeId};
    use crate::log::Identity;
    use crate::log::embedded::EmbeddedLog;

    /// Of cluster `cluster`, with `owner` as the owner of its one shard.
    fn table(cluster: u128, version: u64, owner: &str) -> Table {
        let identity = Identity {
            cluster: ClusterId(uuid::Uuid::from_u128(cluster)),
            shards: 1,
        };
        Table {
            version,
            identity,
            nodes: BTreeMap::new(),
            rows: vec![vec![NodeId::from(owner)]],
            claimed: BTreeSet::new(),
            changes: Changes::default(),
        }
    }

    async fn follower() -> (Follower, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a folder");
        let log = EmbeddedLog::open(&folder.path().join("log.sqlite"))
            .await
            .expect("opens");
        (Follower::new(Arc::new(EmbeddedTable::new(log))), folder)
    }

    /// Reads as [`Follower::poll`] does: what is known already is not told.
    fn read(follower: &mut Follower, table: &Table, now: Instant) -> Option<(u64, NodeId)> {
        let known = follower.known.as_deref() == Some(table);
        let told = if known {
            Polled::Unchanged
        } else {
            Polled::Changed(table.clone())
        };
        follower
            .read(told, now)
            .map(|taken| (taken.version, taken.rows[0][0].clone()))
    }

    #[tokio::test]
    async fn a_newer_table_is_taken_at_once_and_a_lower_one_when_it_stands() {
        let (mut follower, _folder) = follower().await;
        let start = Instant::now();
        assert!(read(&mut follower, &table(1, 16, "a"), start).is_some());
        assert!(
            read(&mut follower, &table(1, 18, "b"), start).is_some(),
            "newer"
        );

        let fallen = table(1, 15, "c");
        assert_eq!(
            read(&mut follower, &fallen, start),
            None,
            "it may be told by a master that was cut off"
        );
        assert_eq!(read(&mut follower, &fallen, start + FALLEN_AFTER / 2), None);

        let taken = read(&mut follower, &fallen, start + FALLEN_AFTER);
        assert_eq!(taken, Some((15, NodeId::from("c"))));
        assert!(
            read(&mut follower, &table(1, 16, "d"), start + FALLEN_AFTER).is_some(),
            "it goes on from there"
        );
    }

    #[tokio::test]
    async fn a_version_that_was_given_twice_is_taken_when_it_stands() {
        let (mut follower, _folder) = follower().await;
        let start = Instant::now();
        assert!(read(&mut follower, &table(1, 16, "a"), start).is_some());
        assert_eq!(read(&mut follower, &table(1, 16, "b"), start), None);
        assert_eq!(
            read(&mut follower, &table(1, 16, "b"), start + FALLEN_AFTER),
            Some((16, NodeId::from("b")))
        );
    }

    #[tokio::test]
    async fn a_lower_table_that_is_told_for_a_moment_is_not_taken() {
        let (mut follower, _folder) = follower().await;
        let (known, old, start) = (table(1, 16, "a"), table(1, 15, "b"), Instant::now());
        assert!(read(&mut follower, &known, start).is_some());
        assert_eq!(read(&mut follower, &old, start), None);
        assert_eq!(
            read(&mut follower, &known, start + FALLEN_AFTER / 2),
            None,
            "the known one stands again"
        );
        assert_eq!(
            read(&mut follower, &old, start + FALLEN_AFTER),
            None,
            "the time begins anew"
        );
    }

    #[tokio::test]
    async fn a_table_of_another_cluster_is_never_taken_and_a_lost_one_is_awaited() {
        let (mut follower, _folder) = follower().await;
        let start = Instant::now();
        assert!(read(&mut follower, &table(1, 16, "a"), start).is_some());

        for moment in 0..4 {
            assert_eq!(
                read(
                    &mut follower,
                    &table(2, 15 + 2 * u64::from(moment), "b"),
                    start + FALLEN_AFTER * moment
                ),
                None
            );
        }

        assert_eq!(
            follower.read(Polled::Gone, start + FALLEN_AFTER * 9),
            None,
            "the last one stands"
        );
        assert!(read(&mut follower, &table(1, 17, "c"), start + FALLEN_AFTER * 9).is_some());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever was told before: what is told for [`FALLEN_AFTER`] is what is followed.
        #[test]
        fn what_stands_is_followed_in_the_end(told in prop::collection::vec((1_u64..6, "[ab]", 0_u32..4), 1..12)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let (mut follower, _folder) = follower().await;
                let mut now = Instant::now();
                let mut last = None;
                for (version, owner, quarters) in told {
                    now += FALLEN_AFTER / 4 * quarters;
                    let stands = table(1, version, &owner);
                    read(&mut follower, &stands, now);
                    last = Some(stands);
                }
                let stands = last.expect("at least one");
                read(&mut follower, &stands, now + FALLEN_AFTER);
                prop_assert_eq!(follower.known.as_deref(), Some(&stands));
                Ok(())
            })?;
        }
    }
}
