//! What processes tell on their operations ports, and what this process uses itself.

use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use nix::unistd::{SysconfVar, sysconf};

use crate::client::dial::Dialer;
use crate::client::http::{Ask, Pool};
use crate::target::{Operations, Target};

/// Longest wait for `/metrics`.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads `/metrics` of each process of a target.
pub(crate) struct Scraper {
    processes: Vec<(Operations, Pool)>,
}

/// The page of one process.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    /// What the process is called.
    pub(crate) name: String,
    text: String,
    /// What the kernel says, when the process runs on this machine: the metric has whole seconds
    /// only.
    cpu_seconds: Option<f64>,
}

impl Scraper {
    /// For all operations ports of the target; there may be none.
    pub(crate) fn new(target: &Target) -> Self {
        Self {
            processes: target
                .operations
                .iter()
                .map(|process| pool(&target.dialer, process))
                .collect(),
        }
    }

    /// True when no process tells anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.processes.is_empty()
    }

    /// The pages of those that answer, and why others do not.
    pub(crate) async fn pages(&self) -> (Vec<Page>, Vec<String>) {
        let (mut pages, mut errors) = (Vec::new(), Vec::new());
        for (Operations { name, pid, .. }, pool) in &self.processes {
            let body = pool.succeed(&Ask::get("/metrics", Arc::from(""))).await;
            let cpu_seconds = pid.and_then(cpu_seconds_of);
            match body {
                Ok(body) => {
                    let text = String::from_utf8_lossy(&body).into_owned();
                    pages.push(Page {
                        name: name.clone(),
                        text,
                        cpu_seconds,
                    });
                }
                Err(error) => errors.push(format!("/metrics of {name}: {error}")),
            }
        }

        (pages, errors)
    }

    /// Sum of one metric over all processes and labels; all must answer.
    pub(crate) async fn sum(&self, name: &str) -> Result<f64, String> {
        let (pages, errors) = self.pages().await;
        errors.into_iter().next().map_or(Ok(()), Err)?;
        Ok(pages.iter().map(|page| page.sum(name)).sum())
    }
}

fn pool(dialer: &Arc<Dialer>, process: &Operations) -> (Operations, Pool) {
    (
        process.clone(),
        Pool::new(Arc::clone(dialer), process.endpoint.clone(), PATIENCE),
    )
}

impl Page {
    /// Sum of one metric over all labels; 0 when it is not there.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        let of_metric = |line: &&str| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
        };
        let value = |line: &str| line.rsplit_once(' ')?.1.parse::<f64>().ok();
        self.text.lines().filter(of_metric).filter_map(value).sum()
    }

    /// CPU seconds used so far, user and system.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        self.cpu_seconds
            .unwrap_or_else(|| self.sum("process_cpu_seconds_total"))
    }

    /// Resident memory.
    pub(crate) fn resident_bytes(&self) -> f64 {
        self.sum("process_resident_memory_bytes")
    }
}

/// CPU seconds of a process of this machine (fields 14 and 15 of `/proc/PID/stat`).
fn cpu_seconds_of(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    let ticks: u32 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u32>().ok())
        .sum();
    let per_second = sysconf(SysconfVar::CLK_TCK)
        .ok()
        .flatten()
        .and_then(|rate| u32::try_from(rate).ok());
    Some(f64::from(ticks) / f64::from(per_second.unwrap_or(100)))
}

/// CPU seconds used so far by this process.
pub(crate) fn own_cpu_seconds() -> f64 {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else {
        return 0.0;
    };
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(u64::try_from(micros).unwrap_or_default()).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_labels_and_not_mixed_with_longer_names() {
        let text =
            "# HELP a_total x\na_total{x=\"1\"} 2\na_total{x=\"2\"} 3.5\na_total_more 9\nb 1\n"
                .to_owned();
        let page = Page {
            name: "node-1".to_owned(),
            text,
            cpu_seconds: None,
        };
        assert!((page.sum("a_total") - 5.5).abs() < 1e-9);
        assert!(page.sum("c").abs() < 1e-9);
    }

    #[test]
    fn the_own_cpu_time_grows() {
        let before = own_cpu_seconds();
        let mut sum = 0_u64;
        while own_cpu_seconds() <= before {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(cpu_seconds_of(std::process::id()).is_some());
        assert!(cpu_seconds_of(u32::MAX).is_none());
    }
}
