//! What was deleted leaves the disk: the shards' files, the log, and what SQLite keeps beside them.
//! Embedded only: the files of a whole cluster are those of this one process.

use std::time::Duration;

use http::Method;
use serde_json::json;

use crate::support::client::Client;
use crate::support::disk::files_with;
use crate::support::embedded::Process;
use crate::support::{Fields, eventually_within, unique};

/// The log keeps a segment for a minute after the first of its entries was trimmed, and is looked
/// through every 20 s; two such rounds, for what was not trimmed yet at the first, and a disk that
/// is slow.
const ERASED_WITHIN: Duration = Duration::from_secs(240);

/// Writes messages, changes and deletes them, and waits until nothing of them is left in the data
/// folder; with a process that is killed right after the deletions, or one that lives.
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
async fn words_leave_the_disk(is_killed: bool) {
    let mut process = Process::start(&[
        "--trim-floor",
        "1s",
        "--checkpoint-every",
        "1s",
        "--shards",
        "2",
    ]);
    let (admin, member) = (unique("alice"), unique("bob"));
    let alice = Client::new(process.address(), &admin);
    let name = alice.create(&[&member]).await.text("name").to_owned();
    let messages = format!("/v1/conversations/{name}/messages");
    // Long ones stand in pages of their own.
    let (first, second, third) = ("plughplughxyzzy", "frobozzmagicword", "quuxzorkmidword");
    let body = json!({"text": format!("{first} ").repeat(900), "data": {"of": third}});
    let sent = alice
        .post_with_key(&messages, &body, "key")
        .await
        .expect(201);
    let short = alice.say(&name, first).await;
    let path = |message: &serde_json::Value| format!("/v1/messages/{}", message.text("id"));
    let edit = json!({"text": second, "data": {"of": third}});
    let headers = [("content-type", "application/json")];
    alice
        .call(
            Method::PATCH,
            &path(&short),
            &headers,
            edit.to_string().into(),
        )
        .await
        .expect(200);

    let words = [first, second, third];
    for word in words {
        let written = files_with(&process.data(), &[word]);
        assert!(
            written.iter().any(|file| file.ends_with(".segment")),
            "{word} was in the log: {written:?}"
        );
    }
    for message in [&sent, &short] {
        alice.delete(&path(message)).await.expect(204);
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
            let left = files_with(&process.data(), &words);
            if !left.is_empty() {
                eprintln!("{left:?}");
            }
            left.is_empty().then_some(())
        },
    )
    .await;
    let again = Client::new(process.address(), &admin)
        .post_with_key(&messages, &body, "key")
        .await
        .expect(200);
    assert_eq!(
        (&again["deleted"], &again["id"]),
        (&json!(true), &sent["id"]),
        "its key is known"
    );
    assert_eq!(
        files_with(&process.data(), &words),
        [] as [String; 0],
        "a repeat does not bring them back"
    );
}

#[tokio::test]
async fn the_words_of_a_deleted_message_leave_the_disk_once_the_log_is_trimmed() {
    words_leave_the_disk(false).await;
}

#[tokio::test]
async fn the_words_of_a_deleted_message_leave_the_disk_though_the_process_was_killed() {
    words_leave_the_disk(true).await;
}
