//! What is read and observed, also after the process has ended.

use bytes::Bytes;

use super::{M, R, SHARD, Setup, append, assert_stream, claimed, control, filled, raw, send};
use crate::ids::{Offset, ShardId};
use crate::log::record::{Tail, seal};
use crate::log::{AppendOutcome, Batch, RawEntry};

pub(crate) async fn reads_are_in_order_after_the_offset_and_at_least_one(setup: impl Setup) {
    let log = setup.log();
    let token = claimed(&*log, SHARD).await;
    let sent = filled(&*log, M, token, 6).await;
    let raws: Vec<RawEntry> = sent.iter().map(raw).collect();
    let read = async |after, bytes_max| log.read(SHARD, M, Offset(after), bytes_max).await.unwrap();
    assert_eq!(read(0, usize::MAX).await, raws);
    assert_eq!(read(4, usize::MAX).await, raws[2..]);
    // In the middle of an entry: its last offset is above.
    assert_eq!(read(3, usize::MAX).await, raws[1..]);
    assert_eq!(read(0, 0).await, raws[..1]);
    assert_eq!(read(2, 1).await, raws[1..2]);
    assert_eq!(read(12, usize::MAX).await, []);
    assert_eq!(read(u64::MAX, usize::MAX).await, []);

    let limited = read(0, raws[0].bytes.len() * 3).await;
    assert!(
        (2..=4).contains(&limited.len()),
        "{} entries",
        limited.len()
    );
    assert_eq!(limited, raws[..limited.len()]);
}

pub(crate) async fn entries_come_back_as_they_were_sent(setup: impl Setup) {
    let log = setup.log();
    let token = claimed(&*log, SHARD).await;
    let any: Vec<u8> = (0..=255).cycle().take(700_000).collect();
    let (bytes, tail) = seal(&Tail::EMPTY, token.epoch, &[Bytes::from(any)]);
    let large = Batch {
        shard: SHARD,
        stream: M,
        token,
        expected: Tail::EMPTY,
        tail,
        bytes,
    };
    append(&*log, &large).await;
    assert_stream(&*log, M, &[large]).await;
}

pub(crate) async fn what_is_observed_is_the_control_record_and_who_answered(setup: impl Setup) {
    let log = setup.log();
    let token = claimed(&*log, SHARD).await;
    filled(&*log, M, token, 3).await;

    let shards = [ShardId(SHARD.0 + 1), SHARD, SHARD];
    let mut lineages = Vec::new();

    for _ in 0..3 {
        let expected = control(&*log, SHARD).await;
        let seen: Vec<_> = log
            .observe(&shards)
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect();
        assert_eq!(seen.len(), 3);
        assert_eq!(seen[0].control, None, "never claimed");
        assert_eq!(seen[1].control.as_ref(), Some(&expected));
        assert_eq!(
            seen[1], seen[2],
            "in the order in which they were asked for"
        );
        lineages.push(seen[1].lineage);
        assert_eq!(log.renew(&[(SHARD, token)]).await, [Ok(true)]);
    }

    lineages.dedup();
    assert_eq!(lineages.len(), 1, "the same server all the while");
    assert!(log.observe(&[]).await.is_empty());
}

pub(crate) async fn everything_outlives_the_process(mut setup: impl Setup) {
    let log = setup.log();
    let token = claimed(&*log, SHARD).await;
    let mut messages = filled(&*log, M, token, 3).await;
    let receipts = filled(&*log, R, token, 2).await;
    let before = control(&*log, SHARD).await;
    drop(log);
    setup.reopen().await;

    let again = setup.log();
    assert_eq!(control(&*again, SHARD).await, before);
    assert_stream(&*again, M, &messages).await;
    assert_stream(&*again, R, &receipts).await;
    assert_eq!(
        send(&*again, &messages[2]).await,
        AppendOutcome::AlreadyDone
    );

    messages.extend(filled(&*again, M, token, 1).await);
    assert_stream(&*again, M, &messages).await;
}
