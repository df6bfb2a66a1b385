//! Why a record was not written, or may not have been.

use std::io;

use crate::log::{AppendError, LogError};

/// Why a record was not written, or may not have been.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    /// It may be on disk all the same.
    pub(super) in_doubt: bool,
    /// There is no space.
    pub(super) full: bool,
    pub(super) reason: String,
}

impl Failure {
    pub(super) fn surely(what: &str, error: &io::Error) -> Self {
        Self {
            in_doubt: false,
            ..Self::in_doubt(what, error)
        }
    }

    pub(super) fn in_doubt(what: &str, error: &io::Error) -> Self {
        let full = matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        );
        Self {
            in_doubt: true,
            full,
            reason: format!("{what}: {error}"),
        }
    }

    /// There is no space, and nothing was written.
    pub(super) fn full(reason: &str) -> Self {
        Self {
            in_doubt: false,
            full: true,
            reason: reason.to_owned(),
        }
    }

    pub(super) fn nowhere() -> Self {
        Self {
            in_doubt: false,
            full: false,
            reason: "no segment of the log is open".to_owned(),
        }
    }

    pub(super) fn of_append(&self) -> AppendError {
        let (reason, in_doubt) = (self.reason.clone(), self.in_doubt);
        if self.full {
            AppendError::Full { reason, in_doubt }
        } else if in_doubt {
            AppendError::Unanswered(reason)
        } else {
            AppendError::NotWritten(reason)
        }
    }

    pub(super) fn of_other(&self) -> LogError {
        if self.full {
            LogError::Full(self.reason.clone())
        } else {
            LogError::Failed(self.reason.clone())
        }
    }
}
