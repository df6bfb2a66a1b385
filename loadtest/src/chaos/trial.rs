//! A cluster and its load, from start to end, with faults in between.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::chaos::checker::{Counts, Violation};
use crate::chaos::clients::flood::Flood;
use crate::chaos::clients::{Load, Shape, World};
use crate::chaos::faults::Field;
use crate::chaos::faults::schedule::Step;
use crate::chaos::history::Record;
use crate::chaos::history::log::Log;
use crate::chaos::random::Random;
use crate::chaos::row::Row;
use crate::chaos::site::memory::Memory;
use crate::chaos::site::{Plan, Site, digest};
use crate::chaos::wire::say;

/// For every conversation to flow at the start.
const FLOWING_WITHIN: Duration = Duration::from_secs(60);
/// For every conversation to flow after a fault.
const RECOVERED_WITHIN: Duration = Duration::from_secs(60);
/// For every process to run and be in step after a fault.
const WHOLE_WITHIN: Duration = Duration::from_secs(90);
/// For every node to renew all its leases after that.
const RENEWED_WITHIN: Duration = Duration::from_secs(10);
/// For every shard to have all its replicas in sync after that.
const IN_SYNC_WITHIN: Duration = Duration::from_secs(60);
/// The same at the start, when all of them are made.
const MADE_WITHIN: Duration = Duration::from_secs(120);

/// What is started.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// The cluster.
    pub(crate) plan: Plan,
    /// The load.
    pub(crate) shape: Shape,
    /// Sockets that only listen.
    pub(crate) flood: u64,
    /// Most memory of a process, in MiB.
    pub(crate) memory_max: u64,
    /// The history and all logs are kept, also when nothing is wrong.
    pub(crate) keep: bool,
    /// Where the randomness comes from.
    pub(crate) seed: u64,
}

/// A cluster under load.
#[derive(Debug)]
pub(crate) struct Trial {
    /// What faults happen to.
    pub(crate) field: Field,
    load: Load,
    memory: Memory,
    folder: tempfile::TempDir,
    seed: u64,
    kept_anyway: bool,
}

/// What a fault or a change does, from its begin on.
#[derive(Debug)]
pub(crate) struct Counting {
    fault: &'static str,
    before: Counts,
    begun: Instant,
}

/// How it all ended.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// What was counted.
    pub(crate) counts: Counts,
    /// What is wrong, with the lines of the history around it.
    pub(crate) violations: Vec<(Violation, Vec<String>)>,
    /// Lines for the end of the table.
    pub(crate) notes: Vec<String>,
    /// The history, when it was kept.
    pub(crate) kept: Option<PathBuf>,
}

impl Trial {
    /// Starts the cluster and the load, and waits until it flows.
    pub(crate) async fn start(setup: Setup) -> Result<Self, String> {
        let folder = tempfile::Builder::new()
            .prefix("rookery-chaos-")
            .tempdir()
            .map_err(|error| error.to_string())?;
        let log = Log::create(&folder.path().join("history"))?;

        let site = Arc::new(Site::start(&folder.path().join("cluster"), setup.plan).await?);
        let random = Random::new(setup.seed);
        let world = World::new(log, site.routers()?, site.secret()?, random, setup.shape);
        let world = Arc::new(world);
        let memory = Memory::watch(&site, Arc::clone(&world), setup.memory_max);
        let load = Load::start(Arc::clone(&world)).await?;
        let flood = if setup.flood > 0 {
            Some(Flood::open(&world, setup.flood).await?)
        } else {
            None
        };

        let field = Field { site, world, flood };
        let trial = Self {
            field,
            load,
            memory,
            folder,
            seed: setup.seed,
            kept_anyway: setup.keep,
        };
        let stuck = trial.load.flows(FLOWING_WITHIN).await;

        if !stuck.is_empty() && !trial.world().log.is_wrong() {
            let kept = trial.keep();
            return Err(format!(
                "no load flows in {} conversations at the start; see {}",
                stuck.len(),
                kept.display()
            ));
        }

        if let Err(error) = trial
            .field
            .site
            .in_sync(&trial.field.site.nodes(), MADE_WITHIN)
            .await
        {
            let kept = trial.keep();
            return Err(format!("at the start {error}; see {}", kept.display()));
        }

        Ok(trial)
    }

    /// What all clients share.
    pub(crate) fn world(&self) -> &Arc<World> {
        &self.field.world
    }

    /// One fault, from the quiet before it until all is well again.
    pub(crate) async fn step(&self, step: &Step) -> Result<Row, String> {
        let log = &self.world().log;
        self.pause(step.quiet).await;
        let mut random = Random::new(self.seed).split(step.fault.name, step.number);
        let counting = self.count(step.fault.name);
        let broken = match self.field.inject(&step.fault, &mut random).await {
            Ok(broken) => broken,
            Err(error) => {
                say(&format!(
                    "{:>8.1}s  {}: not done: {error}",
                    seconds(log),
                    step.fault.name
                ));
                if !log.is_wrong() {
                    log.wrong(
                        "each fault hits something that matters",
                        None,
                        format!("{}: {error}", step.fault.name),
                    );
                }
                return Ok(Row::of(
                    step.fault.name,
                    counting.before,
                    log.counts(),
                    Some(error),
                ));
            }
        };

        say(&format!(
            "{:>8.1}s  {}: {}",
            seconds(log),
            step.fault.name,
            broken.said
        ));
        if broken.is_served() {
            log.note(&Record::Gone { at: log.now() });
        }
        self.pause(step.stays).await;

        let is_served = broken.is_served();
        if is_served {
            self.flows_again(step.fault.name).await;
        }
        let healed = self.field.heal(&step.fault, broken).await;
        if is_served {
            log.note(&Record::Back { at: log.now() });
        }
        if let Err(error) = healed {
            log.wrong("what was stopped starts again", None, error);
        }

        Ok(self.well_again(counting).await)
    }

