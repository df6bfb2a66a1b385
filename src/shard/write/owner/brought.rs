//! What a look-up brought is taken in, and what waited for it goes on.

use crate::shard::write::head::Head;
use crate::shard::write::owner::Owner;
use crate::shard::write::owner::conversation::{Known, Mark};
use crate::shard::write::owner::input::{Completion, Looked};
use crate::telemetry;

impl Owner {
    /// Takes in what a look-up brought, and goes on with what waited for it.
    pub(super) fn complete(&mut self, completion: Completion) {
        let Completion {
            conversation,
            lookup,
            result,
        } = completion;
        let Some(name) = conversation else {
            return self.found(lookup, result.map(Looked::at));
        };
        let Some(state) = self.conversations.get_mut(&name) else {
            return;
        };
        state.blocked = false;

        // Not there any more when other work was put before it.
        let mut asker = state.waiting.iter_mut().find(|work| work.lookup == lookup);
        if let Some(work) = &mut asker {
            work.lookup = 0;
        }

        match result {
            Ok(Looked::Head(row)) => {
                telemetry::HEAD_LOOKUPS.add(1, &[("result", "fill")]);
                state.known = row.map_or(Known::Absent, |row| {
                    Known::Head(Box::new(Head::filled(row)))
                });
            }
            Ok(Looked::Marks(rows)) => {
                let marks = rows
                    .into_iter()
                    .map(|row| (row.user.clone(), Mark::of(&row)));
                state.marks = Some(marks.collect());
            }
            Ok(fact) => {
                if let Some(work) = asker {
                    work.facts.note(fact);
                }
            }
            Err(error) => {
                let waiting = std::mem::take(&mut state.waiting);
                self.refuse_waiting(waiting, &error);
            }
        }
        self.drain_waiting(&name);
    }
}
