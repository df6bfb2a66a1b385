//! What is broken, and how it is mended. Each fault has a name, what it needs, and for how long it
//! stays; whom it hits is drawn when it begins, for masters and replicas change places.

use std::process::Child;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::chaos::clients::World;
use crate::chaos::clients::flood::Flood;
pub(crate) use crate::chaos::faults::catalogue::{all, named};
use crate::chaos::random::Random;
use crate::chaos::site::backup::Copying;
use crate::chaos::site::wires::Pair;
use crate::chaos::site::{Site, disk};

mod catalogue;
mod inject;
mod links;
mod planned;
pub(crate) mod schedule;
mod victims;

/// What a fault needs of the cluster, from its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing.
    Nothing,
    /// Proxies before all ports.
    Wires,
    /// A node on a disk of its own.
    OwnDisk,
    /// A program of this machine.
    Program(&'static str),
    /// Very many sockets.
    Flood,
}

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Its name.
    pub(crate) name: &'static str,
    /// One line about it.
    pub(crate) about: &'static str,
    /// What it needs.
    pub(crate) need: Need,
    /// How long it stays before it is mended, in milliseconds, at least and at most.
    pub(crate) stays_ms: (u64, u64),
    /// Whether it belongs to the short form.
    pub(crate) short: bool,
}

impl Fault {
    /// Whether this machine can do it; else what is missing.
    pub(crate) fn possible(&self) -> Result<(), String> {
        match self.need {
            Need::Program(program) if !exists(program) => Err(format!(
                "{program} is not installed; scripts/install-chaos-tools does that"
            )),
            Need::OwnDisk if !disk::may_mount() => {
                Err("only the administrator may mount a disk".to_owned())
            }
            Need::Nothing | Need::Wires | Need::OwnDisk | Need::Program(_) | Need::Flood => Ok(()),
        }
    }
}

fn exists(program: &str) -> bool {
    let found = std::process::Command::new("sh")
        .args(["-c", "command -v \"$1\" >/dev/null", "sh", program])
        .status();
    found.is_ok_and(|status| status.success())
}

/// What faults happen to.
#[derive(Debug)]
pub(crate) struct Field {
    /// The processes.
    pub(crate) site: Arc<Site>,
    /// The clients.
    pub(crate) world: Arc<World>,
    /// Very many sockets, if there are any.
    pub(crate) flood: Option<Flood>,
}

/// What mends a part of a fault.
#[derive(Debug)]
pub(crate) enum Mend {
    /// Start it.
    Start(String),
    /// Let it go on.
    Resume(String),
    /// Let everything pass, what is under way too.
    Pass(Vec<Pair>),
    /// End the connections, then let everything pass.
    Reset(Vec<Pair>),
    /// Make room on its disk.
    MakeRoom(String),
    /// Let its fsyncs be.
    Untrace(Child),
    /// Let devices read again.
    Read,
    /// Take away what it is run by, and start it anew.
    Unwrap(String),
    /// Let a master take writes again.
    TakeWrites(String),
    /// Once all that was stopped runs again, wait for what was begun before.
    After(After),
    /// Nothing: all has to be served as it is, before anything else is mended.
    Served,
}

/// What a change began that goes on when all processes run again.
#[derive(Debug)]
pub(crate) enum After {
    /// A node is being drained; then it may get shards again.
    Drain(String),
    /// A backup.
    Backup(Copying),
}

/// A fault that has begun.
#[derive(Debug, Default)]
pub(crate) struct Broken {
    /// Whom it hit.
    pub(crate) said: String,
    mends: Vec<Mend>,
}

impl Broken {
    /// Whether all has to be served while it lasts.
    pub(crate) fn is_served(&self) -> bool {
        self.mends.iter().any(|mend| matches!(mend, Mend::Served))
    }
}

impl Field {
    /// Begins a fault.
    pub(crate) async fn inject(
        &self,
        fault: &Fault,
        random: &mut Random,
    ) -> Result<Broken, String> {
        let broken = if planned::is_one(fault.name) {
            self.change(fault.name, random).await?
        } else {
            self.break_it(fault.name, random).await?
        };
        self.world
            .log
            .fault(fault.name, &format!("begins: {}", broken.said));
        Ok(broken)
    }

    /// Ends it.
    pub(crate) async fn heal(&self, fault: &Fault, broken: Broken) -> Result<(), String> {
        let (mut starts, mut later) = (Vec::new(), Vec::new());
        for mend in broken.mends {
            match mend {
                Mend::Start(name) => starts.push(name),
                Mend::Resume(name) => self.site.signal(&[name], Signal::SIGCONT),
                Mend::Pass(pairs) => {
                    if let Some(wires) = &self.site.wires {
                        wires.set(&pairs, None);
                    }
                }
                Mend::Reset(pairs) => {
                    if let Some(wires) = &self.site.wires {
                        wires.reset(&pairs).await;
                    }
                }
                Mend::MakeRoom(node) => self.site.fill(&node, false)?,
                Mend::Untrace(tracer) => disk::untrace(tracer),
                Mend::Read => self.world.mood.send_modify(|mood| mood.slow = false),
                Mend::Unwrap(node) => {
                    self.site.write(&node, "wrap", "")?;
                    self.site.kill(std::slice::from_ref(&node)).await;
                    starts.push(node);
                }
                Mend::TakeWrites(master) => {
                    self.site
                        .redis(&master, &["CONFIG", "SET", "min-replicas-to-write", "0"])
                        .await?;
                }
                Mend::After(after) => later.push(after),
                Mend::Served => {}
            }
        }

        if !starts.is_empty() {
            self.site.start_again(&starts).await?;
        }
        for after in later {
            self.comes_to_its_end(fault.name, after).await?;
        }

        self.world.log.fault(fault.name, "ends");
        Ok(())
    }

    /// Waits until every process runs and is in step; a node that ended by itself, as one may that
    /// cannot write, is started again as whatever keeps processes alive would do.
    pub(crate) async fn whole(&self, within: Duration) -> Result<(), String> {
        let dead: Vec<String> = self
            .site
            .names()
            .into_iter()
            .filter(|name| self.site.pid(name).is_none())
            .collect();
        if !dead.is_empty() {
            self.world
                .log
                .fault("restart", &format!("{dead:?} had ended"));
            self.site.start_again(&dead).await?;
        }
        self.site.whole(within).await
    }
}
