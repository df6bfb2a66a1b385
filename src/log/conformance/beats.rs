//! The beat of a shard, and its renewals.

use super::{M, SHARD, Setup, batch, claimed, control, filled, send};
use crate::ids::{Epoch, Offset, ShardId};
use crate::log::record::Tail;
use crate::log::{AppendOutcome, Token};

#[expect(
    clippy::cognitive_complexity,
    reason = "one claim over all calls, in their order"
)]
pub(crate) async fn the_beat_grows_at_appends_and_renewals_only(setup: impl Setup) {
    let log = setup.log();
    let token = claimed(&*log, SHARD).await;
    let beat = async || control(&*log, SHARD).await.beat;
    let mut last = beat().await;
    let sent = filled(&*log, M, token, 1).await;
    assert!(beat().await > last, "at an append");

    last = beat().await;
    assert_eq!(send(&*log, &sent[0]).await, AppendOutcome::AlreadyDone);
    assert!(beat().await > last, "at an append that was done already");

    last = beat().await;
    assert_eq!(log.renew(&[(SHARD, token)]).await, [Ok(true)]);
    assert!(beat().await > last, "at a renewal");

    last = beat().await;
    send(&*log, &batch(SHARD, M, token, &Tail::EMPTY, (1, "x"))).await;
    log.read(SHARD, M, Offset(0), 100).await.unwrap();

    assert_eq!(
        log.renew(&[(SHARD, Token::new(Epoch(1)))]).await,
        [Ok(false)]
    );
    assert_eq!(
        beat().await,
        last,
        "neither at a mismatch nor at a read nor at a stale renewal"
    );
}

pub(crate) async fn a_renewal_answers_for_each_token(setup: impl Setup) {
    let log = setup.log();
    let mut holds = Vec::new();
    for shard in 0..5 {
        holds.push((ShardId(shard), claimed(&*log, ShardId(shard)).await));
    }
    let stale = holds[2].1;
    claimed(&*log, ShardId(2)).await;
    holds.insert(1, (ShardId(9), stale));
    assert_eq!(
        log.renew(&holds).await,
        [true, false, true, false, true, true].map(Ok)
    );
    assert_eq!(log.renew(&[]).await, []);
}
