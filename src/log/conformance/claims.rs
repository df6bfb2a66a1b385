//! How a shard is claimed, and given to another.

use super::{
    M, R, SHARD, Setup, append, assert_stream, batch, claimed, control, filled, identity, send,
    wish,
};
use crate::ids::{ClusterId, Epoch, NodeId, Offset, ShardId};
use crate::log::record::{Chain, Tail};
use crate::log::{AppendOutcome, Claim, ClaimOutcome, Identity, PerStream, Token};

pub(crate) async fn a_shard_that_was_never_claimed_has_no_control_and_takes_nothing(
    setup: impl Setup,
) {
    let log = setup.log();
    let token = Token::new(Epoch(1));
    assert_eq!(log.control(SHARD).await.unwrap(), None);

    let answer = send(&*log, &batch(SHARD, M, token, &Tail::EMPTY, (1, "x"))).await;
    assert_eq!(
        answer,
        AppendOutcome::Fenced {
            current: Token {
                epoch: Epoch(0),
                nonce: 0
            }
        }
    );
    assert_eq!(log.renew(&[(SHARD, token)]).await, [Ok(false)]);

    log.trim(SHARD, token, M, Offset(9)).await.unwrap();
    assert_eq!(log.control(SHARD).await.unwrap(), None);
    assert_eq!(log.read(SHARD, M, Offset(0), 100).await.unwrap(), []);
}

pub(crate) async fn the_first_claim_creates_two_empty_streams(setup: impl Setup) {
    let log = setup.log();
    let token = Token::new(Epoch(5));
    let outcome = log.claim(wish(SHARD, None, token)).await.unwrap();
    let found = control(&*log, SHARD).await;
    assert_eq!(outcome, ClaimOutcome::Claimed(found.clone()));
    assert_eq!(
        (found.identity, found.token, found.tails),
        (identity(), token, PerStream::both(Tail::EMPTY))
    );
    assert_eq!(found.owner, NodeId::from("node-a"));
    assert_eq!(log.control(ShardId(SHARD.0 + 1)).await.unwrap(), None);
}

pub(crate) async fn a_first_claim_must_expect_no_one_and_have_an_epoch_above_0(setup: impl Setup) {
    let log = setup.log();
    let somebody = Token::new(Epoch(1));
    for claim in [
        wish(SHARD, Some((somebody, 0)), Token::new(Epoch(2))),
        wish(SHARD, None, Token::new(Epoch(0))),
    ] {
        assert_eq!(log.claim(claim).await.unwrap(), ClaimOutcome::Refused(None));
    }
    assert_eq!(log.control(SHARD).await.unwrap(), None);
}

pub(crate) async fn a_claim_is_refused_unless_token_and_beat_are_as_expected(setup: impl Setup) {
    let log = setup.log();
    let token = claimed(&*log, SHARD).await;
    let found = control(&*log, SHARD).await;
    let other_nonce = Token {
        nonce: token.nonce ^ 1,
        ..token
    };
    let wrong = [
        None,
        Some((other_nonce, found.beat)),
        Some((Token::new(Epoch(9)), found.beat)),
    ];

    for expected in wrong.into_iter().chain([Some((token, found.beat + 1))]) {
        let outcome = log
            .claim(wish(SHARD, expected, Token::new(Epoch(9))))
            .await
            .unwrap();
        assert_eq!(outcome, ClaimOutcome::Refused(Some(found.clone())));
    }

    assert_eq!(control(&*log, SHARD).await, found);
    let next = Token::new(Epoch(9));
    let outcome = log
        .claim(wish(SHARD, Some((token, found.beat)), next))
        .await
        .unwrap();
    assert!(matches!(outcome, ClaimOutcome::Claimed(control) if control.token == next));
}

pub(crate) async fn a_claim_is_refused_when_the_beat_moved(setup: impl Setup) {
    let log = setup.log();
    let token = claimed(&*log, SHARD).await;
    let seen = control(&*log, SHARD).await;
    assert_eq!(log.renew(&[(SHARD, token)]).await, [Ok(true)]);
    let outcome = log
        .claim(wish(SHARD, Some((token, seen.beat)), Token::new(Epoch(2))))
        .await
        .unwrap();
    assert!(matches!(outcome, ClaimOutcome::Refused(Some(control)) if control.token == token));
    filled(&*log, M, token, 1).await;
    assert_eq!(control(&*log, SHARD).await.token, token);
}

