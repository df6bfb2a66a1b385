//! What was erased is in no file, and a file of the version before is what it was.

use super::edits::WORD;
use super::*;
use crate::shard::command::core_of;

/// Whether a word stands in any file of a folder.
fn is_in_files(folder: &Path, word: &str) -> bool {
    let files = std::fs::read_dir(folder)
        .expect("a folder")
        .map(|file| file.expect("a file").path());
    files.filter(|path| path.is_file()).any(|path| {
        let bytes = std::fs::read(path).expect("reads");
        bytes
            .windows(word.len())
            .any(|window| window == word.as_bytes())
    })
}

#[tokio::test]
async fn what_was_erased_leaves_the_file_and_its_wal_with_the_raw_entries() {
    for long in [false, true] {
        let folder = folder();
        let config = Config {
            raw_floor: Duration::ZERO,
            ..config()
        };
        let path = folder.path().join("s3.db");
        let store = Store::open(&path, identity(), ShardId(3), config.clone())
            .await
            .expect("opens");
        let mut log = Written::default();
        let text = if long {
            format!("{WORD} ").repeat(900)
        } else {
            WORD.to_owned()
        };
        log.entry(&[
            created("c", &["alice"], START),
            message("c", 2, "alice", 1, START),
        ]);
        log.entry(&[edited("c", 3, "alice", (1, 2), &text)]);
        store
            .apply(Stream::Messages, log.entries.clone())
            .await
            .expect("applies");
        store.checkpoint().await.expect("checkpoints");
        assert!(is_in_files(folder.path(), WORD));
        log.entry(&[deleted("c", 4, "alice", (1, 2))]);
        store
            .apply(Stream::Messages, log.entries[2..].to_vec())
            .await
            .expect("applies");
        // Also when the process dies now.
        drop(store);
        let store = Store::open(&path, identity(), ShardId(3), config)
            .await
            .expect("opens again");
        for _ in 0..3 {
            store.checkpoint().await.expect("checkpoints");
        }
        assert!(!is_in_files(folder.path(), WORD), "long: {long}");
        assert_eq!(
            store
                .events(&conversation("c"), Seq(0), 9)
                .await
                .expect("reads")
                .len(),
            4
        );
    }
}

#[tokio::test]
async fn a_file_of_the_version_before_is_migrated_and_has_its_digest_until_something_is_changed() {
    let folder = folder();
    let path = folder.path().join("s3.db");
    let rows = "INSERT INTO identity VALUES ('00000000-0000-0000-0000-000000000007', 16, 3);
        INSERT INTO conversations VALUES ('c', NULL, 'alice', 1, 'alice', 1, NULL, NULL, NULL, 2, 1, 1);
        INSERT INTO participants VALUES ('c', 'alice', 1, 0);
        INSERT INTO messages VALUES (unhex('0199a3b21c0080008000000000000001'), 'c', 2, 'alice', 'hello', NULL, 1);";
    file_of_the_version_before(&path, rows).await;

    let store = open(folder.path(), "s3.db").await;
    let events = store
        .events(&conversation("c"), Seq(1), 9)
        .await
        .expect("reads");
    let core = core_of(&events[0]).expect("a message");
    assert_eq!(
        (
            core.text.as_str(),
            core.edited,
            core.deleted,
            core.data,
            core.mentions
        ),
        ("hello", None, false, None, vec![])
    );
    let items = store
        .summaries(&[conversation("c")], &user("alice"))
        .await
        .expect("reads");
    assert_eq!(items[0].as_ref().and_then(|item| item.unread()), Some(0));
    // As the version before would find it.
    let known = "d5812ae8";
    let digest: String = store
        .digest()
        .await
        .expect("reads")
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(digest, known);
}
