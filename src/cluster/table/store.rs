//! Where the table is kept: the contract, what a poll finds, and why a call may fail.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::cluster::table::addresses::NodeAddresses;
use crate::cluster::table::version::Table;
use crate::ids::NodeId;
use crate::log::{Identity, LogError};

/// What a poll of the table finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Polled {
    /// The very table that was known stands.
    Unchanged,
    /// There is none: before the first, or the store has lost it.
    Gone,
    /// Another one stands.
    Changed(Table),
}

/// Why the store of the table did not do what it was asked; the call may be repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// Where the table is kept, beside the log, nothing answered or it was refused.
    #[error(transparent)]
    Log(#[from] LogError),
    /// It did not answer in time.
    #[error("table: no answer in time")]
    Unanswered,
    /// What is stored cannot be understood.
    #[error("table: {0}")]
    Malformed(String),
    /// It was refused; what is wrong says the sentence.
    #[error("table: {0}")]
    Refused(String),
}

/// The contract; see the head of this file.
#[async_trait]
pub trait TableStore: fmt::Debug + Send + Sync + 'static {
    /// The identity of the cluster, or `None` before it was created.
    async fn identity(&self) -> Result<Option<Identity>, TableError>;

    /// Creates the cluster: writes the identity unless there is one, and returns the one that holds
    /// now.
    async fn create(&self, identity: Identity) -> Result<Identity, TableError>;

    /// The current table, or `None` before the first.
    async fn load(&self) -> Result<Option<Table>, TableError>;

    /// The current table, unless it is the very one that is known already. Cheap when nothing
    /// changed.
    async fn load_unless(&self, known: Option<&Table>) -> Result<Polled, TableError> {
        Ok(match self.load().await? {
            None => Polled::Gone,
            Some(table) if known == Some(&table) => Polled::Unchanged,
            Some(table) => Polled::Changed(table),
        })
    }

    /// Replaces the table of version `expected` (0: there is none yet) by `table`, whose version
    /// must be `expected + 1`; over Redis, which may have lost it, the first may have any version.
    /// False, and no effect, when another table is current; true when exactly this one is.
    async fn swap(&self, expected: u64, table: Table) -> Result<bool, TableError>;

    /// Announces a live node and how it is reached; to be repeated every second. A node that stops
    /// announcing leaves the list after 90 s.
    async fn register(&self, node: &NodeId, addresses: &NodeAddresses) -> Result<(), TableError>;

    /// Asks to be the coordinator for `life` from now on, or for as long again: true when this node
    /// is. No other is meanwhile, by the clock of the store; nothing unsafe may hang on that.
    async fn lead(&self, node: &NodeId, life: Duration) -> Result<bool, TableError>;

    /// Every registered node.
    async fn nodes(&self) -> Result<BTreeMap<NodeId, NodeAddresses>, TableError>;
}
