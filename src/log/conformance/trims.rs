//! What a trim drops, and what it leaves.

use super::{M, SHARD, Setup, assert_stream, claimed, control, filled, raw, send};
use crate::ids::Offset;
use crate::log::record::{Entry, Tail};
use crate::log::{AppendOutcome, RawEntry, Token};

pub(crate) async fn a_trim_drops_whole_entries_up_to_the_offset_and_readers_see_the_hole(
    setup: impl Setup,
) {
    let log = setup.log();
    let token = claimed(&*log, SHARD).await;
    let sent = filled(&*log, M, token, 5).await;

    // Entries end at 2, 4, 6, 8, 10; 5 is in the middle of the third.
    log.trim(SHARD, token, M, Offset(5)).await.unwrap();

    let left: Vec<RawEntry> = sent[2..].iter().map(raw).collect();
    assert_eq!(
        log.read(SHARD, M, Offset(0), usize::MAX).await.unwrap(),
        left
    );

    let first = &log.read(SHARD, M, Offset(0), 0).await.unwrap()[0];
    assert!(
        Entry::decode_after(&Tail::EMPTY, &first.bytes).is_err(),
        "a hole, not a beginning"
    );
    assert!(Entry::decode_after(&sent[1].tail, &first.bytes).is_ok());

    log.trim(SHARD, token, M, Offset(6)).await.unwrap();
    assert_eq!(
        log.read(SHARD, M, Offset(0), usize::MAX).await.unwrap(),
        left[1..]
    );
}

pub(crate) async fn a_trim_never_touches_control_or_tails_and_appends_go_on(setup: impl Setup) {
    let log = setup.log();
    let token = claimed(&*log, SHARD).await;
    let sent = filled(&*log, M, token, 3).await;
    let before = control(&*log, SHARD).await;
    log.trim(SHARD, token, M, Offset(6)).await.unwrap();
    assert_eq!(control(&*log, SHARD).await, before);
    assert_eq!(log.read(SHARD, M, Offset(0), usize::MAX).await.unwrap(), []);
    assert_eq!(send(&*log, &sent[2]).await, AppendOutcome::AlreadyDone);
    let later = filled(&*log, M, token, 1).await;
    assert_eq!(later[0].expected, sent[2].tail);
    assert_stream(&*log, M, &later).await;
}

pub(crate) async fn a_trim_beyond_the_tail_or_of_many_entries_ends(setup: impl Setup) {
    let log = setup.log();
    let token = claimed(&*log, SHARD).await;
    filled(&*log, M, token, 600).await;
    log.trim(SHARD, token, M, Offset(u64::MAX)).await.unwrap();
    assert_eq!(log.read(SHARD, M, Offset(0), usize::MAX).await.unwrap(), []);
    let later = filled(&*log, M, token, 1).await;
    assert_stream(&*log, M, &later).await;
}

pub(crate) async fn a_trim_under_a_stale_token_has_no_effect(setup: impl Setup) {
    let log = setup.log();
    let stale = claimed(&*log, SHARD).await;
    let sent = filled(&*log, M, stale, 2).await;
    let current = claimed(&*log, SHARD).await;
    let twin = Token {
        nonce: !current.nonce,
        ..current
    };
    for token in [stale, twin] {
        log.trim(SHARD, token, M, Offset(9)).await.unwrap();
    }
    assert_stream(&*log, M, &sent).await;
}