    /// Begins to count what a fault or a change does.
    pub(crate) fn count(&self, fault: &'static str) -> Counting {
        let log = &self.world().log;
        log.longest();
        log.deafest();
        Counting {
            fault,
            before: log.counts(),
            begun: Instant::now(),
        }
    }

    /// Waits until all is well, and tells what was counted.
    pub(crate) async fn well_again(&self, counting: Counting) -> Row {
        let log = &self.world().log;
        let in_sync = self.recover(counting.fault, true).await;
        let row = Row {
            longest: log.longest(),
            deaf: log.deafest(),
            in_sync,
            ..Row::of(counting.fault, counting.before, log.counts(), None)
        };
        row.tell_well(seconds(log), counting.begun);
        row
    }

    /// Waits until all is well; what is not, is wrong. Whole: what is not running has to run, too,
    /// and every shard has to have all its replicas again; how long that took.
    pub(crate) async fn recover(&self, fault: &str, whole: bool) -> Duration {
        let log = &self.world().log;
        if log.is_wrong() {
            return Duration::ZERO;
        }

        if whole && let Err(error) = self.field.whole(WHOLE_WITHIN).await {
            log.wrong(
                "every process is well again",
                None,
                format!("after {fault}: {error}"),
            );
        }

        let well = Instant::now();
        let nodes = self.field.site.nodes();
        if whole && let Err(error) = self.field.site.renewing(&nodes, RENEWED_WITHIN).await {
            log.wrong(
                "every node renews its leases again",
                None,
                format!("after {fault}: {error}"),
            );
        }

        self.flows_again(fault).await;
        if whole
            && !log.is_wrong()
            && let Err(error) = self
                .field
                .site
                .in_sync(&nodes, IN_SYNC_WITHIN.saturating_sub(well.elapsed()))
                .await
        {
            let rule = "every shard has all its replicas in sync again";
            log.wrong(rule, None, format!("after {fault}: {error}"));
        }

        well.elapsed()
    }

    /// Waits until every conversation is written to.
    async fn flows_again(&self, fault: &str) {
        let log = &self.world().log;
        let stuck = self.load.flows(RECOVERED_WITHIN).await;
        if !stuck.is_empty() && !log.is_wrong() {
            let said = format!(
                "after {fault}: nothing is acknowledged in {} conversations: {stuck:?}",
                stuck.len()
            );
            log.wrong("everything is served again", None, said);
        }
    }

    /// Waits, but not when something is wrong already.
    pub(crate) async fn pause(&self, pause: Duration) {
        let end = Instant::now() + pause;
        while Instant::now() < end && !self.world().log.is_wrong() {
            tokio::time::sleep(
                Duration::from_millis(50).min(end.saturating_duration_since(Instant::now())),
            )
            .await;
        }
    }

    /// Lets the load end, checks what can be checked only then, and ends the cluster.
    pub(crate) async fn finish(self) -> Verdict {
        let world = Arc::clone(self.world());
        let site = Arc::clone(&self.field.site);
        let highest = self.memory.highest();
        let mut notes = vec![format!("highest resident memory, MiB: {highest:?}")];
        world.log.rest();
        if let Some(flood) = self.field.flood {
            flood.close().await;
        }

        if world.log.is_wrong() {
            self.load.abandon();
        } else {
            say(&format!(
                "{:>8.1}s  all faults are over: everything is read and compared",
                seconds(&world.log)
            ));
            self.load.finish().await;
            if !world.log.is_wrong() {
                notes.push(digest::compare(&site, &world).await);
            }
        }
        drop(self.memory);

        let violations = world.log.violations();
        let kept = if violations.is_empty() && !self.kept_anyway {
            // Before its folder is removed.
            site.end();
            None
        } else {
            Some(keep(self.folder, &site, &world))
        };

        Verdict {
            counts: world.log.counts(),
            violations,
            notes,
            kept,
        }
    }

    fn keep(self) -> PathBuf {
        let (site, world) = (Arc::clone(&self.field.site), Arc::clone(self.world()));
        self.load.abandon();
        keep(self.folder, &site, &world)
    }
}

/// Keeps the history and what processes logged.
fn keep(folder: tempfile::TempDir, site: &Site, world: &World) -> PathBuf {
    world.log.flush().ok();
    let path = folder.keep();
    let logs: &Path = &path.join("logs");
    std::fs::create_dir_all(logs).ok();
    site.keep_logs(logs);
    site.end();
    path
}

/// Seconds since the run began.
pub(crate) fn seconds(log: &Log) -> f64 {
    Duration::from_micros(log.now()).as_secs_f64()
}
