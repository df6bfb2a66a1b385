//! Why a process does not serve yet, or not fully: what it waits for, and whether the table's store
//! answers. For `/readyz`, and for the log: a wait is told once, and again every 30 s; an outage
//! when it begins and when it ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::cluster::table::{NodeAddresses, Polled, Table, TableError, TableStore};
use crate::ids::NodeId;
use crate::log::Identity;

/// A wait that goes on is told again after so long.
const TELL_EVERY: Duration = Duration::from_secs(30);

/// What a process waits for. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Waiting(Arc<Mutex<Told>>);

#[derive(Debug)]
struct Told {
    what: &'static str,
    details: String,
    logged: Option<Instant>,
}

impl Waiting {
    /// Waits for this from the start.
    pub(crate) fn on(what: &'static str) -> Self {
        Self(Arc::new(Mutex::new(Told {
            what,
            details: String::new(),
            logged: None,
        })))
    }

    /// Waits for this now. The details may change from call to call without being told each time.
    pub(crate) fn change(&self, what: &'static str, details: String) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = told.what != what
            || told
                .logged
                .is_none_or(|logged| logged.elapsed() >= TELL_EVERY);
        if due {
            tracing::info!(what, details, "waiting");
        }

        *told = Told {
            what,
            details,
            logged: if due {
                Some(Instant::now())
            } else {
                told.logged
            },
        };
    }

    /// The one sentence for `/readyz`.
    pub(crate) fn sentence(&self) -> String {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.details.is_empty() {
            return format!("waiting for {}", told.what);
        }
        format!("waiting for {}: {}", told.what, told.details)
    }
}

/// A table's store that remembers whether its last call was answered.
#[derive(Debug)]
pub(crate) struct Watched {
    store: Arc<dyn TableStore>,
    failure: Mutex<Option<String>>,
}

impl Watched {
    pub(crate) fn new(store: Arc<dyn TableStore>) -> Arc<Self> {
        Arc::new(Self {
            store,
            failure: Mutex::default(),
        })
    }

    /// Why the last call failed, if it did.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn note<T>(&self, outcome: Result<T, TableError>) -> Result<T, TableError> {
        let failure = outcome.as_ref().err().map(ToString::to_string);
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
        outcome
    }
}

#[async_trait]
impl TableStore for Watched {
    async fn identity(&self) -> Result<Option<Identity>, TableError> {
        self.note(self.store.identity().await)
    }

    async fn create(&self, identity: Identity) -> Result<Identity, TableError> {
        self.note(self.store.create(identity).await)
    }

    async fn load(&self) -> Result<Option<Table>, TableError> {
        self.note(self.store.load().await)
    }

    async fn load_unless(&self, known: Option<&Table>) -> Result<Polled, TableError> {
        self.note(self.store.load_unless(known).await)
    }

    async fn swap(&self, expected: u64, table: Table) -> Result<bool, TableError> {
        self.note(self.store.swap(expected, table).await)
    }

    async fn register(&self, node: &NodeId, addresses: &NodeAddresses) -> Result<(), TableError> {
        self.note(self.store.register(node, addresses).await)
    }

    async fn lead(&self, node: &NodeId, life: Duration) -> Result<bool, TableError> {
        self.note(self.store.lead(node, life).await)
    }

    async fn nodes(&self) -> Result<BTreeMap<NodeId, NodeAddresses>, TableError> {
        self.note(self.store.nodes().await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_says_what_for_and_how_it_stands() {
        let waiting = Waiting::on("Redis");
        assert_eq!(waiting.sentence(), "waiting for Redis");
        waiting.change("nodes", "1 of 3 have registered".to_owned());
        assert_eq!(
            waiting.sentence(),
            "waiting for nodes: 1 of 3 have registered"
        );
        waiting.change("nodes", "2 of 3 have registered".to_owned());
        assert_eq!(
            waiting.sentence(),
            "waiting for nodes: 2 of 3 have registered"
        );
    }

    #[derive(Debug)]
    struct Answers(Mutex<Vec<Result<Option<Table>, TableError>>>);

    #[async_trait]
    impl TableStore for Answers {
        async fn identity(&self) -> Result<Option<Identity>, TableError> {
            Ok(None)
        }

        async fn create(&self, identity: Identity) -> Result<Identity, TableError> {
            Ok(identity)
        }

        async fn load(&self) -> Result<Option<Table>, TableError> {
            self.0.lock().expect("unpoisoned").pop().expect("an answer")
        }

        async fn swap(&self, _: u64, _: Table) -> Result<bool, TableError> {
            Ok(false)
        }

        async fn register(&self, _: &NodeId, _: &NodeAddresses) -> Result<(), TableError> {
            Ok(())
        }

        async fn lead(&self, _: &NodeId, _: Duration) -> Result<bool, TableError> {
            Ok(false)
        }

        async fn nodes(&self) -> Result<BTreeMap<NodeId, NodeAddresses>, TableError> {
            Ok(BTreeMap::new())
        }
    }

    #[tokio::test]
    async fn an_outage_is_known_from_the_first_failed_call_to_the_next_answered_one() {
        let answers = vec![Ok(None), Err(TableError::Refused("no route".to_owned()))];
        let watched = Watched::new(Arc::new(Answers(Mutex::new(answers))));
        assert_eq!(watched.failure(), None);
        drop(watched.load_unless(None).await);
        assert_eq!(watched.failure().as_deref(), Some("table: no route"));
        drop(watched.load_unless(None).await);
        assert_eq!(watched.failure(), None);
    }
}
