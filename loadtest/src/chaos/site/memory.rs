//! Memory of each process, watched all the time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::chaos::clients::World;
use crate::chaos::site::Site;

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The watch.
#[derive(Debug)]
pub(crate) struct Memory {
    highest: Arc<Mutex<BTreeMap<String, u64>>>,
    watching: JoinHandle<()>,
}

impl Memory {
    /// Watches until it is dropped; more than so many MiB in one process is wrong.
    pub(crate) fn watch(site: &Arc<Site>, world: Arc<World>, mebibytes_max: u64) -> Self {
        let highest: Arc<Mutex<BTreeMap<String, u64>>> = Arc::default();
        let found = Arc::clone(&highest);
        // It does not keep the cluster alive.
        let site = Arc::downgrade(site);
        let watching = tokio::spawn(async move {
            while let Some(site) = site.upgrade() {
                for name in site.names() {
                    let Some(mebibytes) = site.pid(&name).and_then(resident) else {
                        continue;
                    };
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    let before = found.insert(name.clone(), mebibytes).unwrap_or(0);
                    if mebibytes > mebibytes_max && before <= mebibytes_max {
                        let said = format!(
                            "{name} has {mebibytes} MiB resident, and the limit is {mebibytes_max}"
                        );
                        world.log.wrong("memory is bounded", None, said);
                    }
                    found.insert(name, before.max(mebibytes));
                }
                drop(site);
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        Self { highest, watching }
    }

    /// The most of each kind of process, in MiB.
    pub(crate) fn highest(&self) -> BTreeMap<String, u64> {
        let mut kinds = BTreeMap::new();
        for (name, mebibytes) in self
            .highest
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            let kind = name.split('-').next().unwrap_or(name).to_owned();
            let most: &mut u64 = kinds.entry(kind).or_default();
            *most = (*most).max(*mebibytes);
        }
        kinds
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

fn resident(pid: i32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(
        line.trim()
            .trim_end_matches(" kB")
            .trim()
            .parse::<u64>()
            .ok()?
            / 1_024,
    )
}
