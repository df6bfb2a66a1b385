//! A node joins with an empty folder, and owners die while it is given its copies, which takes
//! long: whoever had the copies of before has to go on with their shards.

use std::time::Duration;

use tokio::time::Instant;

use crate::chaos::planted::stages::begins;
use crate::chaos::site::further::FURTHER;
use crate::chaos::trial::Trial;

/// It reads its copies so slowly that all of them together take half a minute.
const SLOWLY: &str = "--snapshot-rate 256KiB";
/// For several rows to name it: it is steady after 10 s.
const NAMED_WITHIN: Duration = Duration::from_secs(60);
const ROWS: usize = 4;
/// Owners that would let somebody go at once have done so within this time.
const LET_GO: Duration = Duration::from_secs(3);

/// Plays it.
pub(super) async fn play(trial: &Trial) -> Result<(), String> {
    let site = &trial.field.site;
    site.join(SLOWLY).await?;

    let end = Instant::now() + NAMED_WITHIN;
    while site.named(FURTHER).await?.rows < ROWS {
        if Instant::now() > end {
            return Err(format!("{FURTHER} is given no places"));
        }
        trial.pause(Duration::from_millis(100)).await;
    }
    trial.pause(LET_GO).await;

    let mut most = (0, None);
    for node in site.running_nodes() {
        let holding = site.holding(&node).await?;
        let waiting = holding.owned.values();
        let waiting = waiting
            .filter(|standbys| standbys.get(FURTHER) == Some(&false))
            .count();
        if waiting > most.0 {
            most = (waiting, Some(node));
        }
    }
    let (waiting, Some(owner)) = most else {
        return Err(format!("{FURTHER} waits for no copy any more"));
    };

    begins(
        trial,
        "newcomer",
        &format!("{owner} is killed, and {FURTHER} waits for {waiting} copies of it"),
    );
    site.kill(&[owner]).await;
    trial.recover("newcomer", false).await;
    Ok(())
}
