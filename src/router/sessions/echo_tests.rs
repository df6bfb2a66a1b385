//! The WebSocket of a router before the Autobahn test suite, which wants each message back: a node
//! that says what was said stands behind the link, everything else is what clients meet.
//! `scripts/check-autobahn` starts it and the suite.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::tests::{NoRest, serve};
use super::{Consumes, Sockets};
use crate::ids::{NodeId, SessionId};
use crate::link::front::attach::Tells;
use crate::link::front::client::{NodeLink, Setup, Way};
use crate::link::front::server::{FrontServer, RouterEnd, Sessions};
use crate::link::front::{Down, Terms, Up, cost};

/// A node whose sessions say what was said.
#[derive(Debug)]
struct Echo;

impl Sessions for Echo {
    fn take(&self, router: &RouterEnd, frame: Up) {
        match frame {
            Up::Open(open) => {
                let terms = Terms {
                    frames_per_second: 1_000_000,
                    ..Terms::default()
                };
                router.offer(Down::Opened {
                    session: open.session,
                    id: SessionId::random(),
                    protocol: false,
                    terms,
                    stage: None,
                });
            }
            Up::Said { session, text, .. } => {
                router.offer(Down::Room(vec![(session, cost(text.len()))]));
                router.offer(Down::Deliver {
                    to: Vec::new(),
                    quiet: vec![session],
                    text,
                    event: None,
                    tells: Tells::default(),
                });
            }
            _ => {}
        }
    }

    fn ended(&self, _: &RouterEnd) {}
}

#[expect(
    clippy::print_stdout,
    reason = "whoever starts it reads where it listens"
)]
#[tokio::test]
#[ignore = "serves until its input ends; scripts/check-autobahn runs it"]
async fn each_message_comes_back() {
    let sockets = Sockets::new(1_000, Duration::from_millis(300));
    let config = crate::link::Config::front();
    let server = FrontServer::new(Arc::new(NoRest), Arc::new(Echo), config.clone());
    let link = NodeLink::spawn(Setup {
        node: NodeId::from("echo"),
        way: Way::Memory {
            id: NodeId::from("router"),
            server,
        },
        consumer: Arc::new(Consumes(Arc::clone(&sockets))),
        config,
        stop: CancellationToken::new(),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    println!(
        "listening on {}",
        listener.local_addr().expect("an address")
    );
    tokio::spawn(serve(listener, sockets, link));

    let input_ends = || std::io::stdin().read_to_end(&mut Vec::new());
    let ended = tokio::task::spawn_blocking(input_ends).await;
    ended.expect("not cancelled").expect("an input");
}
