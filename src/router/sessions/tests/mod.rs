//! Sessions over real sockets and a link: hyper in front as at a router, a public WebSocket client,
//! the hub of a node behind the link, owners played by a fake.

#![expect(
    clippy::shadow_unrelated,
    reason = "a test tells one story after the other with the same names"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use self::node::who;
use self::owners::{event, name};
use super::{Who, handshake};
use crate::ids::{MessageId, Seq, Slot, UserId};
use crate::log::record::Event;
use crate::node::session::{Config, TestUpstream as Upstream};
use crate::problem::Problem;
use crate::shard::command::{Command, Push};

pub(super) use self::client::Client;
pub(super) use self::node::{NoRest, Node, config, serve};
pub(super) use self::owners::Fake;

mod client;
mod ending;
mod frames;
mod node;
mod opening;
mod owners;
mod pace;
mod receipts;

const WAIT: Duration = Duration::from_secs(10);
