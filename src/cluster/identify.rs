//! Which cluster this is: created in Redis by whoever comes first, compared by everyone else with
//! what the folder says.

use std::time::Duration;

use crate::cluster::folder::Folder;
use crate::cluster::table::{TableError, TableStore};
use crate::cluster::waiting::Waiting;
use crate::ids::ClusterId;
use crate::log::Identity;

/// Pause before a store that did not answer is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// What a node wishes of a cluster.
#[derive(Debug)]
pub(crate) struct Wish {
    /// Number of shards.
    pub(crate) shards: u32,
    /// Make anew what Redis has lost.
    pub(crate) adopt_local: bool,
}

/// The identity of the cluster, created if it is new; the folder is marked with it. Waits for Redis
/// as long as it takes.
///
/// # Errors
/// One clear line: folder, wish and Redis do not belong together.
pub(crate) async fn identify(
    store: &dyn TableStore,
    folder: &mut Folder,
    wish: &Wish,
    waiting: &Waiting,
) -> Result<Identity, String> {
    let mut failing = false;
    let found = loop {
        match ask(store, folder, wish).await {
            Ok(found) => break found?,
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "redis does not answer, trying until it does");
                }
                waiting.change("Redis", error.to_string());
                tokio::time::sleep(ASK_AGAIN).await;
            }
        }
    };

    if failing {
        tracing::info!("redis answers");
    }
    folder.check(found)?;
    if found.shards != wish.shards {
        let (made, wished) = (found.shards, wish.shards);
        return Err(format!(
            "cluster {} was made with {made} shards, not {wished}; give --shards {made}",
            found.cluster
        ));
    }

    folder.mark(found)?;
    Ok(found)
}

/// Outside: what may be asked again. Inside: what is so for good.
async fn ask(
    store: &dyn TableStore,
    folder: &Folder,
    wish: &Wish,
) -> Result<Result<Identity, String>, TableError> {
    if let Some(found) = store.identity().await? {
        return Ok(Ok(found));
    }

    let new = match folder.identity() {
        None => Identity {
            cluster: ClusterId::random(),
            shards: wish.shards,
        },
        Some(ours) if wish.adopt_local => {
            tracing::warn!(cluster = %ours.cluster, "redis has lost this cluster; it is made anew from this folder");
            ours
        }
        Some(ours) => {
            return Ok(Err(format!(
                "data folder {} belongs to cluster {}, but Redis knows no cluster: it lost everything, or is another's; \
                 restore it, or start all nodes with --adopt-local to make the cluster anew from their folders",
                folder.path().display(),
                ours.cluster
            )));
        }
    };
    store.create(new).await.map(Ok)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cluster::table::embedded::EmbeddedTable;
    use crate::ids::NodeId;
    use crate::log::embedded::EmbeddedLog;

    struct Bench {
        folder: tempfile::TempDir,
        waiting: Waiting,
    }

    impl Bench {
        fn new() -> Self {
            Self {
                folder: tempfile::tempdir().expect("a folder"),
                waiting: Waiting::on("Redis"),
            }
        }

        async fn store(&self, name: &str) -> EmbeddedTable {
            EmbeddedTable::new(
                EmbeddedLog::open(&self.folder.path().join(name))
                    .await
                    .expect("opens"),
            )
        }

        fn folder(&self, node: &str) -> Folder {
            let path = self.folder.path().join(node);
            std::fs::create_dir_all(&path).expect("a folder");
            Folder::open(&path, &NodeId::from(node)).expect("its own")
        }

        async fn identify(
            &self,
            store: &EmbeddedTable,
            node: &str,
            wish: Wish,
        ) -> Result<Identity, String> {
            identify(store, &mut self.folder(node), &wish, &self.waiting).await
        }
    }

    fn wish(shards: u32) -> Wish {
        Wish {
            shards,
            adopt_local: false,
        }
    }

    fn refused(outcome: Result<Identity, String>, says: &str) {
        let line = outcome.expect_err("refused");
        assert!(line.contains(says) && !line.contains('\n'), "{line}");
    }

    #[tokio::test]
    async fn the_first_node_creates_the_cluster_and_the_others_join_it() {
        let bench = Bench::new();
        let store = bench.store("redis").await;
        let made = bench
            .identify(&store, "node-1", wish(16))
            .await
            .expect("created");
        assert_eq!(made.shards, 16);

        assert_eq!(bench.identify(&store, "node-2", wish(16)).await, Ok(made));
        assert_eq!(
            bench.identify(&store, "node-1", wish(16)).await,
            Ok(made),
            "again"
        );

        refused(
            bench.identify(&store, "node-3", wish(32)).await,
            "was made with 16 shards, not 32; give --shards 16",
        );

        assert_eq!(
            bench.folder("node-3").identity(),
            None,
            "a refused node has taken no part"
        );
    }

    #[tokio::test]
    async fn a_folder_of_another_cluster_is_refused() {
        let bench = Bench::new();
        bench
            .identify(&bench.store("redis").await, "node-1", wish(16))
            .await
            .expect("created");
        let other = bench.store("other").await;
        bench
            .identify(&other, "node-2", wish(16))
            .await
            .expect("created");
        refused(
            bench.identify(&other, "node-1", wish(16)).await,
            "but Redis holds cluster",
        );
    }

    #[tokio::test]
    async fn a_redis_that_lost_the_cluster_is_refused_unless_the_folder_is_adopted() {
        let bench = Bench::new();
        let made = bench
            .identify(&bench.store("redis").await, "node-1", wish(16))
            .await
            .expect("created");
        let empty = bench.store("empty").await;

        refused(
            bench.identify(&empty, "node-1", wish(16)).await,
            "--adopt-local",
        );

        assert_eq!(empty.identity().await, Ok(None), "nothing was created");
        let adopt = Wish {
            shards: 16,
            adopt_local: true,
        };
        assert_eq!(bench.identify(&empty, "node-1", adopt).await, Ok(made));
        assert_eq!(empty.identity().await, Ok(Some(made)));
    }

    #[tokio::test]
    async fn of_nodes_that_create_the_cluster_at_once_all_join_the_same() {
        let bench = Arc::new(Bench::new());
        let store = Arc::new(bench.store("redis").await);
        let starts = (1..=8).map(|number| {
            let (bench, store) = (Arc::clone(&bench), Arc::clone(&store));
            tokio::spawn(async move {
                bench
                    .identify(&store, &format!("node-{number}"), wish(16))
                    .await
            })
        });
        let mut joined = Vec::new();
        for start in starts.collect::<Vec<_>>() {
            joined.push(start.await.expect("no panic").expect("joined"));
        }

        joined.dedup();
        assert_eq!(joined.len(), 1);
    }
}
