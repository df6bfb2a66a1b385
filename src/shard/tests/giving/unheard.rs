//! A hand-over whose answer is not heard.

use super::*;
use crate::ids::Epoch;

// Interleaving 4.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_hears_no_answer_is_silent_until_a_renewal_tells_whose_the_shard_is() {
    for fate in [Fate::CarriedOutUnheard, Fate::LostOnItsWay] {
        let (bench, _follower) = pair().await;
        let way = Way::of(&bench, fate);
        let seen = bench
            .log
            .inner
            .control(SHARD)
            .await
            .expect("reads")
            .expect("claimed");
        let still = still(&bench).await;
        let tails = still.tails();
        let outcome = in_time(still.give(&way, &node_b())).await;
        assert!(matches!(outcome, Given::InDoubt(_)), "{outcome:?}");

        // It answers no strict read, and decides nothing.
        let (_, freshness) = bench.read(last()).await.expect("reads");
        assert!(
            matches!(freshness, Freshness::Stale { .. }),
            "{freshness:?}"
        );
        let parked = tokio::spawn(bench.execute(send("c", "alice", "parked")));
        bench.parked(1).await;
        // A renewal that was sent before says nothing of now.
        bench.handle().renewed(bench.clock.since_boot(), true);
        assert!(!bench.handle().is_proven());

        bench.clock.pass(Duration::from_millis(5));
        bench.renew().await;
        if fate == Fate::CarriedOutUnheard {
            assert_unwritten(in_time(parked).await.expect("answered"));
            in_time(bench.handle().closed()).await;
            continue;
        }
        assert_eq!(seq_of(in_time(parked).await.expect("answered")).0, Seq(7));
        assert_eq!(
            bench.read(last()).await.expect("reads").1,
            Freshness::Strict
        );
        // The claim comes after all.
        let late = Claim {
            shard: SHARD,
            expected: Some((seen.token, seen.beat)),
            token: Token::new(Epoch(2)),
            owner: node_b(),
            identity: identity(),
            begin_at: tails,
            ends_at: Some(tails),
        };
        assert!(matches!(
            bench.log.inner.claim(late).await,
            Ok(ClaimOutcome::Refused(_))
        ));
    }
}

// Interleaving 5.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_that_crosses_the_claim_has_it_made_again() {
    let (bench, follower) = pair().await;
    let way = Way::of(&bench, Fate::Answered);
    way.crossed.store(3, Ordering::SeqCst);
    let (token, tails) = given_at_rest(&bench, &way).await;
    received(&follower, token, tails)
        .await
        .expect("opens")
        .close(soon())
        .await;
}

// Interleaving 6.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_waits_for_the_end_of_the_attempt_and_is_never_strict_without_it() {
    for settles in [true, false] {
        let (bench, _follower) = pair().await;
        let way = Arc::new(Way::of(&bench, Fate::Answered));
        let still = still(&bench).await;
        way.held.send_replace(true);
        let over = Arc::clone(&way);
        let giving = tokio::spawn(async move { still.give(over.as_ref(), &node_b()).await });
        in_time(async {
            while bench.handle().is_proven() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        let handle = bench.handle().clone();
        let reading = tokio::spawn(async move {
            handle
                .query(last(), soon())
                .await
                .map(|(_, freshness)| freshness)
        });
        if settles {
            way.held.send_replace(false);
            assert!(matches!(
                in_time(giving).await.expect("ends"),
                Given::Away { .. }
            ));
            let read = in_time(reading).await.expect("answered");
            assert!(matches!(read, Err(ShardError::NotOwner)), "{read:?}");
        } else {
            let read = in_time(reading).await.expect("answered");
            assert!(matches!(read, Ok(Freshness::Stale { .. })), "{read:?}");
            way.held.send_replace(false);
            assert!(matches!(
                in_time(giving).await.expect("ends"),
                Given::Away { .. }
            ));
        }
    }
}
