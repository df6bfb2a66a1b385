//! Nodes that follow a script.

use std::time::Instant;

use bytes::Bytes;

use super::*;
use crate::ids::SessionId;
use crate::link::front::attach::Tells;
use crate::link::front::calls::{Answer, Told};
use crate::link::front::server::{Answering, Answers, FrontServer, RouterEnd, Sessions};
use crate::link::front::{Down, Refusal, Terms, Up};
use crate::link::handshake::accept_link;
use crate::link::{Credentials, Role};
use crate::problem::{Code, Problem};

/// What a node does with a request.
pub(super) enum Reply {
    /// Answers so.
    Send(String),
    /// Ends the link.
    SendAndClose,
    /// Answers so once it is told to.
    SendAfter(Arc<Notify>, String),
    /// Says nothing more, ever.
    Hang,
    /// Opens a session that gives back what is said.
    Echo,
}

pub(super) fn answer(status: &str, headers: &[&str], body: &str) -> Reply {
    let mut all = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n", body.len());
    for line in headers {
        all.push_str(line);
        all.push_str("\r\n");
    }
    Reply::Send(format!("{all}\r\n{body}"))
}

pub(super) fn declined() -> Reply {
    answer(
        "503 Service Unavailable",
        &["content-type: application/problem+json"],
        r#"{"code":"unavailable"}"#,
    )
}

/// A node that follows a script: the number of the request (from 0) and the request, to what it
/// does.
pub(super) struct Node {
    pub(super) address: SocketAddr,
    pub(super) seen: Arc<Mutex<Vec<Seen>>>,
    pub(super) task: JoinHandle<()>,
}

impl Node {
    pub(super) async fn scripted(
        script: impl Fn(usize, &Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::of_version(link::PEER_VERSION, script).await
    }

    /// Speaks no newer contract than this one.
    pub(super) async fn of_version(
        newest: u16,
        script: impl Fn(usize, &Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let (script, all): (Arc<Script>, _) = (Arc::new(script), Arc::clone(&seen));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(follow(
                    (node_at(&address), newest),
                    stream,
                    Arc::clone(&script),
                    Arc::clone(&all),
                ));
            }
        });

        Self {
            address,
            seen,
            task,
        }
    }

    pub(super) async fn ok() -> Self {
        Self::scripted(|_, _| answer("200 OK", &[], "{}")).await
    }

    /// Waits for the first request.
    pub(super) async fn asked(&self) {
        let asked = async {
            while self.seen().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, asked).await.expect("the node is asked");
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Script = dyn Fn(usize, &Seen) -> Reply + Send + Sync;

/// Takes what a router opens.
pub(super) async fn follow(
    (node, newest): (NodeId, u16),
    stream: TcpStream,
    script: Arc<Script>,
    all: Arc<Mutex<Vec<Seen>>>,
) {
    let us = Credentials {
        id: node,
        role: Role::Node,
        cluster: CLUSTER,
        key: key(),
    };

    let config = link::Config {
        newest,
        ..link::Config::front()
    };
    let (proven, socket) = accept_link(&us, &config, stream)
        .await
        .expect("a router with the key");
    assert_eq!(proven.role, Role::Router);
    let cut = CancellationToken::new();
    let scripted = Arc::new(Scripted {
        script,
        all,
        cut: cut.clone(),
    });

    let server = FrontServer::new(Arc::<Scripted>::clone(&scripted), scripted, config);
    drop(
        cut.run_until_cancelled(server.serve((proven.id, proven.version), socket))
            .await,
    );
}

/// A node's end of a link that follows the script.
struct Scripted {
    script: Arc<Script>,
    all: Arc<Mutex<Vec<Seen>>>,
    cut: CancellationToken,
}

impl std::fmt::Debug for Scripted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scripted")
    }
}

impl Scripted {
    /// What the script does with the next request.
    pub(super) fn next(&self, seen: Seen) -> Reply {
        let number = {
            let mut all = self.all.lock().unwrap();
            all.push(seen.clone());
            all.len() - 1
        };
        (self.script)(number, &seen)
    }
}

impl Sessions for Scripted {
    /// Sessions give back what is said.
    fn take(&self, router: &RouterEnd, frame: Up) {
        match frame {
            Up::Open(open) => {
                let session = open.session;
                let refused = |why| Down::Refused { session, why };
                let answered = match self.next(Seen::opened(&open)) {
                    Reply::Echo => Down::Opened {
                        session,
                        id: SessionId::random(),
                        protocol: open.protocols.iter().any(|offer| offer == "rookery.v1"),
                        terms: Terms::default(),
                        stage: None,
                    },
                    Reply::Send(bytes) => match told(&bytes) {
                        Answer::Elsewhere { owner, version } => {
                            refused(Refusal::Elsewhere { owner, version })
                        }
                        Answer::Told(told) => {
                            let code = Code::ALL
                                .into_iter()
                                .find(|code| code.status() == told.status)
                                .unwrap();
                            let code = if told.status == 503 {
                                Code::Unavailable
                            } else {
                                code
                            };
                            refused(Refusal::Problem(Problem::new(code, "the script says so")))
                        }
                    },
                    Reply::SendAfter(..) | Reply::SendAndClose | Reply::Hang => return,
                };
                router.offer(answered);
            }
            Up::Said { session, text, .. } => {
                router.offer(Down::Deliver {
                    to: vec![session],
                    quiet: Vec::new(),
                    text,
                    event: None,
                    tells: Tells::Nothing,
                });
            }
            _ => {}
        }
    }

    fn ended(&self, _: &RouterEnd) {}
}

impl Answers for Scripted {
    fn answer(&self, call: Call, _: Instant) -> Answering {
        let reply = self.next(Seen::called(&call));
        let cut = self.cut.clone();

        Box::pin(async move {
            match reply {
                Reply::Send(bytes) => told(&bytes),
                Reply::SendAfter(when, bytes) => {
                    when.notified().await;
                    told(&bytes)
                }
                Reply::SendAndClose => {
                    cut.cancel();
                    std::future::pending().await
                }
                Reply::Hang | Reply::Echo => std::future::pending().await,
            }
        })
    }

    fn refuse(&self, _: &Call) -> Told {
        panic!("so many calls at once are not made here")
    }

    fn table(&self) -> (u64, Option<u64>) {
        (0, None)
    }
}

/// An answer written as HTTP, as it goes over a link.
pub(super) fn told(bytes: &str) -> Answer {
    let (head, body) = bytes.split_once("\r\n\r\n").expect("a head");
    let (line, rest) = head.split_once("\r\n").unwrap_or((head, ""));
    let pairs = rest
        .split("\r\n")
        .filter_map(|header| header.split_once(": "));
    let headers: Vec<(String, String)> = pairs
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let of = |name: &str| {
        headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    };
    let status = line.split(' ').nth(1).unwrap().parse().unwrap();

    if status == 421 {
        let version = of("rookery-table-version").map_or(0, |version| version.parse().unwrap());
        return Answer::Elsewhere {
            owner: of("rookery-owner").map(NodeId::from),
            version,
        };
    }

    Answer::Told(Told {
        status,
        headers,
        body: vec![Bytes::copy_from_slice(body.as_bytes())],
    })
}
