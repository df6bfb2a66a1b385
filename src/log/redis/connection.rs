//! One connection to a server: making it, and being let in.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionInfo, Pipeline, RedisConnectionInfo};
use redis::{RedisError, RedisResult, Value};

use crate::log::redis::denied::{Denials, Denied};

/// Calls in flight on one connection; further ones wait, up to the time-out.
const CALLS_MAX: usize = 1024;

/// Makes a connection within a time; it is handed out when the server has answered over it.
pub(super) async fn connect(
    to: ConnectionInfo,
    within: Duration,
    response: Duration,
    (address, denials): (&str, &Denials),
) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(within))
        .set_response_timeout(Some(response))
        .set_concurrency_limit(CALLS_MAX);
    let entry = entry(to.redis_settings());
    // The library would log in by itself, but says why it cannot without the code that Redis gave.
    let bare = to.set_redis_settings(RedisConnectionInfo::default().set_skip_set_lib_name());
    let mut connection = Client::open(bare)?
        .get_multiplexed_async_connection_with_config(&config)
        .await?;
    if entry.is_empty() {
        answers(&mut connection).await?;
        return Ok(connection);
    }

    let entering = connection.send_packed_commands(&entry, 0, entry.len());
    let answers = tokio::time::timeout(within, entering)
        .await
        .unwrap_or_else(|_elapsed| Err(timed_out()))?;
    for (answer, command) in answers.into_iter().zip(entry.cmd_iter()) {
        let Value::ServerError(error) = answer else {
            continue;
        };
        let is_login = command.args_iter().next() == Some(redis::Arg::Simple(b"AUTH"));
        let otherwise = if is_login {
            Denied::Password
        } else {
            Denied::Database
        };
        let said = (error.code(), error.details().unwrap_or_default());
        denials.tell(address, Denied::of(&error).unwrap_or(otherwise), said);
        return Err(error.into());
    }
    denials.entered(address);
    Ok(connection)
}

/// Asks a new connection for what changes nothing, for as long as a call over it may take: less
/// would make those fail that an answer within that time is good enough for. Any answer will do:
/// what a server refuses is told of the calls that follow.
async fn answers(connection: &mut MultiplexedConnection) -> RedisResult<()> {
    let mut question = Pipeline::new();
    question.cmd("TIME");
    connection
        .send_packed_commands(&question, 0, question.len())
        .await
        .map(drop)
}

/// What has to be said to be let in.
fn entry(settings: &RedisConnectionInfo) -> Pipeline {
    let mut entry = Pipeline::new();
    if let Some(password) = settings.password() {
        entry
            .cmd("AUTH")
            .arg(settings.username().into_iter().collect::<Vec<_>>())
            .arg(password);
    }
    if settings.db() != 0 {
        entry.cmd("SELECT").arg(settings.db());
    }
    entry
}

pub(super) fn timed_out() -> RedisError {
    std::io::Error::new(std::io::ErrorKind::TimedOut, "redis did not answer in time").into()
}