pub(crate) async fn a_claim_is_refused_unless_the_epoch_rises(setup: impl Setup) {
    let log = setup.log();
    let first = Token::new(Epoch(4));
    log.claim(wish(SHARD, None, first)).await.unwrap();
    let found = control(&*log, SHARD).await;
    for epoch in [0, 3, 4] {
        let claim = wish(SHARD, Some((first, found.beat)), Token::new(Epoch(epoch)));
        assert_eq!(
            log.claim(claim).await.unwrap(),
            ClaimOutcome::Refused(Some(found.clone()))
        );
    }
    assert_eq!(control(&*log, SHARD).await, found);
}

pub(crate) async fn a_claim_is_refused_when_the_identity_differs(setup: impl Setup) {
    let log = setup.log();
    let token = claimed(&*log, SHARD).await;
    let found = control(&*log, SHARD).await;
    let other_cluster = Identity {
        cluster: ClusterId::random(),
        ..identity()
    };
    let other_shards = Identity {
        shards: 32,
        ..identity()
    };

    for identity in [other_cluster, other_shards] {
        let claim = Claim {
            identity,
            ..wish(SHARD, Some((token, found.beat)), Token::new(Epoch(2)))
        };
        assert_eq!(
            log.claim(claim).await.unwrap(),
            ClaimOutcome::Refused(Some(found.clone()))
        );
    }

    assert_eq!(control(&*log, SHARD).await, found);
}

pub(crate) async fn a_claim_keeps_the_tails(setup: impl Setup) {
    let log = setup.log();
    let first = claimed(&*log, SHARD).await;
    let mut sent = filled(&*log, M, first, 2).await;
    let receipts = filled(&*log, R, first, 1).await;
    let second = claimed(&*log, SHARD).await;
    assert_eq!(
        control(&*log, SHARD).await.tails,
        PerStream {
            messages: sent[1].tail,
            receipts: receipts[0].tail
        }
    );
    sent.extend(filled(&*log, M, second, 1).await);
    assert_stream(&*log, M, &sent).await;
    assert_stream(&*log, R, &receipts).await;
}

pub(crate) async fn an_owner_gives_its_shard_to_another_where_the_streams_end_as_it_says(
    setup: impl Setup,
) {
    let log = setup.log();
    let first = claimed(&*log, SHARD).await;
    let sent = filled(&*log, M, first, 2).await;
    let receipts = filled(&*log, R, first, 1).await;
    let before = control(&*log, SHARD).await;
    let given = |ends_at| Claim {
        owner: NodeId::from("node-b"),
        ends_at: Some(ends_at),
        ..wish(SHARD, Some((first, before.beat)), Token::new(Epoch(2)))
    };

    let ends = PerStream {
        messages: sent[1].tail,
        receipts: receipts[0].tail,
    };
    let other_chain = Tail {
        chain: Chain([7; 16]),
        ..ends.receipts
    };

    let elsewhere = [
        PerStream {
            messages: sent[0].tail,
            ..ends
        },
        PerStream {
            receipts: other_chain,
            ..ends
        },
        PerStream::both(Tail::EMPTY),
    ];

    for tails in elsewhere {
        assert_eq!(
            log.claim(given(tails)).await.unwrap(),
            ClaimOutcome::Refused(Some(before.clone()))
        );
    }

    let claim = given(ends);
    let ClaimOutcome::Claimed(after) = log.claim(claim.clone()).await.unwrap() else {
        panic!("refused")
    };

    assert_eq!(
        (after.token, &after.owner, after.tails),
        (claim.token, &claim.owner, ends)
    );
    assert_eq!(control(&*log, SHARD).await, after);

    let late = batch(SHARD, M, first, &ends.messages, (1, "late"));
    assert_eq!(
        send(&*log, &late).await,
        AppendOutcome::Fenced {
            current: claim.token
        }
    );

    append(
        &*log,
        &batch(SHARD, M, claim.token, &ends.messages, (1, "next")),
    )
    .await;
}

pub(crate) async fn of_claims_that_expect_the_same_one_wins(setup: impl Setup) {
    let log = setup.log();
    let token = claimed(&*log, SHARD).await;
    let beat = control(&*log, SHARD).await.beat;
    let rivals = (0..8).map(|_| {
        let (its_log, rival) = (setup.log(), Token::new(Epoch(2)));
        tokio::spawn(async move {
            (
                its_log
                    .claim(wish(SHARD, Some((token, beat)), rival))
                    .await
                    .unwrap(),
                rival,
            )
        })
    });

    let mut winners = Vec::new();
    for rival in rivals.collect::<Vec<_>>() {
        let (outcome, rival) = rival.await.unwrap();
        winners.extend(matches!(outcome, ClaimOutcome::Claimed(_)).then_some(rival));
    }

    assert_eq!(winners, [control(&*log, SHARD).await.token]);
}
