//! Who is online stays so when a shard is given away.

use super::*;
use crate::ids::Epoch;
use crate::shard::command::Watched;

/// Watches these users, of whom that was told before; who is online.
async fn watches<const N: usize>(
    shard: &ShardHandle,
    watcher: &Subscriber,
    users: [(&str, Option<bool>); N],
) -> [bool; N] {
    let asked = users.map(|(name, online)| Watched {
        user: user(name),
        online,
    });
    let present = in_time(shard.presence(Some(watcher.clone()), asked.to_vec(), soon()))
        .await
        .expect("answered");
    assert_eq!(present.epoch, shard.epoch());
    let online: Vec<bool> = present.users.iter().map(|one| one.online).collect();
    online.try_into().expect("as many as asked")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
async fn who_is_online_stays_so_when_their_shard_is_given_away_and_goes_if_nobody_subscribes_anew()
{
    let (bench, follower) = pair().await;
    let way = Way::of(&bench, Fate::Answered);
    let ((node, _pushed), (watcher, mut told)) = (subscriber(8), subscriber(8));
    for name in ["alice", "bob"] {
        let subscribed = bench
            .handle()
            .subscribe_index(&node, user(name), Offset(0), 10, soon());
        in_time(subscribed).await.expect("subscribes");
    }
    let before = watches(
        bench.handle(),
        &watcher,
        [("alice", None), ("bob", None), ("carol", None)],
    )
    .await;
    assert_eq!(before, [true, true, false]);

    let still = still(&bench).await;
    let tails = still.tails();
    // The clock stands still: without the hand-over nothing would be written yet.
    let written = async {
        while bench
            .handle()
            .0
            .store
            .seen(&[user("alice"), user("bob")])
            .await
            .expect("reads")
            .len()
            < 2
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    in_time(written).await;
    let (token, _) = given(still, &way).await;
    assert!(matches!(
        in_time(told.recv()).await,
        Some(Push::Resubscribe { shard: SHARD })
    ));

    let taken = received(&follower, token, tails).await.expect("opens");
    let known = [
        ("alice", Some(true)),
        ("bob", Some(true)),
        ("carol", Some(false)),
    ];
    assert_eq!(
        watches(&taken, &watcher, known).await,
        [true, true, false],
        "though nobody has subscribed yet"
    );
    in_time(taken.subscribe_index(&node, user("alice"), Offset(0), 10, soon()))
        .await
        .expect("subscribes");
    bench.clock.pass(Duration::from_secs(31));
    let Some(Push::Presence { epoch, changes, .. }) = in_time(told.recv()).await else {
        panic!("not told")
    };
    let changed: Vec<_> = changes
        .iter()
        .map(|one| (one.user.as_str(), one.online))
        .collect();
    assert_eq!((epoch, changed), (Epoch(2), vec![("bob", false)]));
    taken.close(soon()).await;
}
