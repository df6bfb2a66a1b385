//! Backups and what is made of them, for tests.

use std::path::{Path, PathBuf};

use sqlx::{AssertSqlSafe, Connection, Row};

use super::build::{Built, build};
use super::check;
use super::gathered::Gathered;
use crate::cluster::map::ShardMap;
use crate::ids::{ClusterId, ShardId, UserId};
use crate::log::record::Record;
use crate::log::{Identity, Stream};
use crate::protocol::Role;
use crate::shard::file::snapshot;
use crate::shard::file::store::Store;
use crate::shard::file::store::tests::{
    Written, advance, ban, banned, closed, config, created, deleted, edited, index, index_view,
    joined, key_used, left, message, own_mark, pruned, react, role, some_change, updated, viewed,
    with_key,
};

pub(super) fn identity(shards: u32) -> Identity {
    Identity {
        cluster: ClusterId(uuid::Uuid::from_u128(shards.into())),
        shards,
    }
}

pub(super) fn map(shards: u32) -> ShardMap {
    ShardMap::new(shards).expect("a power of two")
}

/// The only shard of a backup, with these records.
pub(super) async fn copied(folder: &Path, messages: &[Record], receipts: &[Record]) -> PathBuf {
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
    store.write_seen(seen()).await.expect("writes");
    snapshot::write(&store, &path).await.expect("writes");
    store.close().await;
    path
}

/// When users were seen last; most of them are in no conversation.
pub(super) fn seen() -> Vec<(UserId, u64)> {
    let name = |number: u64| UserId::parse(&format!("u{number}")).expect("a name");
    (0..40)
        .map(|number| (name(number), START + 60_000 * number))
        .collect()
}

/// Files of `to` shards, made of those of `sources`, one for each shard of a backup.
pub(super) async fn restored(folder: &Path, sources: &[PathBuf], to: u32) -> Vec<(PathBuf, Built)> {
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

pub(super) async fn rows(path: &Path, statement: &str) -> Vec<Vec<String>> {
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

pub(super) async fn digest(path: &Path, identity: Identity, shard: ShardId) -> [u8; 32] {
    let store = Store::open(path, identity, shard, config())
        .await
        .expect("opens");
    let digest = store.digest().await.expect("reads");
    store.close().await;
    digest
}

/// Conversations of many names with messages, some of them edited or deleted, keys, people who came
/// and left, receipts and reactions; lists are right.
pub(super) fn busy() -> (Vec<Record>, Vec<Record>) {
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
        let mut seq = 5;
        if number % 3 == 0 {
            messages.push(left(&name, seq, "w", "w", None));
            messages.push(index("w", &name, seq, false, None, START));
            seq += 1;
        }
        if number % 5 == 0 {
            messages.push(role(&name, seq, (&one, &two), Role::Reader, Some(START)));
            messages.push(updated(&name, seq + 1, &one, some_change(number)));
            messages.push(ban(&name, &one, "outsider", true));
            messages.push(banned(&name, seq + 2, &one, &two));
            messages.push(index(&two, &name, seq + 2, false, None, START));
            seq += 3;
        }
        if number % 2 == 0 {
            messages.push(edited(&name, seq, &one, (number * 3, 2), "changed"));
            messages.push(deleted(&name, seq + 1, &one, (number * 3 + 1, 4)));
            messages.push(key_used(
                &name,
                &one,
                2,
                &format!("changes nothing {number}"),
                false,
            ));
        }
        if number % 4 == 1 {
            messages.push(viewed(&name, &one, 1, 1, START + number));
            messages.push(index_view(&one, &name, 1, 1, START + number));
            receipts.push(own_mark(&name, &one, 1, START + number));
        }
        receipts.push(advance(&name, START + 9, &one, 4, 2));
        receipts.push(react(&name, number * 3, &two, Some(128_077)));
    }

    messages.extend((0..4).flat_map(of_closed));
    (messages, receipts)
}

/// A conversation that is closed, of every second of which a part is erased.
fn of_closed(number: u64) -> Vec<Record> {
    let (name, one, two) = (format!("z{number}"), "u1", "v1");
    let mut records = vec![
        created(&name, &[one, two], START),
        message(&name, 2, one, 1_000 + number, START),
        closed(&name, 3, one, START + 1),
    ];
    if number % 2 == 1 {
        records.push(pruned(&name, 2, START + 2));
    }
    records.extend([one, two].map(|who| index(who, &name, 3, false, None, START + 1)));
    records
}

pub(super) const START: u64 = 1_700_000_000_000;
