//! The connection to one master that looks at control records have for themselves.

use redis::RedisResult;
use redis::aio::MultiplexedConnection;
use tokio::task::JoinHandle;

use crate::log::redis::connection::timed_out;

/// The connection to one master that looks alone use: there, being made, or neither.
#[derive(Debug, Default)]
pub(super) struct Eye {
    pub(super) open: Option<MultiplexedConnection>,
    /// In a task of its own: a look that is given up leaves what it began to the next one, for a
    /// connection may take longer to give its first answer than one look may last.
    connecting: Option<JoinHandle<RedisResult<MultiplexedConnection>>>,
}

impl Eye {
    /// Takes the connection out, or makes one by `connect`, so that a look that fails or is given
    /// up ends it. Cancel-safe.
    pub(super) async fn take<C>(
        &mut self,
        connect: impl FnOnce() -> RedisResult<C>,
    ) -> RedisResult<MultiplexedConnection>
    where
        C: Future<Output = RedisResult<MultiplexedConnection>> + Send + 'static,
    {
        if let Some(open) = self.open.take() {
            return Ok(open);
        }
        let connecting = match &mut self.connecting {
            Some(connecting) => connecting,
            none => none.insert(tokio::spawn(connect()?)),
        };
        let connected = connecting.await;
        self.connecting = None;
        connected.unwrap_or_else(|_gone| Err(timed_out()))
    }
}
