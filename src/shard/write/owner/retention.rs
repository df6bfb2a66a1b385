//! What is older than a conversation keeps it goes step by step (ADR 27).

use crate::ids::{ConversationName, Offset};
use crate::log::Stream;
use crate::log::record::{Pruning, RETENTION_SINCE, Record};
use crate::problem::Problem;
use crate::shard::command::{Done, Push};
use crate::shard::file::store::Outdated;
use crate::shard::write::owner::Owner;
use crate::shard::write::owner::conversation::Known;
use crate::shard::write::owner::decide::Verdict;
use crate::shard::write::owner::input::Accepted;
use crate::shard::write::owner::write::Retire;

impl Owner {
    /// Takes a step. It was asked for by what the file has; the settings may have changed since.
    pub(super) fn decide_retire(
        &mut self,
        name: &ConversationName,
        (outdated, step): (Outdated, &Retire),
    ) -> Verdict {
        let rests = |outcome| Verdict::Rests(Offset(0), outcome);
        if let Some(problem) = self.not_all_read(RETENTION_SINCE) {
            return rests(Err(problem));
        }
        let (now_ms, retention) = (self.now(), self.setup.retention);
        let Some(state) = self.conversations.get_mut(name) else {
            return rests(Err(kept()));
        };
        let Known::Head(head) = &mut state.known else {
            return rests(Err(kept()));
        };
        let kept_s = retention.kept_s(head.settings.retention_s);
        let until = kept_s.map(|s| outdated.newest.saturating_add(u64::from(s) * 1_000));
        if head.closed.is_some() || until.is_none_or(|until| until > now_ms) {
            return rests(Err(kept()));
        }

        let (messages, pushes) = match step {
            Retire::Quiet => {
                head.quiet = outdated.up_to.max(head.quiet);
                let accepted = changed(state.receipts_touched);
                return rests(Ok(accepted));
            }
            Retire::Beside(messages) => (messages.clone(), Vec::new()),
            Retire::Events { is_last } => (Vec::new(), told(name, outdated, *is_last)),
        };

        let record = Record::Pruned(Pruning {
            conversation: name.clone(),
            up_to: outdated.up_to,
            at: now_ms.max(head.last_created),
            messages,
        });
        let stream = step.stream();
        let offset = self.appenders[stream].decide(record.clone(), pushes);
        if stream == Stream::Messages {
            self.unapplied.push_back((offset, record));
        }
        Verdict::Written(offset, changed(offset))
    }
}

fn changed(offset: Offset) -> Accepted {
    Accepted::Changed {
        done: Done::Marked,
        offset,
        users: 0,
    }
}

/// What sessions are told of it: when nothing more of the conversation goes for now.
fn told(name: &ConversationName, outdated: Outdated, is_last: bool) -> Vec<Push> {
    let push = || Push::Pruned {
        conversation: name.clone(),
        up_to: outdated.up_to,
    };
    is_last.then(push).into_iter().collect()
}

/// It is not to go any more.
fn kept() -> Problem {
    Problem::unavailable("the conversation keeps this now")
}
