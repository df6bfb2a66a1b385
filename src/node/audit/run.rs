//! A step of an audit: a page is read, what differs is looked at again, and, if that is asked for,
//! sent again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::ids::{ConversationName, ShardId, UserId};
use crate::log::ShardLog;
use crate::node::audit::ends;
use crate::node::audit::lists::Look;
use crate::node::audit::looks::{
    ask, conversations_shard, grouped, look, stands_of, users_shard, with_rows,
};
use crate::node::audit::page::{AuditDifference, AuditOrder, AuditPage, AuditPart};
use crate::node::context::Setup;
use crate::node::owners::Owners;
use crate::shard::command::{AuditAsk, AuditTold, Command, Pair};

/// Conversations and pairs in a page.
const CONVERSATIONS: u32 = 32;
const PAIRS: u32 = 256;

/// Looks at what differs, before it is left as changing all the time.
const LOOKS_MAX: u32 = 4;

/// Pause before another one.
const AGAIN: Duration = Duration::from_millis(200);

/// Longest wait for an outbox to be delivered.
const CLEAR_WITHIN: Duration = Duration::from_secs(3);

/// Compares, by way of one node.
#[derive(Debug)]
pub(crate) struct Audit {
    owners: Owners,
    log: Arc<dyn ShardLog>,
}

impl Audit {
    pub(in crate::node) fn new(setup: &Setup, owners: &Owners) -> Self {
        Self::over(owners.clone(), Arc::clone(&setup.log))
    }

    pub(super) fn over(owners: Owners, log: Arc<dyn ShardLog>) -> Self {
        Self { owners, log }
    }

    /// Takes one step, which ends by the deadline. What was sent for a repair may take effect later
    /// where this is dropped.
    ///
    /// # Errors
    /// One sentence: `after` is none that a page told, or the owner of the shard does not answer.
    pub(crate) async fn step(
        &self,
        shard: ShardId,
        order: &AuditOrder,
        deadline: Instant,
    ) -> Result<AuditPage, String> {
        let after = order.after.as_deref();
        match order.part {
            AuditPart::Shard => {
                let after = after.map(conversation_in).transpose()?;
                self.shard(shard, after, order.repair, deadline).await
            }
            AuditPart::Members => {
                let after = after.map(pair_in).transpose()?;
                self.members(shard, after, order.repair, deadline).await
            }
            AuditPart::Lists => {
                let after = after.map(pair_in).transpose()?;
                self.lists(shard, after, order.repair, deadline).await
            }
        }
    }

    async fn shard(
        &self,
        shard: ShardId,
        after: Option<ConversationName>,
        refill: bool,
        deadline: Instant,
    ) -> Result<AuditPage, String> {
        let mut page = AuditPage::default();
        if after.is_none() {
            let ways = (&self.owners, self.log.as_ref());
            ends::compare(ways, shard, &mut page, deadline).await;
        }

        let asked = AuditAsk::Conversations {
            after,
            limit: CONVERSATIONS,
            refill,
        };
        let AuditTold::Conversations {
            looked_at,
            differing,
            next,
        } = ask(&self.owners, shard, asked, deadline).await?
        else {
            return Err(something_else(shard));
        };
        page.looked_at = looked_at;
        page.next = next.map(|name| name.to_string());
        page.differing
            .extend(differing.into_iter().map(|one| AuditDifference {
                what: format!("conversation {}: {}", one.conversation, one.what),
                mended: one.mended,
            }));
        Ok(page)
    }

    async fn members(
        &self,
        shard: ShardId,
        after: Option<Pair>,
        repair: bool,
        deadline: Instant,
    ) -> Result<AuditPage, String> {
        let asked = AuditAsk::Members {
            after,
            limit: PAIRS,
        };
        let AuditTold::Members { members, next } =
            ask(&self.owners, shard, asked, deadline).await?
        else {
            return Err(something_else(shard));
        };
        let looked = with_rows(&self.owners, members, deadline).await;
        Ok(self.page(looked, next.as_ref(), repair, deadline).await)
    }

    async fn lists(
        &self,
        shard: ShardId,
        after: Option<Pair>,
        repair: bool,
        deadline: Instant,
    ) -> Result<AuditPage, String> {
        let asked = AuditAsk::Listed {
            after,
            limit: PAIRS,
        };
        let AuditTold::Listed { rows, next } = ask(&self.owners, shard, asked, deadline).await?
        else {
            return Err(something_else(shard));
        };

        // The rows were read before the conversations; they are read again where that differs.
        let said: HashMap<_, _> = rows.iter().cloned().collect();
        let pairs = rows.into_iter().map(|(pair, _)| pair).collect();
        let (stands, missed) = stands_of(&self.owners, pairs, deadline).await;
        let looks = stands.into_iter().map(|(pair, stand)| Look {
            row: said.get(&pair).copied(),
            pair,
            stand,
        });
        let looked = (looks.collect(), missed);
        Ok(self.page(looked, next.as_ref(), repair, deadline).await)
    }

