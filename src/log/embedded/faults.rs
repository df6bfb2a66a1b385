//! What tests let fail: a disk without space, one that makes nothing durable, one that hangs.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

/// What fails now.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    no_space: AtomicBool,
    no_sync: AtomicBool,
    hasty: AtomicBool,
    hanging: Mutex<Hanging>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Hanging {
    on: bool,
    waits: bool,
}

impl Faults {
    /// Whether the files may not grow.
    pub(crate) fn set_no_space(&self, on: bool) {
        self.no_space.store(on, Ordering::SeqCst);
    }

    /// Whether every sync fails.
    pub(crate) fn set_no_sync(&self, on: bool) {
        self.no_sync.store(on, Ordering::SeqCst);
    }

    /// Whether what was trimmed has to leave the disk at once.
    pub(crate) fn set_hasty(&self, on: bool) {
        self.hasty.store(on, Ordering::SeqCst);
    }

    pub(super) fn is_hasty(&self) -> bool {
        self.hasty.load(Ordering::SeqCst)
    }

    /// Whether a sync waits.
    pub(crate) fn set_hanging(&self, on: bool) {
        self.hanging
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .on = on;
        self.changed.notify_all();
    }

    /// Whether a sync waits now.
    pub(crate) fn hangs(&self) -> bool {
        self.hanging
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .waits
    }

    pub(super) fn space(&self) -> io::Result<()> {
        refuse(&self.no_space, io::ErrorKind::StorageFull)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        let mut hanging = self.hanging.lock().unwrap_or_else(PoisonError::into_inner);
        while hanging.on {
            hanging.waits = true;
            hanging = self
                .changed
                .wait(hanging)
                .unwrap_or_else(PoisonError::into_inner);
        }
        hanging.waits = false;
        drop(hanging);
        refuse(&self.no_sync, io::ErrorKind::Other)
    }
}

fn refuse(fails: &AtomicBool, kind: io::ErrorKind) -> io::Result<()> {
    if fails.load(Ordering::SeqCst) {
        Err(io::Error::new(kind, "a test wants it so"))
    } else {
        Ok(())
    }
}
