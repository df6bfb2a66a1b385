//! The sockets of a run: one for each session that ends, and one for each that watches.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::task::JoinHandle;

use crate::client::socket::Session;
use crate::presence::made::Made;
use crate::presence::storm::WIDTH;
use crate::target::Target;

/// Opens a session of this user.
pub(super) async fn open(target: &Target, number: usize, user: &str) -> Result<Session, String> {
    let token = target.tokens.of(user).await?;
    let session = Session::open(
        target.protocol,
        &target.dialer,
        target.endpoint(number)?,
        &token,
    )
    .await;
    session.map_err(|error| format!("a socket of {user}: {error}"))
}

/// Opens the sessions that are to end.
pub(super) async fn open_all(target: &Target, made: &Made) -> Result<Vec<JoinHandle<()>>, String> {
    let users = made.users.iter().flatten().enumerate();
    let opening = users.map(|(number, user)| async move {
        let mut session = open(target, number, user).await?;
        // Reads, so that pings are answered.
        Ok::<_, String>(tokio::spawn(async move {
            while session.next().await.is_ok() {}
        }))
    });
    stream::iter(opening)
        .buffer_unordered(WIDTH)
        .try_collect()
        .await
}
