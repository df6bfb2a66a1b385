//! Sends what only a diverged replica has to the shard's owner again.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::ids::ShardId;
use crate::log::ShardLog;
use crate::log::record::Event;
use crate::node::owners::Owners;
use crate::shard::command::{Command, Done};
use crate::shard::file::snapshot;
use crate::shard::{OpenError, orphans};

/// Time for one message.
const BUDGET: Duration = Duration::from_secs(5);

/// Pause before one that was not answered is sent again.
const PAUSE: Duration = Duration::from_millis(500);

/// Sends the orphans of a file that was put aside to the shard's owner, one after the other in
/// their order, until each is answered, and marks the file as sent. May be dropped at any time and
/// begun anew, also by a later process: what is there already is recognised.
pub(in crate::node) async fn resubmit(
    owners: &Owners,
    log: &dyn ShardLog,
    shard: ShardId,
    aside: &Path,
) {
    match found(log, shard, aside).await {
        Ok(found) => send(owners, shard, found).await,
        Err(error) => {
            let path = aside.display();
            tracing::error!(%shard, %path, %error, "what only this file has cannot be read, and is not sent again");
        }
    }
    if let Err(error) = snapshot::sent(aside).await {
        tracing::warn!(%shard, %error, "the next start sends the same messages again");
    }
}

async fn send(owners: &Owners, shard: ShardId, found: Vec<Arc<Event>>) {
    let (orphans, mut written) = (found.len(), 0_u32);
    for event in found {
        written += u32::from(resubmitted(owners, shard, event).await);
    }
    if orphans > 0 {
        tracing::warn!(%shard, orphans, written, "messages that only a diverged file had were sent again");
    }
}

/// The orphans of that file, as soon as log and file can be read.
async fn found(
    log: &dyn ShardLog,
    shard: ShardId,
    aside: &Path,
) -> Result<Vec<Arc<Event>>, OpenError> {
    let mut told = None;
    loop {
        match orphans(shard, log, aside).await {
            Err(OpenError::Failed(why)) if aside.exists() => {
                if told.as_ref() != Some(&why) {
                    tracing::warn!(%shard, why, "orphans cannot be read yet");
                    told = Some(why);
                }
            }
            found => return found,
        }
        sleep(PAUSE).await;
    }
}

/// Sends one until it is answered; true when it was written now.
async fn resubmitted(owners: &Owners, shard: ShardId, event: Arc<Event>) -> bool {
    loop {
        let command = Command::Resubmit(Arc::clone(&event));
        match owners
            .execute(shard, command, Instant::now() + BUDGET)
            .await
        {
            Ok(done) => return matches!(done, Done::Resubmitted(true)),
            Err(problem) if problem.code.retryable() => sleep(PAUSE).await,
            Err(problem) => {
                tracing::error!(%shard, %problem, "an orphan is refused");
                return false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::clock::Clock;
    use crate::ids::{MessageId, NodeId};
    use crate::log::embedded::EmbeddedLog;
    use crate::log::lane::Lane;
    use crate::log::record::EventKind;
    use crate::node::link::frame::{Body, Outcome};
    use crate::node::owners::testing::{Fake, eventually, lone_node, soon};
    use crate::problem::Problem;
    use crate::shard::Opening;
    use crate::shard::command::{Create, Send, ShardError};
    use crate::shard::file::snapshot::{Orphans, quarantine, unsent};
    use crate::shard::file::store::tests::{conversation, identity, user};
    use crate::shard::replicas::Alone;
    use crate::shard::tests::config;

    const SHARD: ShardId = ShardId(3);

    /// A file with two messages that no log has, put aside; and their ids.
    async fn put_aside(folder: &Path) -> (std::path::PathBuf, Vec<MessageId>) {
        let log: Arc<dyn ShardLog> = EmbeddedLog::open(&folder.join("lost.db"))
            .await
            .expect("opens");
        let path = folder.join("0003.sqlite");
        let clock = Clock::manual(1_700_000_000_000);
        let opening = Opening {
            shard: SHARD,
            identity: identity(),
            node: NodeId::from("a"),
            path: path.clone(),
            lane: Lane::spawn(Arc::clone(&log)),
            log,
            replicas: Arc::new(Alone),
            claimed: false,
            clock: clock.clone(),
            config: config(),
        };

        let shard = crate::shard::open(opening).await.expect("opens");
        let create = Create::of("c", &["alice"]);
        // Queued now; its answer would wait for an outbox that nobody empties.
        let _creating = shard.execute(Command::Create(create), soon());
        let mut ids = Vec::new();

        for text in ["first", "second"] {
            let send = Send::plain(conversation("c"), user("alice"), text);
            let Ok(Done::Sent { message, .. }) = shard.execute(Command::Send(send), soon()).await
            else {
                panic!("not sent")
            };
            ids.push(message.core.id);
        }

        shard.close(soon()).await;
        let aside = quarantine(&path, &clock, Orphans::Perhaps)
            .await
            .expect("renamed");
        (aside, ids)
    }

    fn resubmitted_to(owner: &Fake) -> Vec<MessageId> {
        let id = |body: &Body| match body {
            Body::Execute {
                command: Command::Resubmit(event),
                ..
            } => match &event.kind {
                EventKind::Message { id, .. } => *id,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        };
        owner.bodies().iter().map(id).collect()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn orphans_are_sent_again_by_the_next_process_when_this_one_ends_before_they_are_answered()
     {
        let folder = tempfile::tempdir().expect("a folder");
        let (aside, ids) = put_aside(folder.path()).await;
        let log = EmbeddedLog::open(&folder.path().join("log.db"))
            .await
            .expect("opens");
        let answers = Arc::new(AtomicBool::new(false));
        let answering = Arc::clone(&answers);
        let owner = Fake::new(move |_| {
            let away = || Err(ShardError::Problem(Problem::unavailable("scripted")));
            if answering.load(Ordering::SeqCst) {
                Ok(Outcome::Done(Done::Resubmitted(true)))
            } else {
                away()
            }
        });

        let (owners, _pushed) = lone_node(&owner);
        tokio::select! {
            () = resubmit(&owners, log.as_ref(), SHARD, &aside) => panic!("nobody answered"),
            () = eventually(|| !owner.bodies().is_empty()) => {}
        }

        assert_eq!(
            unsent(folder.path()).expect("reads"),
            std::slice::from_ref(&aside)
        );

        answers.store(true, Ordering::SeqCst);
        let before = owner.bodies().len();
        resubmit(&owners, log.as_ref(), SHARD, &aside).await;
        assert_eq!(resubmitted_to(&owner)[before..], ids);
        assert!(
            unsent(folder.path()).expect("reads").is_empty(),
            "it is sent once only"
        );
        assert!(aside.exists(), "the file stays for whoever wants to look");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_file_that_cannot_be_read_or_is_gone_is_not_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = EmbeddedLog::open(&folder.path().join("log.db"))
            .await
            .expect("opens");
        let (owners, _pushed) = lone_node(&Fake::new(|_| panic!("nothing is sent")));

        for content in [Some(vec![0x5a; 8192]), None] {
            let aside = folder.path().join("0003.sqlite.quarantined-17");
            std::fs::write(folder.path().join("0003.sqlite.quarantined-17.orphans"), "")
                .expect("written");
            if let Some(content) = &content {
                std::fs::write(&aside, content).expect("written");
            }
            resubmit(&owners, log.as_ref(), SHARD, &aside).await;
            assert!(unsent(folder.path()).expect("reads").is_empty());
            std::fs::remove_file(&aside).ok();
        }
    }
}
