//! What heals by itself is no error in the logs, and raises no alert.

use std::io;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing::level_filters::LevelFilter;

use super::standby::talkative;
use super::*;
use crate::shard::file::snapshot::install;
use crate::shard::replicas::Following;
use crate::shard::{Standby, Taking};

/// Everything that is logged and counted on this thread, until it is dropped.
struct Heard {
    lines: Lines,
    metrics: PrometheusHandle,
}

/// What was logged.
#[derive(Debug, Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("whole").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Heard {
    /// The lines of a level.
    fn lines(&self, level: &str) -> Vec<String> {
        let text = String::from_utf8(self.lines.0.lock().expect("whole").clone()).expect("text");
        text.lines()
            .filter(|line| line.contains(level))
            .map(str::to_owned)
            .collect()
    }

    fn stopped(&self) -> bool {
        self.metrics
            .render()
            .lines()
            .any(|line| line.starts_with("rookery_shard_apply_stopped_total{"))
    }
}

/// On a runtime of one thread, so that nothing of the shard is elsewhere.
async fn heard(story: impl AsyncFnOnce()) -> Heard {
    let lines = Lines::default();
    let writer = lines.clone();
    let told = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::INFO)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let recorder = PrometheusBuilder::new().build_recorder();

    let heard = Heard {
        lines,
        metrics: recorder.handle(),
    };
    let _logs = tracing::subscriber::set_default(told);
    let _metrics = metrics::set_default_local_recorder(&recorder);
    story().await;
    heard
}

#[tokio::test]
async fn a_takeover_is_no_error() {
    let heard = heard(async || {
        let bench = talkative().await;
        let follower = bench.follower("node-b").await;
        follower.reaches(bench.tails()).await;
        let control = bench
            .log
            .inner
            .control(SHARD)
            .await
            .expect("reads")
            .expect("claimed");
        let taking = Taking {
            expected: (control.token, control.beat),
        };
        follower.stop_looking();
        let taken = in_time(follower.standby.clone().take_over(taking))
            .await
            .expect("takes over");
        drop(in_time(bench.execute(send("c", "alice", "late"))).await);
        in_time(bench.handle().closed()).await;
        taken.close(soon()).await;
    })
    .await;

    assert!(
        !heard.lines("WARN").is_empty(),
        "the old owner says that it ends"
    );
    assert_eq!(heard.lines("ERROR"), [""; 0]);
    assert!(!heard.stopped());
}

#[tokio::test]
async fn the_seeding_of_a_new_replica_is_no_error() {
    let heard = heard(async || {
        let bench = talkative().await;
        let (_, token) = bench.handle().hold();
        bench
            .log
            .inner
            .trim(SHARD, token, M, bench.tails().messages.offset)
            .await
            .expect("trims");
        bench.fill(5, 2).await;
        // It has no file, and the log no longer begins at the beginning.
        let new = bench.follower("node-b").await;
        assert_eq!(in_time(new.standby.ended()).await, Following::Behind);
        new.standby.close(soon()).await;
        let received = bench.folder.path().join("sent");
        let by = NodeId::from("node-b");
        let said = in_time(bench.handle().snapshot(&by, &received))
            .await
            .expect("writes");
        let opening = bench.opening_of("node-b");
        in_time(install(
            &received,
            &said,
            (identity(), SHARD),
            &opening.path,
        ))
        .await
        .expect("is as said");
        assert_eq!(
            Standby::open(opening)
                .await
                .expect("opens")
                .status()
                .applied,
            bench.tails()
        );
    })
    .await;

    assert!(!heard.lines("INFO").is_empty(), "the lines are heard");
    assert_eq!(heard.lines("ERROR"), [""; 0]);
    assert!(!heard.stopped(), "{}", heard.metrics.render());
}
