//! What a crash, a disk or a person may leave of the segments, and what the next start makes of it.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;

use super::*;

/// A log that was closed, with some batches of one stream; its tail and the tail before.
struct Closed {
    one: Embedded,
    before: Tail,
    tail: Tail,
}

impl Closed {
    async fn with(count: usize) -> Self {
        let one = embedded().await;
        let token = claimed(&*one.log, SHARD).await;
        let before = one
            .fill((SHARD, token), Tail::EMPTY, (count - 1, 300))
            .await;
        let tail = one.fill((SHARD, token), before, (1, 300)).await;
        one.log.close().await;
        Self { one, before, tail }
    }

    fn last(&self) -> PathBuf {
        segments(&self.one.path()).pop().unwrap()
    }

    /// Where the last record begins and ends.
    fn last_record(&self) -> (usize, usize) {
        let bytes = fs::read(self.last()).unwrap();
        let (mut begin, mut end) = (0, 0);
        while let Some(found) = layout::find(&bytes[end..]) {
            (begin, end) = (end, end + found.bytes.len());
        }
        (begin, end)
    }

    /// What the stream ends with when the log is opened now.
    async fn opened(&self) -> Result<Tail, String> {
        let log = match EmbeddedLog::open(&self.one.path()).await {
            Err(why) if why.contains("another process has it open") => {
                again(&self.one.path()).await
            }
            other => other?,
        };
        let tail = log.control(SHARD).await.unwrap().unwrap().tails[M];
        assert_eq!(
            linked(&read_all(&*log, SHARD, M).await),
            tail,
            "the control record and the entries agree"
        );
        log.close().await;
        Ok(tail)
    }
}

#[tokio::test]
async fn of_a_record_that_was_cut_off_anywhere_nothing_counts_and_all_before_it_does() {
    let closed = Closed::with(4).await;
    let (begin, end) = closed.last_record();
    let path = closed.last();
    let whole = fs::read(&path).unwrap();

    for cut in (begin..end).step_by(29) {
        // Once at the end of the file, once within the zeros that were there for it.
        for zeros in [0, 4096] {
            let mut left = whole[..cut].to_vec();
            left.resize(cut + zeros, 0);
            fs::write(&path, left).unwrap();
            assert_eq!(
                closed.opened().await,
                Ok(closed.before),
                "cut at {cut} of {begin} to {end}"
            );
            for begun in segments(&closed.one.path())
                .into_iter()
                .filter(|begun| *begun != path)
            {
                fs::remove_file(begun).unwrap();
            }
        }
    }

    fs::write(&path, whole).unwrap();
    assert_eq!(closed.opened().await, Ok(closed.tail));
}

#[tokio::test]
async fn a_record_that_is_not_whole_before_one_that_is_is_damage_and_the_start_says_where() {
    let closed = Closed::with(4).await;
    let (begin, _) = closed.last_record();
    let file = File::options()
        .read(true)
        .write(true)
        .open(closed.last())
        .unwrap();
    let mut byte = [0];

    file.read_exact_at(&mut byte, begin as u64 - 20).unwrap();
    file.write_all_at(&[byte[0] ^ 1], begin as u64 - 20)
        .unwrap();
    let refused = closed.opened().await.unwrap_err();

    assert!(
        refused.contains("is damaged at byte") && refused.contains(".segment"),
        "{refused}"
    );
    assert_eq!(refused.lines().count(), 1, "{refused}");
}

#[tokio::test]
async fn a_segment_of_a_later_version_is_refused() {
    let closed = Closed::with(2).await;
    let file = File::options().write(true).open(closed.last()).unwrap();
    file.write_all_at(b"RKL2", 0).unwrap();
    let refused = closed.opened().await.unwrap_err();
    assert!(refused.contains("later version"), "{refused}");
}

#[tokio::test]
async fn a_segment_that_is_missing_among_those_that_are_needed_is_noticed() {
    let mut closed = Closed::with(2).await;
    // Each opening begins a segment; all are needed for the entries in the first.
    closed.one.reopen().await;
    closed.one.reopen().await;
    closed.one.log.close().await;

    let all = segments(&closed.one.path());
    for missing in &all[..all.len() - 1] {
        let bytes = fs::read(missing).unwrap();
        fs::remove_file(missing).unwrap();
        let refused = closed.opened().await.unwrap_err();
        assert!(
            refused.contains("is missing") && refused.contains(missing.to_str().unwrap()),
            "{refused}"
        );
        fs::write(missing, bytes).unwrap();
    }

    assert_eq!(closed.opened().await, Ok(closed.tail));
}

#[tokio::test]
async fn a_segment_that_was_not_begun_when_the_process_ended_is_passed_over() {
    let closed = Closed::with(3).await;
    let next = closed.one.path().join("0000000002.segment");

    for left in [
        Vec::new(),
        b"RKL1".to_vec(),
        vec![0; 8192],
        fs::read(closed.last()).unwrap()[..60].to_vec(),
    ] {
        File::create(&next).unwrap().write_all(&left).unwrap();
        assert_eq!(
            closed.opened().await,
            Ok(closed.tail),
            "{} bytes",
            left.len()
        );
        for begun in segments(&closed.one.path()).into_iter().skip(1) {
            fs::remove_file(begun).unwrap();
        }
    }
}

#[tokio::test]
async fn the_only_segment_left_of_a_log_is_not_taken_for_the_beginning_of_one() {
    let mut closed = Closed::with(2).await;
    closed.one.reopen().await;
    closed.one.log.close().await;
    let all = segments(&closed.one.path());
    fs::remove_file(&all[0]).unwrap();
    let last = all.last().unwrap();
    fs::write(last, vec![0; 4096]).unwrap();
    let refused = closed.opened().await.unwrap_err();
    assert!(refused.contains("is damaged at byte 0"), "{refused}");
}

#[tokio::test]
async fn a_segment_that_was_removed_and_is_back_after_a_crash_is_removed_again() {
    let mut closed = Closed::with(2).await;
    let first = closed.last();
    let bytes = fs::read(&first).unwrap();
    closed.one.log = again(&closed.one.path()).await;
    let token = closed.one.log.control(SHARD).await.unwrap().unwrap().token;
    closed
        .one
        .log
        .trim(SHARD, token, M, closed.tail.offset)
        .await
        .unwrap();
    // The record after the trim is the first that names a later segment as the oldest.
    let tail = closed.one.fill((SHARD, token), closed.tail, (2, 100)).await;
    assert!(!first.exists());
    closed.one.log.close().await;

    fs::write(&first, bytes).unwrap();
    let log = again(&closed.one.path()).await;
    assert!(!first.exists());
    let left = read_all(&*log, SHARD, M).await;
    assert_eq!(left.last().map(|entry| entry.last), Some(tail.offset));
    assert_eq!(left.len(), 2, "what was trimmed is not back");
}

#[tokio::test]
async fn the_segments_of_this_version_are_read_by_every_later_one() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    fs::create_dir(&log).unwrap();

    let kept = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/embedded-log/0000000001.segment");
    fs::copy(&kept, log.join("0000000001.segment")).unwrap();
    let log = EmbeddedLog::open(&log).await.unwrap();
    let control = log.control(SHARD).await.unwrap().unwrap();
    let entries = read_all(&*log, SHARD, M).await;
    assert_eq!(linked(&entries), control.tails[M]);
    assert_eq!(
        (entries.len(), control.owner.to_string().as_str()),
        (2, "node-a")
    );

    let cell = log.cell("kept").unwrap().unwrap();
    assert_eq!(
        (cell.version, cell.body.as_ref()),
        (1, b"a cell".as_slice())
    );
}
