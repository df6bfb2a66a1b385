#![expect(
    clippy::shadow_unrelated,
    reason = "a test reads the same thing again, later: the newest is what counts"
)]

use std::path::PathBuf;

use sqlx::Connection;
use sqlx::sqlite::SqliteConnectOptions;

use super::check::{self, Checked};
use super::gathered::Gathered;
use super::moved::{LEFT, MADE, OF_CONVERSATIONS, OF_USERS};
use super::testing::{START, busy, copied, digest, identity, map, restored, rows, seen};
use crate::ids::ShardId;
use crate::shard::file::store::tests::{
    advance, created, file_of_the_version_before, index, joined, left, message, react, with_key,
};

/// What became of messages, and the events that tell it.
const CHANGED: [&str; 2] = [
    "SELECT conversation, seq, text, ifnull(data, ''), ifnull(mentions, ''), ifnull(edited, 0), changed_seq, edits, \
        ifnull(deleted_by, '') FROM messages ORDER BY conversation, seq",
    "SELECT conversation, seq, kind, message_seq FROM events WHERE message_seq IS NOT NULL ORDER \
     BY conversation, seq",
];

/// What participants may do, what was set, and what was deleted.
const GOVERNED: [&str; 9] = [
    "SELECT conversation, participant, revision, ifnull(notify_after, 0), ifnull(pinned, 0), archived, at FROM views \
        ORDER BY 1, 2",
    "SELECT user, conversation, joined_seq, revision, ifnull(pinned, 0), archived FROM index_views ORDER BY 1, 2",
    "SELECT conversation, participant, read_up_to, at FROM own_marks ORDER BY 1, 2",
    "SELECT x.conversation, x.seq, x.erased, ifnull(g.up_to, 0) FROM closings AS x \
        LEFT JOIN pruned AS g ON g.conversation = x.conversation ORDER BY 1",
    "SELECT conversation, participant, left_seq FROM departures WHERE conversation LIKE 'z%' ORDER BY 1, 2",
    "SELECT conversation, participant, role, ifnull(muted_until, 0) FROM departures WHERE role <> 3 ORDER BY 1, 2",
    "SELECT conversation, user, banned_by, at, reason FROM bans ORDER BY 1, 2",
    "SELECT name, bans, keeps FROM conversations WHERE bans + keeps > 0 ORDER BY 1",
    "SELECT name, ifnull(data, ''), posts, adds, ifnull(edit_window_s, 0), typing, presence FROM conversations \
        WHERE presence = 0 OR typing = 0 ORDER BY 1",
];

#[tokio::test]
async fn what_is_split_into_many_shards_and_joined_again_is_what_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let (messages, receipts) = busy();
    let copy = copied(folder.path(), &messages, &receipts).await;
    let whole = restored(folder.path(), std::slice::from_ref(&copy), 1).await;
    let (path, built) = &whole[0];
    let all_seen = "SELECT user, at FROM seen ORDER BY at";
    let expected: Vec<Vec<String>> = seen()
        .iter()
        .map(|(user, at)| vec![user.to_string(), at.to_string()])
        .collect();
    assert_eq!(rows(path, all_seen).await, expected);
    let counts = "SELECT (SELECT count(*) FROM messages), (SELECT count(*) FROM user_index), \
        (SELECT count(*) FROM message_keys), (SELECT count(*) FROM reactions), (SELECT count(*) FROM entries)";
    assert_eq!(rows(path, counts).await, [["122", "188", "90", "60", "0"]]);
    let changed = "SELECT (SELECT count(*) FROM messages WHERE text = 'changed' AND edits = 1 AND data IS NOT NULL), \
        (SELECT count(*) FROM messages WHERE text = '' AND deleted_by IS NOT NULL)";
    assert_eq!(rows(path, changed).await, [["30", "30"]]);
    for statement in CHANGED.iter().chain(&GOVERNED) {
        let restored = rows(path, statement).await;
        assert_eq!(restored, rows(&copy, statement).await);
        assert!(!restored.is_empty(), "{statement}");
    }

    let many = restored(folder.path(), std::slice::from_ref(path), 16).await;
    let mut filled = 0;
    for (shard, (path, part)) in (0..).map(ShardId).zip(&many) {
        assert_eq!(part, built, "each goes on where all ended");
        let checked = check::check(path, (identity(16), shard), part.tails)
            .await
            .expect("is well");
        filled += u32::from(checked.conversations > 0);
        let here = "SELECT name FROM conversations UNION SELECT user FROM user_index UNION SELECT user FROM seen";
        for row in rows(path, here).await {
            assert_eq!(
                map(16).shard_of(crate::ids::Slot::of(row[0].as_bytes())),
                shard,
                "{row:?}"
            );
        }
    }
    assert!(filled > 8, "the names are spread over {filled} of 16");
    let paths: Vec<PathBuf> = many.into_iter().map(|(path, _)| path).collect();
    for joins in [4, 1] {
        let joined = restored(folder.path(), &paths, joins).await;
        if joins == 1 {
            let digests = (
                digest(path, identity(1), ShardId(0)).await,
                digest(&joined[0].0, identity(1), ShardId(0)).await,
            );
            assert_eq!(digests.0, digests.1);
            assert_eq!(joined[0].1, *built);
            assert_eq!(rows(&joined[0].0, all_seen).await, expected);
        }
    }
}

