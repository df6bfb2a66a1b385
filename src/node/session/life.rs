//! How the sessions of a node begin to be served, and how all of them go: the tasks of the hub, and
//! its drain.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Verifier;
use crate::clock::Clock;
use crate::node::owners::Owners;
use crate::node::session::board::Board;
use crate::node::session::config::Config;
use crate::node::session::hub::{Hub, Inner, Verify};
use crate::node::session::occasion::Occasion;
use crate::node::session::receipts::Gather;
use crate::node::session::requests::{Gathered, Requests};
use crate::node::session::upstream::Upstream;
use crate::node::session::{drive, homing, sweep, typing};
use crate::shard::command::Push;
use crate::telemetry;

/// After the drain window, how long sessions have to end.
const DRAIN_GRACE: Duration = Duration::from_secs(2);

impl Hub {
    /// A hub without sessions. `pushes` is the channel that was given to `owners`; the hub's tasks
    /// run until it closes or [`Hub::drain`] ends.
    #[must_use]
    pub(crate) fn spawn(
        owners: Owners,
        verifier: Verifier,
        clock: Clock,
        config: Config,
        pushes: mpsc::Receiver<Push>,
    ) -> Arc<Self> {
        let verify: Verify = Box::new(move |token| verifier.verify(token));
        Self::start(Arc::new(owners), verify, clock, config, pushes)
    }

    pub(crate) fn start(
        upstream: Arc<dyn Upstream>,
        verify: Verify,
        clock: Clock,
        config: Config,
        pushes: mpsc::Receiver<Push>,
    ) -> Arc<Self> {
        let inner = Arc::new(Inner {
            board: Mutex::new(Board::new(upstream.map())),
            upstream,
            verify,
            clock,
            config,
            gather: Gather::default(),
            requests: Requests::new(),
            gathered: Gathered::default(),
            tracker: TaskTracker::new(),
            routers: Mutex::default(),
            deadlines: Mutex::default(),
            left: Notify::new(),
            stop: CancellationToken::new(),
            draining: AtomicBool::new(false),
            away: AtomicBool::new(false),
            typing: Arc::new(Semaphore::new(typing::UNDER_WAY_OF_ALL)),
            presence: Occasion::default(),
            live: telemetry::SESSIONS.bind(&[]),
        });

        inner
            .tracker
            .spawn(drive::follow(Arc::clone(&inner), pushes));
        inner.tracker.spawn(drive::send_marks(Arc::clone(&inner)));
        inner.tracker.spawn(sweep::run(Arc::clone(&inner)));
        if let Some(table) = inner.upstream.follow_table() {
            inner
                .tracker
                .spawn(homing::follow(Arc::clone(&inner), table, homing::WINDOW));
        }

        Arc::new(Self { inner })
    }

    /// Has every session go on at another node, or, where its router does not see to that, tells it
    /// to `reconnect`, after a delay spread over `window`, and then closes it with 1012; done when
    /// all are gone, at most at the end of the window plus 2 s. New ones are refused from the
    /// start.
    ///
    /// A session lives on until its own delay is over, so that the time without one is short.
    /// Dropping the future leaves the sessions closing by themselves.
    pub(crate) async fn drain(&self, window: Duration, reason: &'static str) {
        self.inner.draining.store(true, Ordering::SeqCst);
        self.spread(window, reason);
        let all_have_left = async {
            while self.sessions() > 0 {
                self.inner.left.notified().await;
            }
        };
        if tokio::time::timeout(window + DRAIN_GRACE, all_have_left)
            .await
            .is_err()
        {
            tracing::warn!(
                sessions = self.sessions(),
                "sessions did not end in time and are dropped"
            );
        }

        self.inner.stop.cancel();
        self.inner.tracker.close();
    }
}
