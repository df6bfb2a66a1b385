//! The links: a proxy before each port, which knows who connects and obeys a rule for each pair.
//! The one who connects is found by their end of the connection, as the kernel tells it: all of
//! this is one machine.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, watch};

use crate::chaos::site::processes::pid_of;

/// Bytes that are passed at once.
const CHUNK: usize = 65_536;

/// While there is no rule nobody needs to know who connects: so long those are gathered who are
/// looked for together.
const GATHER: Duration = Duration::from_millis(200);

/// What happens to what one sends to another and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Nothing comes through, and nobody is told.
    Hold,
    /// What the one who connected sends does not come through.
    HoldRequests,
    /// What they are answered does not come through.
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
    rules: watch::Sender<Rules>,
    diallers: Arc<Diallers>,
}

impl Wires {
    /// No proxy yet.
    pub(crate) fn new(folder: PathBuf, names: Vec<String>) -> Self {
        Self {
            rules: watch::Sender::new(Rules::default()),
            diallers: Arc::new(Diallers {
                folder,
                names,
                seen: Mutex::new(None),
            }),
        }
    }

    /// A proxy before a port of a process; its port.
    pub(crate) async fn before(&self, name: &str, port: u16) -> Result<u16, String> {
        let failed = |error: std::io::Error| format!("no proxy before {name}: {error}");
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
        let own = listener.local_addr().map_err(failed)?.port();
        let (to, diallers, rules) = (
            name.to_owned(),
            Arc::clone(&self.diallers),
            self.rules.subscribe(),
        );

        drop(tokio::spawn(async move {
            loop {
                let Ok((client, from)) = listener.accept().await else {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                };
                let (accepted, diallers, rules) =
                    (Instant::now(), Arc::clone(&diallers), rules.clone());
                let ends = Ends {
                    to: to.clone(),
                    from: Arc::default(),
                };
                drop(tokio::spawn(async move {
                    let unruled = rules.borrow().is_empty();
                    let known = diallers.find(ends.clone(), from.port(), accepted, unruled);
                    if unruled {
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

    /// Ends the connections of these pairs with all that is still in them; then they may connect
    /// again.
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
        rules
            .get(&(self.from.get()?.clone(), self.to.clone()))
            .copied()
    }
}

/// Finds who connected. Reading the kernel's tables costs tens of milliseconds where it has room
/// for many connections, so one look serves all that were accepted before it.
#[derive(Debug)]
struct Diallers {
    folder: PathBuf,
    names: Vec<String>,
    /// When it was begun, and what the last look saw: the process behind each port.
    seen: Mutex<Option<(Instant, HashMap<u16, String>)>>,
}

impl Diallers {
    /// Names the process that connected from a port of this machine, `?` for one that is none of
    /// the cluster.
    async fn find(self: Arc<Self>, ends: Ends, port: u16, accepted: Instant, patient: bool) {
        let mut seen = self.seen.lock().await;
        if seen.as_ref().is_none_or(|(begun, _)| *begun < accepted) {
            if patient {
                tokio::time::sleep(GATHER).await;
            }
            let (begun, looking) = (Instant::now(), Arc::clone(&self));
            let looked = tokio::task::spawn_blocking(move || looking.look()).await;
            *seen = looked.ok().map(|ports| (begun, ports));
        }
        let found = seen
            .as_ref()
            .and_then(|(_, ports)| ports.get(&port))
            .cloned();
        ends.from.set(found.unwrap_or_else(|| "?".to_owned())).ok();
    }

    fn look(&self) -> HashMap<u16, String> {
        let text = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
        let ports: HashMap<&str, u16> = text.lines().filter_map(inode_and_port).collect();
        let mut found = HashMap::new();

        for name in &self.names {
            let Some(pid) = pid_of(&self.folder, name) else {
                continue;
            };
            let Ok(files) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
                continue;
            };
            for link in files
                .flatten()
                .filter_map(|file| std::fs::read_link(file.path()).ok())
            {
                let inode = link
                    .to_str()
                    .and_then(|link| link.strip_prefix("socket:[")?.strip_suffix(']'));
                if let Some(port) = inode.and_then(|inode| ports.get(inode)) {
                    found.insert(*port, name.clone());
                }
            }
        }

        found
    }
}

/// Of a line of the kernel's table: the inode of a socket, and its local port.
fn inode_and_port(line: &str) -> Option<(&str, u16)> {
    let mut words = line.split_whitespace().skip(1);
    let port = words.next()?.strip_prefix("0100007F:")?;
    let inode = words.nth(7)?;
    // A connection that is over has the inode 0.
    (inode != "0").then_some(())?;
    Some((inode, u16::from_str_radix(port, 16).ok()?))
}

async fn link(client: TcpStream, port: u16, pair: Ends, mut rules: watch::Receiver<Rules>) {
    // A held pair does not even connect.
    if !passes(&mut rules, &pair, true).await {
        return;
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else {
        return;
    };
    client.set_nodelay(true).ok();
    server.set_nodelay(true).ok();
    let ((from_client, to_client), (from_server, to_server)) =
        (client.into_split(), server.into_split());
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
            (Some(Rule::Hold), _)
            | (Some(Rule::HoldRequests), true)
            | (Some(Rule::HoldReplies), false) => {
                if rules.changed().await.is_err() {
                    return false;
                }
            }
            (None | Some(Rule::Trickle | Rule::HoldRequests | Rule::HoldReplies), _) => {
                return true;
            }
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
        let Some(room) = buffer.get_mut(..most) else {
            return;
        };
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
        let Some(read) = buffer.get(..count) else {
            return;
        };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernels_table_tells_inode_and_local_port() {
        let line = "   7: 0100007F:1F92 0100007F:C35A 01 00000000:00000000 00:00000000 00000000     0        0 48213 1 0000000000000000 20 4 30 10 -1";
        assert_eq!(inode_and_port(line), Some(("48213", 0x1f92)));
        assert_eq!(
            inode_and_port(&line.replace("48213", "0")),
            None,
            "it is over"
        );
        assert_eq!(
            inode_and_port(&line.replace(": 0100007F", ": 0200007F")),
            None,
            "of another address"
        );
        assert_eq!(
            inode_and_port("  sl  local_address rem_address   st tx_queue rx_queue"),
            None
        );
    }

    #[tokio::test]
    async fn who_connected_is_found_by_the_process_that_holds_the_other_end() {
        // This process, under the name of a node.
        let folder = tempfile::tempdir().unwrap();
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let started = stat
            .rsplit_once(')')
            .unwrap()
            .1
            .split_whitespace()
            .nth(19)
            .unwrap();
        std::fs::create_dir(folder.path().join("node-1")).unwrap();

        std::fs::write(
            folder.path().join("node-1/pid"),
            format!("{} {started}", std::process::id()),
        )
        .unwrap();

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let names = vec!["node-2".to_owned(), "node-1".to_owned()];
        let diallers = Arc::new(Diallers {
            folder: folder.path().to_owned(),
            names,
            seen: Mutex::new(None),
        });

        for (port, who) in [(client.local_addr().unwrap().port(), "node-1"), (1, "?")] {
            let ends = Ends {
                to: "redis-1".to_owned(),
                from: Arc::default(),
            };
            Arc::clone(&diallers)
                .find(ends.clone(), port, Instant::now(), false)
                .await;
            assert_eq!(ends.from.get().map(String::as_str), Some(who));
        }
    }

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
            assert!(
                tokio::time::timeout(SOON, client.read_exact(&mut byte))
                    .await
                    .is_err(),
                "{rule:?}"
            );
            wires.set(&pairs, None);
            client.read_exact(&mut byte).await.unwrap();
            assert_eq!(&byte, b"b");
        }

        wires.reset(&pairs).await;
        assert!(matches!(client.read(&mut byte).await, Ok(0) | Err(_)));
    }
}
