//! The one writer of the log, a thread of its own: gathers what waits into a cycle, decides it,
//! writes it as one record with one sync, then answers.
//!
//! **After a failure.** For want of space a cycle is surely not written. Any other failure leaves
//! it in doubt, and until what it may have left is cut off (see [`Segments::mend`]) every answer is
//! "in doubt", because a batch sent again may be there.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tracing::{debug, error, info};

use super::answers::{End, Settle, decide, refuse};
use super::cycle::{Cycle, Effects};
use super::failure::Failure;
use super::layout::Draft;
use super::moving::Moving;
use super::request::Request;
use super::segments::Segments;
use super::view::View;
use crate::files::room_in;
use crate::telemetry::{
    LOG_FILE_BYTES, LOG_TRANSACTION_ENTRIES, LOG_TRANSACTION_SECONDS, LOG_TRANSACTIONS,
};

/// A cycle takes no further request once it holds this many bytes of entries; the rest waits for
/// the next one.
const CYCLE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Nor once it holds this many requests.
const CYCLE_REQUESTS_MAX: usize = 1024;
/// Pause before requests are answered "in doubt" because the log cannot be mended: the pace of
/// those who ask again.
const MEND_PAUSE: Duration = Duration::from_millis(100);
/// A disk with less than this is full: nothing is acknowledged that the files of the shards could
/// not take. It is also how want of space is told where a refusal has no code for it.
const SPACE_MIN: u64 = 2 * 1024 * 1024;

/// The thread.
#[derive(Debug)]
pub(super) struct Writer {
    folder: PathBuf,
    requests: mpsc::Receiver<Request>,
    segments: Segments,
    view: Arc<View>,
    moving: Moving,
    /// The last attempt to mend the log failed, and was logged.
    shut_out: bool,
    /// Held for as long as the log is open; released last.
    lock: File,
}

impl Writer {
    /// A writer of these segments; `lock` is held for their folder.
    pub(super) fn new(
        folder: PathBuf,
        lock: File,
        requests: mpsc::Receiver<Request>,
        (segments, view): (Segments, Arc<View>),
    ) -> Self {
        Self {
            folder,
            requests,
            segments,
            view,
            moving: Moving::default(),
            shut_out: false,
            lock,
        }
    }

    /// Serves until every sender is gone or the log is closed; then finishes what is queued.
    pub(super) fn run(mut self) {
        while let Some(first) = self.requests.blocking_recv() {
            self.cycle(first);
        }
        // The files are closed before the lock is free.
        let Self {
            lock,
            segments,
            view,
            ..
        } = self;
        drop((segments, view));
        drop(lock);
    }

    fn cycle(&mut self, first: Request) {
        let requests = self.gather(first);
        if let Err(failure) = self.mended() {
            return refuse(requests, &Err(failure));
        }

        let is_sweep = requests
            .iter()
            .any(|request| matches!(request, Request::Sweep));
        let held = self.view.look();
        let mut cycle = Cycle::new(&held.state);
        let settles: Vec<Settle> = requests
            .into_iter()
            .filter_map(|request| decide(&mut cycle, request))
            .collect();
        let effects = cycle.into_effects();
        drop(held);

        let end = if effects.is_empty() {
            Ok(())
        } else {
            self.commit(effects)
        };
        settles.into_iter().for_each(|settle| settle(&end));
        if is_sweep {
            self.sweep();
        }
    }

    /// Empties the segments that have to go, where no cycle comes by that does. Whoever asks
    /// meanwhile waits for one record.
    fn sweep(&mut self) {
        while self.requests.is_empty() {
            self.plan();
            let oldest = self.view.look().index.oldest();
            // A segment goes only after a record says that it is not needed.
            let is_due = self.moving.is_under_way() || self.segments.has_before(oldest);
            if !is_due || self.commit(Effects::default()).is_err() {
                return;
            }
        }
    }

