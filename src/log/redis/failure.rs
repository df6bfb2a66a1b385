//! What a call that failed means for the log.

use redis::{RedisError, ServerError};

use crate::log::LogError;

/// What a call that failed means, by Redis' code or the kind of the failure.
pub(super) fn log_error(error: RedisError) -> LogError {
    let words = error.to_string();
    match error.code() {
        Some(code) => coded(code, words),
        None if error.kind() == redis::ErrorKind::AuthenticationFailed => LogError::Denied(words),
        None if error.is_io_error() || error.kind() == redis::ErrorKind::Client => {
            LogError::Unanswered(words)
        }
        None => LogError::Failed(words),
    }
}

/// The same for an error that stands as an answer.
pub(super) fn server_error(error: &ServerError) -> LogError {
    coded(error.code(), error.to_string())
}

fn coded(code: &str, words: String) -> LogError {
    match code {
        "OOM" | "MISCONF" => LogError::Full(words),
        "WRONGPASS" | "NOAUTH" | "NOPERM" => LogError::Denied(words),
        "LOADING" | "CLUSTERDOWN" | "MASTERDOWN" | "TRYAGAIN" | "BUSY" => {
            LogError::Unanswered(words)
        }
        _ => LogError::Failed(words),
    }
}
