//! What sockets have to tell their node and what is told for all of them together: what they took,
//! and what clients have read.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::link::front::{SessionNumber, Up};
use crate::router::sessions::counts::Counts;
use crate::router::sessions::gathered::Gathered;
use crate::router::sessions::line::{Line, Sent};
use crate::router::sessions::pulse::{Marks, gather};
use crate::router::sessions::streams::Streams;
use crate::router::sessions::table::Entry;
use crate::telemetry;

/// How often what is gathered goes to the node, unless its sessions' terms say otherwise.
const GATHER_EVERY: Duration = Duration::from_millis(250);

impl Line for Streams {
    fn send(&self, up: Up) -> Sent {
        self.up.send(up)
    }

    fn tell_taken(&self, number: SessionNumber, taken: u32) {
        if taken > 0 {
            self.up.send(Up::Taken(vec![(number, taken)]));
        }
    }

    fn list(&self, number: SessionNumber) {
        let mut gathered = self.gathered();
        gathered.taken.push(number);
        drop(gathered);
        self.gathers.notify_one();
    }

    fn read(&self, number: SessionNumber, marks: Marks) {
        if marks.is_empty() {
            return;
        }
        gather(self.gathered().reads.entry(number).or_default(), marks);
        self.gathers.notify_one();
    }

    fn unread(&self, number: SessionNumber) -> Marks {
        self.gathered().reads.remove(&number).unwrap_or_default()
    }

    fn leave(&self, number: SessionNumber) {
        if self.table().sessions.remove(&number).is_none() {
            return;
        }
        let unread = self.unread(number);
        if !unread.is_empty() {
            self.tell_reads([(number, unread)]);
        }
        self.up.send(Up::Gone(number));
    }

    fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }
}

impl Streams {
    /// Tells what clients have read. What finds no space is shed, and so is what the node has no
    /// handle for.
    fn tell_reads(&self, reads: impl IntoIterator<Item = (SessionNumber, Marks)>) {
        let (mut all, mut shed, mut told) = (Vec::new(), 0, 0);
        {
            let table = self.table();
            for (number, marks) in reads {
                let count = marks.len();
                let known = marks
                    .into_iter()
                    .filter_map(|(name, seq)| Some((*table.handles.get(&name)?, seq)));
                let known: Vec<_> = known.collect();
                (told, shed) = (told + known.len(), shed + count - known.len());
                all.extend((!known.is_empty()).then_some((number, known)));
            }
        }

        if !all.is_empty() && self.up.send(Up::Read(all)) != Sent::Yes {
            shed += told;
        }
        if shed > 0 {
            telemetry::SESSION_DELIVERED.add(
                u64::try_from(shed).unwrap_or(u64::MAX),
                &[("result", "shed")],
            );
        }
    }

    /// Tells the node what is gathered: the first of it at once, and then at most once in the time
    /// that the terms say. Runs until the connection ends.
    pub(super) async fn tell(&self) {
        self.over.run_until_cancelled(self.tell_on()).await;
    }

    async fn tell_on(&self) {
        let mut last: Option<Instant> = None;
        loop {
            self.gathers.notified().await;
            let every = self.gathered().every.unwrap_or(GATHER_EVERY);
            if let Some(last) = last {
                sleep_until(last + every).await;
            }
            last = Some(Instant::now());
            self.tell_gathered();
        }
    }

    fn tell_gathered(&self) {
        let Gathered { reads, taken, .. } = {
            let mut gathered = self.gathered();
            let every = gathered.every;
            std::mem::replace(
                &mut *gathered,
                Gathered {
                    every,
                    ..Gathered::default()
                },
            )
        };

        let taken: Vec<_> = {
            let table = self.table();
            let sockets =
                taken
                    .into_iter()
                    .filter_map(|number| match table.sessions.get(&number) {
                        Some(Entry::Live(socket)) => Some((number, socket.untold())),
                        Some(Entry::Opening(..)) | None => None,
                    });
            sockets.filter(|(_, bytes)| *bytes > 0).collect()
        };
        if !taken.is_empty() {
            self.up.send(Up::Taken(taken));
        }

        self.tell_reads(reads);
    }
}
