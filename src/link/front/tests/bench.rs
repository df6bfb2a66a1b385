//! A node that notes what comes, and a router that notes what comes back.

use std::sync::Mutex;

use tokio::sync::Notify;
use uuid::Uuid;

use super::*;
use crate::ids::ClusterId;
use crate::link::Credentials;
use crate::link::front::attach::Repeat;
use crate::link::front::client::Consumer;
use crate::link::front::server::{Answering, Answers, FrontServer, RouterEnd, Sessions};
use crate::link::proof::ClusterKey;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Socket,
    Memory,
}

/// A node that notes what comes, and the router's end that notes what comes back.
#[derive(Debug, Default)]
pub(super) struct Noted {
    changed: Notify,
    pub(super) up: Mutex<Vec<Up>>,
    pub(super) down: Mutex<Vec<(u64, Down)>>,
    pub(super) ended: Mutex<Vec<u64>>,
    pub(super) router: Mutex<Option<RouterEnd>>,
    /// Calls that this node was given.
    pub(super) called: Mutex<Vec<Call>>,
}

impl Noted {
    pub(super) async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        let waiting = async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if is_so(self) {
                    return;
                }
                changed.await;
            }
        };
        timeout(PATIENCE, waiting).await.expect("it comes to be so");
    }

    pub(super) fn router(&self) -> RouterEnd {
        self.router
            .lock()
            .expect("a lock")
            .clone()
            .expect("a router")
    }

    pub(super) fn ups(&self) -> usize {
        self.up.lock().expect("a lock").len()
    }

    pub(super) fn downs(&self) -> usize {
        self.down.lock().expect("a lock").len()
    }

    pub(super) fn calls(&self) -> usize {
        self.called.lock().expect("a lock").len()
    }
}

impl Sessions for Noted {
    fn take(&self, router: &RouterEnd, frame: Up) {
        *self.router.lock().expect("a lock") = Some(router.clone());
        self.up.lock().expect("a lock").push(frame);
        self.changed.notify_waiters();
    }

    fn ended(&self, _router: &RouterEnd) {
        *self.router.lock().expect("a lock") = None;
        self.changed.notify_waiters();
    }
}

impl Answers for Noted {
    /// Answers with the body that was sent, and never to a query of `hang`.
    fn answer(&self, call: Call, _deadline: Instant) -> Answering {
        self.called.lock().expect("a lock").push(call.clone());
        self.changed.notify_waiters();

        Box::pin(async move {
            if call.query == "hang" {
                std::future::pending::<()>().await;
            }
            if call.query == "elsewhere" {
                return Answer::Elsewhere {
                    owner: Some(NodeId::from("other")),
                    version: 0,
                };
            }
            Answer::Told(Told {
                status: 200,
                headers: vec![("location".into(), "/x".into())],
                body: vec![call.body],
            })
        })
    }

    fn refuse(&self, _call: &Call) -> Told {
        Told {
            status: 503,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    fn table(&self) -> (u64, Option<u64>) {
        (9, Some(4))
    }
}

impl Consumer for Noted {
    fn take(&self, _node: &NodeId, connection: u64, frames: Vec<Down>) {
        self.down
            .lock()
            .expect("a lock")
            .extend(frames.into_iter().map(|frame| (connection, frame)));
        self.changed.notify_waiters();
    }

    fn ended(&self, _node: &NodeId, connection: u64) {
        self.ended.lock().expect("a lock").push(connection);
        self.changed.notify_waiters();
    }

    fn heard(&self, version: u64, age_ms: Option<u64>) {
        assert_eq!((version, age_ms), (9, Some(4)));
    }
}

pub(super) fn credentials(id: &str, role: Role) -> Credentials {
    let key = ClusterKey::new(&[7; 32]).expect("long enough");
    Credentials {
        id: NodeId::from(id),
        role,
        cluster: ClusterId(Uuid::nil()),
        key,
    }
}

/// A link and what stands at both of its ends.
pub(super) struct Bench {
    pub(super) link: NodeLink,
    pub(super) noted: Arc<Noted>,
    pub(super) stop: CancellationToken,
}

impl Bench {
    pub(super) async fn over(by: By) -> Self {
        Self::with(by, Config::front(), Config::front()).await
    }

    pub(super) async fn with(by: By, router: Config, node: Config) -> Self {
        let (noted, stop) = (Arc::new(Noted::default()), CancellationToken::new());
        let server = FrontServer::new(
            Arc::<Noted>::clone(&noted),
            Arc::<Noted>::clone(&noted),
            node.clone(),
        );

        let way = match by {
            By::Memory => Way::Memory {
                id: NodeId::from("router"),
                server,
            },
            By::Socket => {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                let address = listener.local_addr().expect("an address").to_string();
                tokio::spawn(async move {
                    while let Ok((stream, _)) = listener.accept().await {
                        let us = credentials("node", Role::Node);
                        let (proven, socket) =
                            accept_link(&us, &node, stream).await.expect("a router");
                        assert_eq!(proven.role, Role::Router);
                        let server = Arc::clone(&server);
                        tokio::spawn(async move {
                            server.serve((proven.id, proven.version), socket).await
                        });
                    }
                });
                let address = Box::new(move || Some(address.clone()));
                Way::Socket {
                    credentials: credentials("router", Role::Router),
                    address,
                }
            }
        };

        let consumer = Arc::<Noted>::clone(&noted);
        let setup = Setup {
            node: NodeId::from("node"),
            way,
            consumer,
            config: router,
            stop: stop.clone(),
        };
        let link = NodeLink::spawn(setup);
        Self { link, noted, stop }
    }

    pub(super) fn say(&self, of: Option<u64>, number: usize) -> Result<u64, Failure> {
        self.link.send(
            of,
            Up::Said {
                session: 1,
                text: Bytes::from(number.to_string()),
                number: 0,
                key: None,
                repeat: Repeat::First,
            },
        )
    }

    /// Opens the connection, and tells which it is.
    pub(super) async fn open(&self) -> u64 {
        let connection = self.say(None, 0).expect("it is sent");
        self.noted.until(|noted| noted.ups() == 1).await;
        self.noted.up.lock().expect("a lock").clear();
        connection
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
