//! Sessions that have lost their node, and how another one goes on with each (ADR 7).
//!
//! **Invariants.** A socket waits for another node for [`PATIENCE`] at most; then its client is
//! told to come back. Few are attached at once, so that a node that takes over is not overrun.
//! While the router drains, none is.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::ids::NodeId;
use crate::link::front::Open;
use crate::problem::CloseCode;
use crate::router::sessions::asking::Asking;
use crate::router::sessions::homeless::{Homeless, Moved, Rehouses};
use crate::router::sessions::outbox::End;
use crate::router::sessions::socket::Socket;
use crate::router::sessions::sockets::{Link, Sockets, Unopened};
use crate::router::sessions::streams;
use crate::telemetry::{ROUTER_SESSIONS_MOVED, ROUTER_SOCKETS_CUT};

/// How long a session may be without a node before its client is told to come back.
const PATIENCE: Duration = Duration::from_secs(15);

impl Sockets {
    /// Sessions of which nobody finds another node are ended with their links, until this was
    /// called.
    pub(in crate::router) fn rehoused_by(&self, rehouses: Weak<dyn Rehouses>) {
        if self.rehouses.set(rehouses).is_err() {
            tracing::error!("a second one that finds nodes for sessions is left out");
        }
    }

    /// Has other nodes go on with sessions that this one had.
    pub(super) fn rehouse(self: &Arc<Self>, lost: &NodeId, homeless: Vec<Arc<Socket>>) {
        // The wait for others counts too: no client waits longer for being one of many.
        let deadline = Instant::now() + PATIENCE;
        for socket in homeless {
            let rehouses = self.rehouses.get().and_then(Weak::upgrade);
            if self.draining.is_cancelled() {
                self.drain_one(&socket);
                continue;
            }
            let Some(rehouses) = rehouses else {
                streams::send_away(&socket);
                continue;
            };
            let (sockets, lost) = (Arc::clone(self), lost.clone());
            self.tasks.spawn(async move {
                let moving = async {
                    let _one = sockets.rehoused_at_once.acquire().await;
                    rehouses
                        .rehouse(Homeless(Arc::clone(&socket)), lost, deadline)
                        .await
                };
                let moving = timeout_at(deadline, moving);
                if let Some(moved) = sockets.draining.run_until_cancelled(moving).await {
                    conclude(&socket, moved.unwrap_or(Moved::Nowhere));
                }
                // The drain knew of no connection that this socket was on.
                if sockets.draining.is_cancelled() {
                    sockets.drain_one(&socket);
                }
            });
        }
    }

    /// Asks a node to go on with a session. Dropping the future gives it up.
    ///
    /// # Errors
    /// [`Unopened`].
    pub(in crate::router) async fn attach(
        &self,
        link: &impl Link,
        open: Open,
        homeless: &Homeless,
    ) -> Result<(), Unopened> {
        self.asked(link, open, Asking::GoesOn(Arc::clone(&homeless.0)))
            .await
            .map(drop)
    }
}

fn conclude(socket: &Socket, moved: Moved) {
    let result = match moved {
        Moved::Done => "moved",
        Moved::Refused => {
            socket.end(End::Close(CloseCode::Unauthorized));
            "refused"
        }
        Moved::Nowhere => {
            streams::send_away(socket);
            ROUTER_SOCKETS_CUT.add(1, &[]);
            "nowhere"
        }
    };
    ROUTER_SESSIONS_MOVED.add(1, &[("result", result)]);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::BoxFuture;
    use tokio::time::sleep;

    use super::*;
    use crate::ids::{SessionId, Slot};
    use crate::link::front::attach::Stage;
    use crate::link::front::{Terms, Up};
    use crate::router::sessions::followed::{Followed, Who};
    use crate::router::sessions::homeless::AT_ONCE;
    use crate::router::sessions::line::{Line, Sent};
    use crate::router::sessions::socket::On;
    use crate::router::sessions::streams::{Streams, Upward};

    /// A link that leads nowhere.
    struct Nowhere;

    impl Upward for Nowhere {
        fn send(&self, _: Up) -> Sent {
            Sent::Yes
        }
    }

    /// Finds no node, however long it looks.
    #[derive(Debug, Default)]
    struct Never(AtomicUsize);

    impl Rehouses for Never {
        fn rehouse(&self, _: Homeless, _: NodeId, _: Instant) -> BoxFuture<'_, Moved> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Box::pin(std::future::pending())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_client_waits_longer_for_being_one_of_many() {
        let (sockets, never) = (Sockets::new(1_000, Duration::ZERO), Arc::<Never>::default());
        let rehouses: Weak<Never> = Arc::downgrade(&never);
        sockets.rehoused_by(rehouses);
        let streams = Streams::new(Box::new(Nowhere), Arc::default(), Arc::default());
        let homeless = |number| {
            let who = Who {
                slot: Slot(1),
                request_id: Arc::from("r"),
                token: Arc::from("t"),
            };
            let followed = Followed::new(SessionId::random(), who, Stage::Ready);
            let on = On {
                streams: Arc::clone(&streams) as Arc<dyn Line>,
                number,
            };
            let socket = Arc::new(Socket::new(on, Arc::new(Terms::default()), Some(followed)));
            assert!(socket.detach(&*streams, number));
            socket
        };
        let all: Vec<_> = (0..500).map(homeless).collect();

        sockets.rehouse(&NodeId::from("lost"), all.clone());
        sleep(PATIENCE.saturating_sub(Duration::from_millis(1))).await;
        assert!(all.iter().all(|socket| !socket.is_ending()));
        assert_eq!(never.0.load(Ordering::SeqCst), AT_ONCE, "the others wait");

        sleep(Duration::from_millis(2)).await;
        assert!(
            all.iter().all(|socket| socket.is_ending()),
            "each is told to come back"
        );
    }
}
