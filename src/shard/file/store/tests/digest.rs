//! The same log gives the same file, however it is cut and wherever it is taken up.

use super::author::Author;
use super::*;

/// The digest, and what is part of none and has to be the same all the same.
type Whole = ([u8; 32], Vec<(String, Option<i64>, Option<i64>)>);

async fn digest_of(
    folder: &Path,
    name: &str,
    streams: &PerStream<Written>,
    batch: &mut dyn FnMut() -> usize,
) -> Whole {
    let mut store = open(folder, name).await;
    let mut rest = streams.clone().map(|stream| stream.entries);

    while !rest.each_ref().all(Vec::is_empty) {
        for (stream, entries) in rest.iter_mut() {
            let size = batch().min(entries.len());
            let chunk: Vec<_> = entries.drain(..size).collect();
            store.apply(stream, chunk).await.expect("applies");
        }
        if batch() == 2 {
            store.close().await;
            store = open(folder, name).await;
        }
    }

    let digest = store.digest().await.expect("reads");
    let searched_by = store.searched_by().await;
    store.close().await;
    (digest, searched_by)
}

/// The same, but the rest is applied to a copy of what a part of it made.
async fn digest_from_copy(folder: &Path, streams: &PerStream<Written>, dice: &mut StdRng) -> Whole {
    let first = open(folder, "first.db").await;
    let mut rest = streams.clone().map(|stream| stream.entries);
    for (stream, entries) in rest.iter_mut() {
        let size = dice.random_range(0..=entries.len());
        let chunk: Vec<_> = entries.drain(..size).collect();
        first.apply(stream, chunk).await.expect("applies");
    }

    first
        .copy_to(&folder.join("copy.db"))
        .await
        .expect("copies");
    first.close().await;

    let copy = open(folder, "copy.db").await;
    for (stream, entries) in rest {
        copy.apply(stream, entries).await.expect("applies");
    }

    let digest = copy.replica_digest().await.expect("reads");
    assert_eq!(digest.applied, streams.each_ref().map(|stream| stream.tail));

    let searched_by = copy.searched_by().await;
    copy.close().await;
    (digest.sha256, searched_by)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_batching_of_the_same_log_gives_the_same_file(seed: u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let folder = folder();
        let streams = Author::new(seed).streams(160);
        runtime.block_on(async {
            let single = digest_of(folder.path(), "single.db", &streams, &mut || 1).await;
            let whole = digest_of(folder.path(), "whole.db", &streams, &mut || usize::MAX).await;
            prop_assert_eq!(&single, &whole, "all at once");
            let mut dice = StdRng::seed_from_u64(!seed);
            let cut = digest_of(folder.path(), "cut.db", &streams, &mut || dice.random_range(0..9)).await;
            prop_assert_eq!(&single, &cut, "in random cuts, opened again now and then");
            let copied = digest_from_copy(folder.path(), &streams, &mut dice).await;
            prop_assert_eq!(&single, &copied, "from a copy on");
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn the_digest_tells_files_apart() {
    let (one_folder, other_folder) = (folder(), folder());
    let common = [
        created("c", &["alice", "bob"], START),
        message("c", 2, "alice", 1, START),
    ];
    let one = one(
        one_folder.path(),
        &common,
        &[advance("c", START, "bob", 2, 0)],
    )
    .await;

    let other = tests::one(
        other_folder.path(),
        &common,
        &[advance("c", START + 1, "bob", 2, 0)],
    )
    .await;

    assert_ne!(
        one.digest().await.expect("reads"),
        other.digest().await.expect("reads")
    );
}

#[tokio::test]
async fn when_users_were_seen_is_no_part_of_a_digest_and_of_two_times_the_later_stands() {
    let folder = folder();
    let store = open(folder.path(), "s3.db").await;
    let before = store.digest().await.expect("reads");
    let rows = |minutes: [u64; 2]| {
        ["alice", "bob"]
            .map(user)
            .into_iter()
            .zip(minutes.map(|one| START + one))
            .collect()
    };

    store
        .write_seen(rows([60_000, 120_000]))
        .await
        .expect("writes");
    store.write_seen(rows([180_000, 0])).await.expect("writes");

    let asked = ["alice", "bob", "carol"].map(user);
    let mut seen = store.seen(&asked).await.expect("reads");
    seen.sort();

    assert_eq!(
        seen,
        rows([180_000, 120_000]),
        "and of one who was never seen nothing is known"
    );
    assert_eq!(store.digest().await.expect("reads"), before);
    store.close().await;
}
