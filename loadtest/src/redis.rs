//! What the servers of Redis say of themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// How often memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A number out of `INFO`, summed over the masters of these servers: what a replica does is its master's work once more.
pub(crate) async fn sum(servers: &[String], name: &str) -> Result<u64, String> {
    let mut sum = 0;
    for server in servers {
        sum += number(server, name).await?;
    }
    Ok(sum)
}

async fn number(server: &str, name: &str) -> Result<u64, String> {
    let said = |error: std::io::Error| format!("{server}: {error}");
    let mut stream = TcpStream::connect(server).await.map_err(said)?;
    // The server closes after the answer to QUIT.
    stream.write_all(b"INFO\r\nQUIT\r\n").await.map_err(said)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.map_err(said)?;
    if answer.lines().any(|line| line.trim() == "role:slave") {
        return Ok(0);
    }
    let line = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|value| value.trim().parse().ok()).ok_or_else(|| format!("{server} does not tell {name}"))
}

/// Watches the memory of all servers.
#[derive(Debug)]
pub(crate) struct Memory {
    highest: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    watching: JoinHandle<()>,
}

impl Memory {
    /// Looks until it is asked.
    pub(crate) fn watch(servers: Vec<String>) -> Self {
        let (highest, over) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (found, end) = (Arc::clone(&highest), Arc::clone(&over));
        let watching = tokio::spawn(async move {
            while !end.load(Ordering::Relaxed) {
                for server in &servers {
                    // A server that is away for a moment is looked at again soon.
                    if let Ok(used) = number(server, "used_memory").await {
                        found.fetch_max(used, Ordering::Relaxed);
                    }
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        Self { highest, over, watching }
    }

    /// The most that one server used meanwhile.
    pub(crate) async fn highest(self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        self.watching.await.ok();
        self.highest.load(Ordering::Relaxed)
    }
}
