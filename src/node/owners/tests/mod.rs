//! Two nodes and real links between them; what lies in between can be cut, frozen and recorded.

use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use crate::ids::{ConversationName, Epoch, IdempotencyKey, NodeId, Offset, Seq, ShardId, UserId};
use crate::link::codec::FRAME_BYTES_MAX;
use crate::link::proof::ClusterKey;
use crate::link::{Config, Failure};
use crate::log::record::{Event, EventKind};
use crate::node::link::Serve;
use crate::node::link::client::{Link, Setup};
use crate::node::link::frame::{Body, Outcome, SummaryLength};
use crate::node::owners::Beside;
use crate::node::owners::testing::{
    Fake, Pair, SHARDS, credentials, eventually, node, node_beside, soon, table,
};
use crate::problem::{Code, Problem};
use crate::shard::IndexPage;
use crate::shard::command::{
    Command, Done, Found, Freshness, Interest, Push, Query, Send, ShardError, Subscribed,
};

mod answers;
mod attempts;
mod links;
mod subscribing;

const PATIENCE: Duration = Duration::from_secs(20);

/// Short waits, but heartbeats slow enough for a busy machine.
fn config() -> Config {
    Config {
        backoff_max: Duration::from_millis(100),
        ..Config::default()
    }
}

fn conversation(number: u64) -> ConversationName {
    ConversationName::parse(&format!("c{number}")).expect("a name")
}

fn user(text: &str) -> UserId {
    UserId::parse(text).expect("a name")
}

fn send(text: &str, key: bool) -> Command {
    let key = key.then(IdempotencyKey::stamp);
    Command::Send(Send {
        key,
        ..Send::plain(conversation(1), user("alice"), text)
    })
}

pub(super) fn text(body: &Body) -> String {
    match body {
        Body::Execute {
            command: Command::Send(send),
            ..
        } => send.text.to_string(),
        _ => String::new(),
    }
}

pub(super) fn marked(_: &Body) -> Result<Outcome, ShardError> {
    Ok(Outcome::Done(Done::Marked))
}

fn participants(reader: &str) -> Query {
    Query::Participants {
        name: conversation(1),
        reader: user(reader),
        after: None,
        limit: 10,
    }
}

/// Tells who asked, so that each can check that the answer is theirs.
fn echo(body: &Body) -> Result<Outcome, ShardError> {
    let Body::Query {
        query: Query::Participants { reader, .. },
        ..
    } = body
    else {
        return marked(body);
    };
    let page = crate::protocol::Page {
        items: Vec::new(),
        next: Some(reader.to_string()),
        partial: false,
    };
    Ok(Outcome::Found(Found::Participants(page), Freshness::Strict))
}

fn interests(count: u64) -> Vec<Interest> {
    let interest = |number| Interest {
        conversation: conversation(number),
        user: user("a"),
        after: None,
        limit: 1,
        since: None,
    };
    (0..count).map(interest).collect()
}

fn live(body: &Body) -> Result<Outcome, ShardError> {
    let Body::Subscribe { parts } = body else {
        return marked(body);
    };
    let live = || Subscribed::Live {
        pruned: Seq(0),
        tail: Seq(1),
        joined: Seq(1),
        events: Vec::new(),
        departed: None,
    };
    Ok(Outcome::Subscribed(
        parts
            .iter()
            .map(|(_, of)| Ok(of.iter().map(|_| live()).collect()))
            .collect(),
    ))
}

/// Lies between two nodes.
#[derive(Debug, Default)]
pub(super) struct Between {
    pub(super) cut: Notify,
    frozen: AtomicBool,
    taken: Mutex<Vec<u8>>,
    connections: AtomicU64,
}

impl Between {
    async fn spawn(target: String) -> (Arc<Self>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let between = Arc::new(Self::default());
        let ours = Arc::clone(&between);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let ours = Arc::clone(&ours);
                let Ok(far) = TcpStream::connect(&target).await else {
                    continue;
                };
                tokio::spawn(async move { ours.carry(near, far).await });
            }
        });
        (between, address)
    }

    async fn carry(&self, near: TcpStream, far: TcpStream) {
        self.connections.fetch_add(1, Ordering::SeqCst);
        let ((near_read, near_write), (far_read, far_write)) =
            (near.into_split(), far.into_split());
        tokio::select! {
            () = self.pump(near_read, far_write, true) => {}
            () = self.pump(far_read, near_write, false) => {}
            () = self.cut.notified() => {}
        }
    }

    async fn pump(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        record: bool,
    ) {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            if self.frozen.load(Ordering::SeqCst) {
                pending::<()>().await;
            }
            if record {
                self.taken
                    .lock()
                    .expect("not poisoned")
                    .extend_from_slice(&buffer[..count]);
            }
            if to.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    }
}

pub(super) async fn pair_through(fake: &Arc<Fake>, config: Config) -> (Pair, Arc<Between>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (between, address) =
        Between::spawn(listener.local_addr().expect("an address").to_string()).await;
    (Pair::through(fake, config, listener, address), between)
}
