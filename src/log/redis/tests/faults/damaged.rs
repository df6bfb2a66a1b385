//! Streams and control records that were deleted or damaged.

use super::config_of;
use crate::log::conformance::read_all;
use crate::log::redis::testing::{Server, log, server};
use crate::log::redis::tests::owned::{M, Owned, assert_not_written};
use crate::log::{AppendOutcome, ClaimOutcome, PerStream, ShardLog, Token};

#[tokio::test]
async fn a_stream_that_was_deleted_is_not_begun_anew() {
    let server = server().await;
    let mut owned = Owned::new(config_of(server), 1).await;
    owned.append().await;
    let stream = format!("{{{}:s1}}:messages", owned.config.prefix);
    server.ask::<()>(&format!("DEL {stream}")).await;
    assert_not_written(&owned.send(&owned.next()).await, "gone");
    assert!(!server.ask::<bool>(&format!("EXISTS {stream}")).await);
    let control = owned.log.control(owned.shard).await.unwrap().unwrap();
    assert_eq!(control.tails[M], owned.tail);
}

#[tokio::test]
async fn a_stream_that_is_ahead_of_its_control_record_refuses_and_both_stay_as_they_were() {
    let server = server().await;
    let mut owned = Owned::new(config_of(server), 1).await;
    owned.append().await;
    let stream = format!("{{{}:s1}}:messages", owned.config.prefix);
    server.ask::<()>(&format!("XADD {stream} 9-0 e x")).await;
    assert_not_written(&owned.send(&owned.next()).await, "refuses");
    assert_eq!(server.ask::<u64>(&format!("XLEN {stream}")).await, 2);
    assert_eq!(
        owned.log.control(owned.shard).await.unwrap().unwrap().tails[M],
        owned.tail
    );
}

#[tokio::test]
async fn a_control_record_that_was_deleted_does_not_become_a_new_shard() {
    let server = server().await;
    let mut owned = Owned::new(config_of(server), 1).await;
    owned.append().await;
    server
        .ask::<()>(&format!("DEL {{{}:s1}}:ctl", owned.config.prefix))
        .await;
    let nobody = Token {
        epoch: crate::ids::Epoch(0),
        nonce: 0,
    };

    assert_eq!(
        owned.send(&owned.next()).await,
        Ok(AppendOutcome::Fenced { current: nobody })
    );

    let claim = owned.claim(None);
    let error = owned.log.claim(claim.clone()).await.unwrap_err();
    assert!(error.to_string().contains("deleted"), "{error}");

    // Not even to adopt a file: the entries may be newer than it.
    let adopting = crate::log::Claim {
        begin_at: PerStream::both(owned.tail),
        ..claim
    };
    let refused = owned.log.claim(adopting.clone()).await.unwrap_err();
    assert!(refused.to_string().contains("deleted"), "{refused}");
    assert_eq!(
        server
            .ask::<u64>(&format!("XLEN {{{}:s1}}:messages", owned.config.prefix))
            .await,
        1
    );

    // Deleted by somebody who knows what they do, the files are no obstacle.
    server
        .ask::<()>(&format!("DEL {{{}:s1}}:messages", owned.config.prefix))
        .await;
    owned.token = adopting.token;

    let outcome = owned.log.claim(adopting).await.unwrap();
    assert!(matches!(outcome, ClaimOutcome::Claimed(control) if control.tails[M] == owned.tail));

    owned.acknowledged.clear();
    owned.append().await;
    assert_eq!(
        read_all(&*log(&owned.config), owned.shard, M).await,
        owned.acknowledged
    );
}

#[tokio::test]
async fn one_broken_control_record_does_not_fail_the_renewals_of_the_other_shards() {
    let server = Server::start(&[]);
    let config = config_of(&server);
    let one = Owned::new(config.clone(), 1).await;
    let two = Owned::new(config.clone(), 2).await;

    server
        .ask::<u64>(&format!("DEL {{{}:s2}}:ctl", config.prefix))
        .await;
    server
        .ask::<()>(&format!("SET {{{}:s2}}:ctl x", config.prefix))
        .await;
    let renewed = one
        .log
        .renew(&[(two.shard, two.token), (one.shard, one.token)])
        .await;
    assert!(
        matches!(renewed.as_slice(), [Err(_), Ok(true)]),
        "{renewed:?}"
    );
}
