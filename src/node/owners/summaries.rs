//! What shards here tell of conversations, for somebody's list.

use std::time::Instant;

use futures_util::FutureExt;

use crate::ids::{ConversationName, ShardId, UserId};
use crate::node::link::Serving;
use crate::node::link::frame::{Outcome, SummaryLength};
use crate::node::owners::local::LocalShards;
use crate::problem::Problem;
use crate::protocol::ConversationItem;
use crate::shard::command::{Found, Freshness, Query, ShardError};

impl LocalShards {
    pub(super) fn serve_summaries(
        &self,
        parts: Vec<(ShardId, Vec<ConversationName>)>,
        (reader, length): (UserId, SummaryLength),
        deadline: Instant,
    ) -> Serving {
        let answers = self.each(parts, move |handle, names| {
            let query = Query::Summaries {
                names,
                reader: reader.clone(),
            };
            async move {
                match handle.query(query, deadline).await? {
                    (Found::Summaries(items), freshness) => {
                        Ok((of_length(items, length), freshness))
                    }
                    _ => Err(ShardError::Problem(Problem::unavailable(
                        "the shard answered something else",
                    ))),
                }
            }
        });
        async move { Ok(summaries(answers.await)) }.boxed()
    }
}

/// The answer of one shard to a request for summaries.
type Summarized = (Vec<Option<ConversationItem>>, Freshness);

/// Leaves out what was not asked for.
fn of_length(
    mut items: Vec<Option<ConversationItem>>,
    length: SummaryLength,
) -> Vec<Option<ConversationItem>> {
    if length == SummaryLength::Brief {
        for item in items.iter_mut().flatten() {
            item.last_message = None;
        }
    }
    items
}

/// As stale as the stalest part.
fn summaries(answers: Vec<Result<Summarized, ShardError>>) -> Outcome {
    let stalest = answers
        .iter()
        .flatten()
        .map(|(_, freshness)| *freshness)
        .fold(Freshness::Strict, Freshness::stalest);
    let parts = answers
        .into_iter()
        .map(|answer| answer.map(|(items, _)| items))
        .collect();
    match stalest {
        Freshness::Strict => Outcome::Summaries(parts),
        Freshness::Stale { ms } => Outcome::StaleSummaries { parts, ms },
    }
}
