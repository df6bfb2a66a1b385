//! What becomes of it when a batch is taken back, when the shard is opened again, and when those
//! who left come back.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_of_it_is_there_again_after_a_crash_and_a_restart() {
    let mut bench = bench().await;
    participant(bench.does(mute("mod", "alice", START * 2)).await);
    participant(bench.does(give("admin", "bob", Role::Reader)).await);
    is_banned(bench.does(ban("mod", "outsider", Some("spam"))).await);

    assert!(matches!(
        bench.does(closed("admin")).await,
        Ok(Done::Updated(_))
    ));

    let before = bench.view("c", "admin").await.expect("reads");
    let bans = bench.bans("mod").await.expect("reads");
    assert_eq!((bans.len(), bans[0].reason.as_deref()), (1, Some("spam")));

    for round in 0..2 {
        if round == 0 {
            bench.crash().await;
        } else {
            bench.restart().await;
        }
        let view = bench.view("c", "admin").await.expect("reads");
        assert_eq!(view, before, "{round}");
        assert_eq!(bench.bans("mod").await.expect("reads"), bans, "{round}");
        assert_eq!(
            code(bench.does(send("c", "bob", "x")).await),
            Code::Forbidden
        );
        let banned = bench.add("c", "mod", &["outsider"]).await;
        assert_eq!(code(banned), Code::Banned, "{round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_back_never_held() {
    let bench = bench().await;
    bench.log.always(Some(Fault::NotWritten));

    let lost = [
        bench.execute(give("admin", "alice", Role::Reader)),
        bench.execute(ban("mod", "outsider", None)),
        bench.execute(closed("admin")),
    ];

    for one in lost {
        assert_eq!(code(in_time(one).await), Code::Unavailable);
    }

    bench.log.always(None);
    assert_eq!(bench.bans("mod").await.expect("reads"), []);

    bench.send("c", "alice", "not a reader").await;
    assert!(bench.add("c", "mod", &["outsider"]).await.is_ok());

    let view = bench.view("c", "alice").await.expect("reads");
    assert_eq!(view.settings, Settings::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_left_muted_or_as_a_reader_is_that_again_however_long_ago_it_was() {
    let mut bench = bench().await;
    let open = SettingsChange {
        add: Some(Whom::All),
        ..SettingsChange::default()
    };
    assert!(bench.does(change("admin", open)).await.is_ok());

    participant(bench.does(mute("mod", "alice", START * 2)).await);
    participant(bench.does(give("admin", "bob", Role::Reader)).await);

    for round in ["in memory", "in the file"] {
        for who in ["alice", "bob"] {
            bench.remove("c", who, who).await.expect("left");
        }
        if round == "in the file" {
            bench.restart().await;
        }
        // A member lets them in again.
        if round == "in memory" {
            bench.add("c", "mod", &["friend"]).await.expect("added");
        }
        bench
            .add("c", "friend", &["alice", "bob"])
            .await
            .expect("added");
        assert_eq!(code(bench.does(send("c", "alice", "x")).await), Code::Muted);
        assert_eq!(
            code(bench.does(send("c", "bob", "x")).await),
            Code::Forbidden
        );
    }
}
