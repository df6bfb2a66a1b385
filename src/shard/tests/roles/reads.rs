//! Who reads what of it, and that it is as new as what was answered.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bans_are_read_at_once_by_those_who_may_ban() {
    let bench = bench().await;
    bench.log.stall_reads(true);
    is_banned(bench.does(ban("mod", "zoe", Some("first"))).await);
    is_banned(bench.does(ban("mod", "zoe", None)).await);
    is_banned(bench.does(ban("admin", "bob", Some("why"))).await);
    is_banned(bench.does(ban("mod", "eve", None)).await);
    is_banned(bench.does(unban("admin", "eve")).await);
    is_banned(bench.does(unban("admin", "eve")).await);

    bench.log.stall_reads(false);
    let events = bench.view("c", "admin").await.expect("reads").last_seq;
    assert_eq!(events, Seq(3), "only the removal has a seq");

    let bans = bench.bans("mod").await.expect("reads");
    let told: Vec<_> = bans
        .iter()
        .map(|ban| (ban.user.as_str(), ban.by.as_str(), ban.reason.as_deref()))
        .collect();
    assert_eq!(told, [("bob", "admin", Some("why")), ("zoe", "mod", None)]);

    assert_eq!(code(bench.bans("alice").await), Code::Forbidden);
    assert_eq!(code(bench.bans("bob").await), Code::NotParticipant);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_tell_of_it_in_memory_and_in_the_file_alike() {
    let bench = bench().await;
    bench.log.stall_reads(true);
    participant(bench.does(mute("mod", "alice", START * 2)).await);
    assert!(bench.does(closed("admin")).await.is_ok());

    is_banned(bench.does(ban("mod", "bob", Some("why"))).await);
    let mut rounds = Vec::new();

    for _ in 0..2 {
        let events = bench.events("c", "admin").await;
        let kinds: Vec<EventKind> = events[1..].iter().map(|event| event.kind.clone()).collect();
        assert!(
            matches!(
                &kinds[..],
                [
                    EventKind::Role { role: Role::Moderator, muted_until: None, .. },
                    EventKind::Role { role: Role::Member, muted_until: Some(_), .. },
                    EventKind::Updated { settings, .. },
                    EventKind::Left { banned: true, .. },
                ] if settings.post == Some(Whom::Moderators) && settings.add.is_none()
            ),
            "{kinds:?}"
        );
        rounds.push(kinds);
        bench.log.stall_reads(false);
        bench.applied().await;
    }

    assert_eq!(rounds[0], rounds[1]);
}