#[tokio::test]
async fn a_copy_of_the_version_before_is_restored_and_nothing_in_it_was_edited() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("before.db");
    let statements = "INSERT INTO identity VALUES ('00000000-0000-0000-0000-000000000001', 1, 0);
        INSERT INTO conversations VALUES ('c', NULL, 'alice', 1, 'alice', 1, NULL, NULL, NULL, 2, 1, 1);
        INSERT INTO participants VALUES ('c', 'alice', 1, 0);
        INSERT INTO message_keys VALUES ('c', 'alice', 'key', 2, unhex('000102030405060708090a0b0c0d0e0f'), 1);
        INSERT INTO events VALUES ('c', 1, 'created', 1, x'');
        INSERT INTO messages VALUES (unhex('0199a3b21c0080008000000000000001'), 'c', 2, 'alice', 'hello', NULL, 1);";
    file_of_the_version_before(&path, statements).await;

    let (path, built) = &restored(folder.path(), &[path], 1).await[0];
    assert_eq!(
        rows(path, CHANGED[0]).await,
        [["c", "2", "hello", "", "", "0", "0", "0", ""]]
    );
    assert_eq!(rows(path, CHANGED[1]).await, [[""; 4]; 0]);
    assert_eq!(
        rows(path, "SELECT key, seq, hex(fingerprint) FROM message_keys").await,
        [["key", "2", &"0".repeat(32)]]
    );
    let checked = check::check(path, (identity(1), ShardId(0)), built.tails)
        .await
        .expect("is well");
    assert_eq!((checked.conversations, checked.messages), (1, 1));
}

#[tokio::test]
async fn receipts_of_messages_that_came_later_end_at_the_last_one_that_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let lists = ["alice", "bob"].map(|who| index(who, "c", 1, true, None, START));
    let messages = [
        vec![
            created("c", &["alice", "bob"], START),
            message("c", 2, "alice", 1, START),
        ],
        lists.to_vec(),
    ]
    .concat();
    let receipts = [
        advance("c", START + 1, "bob", 1, 0),
        advance("c", START + 2, "bob", 5, 4),
        react("c", 77, "bob", Some(1)),
    ];
    let copy = copied(folder.path(), &messages, &receipts).await;
    let tails = restored(folder.path(), std::slice::from_ref(&copy), 1).await[0]
        .1
        .tails;
    let checked = check::check(&copy, (identity(1), ShardId(0)), tails)
        .await
        .expect("is well");
    assert_eq!(
        checked,
        Checked {
            conversations: 1,
            messages: 1,
            ahead: 2
        }
    );

    let (path, built) = &restored(folder.path(), &[copy], 1).await[0];
    assert_eq!(
        rows(path, "SELECT delivered, read FROM watermarks").await,
        [["2", "2"]]
    );
    let advances =
        "SELECT kind, upto_seq, ts - 1700000000000 FROM advances ORDER BY kind, upto_seq";
    assert_eq!(
        rows(path, advances).await,
        [["0", "1", "1"], ["0", "2", "2"], ["1", "2", "2"]]
    );
    assert_eq!(rows(path, "SELECT count(*) FROM reactions").await, [["0"]]);
    let checked = check::check(path, (identity(1), ShardId(0)), built.tails)
        .await
        .expect("is well");
    assert_eq!(checked.ahead, 0);
}