    /// Begins to empty segments that have to go; the last one then takes no further record.
    fn plan(&mut self) {
        let held = self.view.look();
        let Some(upto) = self.moving.due(&held.index, &self.segments) else {
            return;
        };
        self.moving.begin(&held.index, upto);
        if upto == self.segments.last() {
            self.segments.retire();
        }
    }

    /// `first` and what else waits.
    fn gather(&mut self, first: Request) -> Vec<Request> {
        let mut bytes = first.bytes();
        let mut requests = vec![first];
        while bytes < CYCLE_BYTES_MAX && requests.len() < CYCLE_REQUESTS_MAX {
            let Ok(next) = self.requests.try_recv() else {
                break;
            };
            bytes += next.bytes();
            requests.push(next);
        }

        if requests
            .iter()
            .any(|request| matches!(request, Request::Close))
        {
            self.requests.close();
        }

        requests
    }

    /// Writes the effects, and shows them when they are on disk.
    fn commit(&mut self, effects: Effects) -> End {
        let (begun, entries) = (Instant::now(), effects.entries.len());
        let end = if entries > 0 && self.is_disk_full() {
            Err(Failure::full(
                "the disk has no space for the log and the files of its shards",
            ))
        } else {
            self.write(effects)
                .map_err(|failure| self.with_space(failure))
        };
        let result = match &end {
            Ok(()) => "committed",
            Err(failure) if failure.in_doubt => "in_doubt",
            Err(_) => "refused",
        };
        LOG_TRANSACTIONS.add(1, &[("result", result)]);
        LOG_TRANSACTION_ENTRIES.record(f64::from(u32::try_from(entries).unwrap_or(u32::MAX)), &[]);
        LOG_TRANSACTION_SECONDS.record(begun.elapsed().as_secs_f64(), &[]);
        if let Err(failure) = &end {
            tell(failure);
        }

        end
    }

    fn write(&mut self, effects: Effects) -> End {
        self.plan();
        let held = self.view.look();
        let moved = self.moving.take(&held.index);
        let oldest = held.index.oldest();
        drop(held);

        let mut draft = Draft::new();
        self.moving
            .read(&moved)
            .iter()
            .for_each(|entry| draft.add_entry(entry));
        draft.add(&effects);
        let written = self
            .segments
            .append(draft, &self.view.look().state, oldest)?;
        self.view.show(&written, effects);

        let oldest = oldest.unwrap_or(written.segment.number);
        self.segments.remove_before(oldest);
        self.view.removed_before(oldest);
        #[expect(clippy::cast_precision_loss, reason = "a gauge of bytes")]
        LOG_FILE_BYTES.set(self.segments.bytes() as f64, &[]);
        Ok(())
    }

    /// Cuts off what a failed write may have left, if need be: tells once that it does not succeed,
    /// and waits a little.
    fn mended(&mut self) -> End {
        match self.segments.mend() {
            Ok(()) => {
                if std::mem::take(&mut self.shut_out) {
                    info!("the log takes writes again");
                }
                Ok(())
            }
            Err(failure) => {
                let failure = self.with_space(failure);
                if !failure.full && !std::mem::replace(&mut self.shut_out, true) {
                    error!(
                        reason = failure.reason,
                        "the log cannot be written: it is tried until it can"
                    );
                }
                std::thread::sleep(MEND_PAUSE);
                Err(failure)
            }
        }
    }

    /// The same with want of space found out, where the refusal itself does not say it.
    fn with_space(&self, failure: Failure) -> Failure {
        Failure {
            full: failure.full || self.is_disk_full(),
            ..failure
        }
    }

    fn is_disk_full(&self) -> bool {
        room_in(&self.folder).is_ok_and(|room| room < SPACE_MIN)
    }
}

/// Tells of a cycle that was not written. For want of space every attempt fails, and those who
/// append tell that once.
fn tell(failure: &Failure) {
    if failure.full {
        debug!(
            reason = failure.reason,
            in_doubt = failure.in_doubt,
            "log record not written for want of space"
        );
    } else {
        error!(
            reason = failure.reason,
            in_doubt = failure.in_doubt,
            "log record not written"
        );
    }
}
