//! Why a file is not opened, and why a read or a write of it fails.

use crate::sqlite::{self, Kind};

/// Why a shard's file is not opened. Each is one clear line for the operator.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// Of another cluster, another number of shards, or another shard.
    #[error(
        "{path}: this file belongs to {found}, not to {wanted}; start with the data folder of this \
         cluster"
    )]
    Foreign {
        path: String,
        found: String,
        wanted: String,
    },
    /// SQLite is older than the fix of the WAL-reset corruption (3.51.3).
    #[error("SQLite {0} can corrupt a WAL; 3.51.3 or newer is needed")]
    OldSqlite(String),
    /// SQLite says that it is damaged, when it was opened or in the check after an unclean end.
    #[error(
        "{path}: this file is damaged: {error}; restore it from a copy, or take it away where \
         another replica has one"
    )]
    Damaged { path: String, error: String },
    /// Written by a newer version, or half made.
    #[error(
        "{path}: this file cannot be used: {error}; restore it from a copy, or start the version \
         that wrote it"
    )]
    Unusable { path: String, error: String },
    /// SQLite refused, which may pass.
    #[error("{path}: {error}")]
    Sqlite { path: String, error: StoreError },
}

/// A read or write of the file failed; after a failed write nothing of it is in the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StoreError {
    /// The file will not mend: SQLite found it damaged.
    #[error("sqlite: {0}")]
    Damaged(String),
    /// Another connection is in the way, or every reader is taken. Passes by itself.
    #[error("sqlite: {0}")]
    Busy(String),
    /// The disk has no space for it.
    #[error("sqlite: {0}")]
    Full(String),
    /// The disk failed, and not for want of space as far as is known.
    #[error("sqlite: {0}")]
    Disk(String),
    /// The file was closed, or its worker has ended.
    #[error("sqlite: the file is closed")]
    Closed,
    /// Anything else; it may pass.
    #[error("sqlite: {0}")]
    Failed(String),
}

impl StoreError {
    /// Of that kind, in these words.
    pub(super) fn of(kind: Kind, words: String) -> Self {
        match kind {
            Kind::Damaged => Self::Damaged(words),
            Kind::Busy => Self::Busy(words),
            Kind::Full => Self::Full(words),
            Kind::Closed => Self::Closed,
            Kind::Disk => Self::Disk(words),
            Kind::Refused | Kind::Failed => Self::Failed(words),
        }
    }

    /// Whether the file will not mend.
    #[must_use]
    pub(crate) fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged(_))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::of(sqlite::kind(&error), error.to_string())
    }
}
