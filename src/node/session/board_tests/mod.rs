//! The board against a model of owners, and under many sessions, conversations, and frames.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::Value;

use self::client::{Client, resumed};
use self::owners::Owners;
use self::steps::{Step, steps};
use self::world::World;
use super::board::Board;
use super::board::state::Resumed;
use super::board::work::Ask;
use super::testing::{self, frames, session_on};
use super::testing_talk::{caught_up, index_read, owner_answers, row};
use super::window::Session;
use crate::cluster::map::ShardMap;
use crate::ids::{ConversationName, Epoch, Offset, Seq, SessionId, UserId};
use crate::log::record::{Event, EventKind};
use crate::shard::IndexPage;
use crate::shard::command::{IndexItem, Push, Subscribed};

mod behind;
mod client;
mod crowds;
mod interleavings;
mod owners;

mod steps;
mod world;

const CONVERSATIONS: [&str; 2] = ["c0", "c1"];
const USERS: [&str; 3] = ["u0", "u1", "u2"];

fn conversation(index: usize) -> ConversationName {
    ConversationName::parse(CONVERSATIONS[index]).expect("a name")
}

fn user(index: usize) -> UserId {
    UserId::parse(USERS[index]).expect("a name")
}

/// What is queued; no more than fits.
fn frames_of(session: &Session, bytes_max: usize) -> Vec<Value> {
    let found = frames(session);
    let bytes: usize = found.iter().map(|frame| frame.to_string().len()).sum();
    assert!(bytes <= bytes_max, "{bytes} bytes at once");
    found
}

/// The session is live in the first conversation, of which it has seq 1.
fn live(board: &mut Board, session: &Arc<Session>) {
    board.open(session, false);
    index_read(board, vec![row(conversation(0), 1)]);
    owner_answers(board, Seq(1));
}