#[tokio::test]
async fn lists_are_what_the_memberships_say_whichever_was_copied_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let messages = [
        created("c", &["alice", "bob"], START + 5),
        joined("c", 2, "alice", &["carol", "dave"]),
        left("c", 3, "dave", "dave", None),
        // Told rightly; not at all (bob, dave); of a change that the conversation's copy does not
        // have; of a conversation that it does not have.
        index("alice", "c", 1, true, None, START + 5),
        index("carol", "c", 9, false, None, START),
        index("erin", "later", 1, true, Some("key"), START),
    ];

    let copy = copied(folder.path(), &messages, &[]).await;
    let (path, built) = &restored(folder.path(), &[copy], 1).await[0];
    let lists = "SELECT user, conversation, seq, joined FROM user_index ORDER BY user";
    let expected = [
        ["alice", "c", "1", "1"],
        ["bob", "c", "1", "1"],
        ["carol", "c", "2", "1"],
        ["dave", "c", "3", "0"],
    ];
    assert_eq!(rows(path, lists).await, expected);

    let versions = rows(
        path,
        "SELECT DISTINCT version FROM user_index ORDER BY version",
    )
    .await;

    assert_eq!(
        versions,
        [["4"], ["7"], ["8"], ["9"]],
        "one of before, and one each above the tail"
    );
    assert_eq!(built.tails.messages.offset.0, 9);
    assert_eq!(
        rows(path, "SELECT count(*) FROM create_keys").await,
        [["0"]]
    );
    assert_eq!(
        rows(path, "SELECT count(*) FROM outbox").await,
        [["0"]],
        "nothing is left to be delivered"
    );
}

#[tokio::test]
async fn a_recent_key_of_a_creation_is_known_though_its_users_shard_was_copied_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let messages = [
        with_key(created("new", &["alice"], START - 1_000), "fresh", false),
        with_key(
            created("old", &["alice"], START - 26 * 3_600_000),
            "stale",
            false,
        ),
        with_key(
            created("stamped", &["alice"], START - 1_000),
            "router",
            true,
        ),
    ];
    let copy = copied(folder.path(), &messages, &[]).await;
    let (path, _) = &restored(folder.path(), &[copy], 1).await[0];

    assert_eq!(
        rows(path, "SELECT user, key, name FROM create_keys").await,
        [["alice", "fresh", "new"]]
    );
}

#[tokio::test]
async fn every_table_of_the_schema_is_taken_made_or_left_on_purpose() {
    let folder = tempfile::tempdir().expect("a folder");
    let copy = copied(folder.path(), &[], &[]).await;
    let known = OF_CONVERSATIONS
        .iter()
        .chain(&OF_USERS)
        .map(|(table, _)| *table)
        .chain(LEFT)
        .chain(MADE);
    let known: std::collections::BTreeSet<String> = known.map(str::to_owned).collect();

    let found = rows(
        &copy,
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_sqlx%' ESCAPE \
         '\\'",
    );
    let found: std::collections::BTreeSet<String> = found.await.into_iter().flatten().collect();
    assert_eq!(found, known);
}

#[tokio::test]
async fn a_copy_of_a_version_that_did_not_note_who_was_seen_is_restored_without_that() {
    let folder = tempfile::tempdir().expect("a folder");
    let copy = copied(folder.path(), &[created("c", &["alice"], START)], &[]).await;
    let options = SqliteConnectOptions::new().filename(&copy);
    let mut file = sqlx::ConnectOptions::connect(&options)
        .await
        .expect("opens");
    sqlx::query("DROP TABLE seen")
        .execute(&mut file)
        .await
        .expect("drops");
    file.close().await.expect("closes");
    let (path, _) = &restored(folder.path(), &[copy], 1).await[0];
    let counts = "SELECT (SELECT count(*) FROM conversations), (SELECT count(*) FROM seen)";
    assert_eq!(rows(path, counts).await, [["1", "0"]]);
}

#[tokio::test]
async fn a_file_with_what_belongs_elsewhere_is_not_taken_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let copy = copied(folder.path(), &[created("c", &["alice"], START)], &[]).await;
    let elsewhere = map(16)
        .all()
        .find(|shard| *shard != map(16).shard_of(crate::ids::Slot::of(b"c")))
        .expect("many");
    let mut gathered = Gathered::begin(&folder.path().join("g.db"), (map(16), map(16)), START)
        .await
        .expect("begins");
    let line = gathered.take(elsewhere, &copy).await.expect_err("refused");

    assert!(
        line.contains("conversation c") && line.contains("another shard"),
        "{line}"
    );

    let tails = crate::log::PerStream::default();
    let line = check::check(&copy, (identity(16), elsewhere), tails)
        .await
        .expect_err("another's");
    assert!(line.contains("belongs to shard s0 of the 1"), "{line}");
}
