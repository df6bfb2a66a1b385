//! Redis holds all writes for a moment, and has no memory for them when it goes on: whatever was
//! decided meanwhile is surely taken back, and nobody may have been refused because of it.

use std::time::Duration;

use futures_util::future::try_join_all;

use crate::chaos::planted::stages::begins;
use crate::chaos::trial::Trial;

/// Rounds of one attempt.
const ROUNDS: u64 = 8;
/// Writes are held for so long, in milliseconds: less than a call to Redis may take, for else they
/// are in doubt.
const HELD_MS: u64 = 600;
/// For all that was held to be refused.
const REFUSED: Duration = Duration::from_millis(200);
/// Until the next round: for longer than a log without space is believed to have none.
const BETWEEN: Duration = Duration::from_millis(2_500);

/// Plays it, until something is wrong.
pub(super) async fn play(trial: &Trial) -> Result<(), String> {
    let site = &trial.field.site;
    for _ in 0..ROUNDS {
        if trial.world().log.is_wrong() {
            return Ok(());
        }
        let masters = site.servers(true).await;
        begins(trial, "no-space", &masters.join(", "));
        tell(
            trial,
            &masters,
            &["CLIENT", "PAUSE", &HELD_MS.to_string(), "WRITE"],
        )
        .await?;
        tell(trial, &masters, &["CONFIG", "SET", "maxmemory", "1"]).await?;
        trial.pause(Duration::from_millis(HELD_MS) + REFUSED).await;
        tell(trial, &masters, &["CONFIG", "SET", "maxmemory", "0"]).await?;
        trial.pause(BETWEEN).await;
    }

    trial.recover("no-space", true).await;
    Ok(())
}

/// Tells all of them the same at once.
async fn tell(trial: &Trial, servers: &[String], words: &[&str]) -> Result<(), String> {
    try_join_all(
        servers
            .iter()
            .map(|name| trial.field.site.redis(name, words)),
    )
    .await
    .map(drop)
}
