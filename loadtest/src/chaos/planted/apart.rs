//! Two nodes cannot reach each other for a while, and the third reaches both: what it tells the
//! one, where the lists of users are, the other hears of only when it subscribes again.

use std::time::Duration;

use crate::chaos::planted::stages::begins;
use crate::chaos::site::wires::{Pair, Rule};
use crate::chaos::trial::Trial;

/// Rounds of one attempt, each with another pair.
const ROUNDS: usize = 6;
/// For so long, so that guests come and go several times.
const APART: Duration = Duration::from_secs(4);
/// For all that was missed to be told.
const TOLD: Duration = Duration::from_secs(2);

/// Plays it, until something is wrong.
pub(super) async fn play(trial: &Trial) -> Result<(), String> {
    let site = &trial.field.site;
    let wires = site.wires.as_ref().ok_or("there are no proxies")?;
    let nodes = site.nodes();
    let mut others = nodes.iter().cycle().skip(1);

    for (one, other) in nodes.iter().cycle().zip(&mut others).take(ROUNDS) {
        if trial.world().log.is_wrong() {
            return Ok(());
        }
        let pairs: Vec<Pair> = vec![(one.clone(), other.clone()), (other.clone(), one.clone())];
        begins(trial, "apart", &format!("{one} and {other}"));
        wires.set(&pairs, Some(Rule::Cut));
        trial.pause(APART).await;
        wires.set(&pairs, None);
        trial.pause(TOLD).await;
    }

    trial.recover("apart", true).await;
    Ok(())
}
