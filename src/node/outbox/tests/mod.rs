//! How rows of an outbox reach the shards of users.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use self::fake::{FakeOutbox, changes, row};
use crate::cluster::map::ShardMap;
use crate::ids::{ConversationName, Offset, ShardId, UserId};
use crate::log::record::OutboxPosition;
use crate::node::link::frame::Body;
use crate::node::owners::testing::{SHARDS, eventually};
use crate::shard::command::Command;
use crate::shard::file::store::tests::user;

mod delivering;
mod fake;
mod let_go;
