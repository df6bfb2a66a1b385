//! Roles, mutes, bans and settings, whatever comes between (ADR 24).

use super::*;
use crate::protocol::{Ban as ShownBan, Participant, Patch, Role, Settings, SettingsChange, Whom};
use crate::shard::command::{Ban, Create, SetParticipant, Unban, Update};

mod reads;
mod setbacks;

fn set(by: &str, whom: &str, role: Option<Role>, muted_until: Patch<Option<u64>>) -> Command {
    Command::SetParticipant(SetParticipant {
        conversation: conversation("c"),
        by: user(by),
        user: user(whom),
        role,
        muted_until,
    })
}

fn give(by: &str, whom: &str, role: Role) -> Command {
    set(by, whom, Some(role), Patch::Keep)
}

fn mute(by: &str, whom: &str, until: u64) -> Command {
    set(by, whom, None, Patch::Set(Some(until)))
}

fn ban(by: &str, whom: &str, reason: Option<&str>) -> Command {
    Command::Ban(Ban {
        conversation: conversation("c"),
        by: user(by),
        user: user(whom),
        reason: reason.map(Into::into),
    })
}

fn unban(by: &str, whom: &str) -> Command {
    Command::Unban(Unban {
        conversation: conversation("c"),
        by: user(by),
        user: user(whom),
    })
}

fn change(by: &str, settings: SettingsChange) -> Command {
    Command::Update(Update {
        conversation: conversation("c"),
        by: user(by),
        title: Patch::Keep,
        data: Patch::Keep,
        settings,
    })
}

fn closed(by: &str) -> Command {
    let settings = SettingsChange {
        post: Some(Whom::Moderators),
        ..SettingsChange::default()
    };
    change(by, settings)
}

fn participant(done: Result<Done, ShardError>) -> Participant {
    match done {
        Ok(Done::Set(participant)) => participant,
        other => panic!("{other:?}"),
    }
}

fn is_banned(done: Result<Done, ShardError>) {
    assert!(matches!(done, Ok(Done::Banned)), "{done:?}");
}

impl Bench {
    async fn does(&self, command: Command) -> Result<Done, ShardError> {
        in_time(self.execute(command)).await
    }

    async fn bans(&self, reader: &str) -> Result<Vec<ShownBan>, ShardError> {
        let query = Query::Bans {
            name: conversation("c"),
            reader: user(reader),
            after: None,
            limit: 100,
        };
        match self.query(query).await? {
            Found::Bans(page) => Ok(page.items),
            other => panic!("{other:?}"),
        }
    }
}

/// An admin, a moderator, two members.
async fn bench() -> Bench {
    let bench = Bench::new().await;
    bench.create("c", &["admin", "mod", "alice", "bob"]).await;
    participant(bench.does(give("admin", "mod", Role::Moderator)).await);
    bench.at_rest().await;
    bench
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_decided_in_one_batch_holds_for_what_comes_behind_it() {
    let bench = bench().await;
    bench.log.hold();

    let before = bench.execute(send("c", "alice", "before"));
    let demoted = bench.execute(give("admin", "alice", Role::Reader));
    let after = bench.execute(send("c", "alice", "after"));
    let handed = bench.execute(give("admin", "mod", Role::Admin));
    let late = bench.execute(give("admin", "bob", Role::Moderator));
    let banned = bench.execute(ban("mod", "bob", None));
    let sent_by_banned = bench.execute(send("c", "bob", "x"));
    let added = bench.execute(add("c", "mod", &["carol", "bob"]));
    bench.log.release();
    assert_eq!(sent(in_time(before).await).core.text, "before");
    assert_eq!(participant(in_time(demoted).await).role, Role::Reader);
    assert_eq!(code(in_time(after).await), Code::Forbidden);
    assert_eq!(participant(in_time(handed).await).role, Role::Admin);
    assert_eq!(code(in_time(late).await), Code::Forbidden);

    is_banned(in_time(banned).await);
    assert_eq!(code(in_time(sent_by_banned).await), Code::NotParticipant);
    assert_eq!(code(in_time(added).await), Code::Banned);
    assert_eq!(code(bench.view("c", "carol").await), Code::NotParticipant);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_hold_for_what_is_decided_after_them() {
    let bench = bench().await;
    let (before, change, after) = (
        bench.execute(send("c", "alice", "before")),
        bench.execute(closed("admin")),
        bench.execute(send("c", "alice", "after")),
    );
    let by_mod = bench.execute(send("c", "mod", "by the moderator"));
    assert_eq!(sent(in_time(before).await).core.text, "before");
    assert!(matches!(in_time(change).await, Ok(Done::Updated(_))));
    assert_eq!(code(in_time(after).await), Code::Forbidden);

    sent(in_time(by_mod).await);
    let view = bench.view("c", "alice").await.expect("reads");
    assert_eq!(
        (view.my_role, view.settings.post),
        (Role::Member, Whom::Moderators)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mute_runs_out_without_an_event_and_a_key_is_looked_up_before_it() {
    let bench = bench().await;
    let message = sent(bench.does(send_key("c", "alice", "hello", "key")).await);
    let muted = participant(bench.does(mute("mod", "alice", START + 60_000)).await);
    assert_eq!(muted.muted_until, Some(START + 60_000));
    assert_eq!(code(bench.does(send("c", "alice", "x")).await), Code::Muted);
    assert!(replayed(
        bench.does(send_key("c", "alice", "hello", "key")).await
    ));
    assert!(matches!(
        bench.does(react(&message, "alice", Some(5))).await,
        Ok(Done::Marked)
    ));

    let view = bench.view("c", "alice").await.expect("reads");
    assert_eq!(view.my_muted_until, Some(START + 60_000));

    let last = view.last_seq;
    bench.clock.set(START + 60_000);

    let view = bench.view("c", "alice").await.expect("reads");
    assert_eq!((view.my_muted_until, view.last_seq), (None, last));
    assert_eq!(bench.send("c", "alice", "y").await.core.seq, last.next());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_it_is_written_before_every_node_reads_it() {
    let common = Common::reading(2);
    let agreed = Arc::clone(&common.agreed);
    let bench = Bench::with(Config { common, ..config() }).await;
    bench.create("c", &["admin", "alice"]).await;

    let with_data = match create("d", &["admin"]) {
        Command::Create(create) => Command::Create(Create {
            data: Some("{}".into()),
            ..create
        }),
        other => other,
    };

    for refused in [
        closed("admin"),
        give("admin", "alice", Role::Reader),
        mute("admin", "alice", START * 2),
        ban("admin", "alice", None),
        ban("admin", "outsider", None),
        with_data,
    ] {
        let Err(ShardError::Problem(problem)) = bench.does(refused).await else {
            panic!("written")
        };
        assert_eq!(problem.code, Code::Unavailable);
        assert!(problem.retry_after_s() > Some(1), "{problem}");
    }

    assert_eq!(
        bench.view("c", "admin").await.expect("reads").last_seq,
        Seq(1)
    );

    agreed.note_records(RECORDS_VERSION);
    is_banned(bench.does(ban("admin", "alice", None)).await);
}
