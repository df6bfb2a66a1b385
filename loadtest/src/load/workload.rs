//! Who talks with whom: users, and conversations of given sizes among them.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde::Deserialize;

use crate::client::http::Ask;
use crate::target::Target;

/// Most members that one conversation is created with; the contract's limit.
pub(crate) const MEMBERS_MAX: usize = 1_000;
/// Conversations that are created at the same time.
const CREATING: usize = 16;

/// One conversation.
#[derive(Debug, Clone)]
pub(crate) struct Conversation {
    pub(crate) name: String,
    /// Which of the sizes it has.
    pub(crate) group: usize,
    /// Users; the first is its admin.
    pub(crate) members: Vec<usize>,
    /// Its last seq before any send.
    pub(crate) last_seq: u64,
    /// How many of the members have a socket.
    pub(crate) online: u64,
}

/// Everybody and everything.
#[derive(Debug)]
pub(crate) struct Workload {
    pub(crate) users: Vec<String>,
    /// The first so many users have a socket each.
    pub(crate) online: usize,
    /// Sizes of conversations.
    pub(crate) sizes: Vec<usize>,
    pub(crate) conversations: Vec<Conversation>,
    /// Conversation by name.
    by_name: HashMap<String, usize>,
    seed: u64,
}

#[derive(Debug, Deserialize)]
struct Created {
    /// 0 where there are none.
    #[serde(default)]
    last_seq: u64,
}

impl Workload {
    /// Plans it: of each size so many conversations, with members chosen by chance. Pure; names
    /// carry `run`.
    pub(crate) fn plan(
        run: &str,
        (users, online): (usize, usize),
        (sizes, each): (&[usize], usize),
        seed: u64,
    ) -> Self {
        let mut chance = StdRng::seed_from_u64(seed);
        let mut conversations = Vec::new();

        for (group, size) in sizes.iter().enumerate() {
            for _ in 0..each {
                let members =
                    rand::seq::index::sample(&mut chance, users, (*size).min(users)).into_vec();
                let listeners = members.iter().filter(|member| **member < online).count();
                conversations.push(Conversation {
                    name: format!("{run}-{}", conversations.len()),
                    group,
                    members,
                    last_seq: 0,
                    online: u64::try_from(listeners).unwrap_or_default(),
                });
            }
        }

        let by_name = conversations
            .iter()
            .enumerate()
            .map(|(index, one)| (one.name.clone(), index))
            .collect();
        let names = (0..users)
            .map(|user| format!("{run}-user-{user}"))
            .collect();
        Self {
            users: names,
            online,
            sizes: sizes.to_vec(),
            conversations,
            by_name,
            seed,
        }
    }

    /// Creates the conversations.
    pub(crate) async fn create(&mut self, target: &Target) -> Result<(), String> {
        let users = &self.users;
        let creating = self
            .conversations
            .iter()
            .map(|conversation| create(target, users, conversation));
        let created: Vec<u64> = stream::iter(creating)
            .buffered(CREATING)
            .try_collect()
            .await?;
        for (conversation, last_seq) in self.conversations.iter_mut().zip(created) {
            conversation.last_seq = last_seq;
        }
        Ok(())
    }

    /// The name of a user.
    pub(crate) fn user(&self, user: usize) -> Result<&str, String> {
        self.users
            .get(user)
            .map(String::as_str)
            .ok_or_else(|| "no such user".to_owned())
    }

    /// A conversation by its name.
    pub(crate) fn find(&self, name: &str) -> Option<(usize, &Conversation)> {
        let index = *self.by_name.get(name)?;
        Some((index, self.conversations.get(index)?))
    }

    /// Where send `number` goes and who sends it. The sizes take turns; the rest is chance, the
    /// same for the same seed.
    pub(crate) fn pick(&self, number: u64) -> Option<(usize, usize)> {
        let mut chance = rand::rngs::SmallRng::seed_from_u64(
            self.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        );
        let sizes = self.sizes.len();
        let each = self.conversations.len().checked_div(sizes)?;
        let group = usize::try_from(number).ok()?.checked_rem(sizes)?;
        let index = group * each + chance.random_range(0..each.max(1));
        let members = &self.conversations.get(index)?.members;
        Some((
            index,
            *members.get(chance.random_range(0..members.len().max(1)))?,
        ))
    }
}

async fn create(
    target: &Target,
    users: &[String],
    conversation: &Conversation,
) -> Result<u64, String> {
    let told = |error: &dyn std::fmt::Display| format!("creating a conversation: {error}");
    let (admin, others) = conversation
        .members
        .split_first()
        .ok_or_else(|| told(&"it has no members"))?;
    let name = |user: &usize| users.get(*user).cloned().unwrap_or_default();
    let mut participants: Vec<String> = others.iter().map(name).collect();
    if participants.is_empty() {
        participants.push(name(admin));
    }

    let body = serde_json::json!({"participants": participants, "name": conversation.name});
    let token: Arc<str> = target.tokens.of(&name(admin)).await?;
    let ask = Ask::post("/v1/conversations", token, Bytes::from(body.to_string()));
    let answer = target
        .pool(*admin)?
        .succeed(&ask)
        .await
        .map_err(|error| told(&error))?;
    let created: Created = serde_json::from_slice(&answer).map_err(|error| told(&error))?;
    Ok(created.last_seq)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn conversations_have_their_sizes_and_members_are_different_users() {
        let workload = Workload::plan("r", (1_200, 1_000), (&[2, 10, 1_000], 4), 5);
        assert_eq!(workload.conversations.len(), 12);
        for conversation in &workload.conversations {
            let members: BTreeSet<&usize> = conversation.members.iter().collect();
            assert_eq!(members.len(), workload.sizes[conversation.group]);
            assert!(members.iter().all(|member| **member < 1_200));
            let online = members.iter().filter(|member| ***member < 1_000).count();
            assert_eq!(conversation.online, online as u64);
        }
    }

    #[test]
    fn sends_are_spread_evenly_over_sizes_and_each_comes_from_a_member() {
        let workload = Workload::plan("r", (50, 50), (&[2, 10], 8), 5);
        let mut of_size = [0, 0];
        let mut used = BTreeSet::new();
        for number in 0..1_000 {
            let (index, sender) = workload.pick(number).unwrap();
            let conversation = &workload.conversations[index];
            assert!(conversation.members.contains(&sender));
            of_size[conversation.group] += 1;
            used.insert(index);
        }
        assert_eq!((of_size, used.len()), ([500, 500], 16));
    }

    #[test]
    fn the_same_seed_gives_the_same_workload() {
        let plan = |seed| Workload::plan("r", (100, 100), (&[5], 3), seed);
        let members = |workload: &Workload| -> Vec<Vec<usize>> {
            workload
                .conversations
                .iter()
                .map(|conversation| conversation.members.clone())
                .collect()
        };
        assert_eq!(members(&plan(1)), members(&plan(1)));
        assert_ne!(members(&plan(1)), members(&plan(2)));
        assert_eq!(plan(1).pick(77), plan(1).pick(77));
        let (index, _) = plan(1)
            .find("r-2")
            .map(|(index, one)| (index, one.group))
            .unwrap();
        assert_eq!(index, 2);
    }
}
