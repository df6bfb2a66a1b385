//! The connections to Redis: one shared by everything that may be repeated, one lane per master for appends and claims.

use std::fmt;
use std::sync::Arc;

use redis::{Cmd, Value};

use crate::shard::log::LogError;
use crate::shard::log::redis::Config;

/// A script, loaded where it is missing.
#[derive(Debug)]
pub struct Lua {
    /// Its text.
    pub text: &'static str,
}

/// The servers of one deployment; see the head of this file.
pub struct Servers {
    config: Config,
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A URL may hold a password.
        f.debug_struct("Servers").field("cluster", &self.config.cluster).finish_non_exhaustive()
    }
}

impl Servers {
    /// Takes the settings; connects at the first call, and again after each loss.
    ///
    /// # Errors
    /// One clear line: no URL, or one that is none.
    pub fn new(config: Config) -> Result<Arc<Self>, String> {
        Ok(Arc::new(Self { config }))
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// One command over the shared connection. It may be sent more than once: only for what may be repeated.
    ///
    /// # Errors
    /// What Redis answered, or that it did not in time.
    pub async fn command(&self, _command: Cmd) -> Result<Value, LogError> {
        Err(LogError("not built yet".to_owned()))
    }

    /// One script over the shared connection; as [`Servers::command`]. All keys have one hash tag.
    ///
    /// # Errors
    /// What Redis answered, or that it did not in time.
    pub async fn script(&self, _script: &Lua, _keys: &[&str], _arguments: &[&[u8]]) -> Result<Value, LogError> {
        Err(LogError("not built yet".to_owned()))
    }
}
