//! What was trimmed leaves the disk, and what stands beside it stays.

use super::*;

#[tokio::test]
async fn the_log_does_not_grow_for_ever_under_trim() {
    const LIMIT: u64 = 48 * 1024 * 1024;
    let one = embedded().await;
    let token = claimed(&*one.log, SHARD).await;
    let mut tail = Tail::EMPTY;
    for _ in 0..100 {
        tail = one.fill((SHARD, token), tail, (2, 500_000)).await;
        one.log.trim(SHARD, token, M, tail.offset).await.unwrap();
    }
    let bytes = bytes_of(&one.path());
    assert!(bytes < LIMIT, "{bytes} bytes");
}

#[tokio::test]
async fn an_entry_of_a_quiet_stream_keeps_no_segment_for_ever_and_is_still_there() {
    const LIMIT: u64 = 200 * 1024 * 1024;
    const QUIET: ShardId = ShardId(1);
    let mut one = embedded().await;
    let quiet = claimed(&*one.log, QUIET).await;
    let quiet_tail = one.fill((QUIET, quiet), Tail::EMPTY, (3, 100)).await;
    let token = claimed(&*one.log, SHARD).await;
    let first = segments(&one.path());
    let mut tail = Tail::EMPTY;
    for _ in 0..150 {
        tail = one.fill((SHARD, token), tail, (4, 500_000)).await;
        one.log.trim(SHARD, token, M, tail.offset).await.unwrap();
    }
    let bytes = bytes_of(&one.path());
    assert!(bytes < LIMIT, "{bytes} bytes of 300 million");
    assert!(!first[0].exists(), "where it stood first is gone");
    assert_eq!(linked(&read_all(&*one.log, QUIET, M).await), quiet_tail);

    one.reopen().await;
    assert_eq!(linked(&read_all(&*one.log, QUIET, M).await), quiet_tail);
    one.fill((QUIET, quiet), quiet_tail, (1, 10)).await;
}

#[tokio::test]
async fn what_was_trimmed_leaves_the_disk_though_nobody_writes_and_what_stands_beside_it_stays() {
    const SECRET: &[u8] = b"nobody may read this";
    const OTHER: ShardId = ShardId(1);
    let mut one = embedded().await;
    let (token, other) = (
        claimed(&*one.log, SHARD).await,
        claimed(&*one.log, OTHER).await,
    );
    let secret = batch(
        SHARD,
        M,
        token,
        &Tail::EMPTY,
        (1, std::str::from_utf8(SECRET).unwrap()),
    );
    assert_eq!(one.append(&secret).await, Ok(AppendOutcome::Appended));
    let tail = one.fill((OTHER, other), Tail::EMPTY, (3, 100)).await;
    let is_there = |folder: &Path| {
        let holds = |path: &PathBuf| {
            std::fs::read(path)
                .unwrap()
                .windows(SECRET.len())
                .any(|bytes| bytes == SECRET)
        };
        segments(folder).iter().any(holds)
    };
    assert!(is_there(&one.path()));
    one.log
        .trim(SHARD, token, M, secret.tail.offset)
        .await
        .unwrap();
    let swept = async || {
        one.log.sweep().await;
        // The first may share the cycle of the sweep, and is answered before it.
        for _ in 0..2 {
            assert_eq!(one.log.renew(&[(OTHER, other)]).await, [Ok(true)]);
        }
    };
    swept().await;
    assert!(
        is_there(&one.path()),
        "a segment is not written anew for each trim"
    );

    one.log.faults().set_hasty(true);
    swept().await;
    assert!(!is_there(&one.path()));
    one.reopen().await;
    assert_eq!(linked(&read_all(&*one.log, OTHER, M).await), tail);
    assert_eq!(
        one.log.read(SHARD, M, Offset(0), 1).await.unwrap(),
        Vec::new()
    );
}
