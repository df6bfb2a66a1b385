//! What was deleted leaves the disk: the shards' files, the log, and what SQLite keeps beside them.
//! Embedded only: the files of a whole cluster are those of this one process.

use std::time::Duration;

use crate::support::client::Client;
use crate::support::disk::files_with;
use crate::support::embedded::Process;
use crate::support::erasing::{ERASED_WITHIN, ERASES_SOON, Erasing, WORDS};
use crate::support::{eventually_within, unique};

/// What is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deleted {
    Messages,
    Conversation,
    /// By nobody: they are older than they are kept.
    Outdated,
}

/// Writes messages, changes and deletes them, or all of their conversation, and waits until nothing
/// of them is left in the data folder; with a process that is killed right after the deletions, or
/// one that lives.
async fn words_leave_the_disk(deleted: Deleted, is_killed: bool) {
    let kept = ["--retention-default", "20s"];
    let kept: &[&str] = if deleted == Deleted::Outdated {
        &kept
    } else {
        &[]
    };
    let mut process = Process::start(&[&ERASES_SOON, kept].concat());
    let admin = unique("alice");
    let alice = Client::new(process.address(), &admin);
    let erasing = match deleted {
        Deleted::Messages | Deleted::Outdated => Erasing::written_by(&alice).await,
        Deleted::Conversation => Erasing::titled_by(&alice).await,
    };

    for word in WORDS {
        let written = files_with(&process.data(), &[word]);
        assert!(
            written.iter().any(|file| file.ends_with(".segment")),
            "{word} was in the log: {written:?}"
        );
    }

    match deleted {
        Deleted::Messages => erasing.delete(&alice).await,
        Deleted::Conversation => erasing.delete_conversation(&alice).await,
        Deleted::Outdated => {}
    }
    if is_killed {
        process.restart();
    }

    // Nothing more is written: it happens by itself.
    eventually_within(
        ERASED_WITHIN,
        "the words are gone from the disk",
        || async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let left = files_with(&process.data(), &WORDS);
            if !left.is_empty() {
                eprintln!("{left:?}");
            }
            left.is_empty().then_some(())
        },
    )
    .await;

    let again = Client::new(process.address(), &admin);
    match deleted {
        Deleted::Messages => erasing.repeat(&again).await,
        Deleted::Conversation => erasing.repeat_in_vain(&again).await,
        Deleted::Outdated => erasing.repeat_too_late(&again).await,
    }
    assert_eq!(
        files_with(&process.data(), &WORDS),
        [] as [String; 0],
        "a repeat does not bring them back"
    );
}

#[tokio::test]
async fn the_words_of_a_deleted_message_leave_the_disk_once_the_log_is_trimmed() {
    words_leave_the_disk(Deleted::Messages, false).await;
}

#[tokio::test]
async fn the_words_of_a_deleted_message_leave_the_disk_though_the_process_was_killed() {
    words_leave_the_disk(Deleted::Messages, true).await;
}

#[tokio::test]
async fn the_words_of_a_deleted_conversation_leave_the_disk_once_the_log_is_trimmed() {
    words_leave_the_disk(Deleted::Conversation, false).await;
}

#[tokio::test]
async fn the_words_of_a_deleted_conversation_leave_the_disk_though_the_process_was_killed() {
    words_leave_the_disk(Deleted::Conversation, true).await;
}

#[tokio::test]
async fn the_words_of_what_is_older_than_it_is_kept_leave_the_disk_though_the_process_was_killed() {
    words_leave_the_disk(Deleted::Outdated, true).await;
}
