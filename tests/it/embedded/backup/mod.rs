//! One process is copied while people talk in it, and another one is made of the copy.

use crate::support::backup::{Backup, said};
use crate::support::embedded::{Process, command};
use crate::support::server::Server;
use crate::support::{Fields, Group};

mod refused;
mod taking;

/// A process of a backup.
fn of(backup: &Backup) -> Server {
    Server::One(Process::start_on(&[], |data| {
        drop(backup.restored(data, &[]))
    }))
}

/// What a command says when it fails, in its last line.
fn refusal(output: &std::process::Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", said(output));
    let line = said(output).lines().last().unwrap_or_default().to_owned();
    assert!(line.starts_with("rookery: "), "{line}");
    line
}

/// Files of copies, whole and half.
fn copies(backup: &Backup) -> (usize, usize) {
    let names = std::fs::read_dir(backup.path())
        .unwrap()
        .flatten()
        .map(|of| of.file_name());
    let names: Vec<String> = names
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    let count = |ending: &str| names.iter().filter(|name| name.ends_with(ending)).count();
    (count(".sqlite"), count(".part"))
}
