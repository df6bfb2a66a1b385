//! Rules of this repository that no compiler checks: which way imports go, where an outside crate
//! lives, how long a file is, which words are used. Each failure says what to do. Standard library
//! only.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at what it did not expect"
)]

#[path = "tidy/arrows.rs"]
mod arrows;
#[path = "tidy/failures.rs"]
mod failures;
#[path = "tidy/files.rs"]
mod files;
#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/long.rs"]
mod long;
#[path = "tidy/order.rs"]
mod order;
#[path = "tidy/pages.rs"]
mod pages;
#[path = "tidy/planted.rs"]
mod planted;
#[path = "tidy/repository.rs"]
mod repository;
#[path = "tidy/tree.rs"]
mod tree;
#[path = "tidy/wings.rs"]
mod wings;
#[path = "tidy/words.rs"]
mod words;
