#![expect(
    clippy::shadow_unrelated,
    reason = "a test reads the same thing again, later: the newest is what counts"
)]

use std::path::{Path, PathBuf};

use sqlx::{AssertSqlSafe, Connection, Row};

use super::build::{Built, build};
use super::check::{self, Checked};
use super::gathered::Gathered;
use super::moved::{LEFT, MADE, OF_CONVERSATIONS, OF_USERS};
use crate::cluster::map::ShardMap;
use crate::ids::{ClusterId, ShardId};
use crate::log::record::Record;
use crate::log::{Identity, Stream};
use crate::shard::file::snapshot;
use crate::shard::file::store::Store;
use crate::shard::file::store::tests::{
    Written, advance, config, created, index, joined, left, message, react, with_key,
};

const START: u64 = 1_700_000_000_000;

fn identity(shards: u32) -> Identity {
    Identity {
        cluster: ClusterId(uuid::Uuid::from_u128(shards.into())),
        shards,
    }
}

fn map(shards: u32) -> ShardMap {
    ShardMap::new(shards).expect("a power of two")
}

/// The only shard of a backup, with these records.
async fn copied(folder: &Path, messages: &[Record], receipts: &[Record]) -> PathBuf {
    let store = Store::open(&folder.join("owned.db"), identity(1), ShardId(0), config())
        .await
        .expect("opens");
    for (stream, records) in [(Stream::Messages, messages), (Stream::Receipts, receipts)] {
        let mut written = Written::default();
        for chunk in records.chunks(100) {
            written.entry(chunk);
        }
        store.apply(stream, written.entries).await.expect("applies");
    }
    let path = folder.join("copied.db");
    snapshot::write(&store, &path).await.expect("writes");
    store.close().await;
    path
}

/// Files of `to` shards, made of those of `sources`, one for each shard of a backup.
async fn restored(folder: &Path, sources: &[PathBuf], to: u32) -> Vec<(PathBuf, Built)> {
    let of = u32::try_from(sources.len()).expect("few");
    let mut gathered = Gathered::begin(&folder.join("gathered.db"), (map(of), map(to)), START)
        .await
        .expect("begins");
    for (shard, source) in (0..).map(ShardId).zip(sources) {
        gathered.take(shard, source).await.expect("is taken in");
    }
    let gathered = gathered.finish().await.expect("is written");
    let mut made = Vec::new();
    for shard in map(to).all() {
        let path = folder.join(format!("{of}-to-{to}-{}.db", shard.0));
        let number = u32::from(shard.0);
        let from: Vec<(PathBuf, bool)> = match of.checked_div(to).filter(|each| *each > 0) {
            Some(each) => (number * each..(number + 1) * each)
                .map(|at| (sources[at as usize].clone(), true))
                .collect(),
            None => vec![(
                sources[(number / (to / of)) as usize].clone(),
                number % (to / of) == 0,
            )],
        };
        let built = build((identity(to), shard), &from, &gathered, &path)
            .await
            .expect("is built");
        made.push((path, built));
    }
    made
}

async fn rows(path: &Path, statement: &str) -> Vec<Vec<String>> {
    let mut file = check::open(path).await.expect("opens");
    let rows = sqlx::query(AssertSqlSafe(statement.to_owned()))
        .fetch_all(&mut file)
        .await
        .expect("reads");
    file.close().await.expect("closes");
    let text = |row: &sqlx::sqlite::SqliteRow, at| {
        row.try_get::<String, _>(at)
            .or_else(|_| row.try_get::<i64, _>(at).map(|number| number.to_string()))
    };
    rows.iter()
        .map(|row| {
            (0..row.len())
                .map(|at| text(row, at).expect("text or a number"))
                .collect()
        })
        .collect()
}

async fn digest(path: &Path, identity: Identity, shard: ShardId) -> [u8; 32] {
    let store = Store::open(path, identity, shard, config())
        .await
        .expect("opens");
    let digest = store.digest().await.expect("reads");
    store.close().await;
    digest
}

/// Conversations of many names with messages, keys, people who came and left, receipts and
/// reactions; lists are right.
fn busy() -> (Vec<Record>, Vec<Record>) {
    let (mut messages, mut receipts) = (Vec::new(), Vec::new());
    for number in 0..60_u64 {
        let (name, one, two) = (
            format!("c{number}"),
            format!("u{}", number % 7),
            format!("v{}", number % 11),
        );
        messages.push(created(&name, &[&one, &two], START + number));
        messages.push(with_key(
            message(&name, 2, &one, number * 3, START + number),
            &format!("k{number}"),
            false,
        ));
        messages.push(joined(&name, 3, &one, &["w"]));
        messages.push(message(&name, 4, &two, number * 3 + 1, START + number));
        for (who, seq, is_in) in [(&*one, 1, true), (&*two, 1, true), ("w", 3, true)] {
            messages.push(index(who, &name, seq, is_in, None, START + number));
        }
        if number % 3 == 0 {
            messages.push(left(&name, 5, "w", "w", None));
            messages.push(index("w", &name, 5, false, None, START));
        }
        receipts.push(advance(&name, START + 9, &one, 4, 2));
        receipts.push(react(&name, number * 3, &two, Some(128_077)));
    }
    (messages, receipts)
}

#[tokio::test]
async fn what_is_split_into_many_shards_and_joined_again_is_what_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let (messages, receipts) = busy();
    let copy = copied(folder.path(), &messages, &receipts).await;
    let whole = restored(folder.path(), &[copy], 1).await;
    let (path, built) = &whole[0];
    let counts = "SELECT (SELECT count(*) FROM messages), (SELECT count(*) FROM user_index), \
        (SELECT count(*) FROM message_keys), (SELECT count(*) FROM reactions), (SELECT count(*) FROM entries)";
    assert_eq!(rows(path, counts).await, [["120", "180", "60", "60", "0"]]);

    let many = restored(folder.path(), std::slice::from_ref(path), 16).await;
    let mut filled = 0;
    for (shard, (path, part)) in (0..).map(ShardId).zip(&many) {
        assert_eq!(part, built, "each goes on where all ended");
        let checked = check::check(path, (identity(16), shard), part.tails)
            .await
            .expect("is well");
        filled += u32::from(checked.conversations > 0);
        for row in rows(
            path,
            "SELECT name FROM conversations UNION SELECT user FROM user_index",
        )
        .await
        {
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
        }
    }
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