    /// What a page of pairs comes to.
    async fn page(
        &self,
        (looks, not_compared): (Vec<Look>, Vec<String>),
        next: Option<&Pair>,
        repair: bool,
        deadline: Instant,
    ) -> AuditPage {
        let mut page = AuditPage {
            looked_at: u32::try_from(looks.len()).unwrap_or(u32::MAX),
            not_compared,
            next: next.map(|pair| format!("{},{}", pair.user, pair.conversation)),
            ..AuditPage::default()
        };

        let suspected = looks
            .into_iter()
            .filter(|look| look.wrong().is_some())
            .collect();
        let proven = self.proven(suspected, &mut page, deadline).await;
        let mended = if repair {
            self.mended(&proven, &mut page, deadline).await
        } else {
            Vec::new()
        };
        page.differing = proven
            .into_iter()
            .map(|look| AuditDifference {
                what: look.to_string(),
                mended: mended.contains(&look.pair),
            })
            .collect();
        page
    }

    /// Of what differs, that which no change under way explains: both sides say the same as before,
    /// and the outbox between them was delivered in between.
    async fn proven(
        &self,
        mut suspected: Vec<Look>,
        page: &mut AuditPage,
        deadline: Instant,
    ) -> Vec<Look> {
        let mut proven = Vec::new();
        for _ in 0..LOOKS_MAX {
            if suspected.is_empty() {
                return proven;
            }
            tokio::time::sleep(AGAIN).await;
            suspected = self.delivered(suspected, page, deadline).await;

            let pairs = suspected.iter().map(|look| look.pair.clone()).collect();
            let (looks, missed) = look(&self.owners, pairs, deadline).await;
            page.not_compared.extend(missed);
            let (same, other): (Vec<Look>, Vec<Look>) = looks
                .into_iter()
                .filter(|look| look.wrong().is_some())
                .partition(|look| suspected.contains(look));
            proven.extend(same);
            suspected = other;
        }

        page.not_compared.extend(suspected.iter().map(|look| {
            let Pair { user, conversation } = &look.pair;
            format!("whether {user} is in {conversation} changed while it was looked at")
        }));
        proven
    }

    /// Those between whose shards nothing is on its way.
    async fn delivered(
        &self,
        suspected: Vec<Look>,
        page: &mut AuditPage,
        deadline: Instant,
    ) -> Vec<Look> {
        let mut ways: Vec<(ShardId, ShardId)> =
            suspected.iter().map(|look| self.way(&look.pair)).collect();
        ways.sort_unstable();
        ways.dedup();
        let until = deadline.min(Instant::now() + CLEAR_WITHIN);
        let clear = self.owners.outboxes_delivered(ways.clone(), until).await;

        let mut blocked = Vec::new();
        for (way, _) in ways.into_iter().zip(clear).filter(|(_, clear)| !clear) {
            page.not_compared.push(format!(
                "the outbox of shard {} to shard {} is not delivered",
                way.0, way.1
            ));
            blocked.push(way);
        }
        let is_free = |look: &Look| !blocked.contains(&self.way(&look.pair));
        suspected.into_iter().filter(is_free).collect()
    }

    /// From which shard to which an index change of a pair goes.
    fn way(&self, pair: &Pair) -> (ShardId, ShardId) {
        (
            conversations_shard(&self.owners, pair),
            users_shard(&self.owners, pair),
        )
    }

    /// Sends again what the lists should say. Returns which of them say it now.
    async fn mended(&self, proven: &[Look], page: &mut AuditPage, deadline: Instant) -> Vec<Pair> {
        let changes = proven
            .iter()
            .filter_map(|look| Some((look.pair.clone(), look.mending()?)));
        let by_shard = grouped(changes.collect(), |(pair, _)| {
            users_shard(&self.owners, pair)
        });

        let mut sent = Vec::new();
        for (to, of) in by_shard {
            let (pairs, to_send): (Vec<_>, Vec<_>) = of.into_iter().unzip();
            match self
                .owners
                .execute(to, Command::Index(to_send), deadline)
                .await
            {
                Ok(_) => sent.extend(pairs),
                Err(problem) => page
                    .not_compared
                    .push(format!("shard {to} did not take what was sent: {problem}")),
            }
        }

        let (looks, _missed) = look(&self.owners, sent, deadline).await;
        looks
            .into_iter()
            .filter(|look| look.wrong().is_none())
            .map(|look| look.pair)
            .collect()
    }
}

fn something_else(shard: ShardId) -> String {
    format!("the owner of shard {shard} answered something else")
}

/// Where a page of conversations begins.
fn conversation_in(text: &str) -> Result<ConversationName, String> {
    ConversationName::parse(text).map_err(|error| format!("after={text}: {error}"))
}

/// Where a page of pairs begins, `USER,CONVERSATION`.
fn pair_in(text: &str) -> Result<Pair, String> {
    let pair = text.split_once(',').and_then(|(user, conversation)| {
        Some(Pair {
            user: UserId::parse(user).ok()?,
            conversation: ConversationName::parse(conversation).ok()?,
        })
    });
    pair.ok_or_else(|| format!("after={text}: no page ended there"))
}
