//! Those who write all the time.

use std::sync::Arc;
use std::time::Duration;

use crate::chaos::clients::World;
use crate::chaos::clients::person::Person;
use crate::chaos::history::Outcome;

/// In a hundred acknowledged messages, so many are sent once more with their key.
const AGAIN_PERCENT: u64 = 5;
/// And so many are read back at once, over the other router.
const READ_BACK_PERCENT: u64 = 15;
/// After a refusal.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// Writes until the load is over.
pub(crate) async fn run(world: Arc<World>, user: u32, conversation: u32, pause: Duration) {
    let mut random = world
        .random
        .split("sender", u64::from(conversation) << 16 | u64::from(user));
    let mut person = Person::new(&world, user);
    let usual = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX);

    while !world.is_over() {
        let (op, outcome) = person.send(&world, conversation).await;
        match outcome {
            Outcome::Ok { item, .. } => {
                if random.percent(AGAIN_PERCENT) {
                    person.send_again(&world, conversation, op).await;
                }
                if let Some(item) = item
                    && random.percent(READ_BACK_PERCENT)
                {
                    person
                        .page(&world, conversation, (item.seq - 1, 20), false)
                        .await;
                }
            }
            Outcome::Failed { .. } | Outcome::Unknown { .. } => {
                tokio::time::sleep(REFUSED_PAUSE).await
            }
        }
        tokio::time::sleep(Duration::from_micros(
            random.between(usual / 2, usual * 3 / 2),
        ))
        .await;
    }
}
