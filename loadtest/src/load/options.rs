//! Who talks with whom, and how: the flags of a load, and what they need of this machine.

use std::time::Duration;

use clap::Args;

use crate::load::mix::scenario::Mix;
use crate::load::schedule::Spacing;
use crate::load::text;
use crate::load::workload::MEMBERS_MAX;
use crate::report::Settings;

/// Open files beside sockets and sends in flight.
const FILES_BESIDE: u64 = 64;

/// Who talks with whom, and how, by flags.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Load")]
pub(crate) struct LoadOptions {
    /// Users [default: 100, or as many as the largest conversation needs]
    #[arg(long, value_name = "NUMBER")]
    users: Option<usize>,
    /// Users with a socket; 0 for none [default: all]
    #[arg(long, value_name = "NUMBER")]
    online: Option<usize>,
    /// Members of each conversation, 1 to 1,000; several sizes take turns, and have figures of
    /// their own
    #[arg(
        long,
        value_name = "NUMBER",
        value_delimiter = ',',
        default_value = "10"
    )]
    pub(super) members: Vec<usize>,
    /// Conversations of each size
    #[arg(long, value_name = "NUMBER", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    conversations: u32,
    /// Bytes of text of each message, 40 to 16,384
    #[arg(long, value_name = "BYTES", default_value_t = 120)]
    pub(super) payload: usize,
    /// How sends are spread over time
    #[arg(long, value_enum, default_value_t = Spacing::Poisson)]
    pub(super) spacing: Spacing,
    /// Time of sending before the measured span
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = humantime::parse_duration)]
    pub(crate) warm_up: Duration,
    /// Most sends in flight; what is due beyond it waits, and the wait counts
    #[arg(long, value_name = "NUMBER", default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) in_flight: u32,
    /// Give each send an Idempotency-Key
    #[arg(long)]
    pub(super) idempotency_keys: bool,
    /// What people do beside sending: chat, or the file of a scenario [default: nothing]
    #[arg(long, value_name = "chat|FILE")]
    pub(super) mix: Option<Mix>,
    /// Seed of all chance: who is in which conversation, who sends when
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(super) seed: u64,
    /// How long the last deliveries may take
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    pub(super) patience: Duration,
}

impl LoadOptions {
    /// Checks what belongs together, and fills in what was not given.
    pub(crate) fn settings(&self, timeout: Duration) -> Result<Settings, String> {
        let largest = self
            .members
            .iter()
            .copied()
            .max()
            .ok_or("--members needs a number")?;
        if self
            .members
            .iter()
            .any(|size| !(1..=MEMBERS_MAX).contains(size))
        {
            return Err(format!("--members is 1 to {MEMBERS_MAX}"));
        }

        if !(text::BYTES_MIN..=text::BYTES_MAX).contains(&self.payload) {
            return Err(format!(
                "--payload is {} to {}",
                text::BYTES_MIN,
                text::BYTES_MAX
            ));
        }

        let users = self.users.unwrap_or_else(|| largest.max(100));
        if users < largest {
            return Err(format!(
                "--members {largest} needs at least so many --users"
            ));
        }

        let online = self.online.unwrap_or(users);
        if online > users {
            return Err(format!("--online {online} is more than --users {users}"));
        }

        let wide = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        Ok(Settings {
            users: wide(users),
            online: wide(online),
            members: self.members.iter().map(|size| wide(*size)).collect(),
            conversations: u64::from(self.conversations),
            payload_bytes: wide(self.payload),
            spacing: self.spacing.word().to_owned(),
            rate: None,
            duration_s: 0.0,
            warm_up_s: self.warm_up.as_secs_f64(),
            in_flight_max: u64::from(self.in_flight),
            timeout_s: timeout.as_secs_f64(),
            idempotency_keys: self.idempotency_keys,
            seed: self.seed,
            mix: self.mix.as_ref().map(|mix| mix.name.clone()),
        })
    }
}

/// Fails when so many sockets and connections cannot be open at once in this process.
pub(crate) fn allow_files(wanted: u64) -> Result<(), String> {
    let limit = rlimit::increase_nofile_limit(u64::MAX)
        .map_err(|error| format!("limit of open files: {error}"))?;
    let needed = wanted + FILES_BESIDE;
    if needed <= limit {
        return Ok(());
    }
    Err(format!(
        "{needed} open files are needed for the sockets and the sends in flight, and this process may have {limit} (`ulimit -Hn`): \
         fewer --online, --sockets or --in-flight, or several processes side by side"
    ))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: LoadOptions,
    }

    fn settings(line: &str) -> Result<Settings, String> {
        let line =
            Line::try_parse_from(line.split_whitespace()).map_err(|error| error.to_string())?;
        line.options.settings(Duration::from_secs(1))
    }

    #[test]
    fn there_are_enough_users_for_the_largest_conversation() {
        let of = |line: &str| {
            settings(line)
                .map(|settings| (settings.users, settings.online))
                .unwrap()
        };
        assert_eq!(of("x"), (100, 100));
        assert_eq!(of("x --members 2,1000"), (1_000, 1_000));
        assert_eq!(of("x --members 2,1000 --online 10"), (1_000, 10));
        assert_eq!(of("x --users 20 --online 0"), (20, 0));
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_flag_that_is_wrong() {
        for (line, flag) in [
            ("x --members 0", "--members"),
            ("x --members 1001", "--members"),
            ("x --users 5", "--users"),
            ("x --online 101", "--online"),
            ("x --payload 39", "--payload"),
            ("x --payload 16385", "--payload"),
            ("x --in-flight 0", "--in-flight"),
        ] {
            assert!(settings(line).unwrap_err().contains(flag), "{line}");
        }
    }

    #[test]
    fn more_files_than_this_process_may_have_are_refused_with_the_limit() {
        assert!(allow_files(10).is_ok());
        assert!(allow_files(u64::MAX / 2).unwrap_err().contains("ulimit"));
    }
}
