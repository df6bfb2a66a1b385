//! `rookery cluster drain`: marks a node, and tells what it still has until it has nothing.

use std::time::Duration;

use http::Method;
use serde::Serialize;

use crate::ids::NodeId;
use crate::operations::{Cluster, ClusterLeft};
use crate::output;
use crate::process::cluster::asker::Asker;

/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// So many looks in a row without an answer end the command; and so many without the mark, which
/// nodes hear of a moment later than it is set.
const MISSED_MAX: u32 = 30;
const UNMARKED_MAX: u32 = 5;

/// A node that does not answer so many times in a row has nothing that others need, as far as can
/// be known.
const SILENT_MAX: u32 = 10;

/// When nothing has changed for so many looks, that is told once more.
const STILL_MAX: u32 = 60;

const STUCK: &str =
    "nothing has changed for a minute; `rookery cluster status` tells what is not well\n";

const UNPROVEN: &str = "\
nothing has changed for a minute: every shard has its copies on other nodes, but they cannot prove to have all that is in
these files, for this node was away for longer than owners keep what they would prove it by. Undrain it, wait until it is in
sync again, and drain it anew; or delete its folder, if you can do without what only it may have
";

/// What a node still has, as it is told.
#[derive(Debug, Serialize)]
struct Progress<'a> {
    node: &'a NodeId,
    #[serde(flatten)]
    left: ClusterLeft,
    done: bool,
}

/// Has a node drained; with `wait` until it has nothing. True when that is so, or nobody waits for
/// it.
///
/// # Errors
/// One clear line: it was refused, the mark was taken away meanwhile, or nobody answers any more.
pub(super) async fn drain(
    asker: &Asker<'_>,
    node: &NodeId,
    (wait, json): (bool, bool),
) -> Result<bool, String> {
    let said = asker
        .changed(&Method::POST, &format!("/nodes/{}/drain", node.0))
        .await?;
    let said = String::from_utf8_lossy(&said).into_owned();
    if !json {
        output::print(&said);
    } else if !wait {
        output::print(&line(
            &serde_json::json!({"node": node, "said": said.trim_end()}),
        )?);
    }

    if !wait {
        return Ok(true);
    }
    let mut watching = Watching {
        node,
        json,
        told: None,
        missed: 0,
        unmarked: 0,
        silent: 0,
        still: 0,
    };

    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if watching.look(asker.whole().await)? {
            return Ok(true);
        }
    }
}

struct Watching<'a> {
    node: &'a NodeId,
    json: bool,
    /// What was told last.
    told: Option<ClusterLeft>,
    /// Looks in a row without an answer; without the mark; without the node; without a change.
    missed: u32,
    unmarked: u32,
    silent: u32,
    still: u32,
}

impl Watching<'_> {
    /// One look. True when nothing is left.
    fn look(&mut self, whole: Result<Cluster, String>) -> Result<bool, String> {
        let node = self.node;
        let cluster = match whole {
            Ok(cluster) => cluster,
            Err(why) => {
                self.missed += 1;
                return if self.missed < MISSED_MAX {
                    Ok(false)
                } else {
                    Err(format!(
                        "{why}; {node} goes on draining, ask again with the same command"
                    ))
                };
            }
        };
        self.missed = 0;
        if !cluster.draining.contains_key(node) {
            self.unmarked += 1;
            return if self.unmarked < UNMARKED_MAX {
                Ok(false)
            } else {
                Err(format!(
                    "{node} is draining no more: the mark was taken away, or Redis has lost it"
                ))
            };
        }
        self.unmarked = 0;

        let left = cluster.left(node);
        self.silent = if left.files.is_some() {
            0
        } else {
            self.silent + 1
        };
        let done = left.is_nothing() && (left.files.is_some() || self.silent >= SILENT_MAX);
        self.still += 1;
        if self.told != Some(left) || done || self.still >= STILL_MAX {
            self.tell(left, done)?;
        }
        Ok(done)
    }

    fn tell(&mut self, left: ClusterLeft, done: bool) -> Result<(), String> {
        let node = self.node;
        let stuck = self.told == Some(left) && !done;
        (self.told, self.still) = (Some(left), 0);
        if self.json {
            output::print(&line(&Progress { node, left, done })?);
            return Ok(());
        }

        let ClusterLeft {
            owned,
            standbys,
            files,
        } = left;

        let files = match files {
            None => ", does not answer".to_owned(),
            Some(0) => String::new(),
            Some(files) => format!(", has {files} files"),
        };
        let text = match (done, left.files) {
            (true, Some(_)) => format!(
                "{node} is drained: no shard names it, and others have everything that it has. It may be stopped, and its \
                 folder deleted\n"
            ),
            (true, None) => format!(
                "{node} is drained: no shard names it. It does not answer, so that it cannot say whether its folder has \
                 something that others lack\n"
            ),
            (false, _) => format!("{node} owns {owned} shards, stands by for {standbys}{files}\n"),
        };
        output::print(&text);
        if stuck {
            output::print(if owned + standbys > 0 {
                STUCK
            } else {
                UNPROVEN
            });
        }

        Ok(())
    }
}

fn line(told: &impl Serialize) -> Result<String, String> {
    serde_json::to_string(told)
        .map(|text| format!("{text}\n"))
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::cluster::table::changes::Drain;
    use crate::operations::ClusterNode;

    fn cluster(marked: bool, files: Option<u64>) -> Cluster {
        let node = NodeId::from("node-3");
        let mut cluster = Cluster::of(None, BTreeMap::new(), &[]);
        cluster.nodes.insert(
            node.clone(),
            ClusterNode {
                files,
                ..ClusterNode::at("h:1")
            },
        );

        if marked {
            cluster.draining.insert(
                node,
                Drain {
                    since_ms: 1,
                    by: "anna@desk".to_owned(),
                },
            );
        }

        cluster
    }

    #[test]
    fn it_is_done_when_nothing_is_left_and_ends_when_the_mark_is_gone_or_nobody_answers() {
        let node = NodeId::from("node-3");
        let watching = || Watching {
            node: &node,
            json: true,
            told: None,
            missed: 0,
            unmarked: 0,
            silent: 0,
            still: 0,
        };

        let looks = |of: &mut Watching<'_>, look: &dyn Fn() -> Result<Cluster, String>| {
            (1..=40_u32).find_map(|count| match of.look(look()) {
                Ok(false) => None,
                Ok(true) => Some(Ok(count)),
                Err(why) => Some(Err((count, why))),
            })
        };

        assert_eq!(
            looks(&mut watching(), &|| Ok(cluster(true, Some(0)))),
            Some(Ok(1))
        );
        assert_eq!(
            looks(&mut watching(), &|| Ok(cluster(true, Some(2)))),
            None,
            "it has files"
        );
        assert_eq!(
            looks(&mut watching(), &|| Ok(cluster(true, None))),
            Some(Ok(SILENT_MAX)),
            "it does not answer"
        );

        let gone = looks(&mut watching(), &|| Ok(cluster(false, Some(0))))
            .expect("ends")
            .expect_err("no mark");
        assert!(
            gone.0 == UNMARKED_MAX && gone.1.contains("draining no more"),
            "{gone:?}"
        );
        let unreached = looks(&mut watching(), &|| Err("no answer".to_owned()))
            .expect("ends")
            .expect_err("nobody");
        assert!(
            unreached.0 == MISSED_MAX && unreached.1.contains("goes on draining"),
            "{unreached:?}"
        );
    }
}
