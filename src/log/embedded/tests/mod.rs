//! The embedded log passes the suite, and what it promises beyond it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::EmbeddedLog;
use super::layout;
use crate::ids::{Offset, ShardId};
use crate::log::conformance::{Setup, batch, claimed, linked, log_conformance, read_all};
use crate::log::record::Tail;
use crate::log::{AppendError, AppendOutcome, Batch, ShardLog, Stream, Token};

mod crashed;
mod full;
mod one_process;
mod trimmed;

pub(super) const SHARD: ShardId = ShardId(0);
pub(super) const M: Stream = Stream::Messages;

pub(super) struct Embedded {
    folder: tempfile::TempDir,
    pub(super) log: Arc<EmbeddedLog>,
}

impl Embedded {
    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    async fn append(&self, batch: &Batch) -> Result<AppendOutcome, AppendError> {
        self.log.append(std::slice::from_ref(batch)).await.remove(0)
    }

    /// Appends one batch after another to a stream, each of so many bytes; its tail.
    pub(super) async fn fill(
        &self,
        (shard, token): (ShardId, Token),
        tail: Tail,
        (count, bytes): (usize, usize),
    ) -> Tail {
        let text = "x".repeat(bytes);
        let mut tail = tail;
        for _ in 0..count {
            let next = batch(shard, M, token, &tail, (1, &text));
            assert_eq!(self.append(&next).await, Ok(AppendOutcome::Appended));
            tail = next.tail;
        }
        tail
    }
}

pub(super) async fn embedded() -> Embedded {
    let folder = tempfile::tempdir().expect("a folder");
    let log = EmbeddedLog::open(&folder.path().join("log"))
        .await
        .expect("opens");
    Embedded { folder, log }
}

#[async_trait]
impl Setup for Embedded {
    fn log(&self) -> Arc<dyn ShardLog> {
        Arc::clone(&self.log) as Arc<dyn ShardLog>
    }

    async fn reopen(&mut self) {
        self.log.close().await;
        self.log = again(&self.path()).await;
    }
}

/// Opens a log again that was closed here. A process that another test begins at that very moment
/// has the lock for the blink of an eye, until it runs another program.
pub(super) async fn again(path: &Path) -> Arc<EmbeddedLog> {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        match EmbeddedLog::open(path).await {
            Ok(log) => return log,
            Err(why) if why.contains("another process has it open") && Instant::now() < end => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err(why) => panic!("{why}"),
        }
    }
}

/// The segments in a folder, in order.
pub(super) fn segments(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

fn bytes_of(folder: &Path) -> u64 {
    segments(folder)
        .iter()
        .map(|path| std::fs::metadata(path).unwrap().len())
        .sum()
}

log_conformance!(embedded);
