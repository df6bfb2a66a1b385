//! Participants' own views, whatever comes between (ADR 28).

use super::*;
use crate::protocol::{OwnView, Patch};
use crate::shard::command::{SetOwnMark, SetView};

fn set_view(by: &str, pinned: Option<u32>, archived: bool) -> Command {
    Command::View(SetView {
        conversation: conversation("c"),
        by: user(by),
        notify_after: Patch::Keep,
        pinned: Patch::Set(pinned),
        archived: Some(archived),
    })
}

fn count_read(by: &str, read_up_to: u64) -> Command {
    Command::OwnMark(SetOwnMark {
        conversation: conversation("c"),
        by: user(by),
        read_up_to: Seq(read_up_to),
    })
}

impl Bench {
    async fn own(&self, reader: &str) -> OwnView {
        let shown = self.view("c", reader).await.expect("reads");
        shown.own.expect("one's own view")
    }

    async fn marks(&self, command: Command) {
        let done = in_time(self.execute(command)).await;
        assert!(matches!(done, Ok(Done::Marked)), "{done:?}");
    }

    /// What reached the lists of users: who, in which membership, and what is pinned.
    fn listed(&self) -> Vec<(UserId, u64, Option<u32>)> {
        let delivered = self.delivered.lock().expect("a lock");
        let views = delivered.iter().filter_map(|change| {
            let view = change.view?;
            Some((change.user.clone(), change.seq.0, view.pinned))
        });
        views.collect()
    }
}

async fn bench() -> Bench {
    let bench = Bench::new().await;
    bench.create("c", &["alice", "bob"]).await;
    bench
}

/// A push that tells of a view: whose, what is pinned, and up to where they count as having read.
async fn told(queue: &mut tokio::sync::mpsc::Receiver<Push>) -> (UserId, Option<u32>, u64) {
    match pushed(queue).await {
        Push::View {
            user,
            pinned,
            read_up_to,
            ..
        } => (user, pinned, read_up_to.0),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_is_told_to_its_user_alone_and_brought_to_their_list() {
    let bench = bench().await;
    let (alices, mut to_alice) = subscriber(64);
    let (bobs, mut to_bob) = subscriber(64);
    bench.interest(&alices, "c", "alice", None).await;
    bench.interest(&bobs, "c", "bob", None).await;

    bench.marks(set_view("bob", Some(3), true)).await;
    assert_eq!(told(&mut to_bob).await, (user("bob"), Some(3), 1));
    let own = bench.own("bob").await;
    assert_eq!((own.pinned, own.archived), (Some(3), true));
    assert_eq!(bench.own("alice").await.pinned, None);
    assert_eq!(bench.listed(), [(user("bob"), 1, Some(3))]);

    // The same again is no change, and is told to nobody.
    bench.marks(set_view("bob", Some(3), true)).await;
    bench.send("c", "alice", "to both").await;
    pushed_event(&mut to_bob).await;
    pushed_event(&mut to_alice).await;
    assert_eq!(
        bench.view("c", "bob").await.expect("reads").last_seq,
        Seq(2)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_counts_as_read_goes_back_and_what_others_are_shown_does_not() {
    let bench = bench().await;
    let first = bench.send("c", "alice", "one").await;
    bench.send("c", "alice", "two").await;
    let last = bench.send("c", "alice", "three").await;
    bench.marks(mark_read(&last, "bob")).await;
    let (bobs, mut to_bob) = subscriber(64);
    bench.interest(&bobs, "c", "bob", None).await;

    bench.marks(count_read("bob", 0)).await;
    assert_eq!(told(&mut to_bob).await, (user("bob"), None, 0));
    let own = bench.own("bob").await;
    assert_eq!((own.read_up_to, own.unread), (Seq(0), 3));

    // Behind what others are shown, ahead of one's own.
    bench.marks(mark_read(&first, "bob")).await;
    assert_eq!(told(&mut to_bob).await, (user("bob"), None, 2));
    let own = bench.own("bob").await;
    assert_eq!((own.read_up_to, own.unread), (Seq(2), 2));

    let query = Query::Watermarks {
        name: conversation("c"),
        reader: user("bob"),
        after: None,
        limit: 9,
    };
    let Ok(Found::Watermarks(page)) = bench.query(query).await else {
        panic!("no watermarks")
    };
    assert_eq!(page.items[1].read_up_to, last.core.seq, "also to oneself");

    let beyond = in_time(bench.execute(count_read("bob", 5))).await;
    assert_eq!(code(beyond), Code::Invalid);
    let stranger = in_time(bench.execute(count_read("mallory", 1))).await;
    assert_eq!(code(stranger), Code::NotParticipant);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_ends_when_its_user_leaves() {
    let bench = bench().await;
    bench.marks(set_view("bob", Some(1), true)).await;
    bench.marks(count_read("bob", 0)).await;
    bench.remove("c", "bob", "bob").await.expect("left");
    for refused in [set_view("bob", None, false), count_read("bob", 0)] {
        let answer = in_time(bench.execute(refused)).await;
        assert_eq!(code(answer), Code::NotParticipant);
    }

    bench.add("c", "alice", &["bob"]).await.expect("added");
    let own = bench.own("bob").await;
    assert_eq!((own.pinned, own.archived), (None, false));
    assert_eq!((own.read_up_to, own.unread), (Seq(3), 0));

    bench.marks(count_read("bob", 0)).await;
    assert_eq!(
        bench.own("bob").await.read_up_to,
        Seq(2),
        "the seq before the join"
    );
    bench.marks(set_view("bob", Some(2), false)).await;
    assert_eq!(
        bench.listed(),
        [(user("bob"), 1, Some(1)), (user("bob"), 3, Some(2))]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_owner_goes_on_with_views_as_they_stood() {
    let mut bench = bench().await;
    let sent = bench.send("c", "alice", "one").await;
    bench.marks(mark_read(&sent, "bob")).await;
    bench.marks(set_view("bob", Some(1), false)).await;
    bench.marks(count_read("bob", 1)).await;
    bench.crash().await;

    let own = bench.own("bob").await;
    assert_eq!(
        (own.pinned, own.read_up_to, own.unread),
        (Some(1), Seq(1), 1)
    );
    bench.marks(set_view("bob", None, false)).await;
    bench.marks(mark_read(&sent, "bob")).await;
    let own = bench.own("bob").await;
    assert_eq!((own.pinned, own.read_up_to, own.unread), (None, Seq(2), 0));
    let last = bench.listed().pop();
    assert_eq!(last, Some((user("bob"), 1, None)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_view_is_written_before_every_node_reads_it() {
    let common = Common::reading(4);
    let agreed = Arc::clone(&common.agreed);
    let bench = Bench::with(Config { common, ..config() }).await;
    bench.create("c", &["alice", "bob"]).await;

    for refused in [set_view("bob", Some(1), false), count_read("bob", 0)] {
        let Err(ShardError::Problem(problem)) = in_time(bench.execute(refused)).await else {
            panic!("written")
        };
        assert_eq!(problem.code, Code::Unavailable);
        assert!(problem.retry_after_s() > Some(1), "{problem}");
    }
    // What changes nothing needs no record.
    bench.marks(set_view("bob", None, false)).await;

    agreed.note_records(RECORDS_VERSION);
    bench.marks(set_view("bob", Some(1), false)).await;
    bench.marks(count_read("bob", 0)).await;
}
