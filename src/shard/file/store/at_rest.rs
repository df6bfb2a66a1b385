//! The connection that writes, closed while its file is quiet. A connection is a thread, a page
//! cache and prepared statements: a node with hundreds of quiet replicas shall not hold them for
//! all.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::time::Instant;

use crate::ids::ShardId;
use crate::shard::file::store::StoreError;

/// A connection that is opened when it is needed, and closed after a rest.
#[derive(Debug)]
pub(super) struct OnDemand {
    options: SqliteConnectOptions,
    open: Option<SqliteConnection>,
    used: Instant,
    rest_after: Duration,
}

impl OnDemand {
    /// Takes over an open connection, and how it was opened.
    pub(super) fn new(
        connection: SqliteConnection,
        options: SqliteConnectOptions,
        rest_after: Duration,
    ) -> Self {
        // A file that was taken away meanwhile must not become an empty one.
        let options = options.create_if_missing(false);
        Self {
            options,
            open: Some(connection),
            used: Instant::now(),
            rest_after,
        }
    }

    /// Returns the connection, which it opens if that is needed.
    ///
    /// # Errors
    /// SQLite refused to open the file.
    pub(super) async fn get(&mut self) -> Result<&mut SqliteConnection, StoreError> {
        self.used = Instant::now();
        if self.open.is_none() {
            self.open = Some(self.options.connect().await?);
        }
        self.open.as_mut().ok_or(StoreError::Closed)
    }

    /// Opens a new connection in the place of a broken one.
    ///
    /// # Errors
    /// SQLite refused to open the file; the former connection stays.
    pub(super) async fn connect_again(&mut self) -> Result<(), StoreError> {
        self.open = Some(self.options.connect().await?);
        self.used = Instant::now();
        Ok(())
    }

    /// When the connection is to be closed, if nobody uses it before; `None` when it is closed.
    pub(super) fn rests_at(&self) -> Option<Instant> {
        self.open
            .as_ref()
            .map(|_connection| self.used + self.rest_after)
    }

    /// Closes the connection. SQLite checkpoints what the WAL still has when it was the last one of
    /// the file.
    pub(super) async fn close(&mut self, shard: ShardId) {
        let Some(connection) = self.open.take() else {
            return;
        };
        if let Err(error) = connection.close().await {
            tracing::warn!(%shard, %error, "closing the file failed");
        }
    }

    /// Where the file is.
    pub(super) fn path(&self) -> &Path {
        self.options.get_filename()
    }
}
