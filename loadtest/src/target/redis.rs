//! What the servers of Redis say of themselves.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// All servers together, at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Redis {
    /// CPU seconds used so far by all of them, replicas too.
    pub(crate) cpu_seconds: f64,
    /// Commands processed so far by masters: what a replica does is its master's work once more.
    pub(crate) commands: u64,
    /// The most memory that one of them uses.
    pub(crate) memory_highest_bytes: u64,
}

impl Redis {
    /// Asks all of them.
    pub(crate) async fn look(servers: &[String]) -> Result<Self, String> {
        let mut all = Self::default();
        for server in servers {
            let told = tokio::time::timeout(PATIENCE, ask(server)).await;
            all.add(&told.map_err(|late| format!("{server}: no answer in {PATIENCE:?}, {late}"))??);
        }
        Ok(all)
    }

    fn add(&mut self, told: &str) {
        let number = |name: &str| {
            let line = told
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|value| value.trim().parse::<f64>().ok())
                .unwrap_or_default()
        };

        self.cpu_seconds += [
            "used_cpu_sys",
            "used_cpu_user",
            "used_cpu_sys_children",
            "used_cpu_user_children",
        ]
        .map(number)
        .iter()
        .sum::<f64>();

        if !told.lines().any(|line| line.trim() == "role:slave") {
            self.commands += whole(number("total_commands_processed"));
        }
        self.memory_highest_bytes = self.memory_highest_bytes.max(whole(number("used_memory")));
    }
}

async fn ask(server: &str) -> Result<String, String> {
    let said = |error: std::io::Error| format!("{server}: {error}");
    let mut stream = TcpStream::connect(server).await.map_err(said)?;
    // The server closes after the answer to QUIT.
    stream.write_all(b"INFO\r\nQUIT\r\n").await.map_err(said)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.map_err(said)?;
    Ok(answer)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts, far below 2^53, never negative"
)]
fn whole(number: f64) -> u64 {
    number.max(0.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_count_for_cpu_and_memory_but_not_for_commands() {
        let mut all = Redis::default();
        all.add(
            "role:master\r\nused_memory:10\r\nused_cpu_sys:1.5\r\nused_cpu_user:2\r\ntotal_commands_processed:7\r\n",
        );
        all.add(
            "role:slave\r\nused_memory:30\r\nused_cpu_sys:0.5\r\ntotal_commands_processed:7\r\n",
        );
        assert!((all.cpu_seconds - 4.0).abs() < 1e-9);
        assert_eq!((all.commands, all.memory_highest_bytes), (7, 30));
    }
}
