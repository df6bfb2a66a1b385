//! How far a device has to get in the end: to the goals of its conversations, unless it is excused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::chaos::clients::person::Person;
use crate::chaos::clients::{World, finale};

/// Before a list that could not be had is asked for again.
const AGAIN: Duration = Duration::from_millis(200);

/// The goals of one device.
pub(super) struct Goals {
    world: Arc<World>,
    user: u32,
    /// Conversations that were there before its sockets were ready, and start at their ends: nobody
    /// tells where that is.
    excused: Arc<Mutex<BTreeSet<u32>>>,
}

impl Goals {
    pub(super) fn new(world: &Arc<World>, user: u32) -> Self {
        Self {
            world: Arc::clone(world),
            user,
            excused: Arc::default(),
        }
    }

    /// What is in the list now was not named, or is known.
    pub(super) fn excuse(&self) {
        let (world, user, excused) = (
            Arc::clone(&self.world),
            self.user,
            Arc::clone(&self.excused),
        );
        drop(tokio::spawn(async move {
            let mut person = Person::new(&world, user);
            while !world.gave_up() {
                if let Some(listed) = finale::list(&mut person).await {
                    excused
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .extend(listed);
                    return;
                }
                tokio::time::sleep(AGAIN).await;
            }
        }));
    }

    /// Conversations that it has to be at the end of.
    fn owed(&self, positions: &BTreeMap<u32, u64>) -> Vec<(u32, u64, u64)> {
        let Some(goals) = self.world.mood.borrow().goals.clone() else {
            return Vec::new();
        };
        let is_behind = |(conversation, goal): (&u32, &u64)| {
            let at = positions.get(conversation).copied();
            if at.is_none()
                && self
                    .excused
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .contains(conversation)
            {
                return None;
            }
            let at = at.unwrap_or(0);
            let member = || {
                self.world
                    .log
                    .ask(|checker| checker.members(*conversation))
                    .contains(&self.user)
            };
            (at < *goal && member()).then_some((*conversation, at, *goal))
        };
        goals.iter().filter_map(is_behind).collect()
    }

    /// Whether it is at all of them with these positions.
    pub(super) fn are_reached(&self, positions: &BTreeMap<u32, u64>) -> bool {
        self.owed(positions).is_empty()
    }

    /// Tells of each that it is not at.
    pub(super) fn complain(&self, positions: &BTreeMap<u32, u64>) {
        for (conversation, at, goal) in self.owed(positions) {
            let said = format!(
                "a device of u{} is at seq {at} of c{conversation}, and its end is {goal}",
                self.user
            );
            self.world
                .log
                .wrong("every session gets to the end", Some(conversation), said);
        }
    }
}
