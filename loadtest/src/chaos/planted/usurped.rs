//! The owner of the only shard is paused while rows are on their way from that shard to itself, and
//! replaced; the one that replaced it is killed before it goes on. Then the shard is served only if
//! its first owner lets go of what it had.

use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::Instant;

use crate::chaos::planted::stages::begins;
use crate::chaos::trial::Trial;

/// Rounds of one attempt, and the quiet before each: sessions that lost their owner twice in a row
/// might else hear of what happened between only after the second time.
const ROUNDS: u64 = 2;
const QUIET: Duration = Duration::from_secs(8);
/// The only shard.
const SHARD: u64 = 0;
/// Before the owner is paused its master holds writes again and again, so many times for so many
/// milliseconds: after each rows leave the outbox, and wait for the next.
const HOLDS: u64 = 6;
const HELD_MS: u64 = 150;
/// The last time for so long, until the connections that hold them have ended: none of them is
/// carried out.
const HELD_LAST_MS: u64 = 500;
/// For a paused owner to be replaced.
const REPLACED_WITHIN: Duration = Duration::from_secs(30);

/// Plays it, until something is wrong.
pub(super) async fn play(trial: &Trial) -> Result<(), String> {
    for _ in 0..ROUNDS {
        if trial.world().log.is_wrong() {
            return Ok(());
        }
        trial.pause(QUIET).await;
        round(trial).await?;
    }
    Ok(())
}

async fn round(trial: &Trial) -> Result<(), String> {
    let site = &trial.field.site;
    let owner = owner_beside(trial, None).await?;
    let (master, _) = site.master_of(SHARD).await?;
    begins(
        trial,
        "pause",
        &format!("{owner}, while {master} holds its writes"),
    );
    for _ in 0..HOLDS {
        hold(trial, &master, HELD_MS).await?;
        trial.pause(Duration::from_millis(HELD_MS)).await;
    }
    hold(trial, &master, HELD_LAST_MS).await?;
    site.signal(std::slice::from_ref(&owner), Signal::SIGSTOP);
    site.end_clients(&master).await?;

    let next = owner_beside(trial, Some(&owner)).await?;
    site.kill(std::slice::from_ref(&next)).await;
    site.signal(std::slice::from_ref(&owner), Signal::SIGCONT);
    begins(
        trial,
        "usurped",
        &format!("{next} had taken the shard, and is killed; {owner} goes on"),
    );

    // Without the one that was killed; then with it.
    trial.recover("usurped", false).await;
    trial.recover("usurped", true).await;
    Ok(())
}

/// Has the master hold all writes from now on.
async fn hold(trial: &Trial, master: &str, for_ms: u64) -> Result<(), String> {
    trial
        .field
        .site
        .redis(master, &["CLIENT", "PAUSE", &for_ms.to_string(), "WRITE"])
        .await
        .map(drop)
}

/// The owner of the shard, once it is another than that one.
async fn owner_beside(trial: &Trial, before: Option<&str>) -> Result<String, String> {
    let site = &trial.field.site;
    let end = Instant::now() + REPLACED_WITHIN;

    loop {
        for node in site
            .nodes()
            .into_iter()
            .filter(|node| Some(node.as_str()) != before)
        {
            if site
                .holding(&node)
                .await
                .is_ok_and(|holding| holding.owned.contains_key(&SHARD))
            {
                return Ok(node);
            }
        }
        if Instant::now() > end {
            return Err(format!(
                "nobody beside {before:?} owned the shard within {REPLACED_WITHIN:?}"
            ));
        }
        trial.pause(Duration::from_millis(100)).await;
    }
}
