//! Whether the settings of a Redis Cluster suit what is promised: looked at when a node starts.
//!
//! A master that is cut off answers until it notices, up to one and a half times
//! `cluster-node-timeout`. Its replica may be promoted half a second after once that time. An owner
//! on the side of the old master has its lease from it until 0.9·T after its last answer, and
//! whoever watches the new one takes the shard over T + 250 ms after its first. Held against each
//! other: `1.5 n + 0.9 T <= n + 0.5 s + T + 0.25 s`.

use std::collections::HashMap;
use std::time::Duration;

use crate::log::redis::servers::Servers;

/// A table that is not newer is taken after 2 s (`cluster/table/follow.rs`): an old one must not be
/// told for so long.
const TABLE_STANDS: Duration = Duration::from_secs(2);

/// The longest `cluster-node-timeout` that suits a takeover watch of this length.
fn longest(watch: Duration) -> Duration {
    (watch / 5 + Duration::from_millis(1500)).min(TABLE_STANDS)
}

/// What is wrong with a cluster that has this time-out, in one line.
fn unfit(found: Duration, watch: Duration) -> Option<String> {
    let longest = longest(watch);
    let line = || {
        format!(
            "cluster-node-timeout of redis is {} ms: set it to {} ms at most, for a takeover watch of {} ms; a master \
             that is cut off could answer beside its successor, and reads could be old without a mark",
            found.as_millis(),
            longest.as_millis(),
            watch.as_millis()
        )
    };
    (found > longest).then(line)
}

/// Looks at the servers, and tells once what does not suit; that nothing can be seen, too.
pub(crate) async fn tell(servers: &Servers, watch: Duration) {
    match node_timeout(servers).await {
        Ok(None) => {}
        Ok(Some(found)) => {
            if let Some(line) = unfit(found, watch) {
                tracing::error!("{line}");
            }
        }
        Err(error) => {
            let longest = longest(watch);
            tracing::info!(
                ?longest,
                error,
                "cannot see cluster-node-timeout of redis; it must not be longer than this"
            );
        }
    }
}

/// The longest of all masters; `None` without a cluster.
async fn node_timeout(servers: &Servers) -> Result<Option<Duration>, String> {
    if !servers.config().cluster {
        return Ok(None);
    }
    let mut found = None;
    for answer in servers
        .ask_masters(redis::cmd("CONFIG").arg("GET").arg("cluster-node-timeout"))
        .await
    {
        let answer = answer.map_err(|error| error.to_string())?;
        let fields: HashMap<String, String> =
            redis::from_redis_value(answer).map_err(|error| error.to_string())?;
        let millis = fields
            .get("cluster-node-timeout")
            .and_then(|millis| millis.parse().ok());
        found = found.max(Some(
            millis.map(Duration::from_millis).ok_or("no such setting")?,
        ));
    }

    found
        .map(Some)
        .ok_or_else(|| "no master is known".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::redis::Config;
    use crate::log::redis::testing::cluster::cluster;
    use crate::log::redis::testing::{config, server};

    const WATCH: Duration = Duration::from_secs(3);

    #[test]
    fn the_longest_time_out_follows_the_takeover_watch_and_what_is_longer_is_told_in_one_line() {
        assert_eq!(longest(WATCH), Duration::from_secs(2));
        assert_eq!(longest(Duration::from_secs(1)), Duration::from_millis(1700));
        assert_eq!(unfit(Duration::from_millis(1200), WATCH), None);
        let line = unfit(Duration::from_secs(15), WATCH).expect("the default of redis");
        assert!(
            line.contains("15000 ms") && line.contains("2000 ms") && line.lines().count() == 1,
            "{line}"
        );
    }

    #[tokio::test]
    async fn the_time_out_of_a_cluster_is_seen_and_one_server_has_none() {
        let servers = Servers::new(cluster().await.config()).expect("URLs");
        assert_eq!(
            node_timeout(&servers).await,
            Ok(Some(Duration::from_millis(1500)))
        );
        let alone = Servers::new(config(&[server().await.url()])).expect("a URL");
        assert_eq!(node_timeout(&alone).await, Ok(None));
    }

    #[tokio::test]
    async fn a_cluster_that_tells_nothing_is_no_obstacle() {
        let nobody = Config {
            cluster: true,
            timeout: Duration::from_millis(200),
            ..config(&["redis://127.0.0.1:1".to_owned()])
        };
        let servers = Servers::new(nobody).expect("a URL");
        assert!(node_timeout(&servers).await.is_err());
        tell(&servers, WATCH).await;
    }
}
