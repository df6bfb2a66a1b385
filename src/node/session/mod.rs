//! Sessions: what users are given live. Their sockets are the routers'; here a session is a number
//! on the link to one. The path of an event: `drive` takes the push, `board` finds the cursors that
//! it continues (`board/state`, pure), each has a place in its session's `window`, and the frame
//! encoded once goes over each link once (`post`). A session that is behind fetches spans at the
//! pace of its socket instead (`board/spans`, `board/answers`).
//!
//! Promises: seq in order, each once, a hole only as an explicit `gap` (I9); nothing after the
//! user's own `left` (I10); every queue bounded: a session whose window is full falls behind.
//!
//! In this order: all sessions of a node; how one begins, and goes on elsewhere; what its client
//! says; what is live; what sessions are given; who types and who is there.

pub(crate) use config::Config;
pub(crate) use hub::Hub;
#[cfg(test)]
pub(crate) use upstream::Upstream as TestUpstream;

mod config;
mod hub;
mod life;
mod upstream;

mod admission;
mod away;
mod checking;
mod deadlines;
mod homing;
mod opening;
mod sweep;

mod again;
mod commands;
mod listening;
mod said;
mod underway;

mod board;
mod drive;
mod receipts;
mod requests;

mod giving;
mod post;
pub(crate) mod render;
mod routers;
mod window;

mod occasion;
mod pace;
mod presence;
mod turns;
mod typing;

#[cfg(test)]
mod board_tests;
#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod spare_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod testing_talk;
#[cfg(test)]
mod turns_tests;
