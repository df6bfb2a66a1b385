//! Why a shard is not opened, and what is to be done about it.

use crate::log::LogError;
use crate::shard::replicas::Following;

/// Why a shard is not opened: one clear line for the operator. Nothing was served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OpenError {
    /// File or log is another cluster's or shard's, or this program cannot use any file: nothing of
    /// this node fits.
    #[error("{0}")]
    Foreign(String),
    /// Will not mend by itself: history is missing from the log.
    #[error("{0}")]
    Refused(String),
    /// The file has another history than the log. Will not mend; another replica's copy may take
    /// the file's place.
    #[error("{0}")]
    Diverged(String),
    /// The file is damaged. Likewise.
    #[error("{0}")]
    Damaged(String),
    /// The log was trimmed beyond the file. Likewise.
    #[error("{0}")]
    Behind(String),
    /// Another node owns the shard; it may be opened here when that has given it up.
    #[error("{0}")]
    Elsewhere(String),
    /// May pass: the log does not answer, a claim was raced, the disk is busy.
    #[error("{0}")]
    Failed(String),
}

/// What is to be done about a shard that is not opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Disposition {
    /// It may pass: wait a little and try again.
    Wait,
    /// It does not mend by itself: a person has to look. Tried again now and then, in case they
    /// did.
    Refuse,
    /// The same, and no other shard of this node will be opened either.
    RefuseNode,
    /// The file is of no use, for that reason: another replica's copy may take its place.
    Reseed(Following),
    /// Another node owns the shard.
    Elsewhere,
}

impl OpenError {
    /// Returns what is to be done about it.
    #[must_use]
    pub(crate) fn disposition(&self) -> Disposition {
        match self {
            Self::Foreign(_) => Disposition::RefuseNode,
            Self::Refused(_) => Disposition::Refuse,
            Self::Diverged(line) => Disposition::Reseed(Following::Diverged(line.clone())),
            Self::Damaged(line) => Disposition::Reseed(Following::Damaged(line.clone())),
            Self::Behind(_) => Disposition::Reseed(Following::Behind),
            Self::Elsewhere(_) => Disposition::Elsewhere,
            Self::Failed(_) => Disposition::Wait,
        }
    }
}

impl From<LogError> for OpenError {
    fn from(error: LogError) -> Self {
        Self::Failed(error.to_string())
    }
}
