//! Whose presence a reader may know, and how users of this shard are: what the loop knows, and for
//! the others the file.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use crate::ids::{ConversationName, UserId};
use crate::problem::{Code, Problem};
use crate::protocol::policy::Action;
use crate::protocol::{CLOSE_PARTICIPANTS_MAX, Presence};
use crate::shard::command::{Present, ShardError, Watched};
use crate::shard::read::barrier::Reading;
use crate::shard::state::Inner;
use crate::shard::write::owner::{Input, Want};
use crate::shard::write::presence::FRESH_MS;
use crate::shard::write::subscriptions::Subscriber;

impl Inner {
    /// Participants who have sent, read or reacted since they joined, for one who takes part.
    pub(in crate::shard) async fn acquainted(
        &self,
        name: &ConversationName,
        reader: &UserId,
        reading: &Reading,
    ) -> Result<Vec<UserId>, ShardError> {
        let ticket =
            Box::pin(self.begin(name, reader, Want::May(Action::SeePresence), reading)).await?;
        let view = ticket
            .view
            .ok_or_else(|| Problem::unavailable("the conversation is not known yet; retry"))?;
        if view.participants_count > CLOSE_PARTICIPANTS_MAX as u64 {
            let detail = format!(
                "nobody is told who is there where more than {CLOSE_PARTICIPANTS_MAX} take part"
            );
            return Err(Problem::new(Code::TooManyParticipants, detail).into());
        }
        self.barrier(ticket.touched, reading).await?;
        let users = self.store.acquainted(name).await?;
        self.still_in(name, reader, reading).await?;
        Ok(users)
    }

    /// How these users are; with `by` that node is told from now on when it changes.
    pub(in crate::shard) async fn presence(
        &self,
        by: Option<Subscriber>,
        users: Vec<Watched>,
        deadline: Instant,
    ) -> Result<Present, ShardError> {
        let untold: HashSet<UserId> = users
            .iter()
            .filter(|asked| asked.online.is_none())
            .map(|asked| asked.user.clone())
            .collect();
        let watcher = by.clone();

        let (mut present, is_young) = self
            .ask(deadline, |answer| Input::Presence { by, users, answer })
            .await??;
        let unknown = present
            .users
            .iter()
            .filter(|one| !one.online && one.last_seen.is_none());
        let unknown: Vec<UserId> = unknown.map(|one| one.user.clone()).collect();
        let mut seen: HashMap<UserId, u64> = self.store.seen(&unknown).await?.into_iter().collect();
        for one in present.users.iter_mut().filter(|one| !one.online) {
            one.last_seen = one.last_seen.or_else(|| seen.remove(&one.user));
        }

        if is_young {
            self.believe(&mut present, (untold, watcher), deadline)
                .await?;
        }

        Ok(present)
    }

    /// Whoever may have been online when the owner before was lost counts as online, until their
    /// nodes had time to subscribe; but not for those who were told that they are not.
    async fn believe(
        &self,
        present: &mut Present,
        (untold, watcher): (HashSet<UserId>, Option<Subscriber>),
        deadline: Instant,
    ) -> Result<(), ShardError> {
        let now = self.clock.now_ms();
        let is_fresh = |one: &Presence| {
            one.last_seen
                .is_some_and(|seen| now < seen.saturating_add(FRESH_MS))
        };
        let fresh = present
            .users
            .iter_mut()
            .filter(|one| !one.online && untold.contains(&one.user) && is_fresh(one));
        let mut believed = Vec::new();

        for one in fresh {
            (one.online, one.last_seen) = (true, None);
            believed.push(Watched {
                user: one.user.clone(),
                online: Some(true),
            });
        }

        if watcher.is_some() && !believed.is_empty() {
            // The loop goes by it too, and tells when it was wrong.
            self.ask(deadline, |answer| Input::Presence {
                by: watcher,
                users: believed,
                answer,
            })
            .await??;
        }

        Ok(())
    }
}
