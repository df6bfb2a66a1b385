//! A batch that is surely not in the log is taken back: what was built on it in memory goes, and
//! what can be is decided anew.

use crate::ids::Offset;
use crate::log::Stream;
use crate::log::record::Record;
use crate::problem::Problem;
use crate::shard::write::owner::Owner;
use crate::shard::write::owner::anew::undecided;
use crate::shard::write::owner::commit::fail;
use crate::shard::write::owner::conversation::Known;
use crate::shard::write::owner::input::Waiter;
use crate::shard::write::owner::parking::no_space;

impl Owner {
    /// A batch is surely not in the log: everything decided on that stream since the committed tail
    /// is void. What was built on it in memory is dropped and filled again from SQLite, once that
    /// has what was committed.
    pub(super) fn take_back(&mut self, stream: Stream) {
        let committed = self.appenders[stream].committed().offset;
        let problem = if self.parking.is_full() {
            no_space()
        } else {
            Problem::unavailable("the log refused to write; nothing was written, retry later")
        };
        let mut again = Vec::new();

        for (offset, waiter) in self.appenders[stream].take_waiting() {
            match waiter {
                _ if offset <= committed => fail(waiter, false),
                Waiter::Write(answer, _) => drop(answer.send(Err(problem.clone().into()))),
                waiter => again.extend(undecided(waiter)),
            }
        }

        match stream {
            Stream::Messages => self.take_back_messages(committed),
            Stream::Receipts => {
                for state in self.conversations.values_mut() {
                    state.marks = None;
                    state.reactions.clear();
                    state.receipts_touched = state.receipts_touched.min(committed);
                    state.reaction_touched = state.reaction_touched.min(committed);
                }
                self.fill_floor.receipts = committed;
            }
        }
        self.again(again);
    }

    fn take_back_messages(&mut self, committed: Offset) {
        while let Some((_, record)) = self
            .unapplied
            .pop_back_if(|(offset, _)| *offset > committed)
        {
            // What was delivered stays delivered: it is told to the log again.
            if let Record::OutboxProgress { upto } = record {
                self.outbox_progress = self.outbox_progress.max(Some(upto));
            }
        }

        for state in self.conversations.values_mut() {
            state.known = Known::No;
            state.tail.retain(|(offset, _)| *offset <= committed);
            state.keys.retain(|_, used| used.offset <= committed);
            state.members_changed = state.members_changed.min(committed);
            state.bans_touched = state.bans_touched.min(committed);
            state.views_touched = state.views_touched.min(committed);
            state.weigh(&mut self.heads_taken);
        }

        self.take_back_stamped(committed);
        self.messages.take_back(committed);
        self.index_touched.clear();
        self.index_recent.clear();

        for (offset, record) in &self.unapplied {
            if let Record::Index(change) = record {
                self.index_touched.insert(change.user.clone(), *offset);
                if change.view.is_none() {
                    let of = (change.user.clone(), change.conversation.clone());
                    self.index_recent.insert(of, (change.seq, *offset));
                }
            }
        }
        self.fill_floor.messages = committed;
    }
}
