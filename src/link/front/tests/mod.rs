//! One suite over both carriers: what is true of a link between two processes is true of one within
//! a process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::bench::{Bench, By, Noted, credentials};
use crate::ids::NodeId;
use crate::link::front::attach::Tells;
use crate::link::front::calls::{Answer, Told};
use crate::link::front::client::{NodeLink, Setup, Way};
use crate::link::front::down::Down;
use crate::link::front::rest::Call;
use crate::link::front::up::Up;
use crate::link::handshake::accept_link;
use crate::link::{Config, Failure, Role};
use crate::protocol::routes::Operation;

/// One test for each claim and carrier.
macro_rules! over_both {
    ($($claim:ident)*) => {
        mod over_a_socket {
            use super::By;
            $(#[tokio::test] async fn $claim() { super::$claim(By::Socket).await; })*
        }
        mod within_a_process {
            use super::By;
            $(#[tokio::test] async fn $claim() { super::$claim(By::Memory).await; })*
        }
    };
}

mod bench;
mod bounds;
mod carrying;
mod ends;

/// Longest wait for anything; reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(20);

fn call(query: &str, body: impl Into<Bytes>) -> Call {
    let head = http::Request::get(format!("/v1/conversations?{query}"))
        .body(())
        .expect("a request")
        .into_parts()
        .0;
    let matched = crate::protocol::routes::match_path(head.uri.path()).expect("a path");
    Call::of(
        &head,
        matched,
        Operation::ListConversations,
        "r",
        body.into(),
    )
}

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

fn deliver(number: usize) -> Down {
    Down::Deliver {
        to: vec![1],
        quiet: Vec::new(),
        text: Bytes::from(number.to_string()),
        event: None,
        tells: Tells::Nothing,
    }
}

/// The numbers in what was delivered, in the order in which it came.
fn delivered(noted: &Noted) -> Vec<usize> {
    let down = noted.down.lock().expect("a lock");
    let texts = down.iter().filter_map(|(_, frame)| match frame {
        Down::Deliver { text, .. } => Some(
            std::str::from_utf8(text)
                .expect("text")
                .parse()
                .expect("a number"),
        ),
        _ => None,
    });
    texts.collect()
}

fn said(noted: &Noted) -> Vec<usize> {
    let up = noted.up.lock().expect("a lock");
    let texts = up.iter().filter_map(|frame| match frame {
        Up::Said { text, .. } => Some(
            std::str::from_utf8(text)
                .expect("text")
                .parse()
                .expect("a number"),
        ),
        _ => None,
    });
    texts.collect()
}
