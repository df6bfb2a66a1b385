//! The links: a proxy before each port, which knows who connects and obeys a rule for each pair. The one who connects is
//! found by his end of the connection, as the kernel tells it: all of this is one machine.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::chaos::site::pid_of;

/// Bytes that are passed at once.
const CHUNK: usize = 65_536;

/// What happens to what one sends to another and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Nothing comes through, and nobody is told.
    Hold,
    /// What the one who connected sends does not come through.
    HoldRequests,
    /// What he is answered does not come through.
    HoldReplies,
    /// A byte a second, either way.
    Trickle,
    /// Connections end at once.
    Cut,
}

/// Who connects, and to whom.
pub(crate) type Pair = (String, String);

type Rules = Arc<BTreeMap<Pair, Rule>>;

/// All proxies of a cluster.
#[derive(Debug)]
pub(crate) struct Wires {
    folder: PathBuf,
    names: Arc<Vec<String>>,
    rules: watch::Sender<Rules>,
}

impl Wires {
    /// No proxy yet.
    pub(crate) fn new(folder: PathBuf, names: Vec<String>) -> Self {
        Self { folder, names: Arc::new(names), rules: watch::Sender::new(Rules::default()) }
    }

    /// A proxy before a port of a process; its port.
    pub(crate) async fn before(&self, name: &str, port: u16) -> Result<u16, String> {
        let failed = |error: std::io::Error| format!("no proxy before {name}: {error}");
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
        let own = listener.local_addr().map_err(failed)?.port();
        let (to, folder, names, rules) =
            (name.to_owned(), self.folder.clone(), Arc::clone(&self.names), self.rules.subscribe());
        drop(tokio::spawn(async move {
            loop {
                let Ok((client, from)) = listener.accept().await else {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                };
                let (to, folder, names, rules) = (to.clone(), folder.clone(), Arc::clone(&names), rules.clone());
                drop(tokio::spawn(async move {
                    let finding = move || dialler(&folder, &names, from.port());
                    let from = tokio::task::spawn_blocking(finding).await.ok().flatten();
                    link(client, port, (from.unwrap_or_else(|| "?".to_owned()), to), rules).await;
                }));
            }
        }));
        Ok(own)
    }

    /// Sets a rule for some pairs, or takes it away.
    pub(crate) fn set(&self, pairs: &[Pair], rule: Option<Rule>) {
        self.rules.send_modify(|rules| {
            let mut changed = BTreeMap::clone(rules);
            for pair in pairs {
                match rule {
                    Some(rule) => drop(changed.insert(pair.clone(), rule)),
                    None => drop(changed.remove(pair)),
                }
            }
            *rules = Arc::new(changed);
        });
    }

    /// Ends the connections of these pairs with all that is still in them; then they may connect again.
    pub(crate) async fn reset(&self, pairs: &[Pair]) {
        self.set(pairs, Some(Rule::Cut));
        tokio::time::sleep(Duration::from_millis(300)).await;
        self.set(pairs, None);
    }
}

async fn link(client: TcpStream, port: u16, pair: Pair, mut rules: watch::Receiver<Rules>) {
    // A held pair does not even connect.
    if !passes(&mut rules, &pair, true).await {
        return;
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    client.set_nodelay(true).ok();
    server.set_nodelay(true).ok();
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::join!(
        pump(from_client, to_server, (pair.clone(), true), rules.clone()),
        pump(from_server, to_client, (pair, false), rules),
    );
}

/// Waits until something may pass; false when the connection is to end.
async fn passes(rules: &mut watch::Receiver<Rules>, pair: &Pair, request: bool) -> bool {
    loop {
        let rule = rules.borrow_and_update().get(pair).copied();
        match (rule, request) {
            (Some(Rule::Cut), _) => return false,
            (Some(Rule::Hold), _) | (Some(Rule::HoldRequests), true) | (Some(Rule::HoldReplies), false) => {
                if rules.changed().await.is_err() {
                    return false;
                }
            }
            (None | Some(Rule::Trickle | Rule::HoldRequests | Rule::HoldReplies), _) => return true,
        }
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    (pair, request): (Pair, bool),
    mut rules: watch::Receiver<Rules>,
) {
    let mut buffer = vec![0; CHUNK];
    loop {
        if !passes(&mut rules, &pair, request).await {
            return;
        }
        let slow = rules.borrow().get(&pair) == Some(&Rule::Trickle);
        let most = if slow { 1 } else { CHUNK };
        let Some(room) = buffer.get_mut(..most) else { return };
        let count = tokio::select! {
            read = from.read(room) => match read {
                Ok(0) | Err(_) => break,
                Ok(count) => count,
            },
            changed = rules.changed() => if changed.is_ok() { continue } else { return },
        };
        // What was read is held too: the rule may have changed meanwhile.
        if !passes(&mut rules, &pair, request).await {
            return;
        }
        let Some(read) = buffer.get(..count) else { return };
        if to.write_all(read).await.is_err() {
            return;
        }
        if slow {
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
                _ = rules.changed() => {}
            }
        }
    }
    // The end passes like everything else.
    if passes(&mut rules, &pair, request).await {
        to.shutdown().await.ok();
    }
}

/// The process that connected from a port of this machine.
fn dialler(folder: &std::path::Path, names: &[String], port: u16) -> Option<String> {
    let inode = inode_of(port)?;
    let socket = format!("socket:[{inode}]");
    let has_it = |name: &&String| {
        let Some(pid) = pid_of(folder, name) else { return false };
        let Ok(files) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        files.flatten().any(|file| std::fs::read_link(file.path()).is_ok_and(|to| to.as_os_str() == socket.as_str()))
    };
    names.iter().find(has_it).cloned()
}

fn inode_of(port: u16) -> Option<String> {
    let wanted = format!(":{port:04X}");
    ["/proc/net/tcp", "/proc/net/tcp6"].into_iter().find_map(|table| {
        let text = std::fs::read_to_string(table).ok()?;
        text.lines().skip(1).find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            // The local end, and no longer the inode 0 of a connection that is over.
            let inode = *fields.get(9)?;
            (fields.get(1)?.ends_with(&wanted) && inode != "0").then(|| inode.to_owned())
        })
    })
}
