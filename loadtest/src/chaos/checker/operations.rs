//! What became of each operation, by its number.

use crate::chaos::history::{Act, Micros, Outcome};

/// What is known of an operation.
#[derive(Debug)]
pub(crate) struct Operation {
    /// Who asked for it.
    pub(crate) user: u32,
    /// Where.
    pub(crate) conversation: u32,
    /// When.
    pub(crate) begun: Micros,
    /// What was asked for.
    pub(crate) act: Act,
    /// What became of it.
    pub(crate) state: State,
    /// Where its message was seen; 0 for nowhere.
    pub(crate) seq: u64,
}

/// What became of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Under way.
    Open,
    /// Acknowledged.
    Ok,
    /// Surely not done.
    Failed,
    /// Nobody knows.
    Unknown,
}

impl From<&Outcome> for State {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Ok { .. } => Self::Ok,
            Outcome::Failed { .. } => Self::Failed,
            Outcome::Unknown { .. } => Self::Unknown,
        }
    }
}

/// All operations; their numbers are dense.
#[derive(Debug, Default)]
pub(crate) struct Operations {
    all: Vec<Option<Operation>>,
}

impl Operations {
    /// A new one.
    pub(crate) fn begin(&mut self, number: u64, operation: Operation) {
        let Ok(at) = usize::try_from(number) else {
            return;
        };
        if at >= self.all.len() {
            self.all.resize_with(at + 1, || None);
        }
        if let Some(slot) = self.all.get_mut(at) {
            *slot = Some(operation);
        }
    }

    /// One of them.
    pub(crate) fn get(&mut self, number: u64) -> Option<&mut Operation> {
        self.all.get_mut(usize::try_from(number).ok()?)?.as_mut()
    }
}
