//! The links: a proxy before each port, which knows who connects and obeys a rule for each pair. The one who connects is
//! found by his end of the connection, as the kernel tells it: all of this is one machine.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

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
    /// Those who look for the one who connected: reading the kernel's tables costs milliseconds.
    finding: Arc<Semaphore>,
}

impl Wires {
    /// No proxy yet.
    pub(crate) fn new(folder: PathBuf, names: Vec<String>) -> Self {
        Self {
            folder,
            names: Arc::new(names),
            rules: watch::Sender::new(Rules::default()),
            finding: Arc::new(Semaphore::new(2)),
        }
    }

    /// A proxy before a port of a process; its port.
    pub(crate) async fn before(&self, name: &str, port: u16) -> Result<u16, String> {
        let failed = |error: std::io::Error| format!("no proxy before {name}: {error}");
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
        let own = listener.local_addr().map_err(failed)?.port();
        let (to, folder, names, rules) =
            (name.to_owned(), self.folder.clone(), Arc::clone(&self.names), self.rules.subscribe());
        let finding = Arc::clone(&self.finding);
        drop(tokio::spawn(async move {
            loop {
                let Ok((client, from)) = listener.accept().await else {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                };
                let (to, folder, names, rules) = (to.clone(), folder.clone(), Arc::clone(&names), rules.clone());
                let finding = Arc::clone(&finding);
                drop(tokio::spawn(async move {
                    let ends = Ends { to, from: Arc::default() };
                    let known = find(finding, ends.clone(), move || dialler(&folder, &names, from.port()));
                    if rules.borrow().is_empty() {
                        // Nobody needs to know yet.
                        drop(tokio::spawn(known));
                    } else {
                        known.await;
                    }
                    link(client, port, ends, rules).await;
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

/// Both ends of a connection: the one who connected is known a moment later.
#[derive(Debug, Clone)]
struct Ends {
    to: String,
    from: Arc<OnceLock<String>>,
}

impl Ends {
    /// The rule for them, if there is one.
    fn rule(&self, rules: &BTreeMap<Pair, Rule>) -> Option<Rule> {
        if rules.is_empty() {
            return None;
        }
        rules.get(&(self.from.get()?.clone(), self.to.clone())).copied()
    }
}

async fn find(finding: Arc<Semaphore>, ends: Ends, look: impl FnOnce() -> Option<String> + Send + 'static) {
    let _turn = finding.acquire_owned().await;
    let found = tokio::task::spawn_blocking(look).await.ok().flatten();
    ends.from.set(found.unwrap_or_else(|| "?".to_owned())).ok();
}

async fn link(client: TcpStream, port: u16, pair: Ends, mut rules: watch::Receiver<Rules>) {
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
async fn passes(rules: &mut watch::Receiver<Rules>, pair: &Ends, request: bool) -> bool {
    loop {
        let rule = pair.rule(&rules.borrow_and_update());
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
    (pair, request): (Ends, bool),
    mut rules: watch::Receiver<Rules>,
) {
    let mut buffer = vec![0; CHUNK];
    loop {
        if !passes(&mut rules, &pair, request).await {
            return;
        }
        let slow = pair.rule(&rules.borrow()) == Some(Rule::Trickle);
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
    // The local end comes first in a line, after its number.
    let wanted = format!(": 0100007F:{port:04X} ");
    let text = std::fs::read_to_string("/proc/net/tcp").ok()?;
    let line = text.get(text.find(&wanted)?..)?.lines().next()?;
    // No longer the inode 0 of a connection that is over.
    let inode = line.split_whitespace().nth(9)?;
    (inode != "0").then(|| inode.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Far beyond what a byte on this machine takes, and not long to wait for nothing.
    const SOON: Duration = Duration::from_millis(300);

    async fn echo() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                drop(tokio::spawn(async move {
                    let (mut from, mut to) = socket.split();
                    tokio::io::copy(&mut from, &mut to).await.ok();
                }));
            }
        }));
        port
    }

    #[tokio::test]
    async fn a_held_pair_gets_everything_later_and_a_cut_one_ends() {
        // Nobody here is a process of the cluster: all who connect are strangers.
        let folder = tempfile::tempdir().unwrap();
        let wires = Wires::new(folder.path().to_owned(), Vec::new());
        let proxy = wires.before("node-1", echo().await).await.unwrap();
        // While there is a rule, of whomever, nothing passes before it is known who connects.
        wires.set(&[("a".to_owned(), "b".to_owned())], Some(Rule::Hold));
        let mut client = TcpStream::connect(("127.0.0.1", proxy)).await.unwrap();
        let mut byte = [0];
        client.write_all(b"a").await.unwrap();
        client.read_exact(&mut byte).await.unwrap();
        let pairs = [("?".to_owned(), "node-1".to_owned())];
        for rule in [Rule::Hold, Rule::HoldRequests, Rule::HoldReplies] {
            wires.set(&pairs, Some(rule));
            client.write_all(b"b").await.unwrap();
            assert!(tokio::time::timeout(SOON, client.read_exact(&mut byte)).await.is_err(), "{rule:?}");
            wires.set(&pairs, None);
            client.read_exact(&mut byte).await.unwrap();
            assert_eq!(&byte, b"b");
        }
        wires.reset(&pairs).await;
        assert!(matches!(client.read(&mut byte).await, Ok(0) | Err(_)));
    }
}
