//! A conversation is closed, and what is left of it goes step by step (ADR 26).

use crate::ids::{ConversationName, Offset};
use crate::log::Stream;
use crate::log::record::{CLOSING_SINCE, Erasure, Pruning, Record};
use crate::shard::command::{Close, Done};
use crate::shard::write::head::not_participant;
use crate::shard::write::owner::Owner;
use crate::shard::write::owner::decide::Verdict;
use crate::shard::write::owner::input::Accepted;
use crate::shard::write::owner::write::Step;

impl Owner {
    pub(super) fn decide_close(&mut self, name: &ConversationName, close: &Close) -> Verdict {
        let users = self.head(name).map_or(0, |head| head.participants.len());
        let event = self.on_head(name, |head, now_ms| head.decide_close(close, now_ms));
        let until = self.members_changed(name);

        match event {
            Err(problem) => Verdict::Rests(until, Err(problem)),
            Ok(None) => Verdict::Rests(until, Ok(Accepted::Done(Done::Closed))),
            Ok(Some(event)) => match self.not_all_read(CLOSING_SINCE) {
                Some(problem) => Verdict::Rests(until, Err(problem)),
                None => {
                    let offset = self.append_event(event);
                    let accepted = Accepted::Changed {
                        done: Done::Closed,
                        offset,
                        users: u32::try_from(users).unwrap_or(u32::MAX),
                    };
                    Verdict::Written(offset, accepted)
                }
            },
        }
    }

    /// Appends a step. It was asked for by what the file has, so the event before it is committed.
    pub(super) fn decide_step(&mut self, name: &ConversationName, step: Step) -> Verdict {
        let head = self.head(name).filter(|head| head.closed.is_some());
        let Some(last_created) = head.map(|head| head.last_created) else {
            return Verdict::Rests(Offset(0), Err(not_participant()));
        };
        let (conversation, at) = (name.clone(), self.now().max(last_created));
        let record = match step {
            Step::Prune(up_to) => Record::Pruned(Pruning {
                conversation,
                up_to,
                at,
                messages: Vec::new(),
            }),
            Step::Erase(_) | Step::Last => Record::Erased(Erasure {
                conversation,
                is_last: step == Step::Last,
                at,
            }),
        };

        let stream = step.stream();
        let offset = self.appenders[stream].decide(record.clone(), Vec::new());
        if stream == Stream::Messages {
            self.unapplied.push_back((offset, record));
        }
        let accepted = Accepted::Changed {
            done: Done::Closed,
            offset,
            users: 0,
        };
        Verdict::Written(offset, accepted)
    }
}
