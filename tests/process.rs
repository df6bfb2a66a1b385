//! `rookery node` and `rookery router` as separate processes over a real Redis: how they start in
//! any order, wait, refuse, stop and come back. What clients see of a cluster is in `tests/it`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::shadow_unrelated,
    reason = "a test stops at what it did not expect, and says so; it reads the same thing again, later"
)]

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use sha2::Sha256;
use tempfile::TempDir;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

/// How long anything may take before a test gives up. Bounds a failure, measures nothing.
const DEADLINE: Duration = Duration::from_secs(40);
const SECRET: &str = "process-tests-only-0123456789-0123456789-abc";
const CLUSTER_KEY: &str = "process-tests-cluster-key-0123456789-0123456789";

fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A folder with a Redis and everything that runs over it. Dropping it kills all, and shows the
/// logs of a failed test.
struct Bench {
    folder: TempDir,
    redis: Option<Spawned>,
    redis_port: u16,
}

/// A process with its log, killed when dropped or when this test process dies.
struct Spawned {
    name: String,
    child: Child,
    watchdog: Child,
    log: PathBuf,
    ready: PathBuf,
}

impl Spawned {
    fn start(mut command: Command, folder: &Path, name: &str) -> Self {
        let log = folder.join(format!("{name}.log"));
        let out = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap();
        let watchdog = Command::new("sh")
            .args([
                "-c",
                r#"cat >/dev/null; kill -9 "$1" 2>/dev/null"#,
                "watchdog",
                &child.id().to_string(),
            ])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let ready = folder.join(format!("{name}.ready"));
        Self {
            name: name.to_owned(),
            child,
            watchdog,
            log,
            ready,
        }
    }

    fn signal(&self, signal: Signal) {
        kill(
            Pid::from_raw(i32::try_from(self.child.id()).unwrap()),
            signal,
        )
        .unwrap();
    }

    fn exited(&mut self) -> ExitStatus {
        until(&format!("{} ends", self.name), || {
            self.child.try_wait().unwrap()
        })
    }

    /// SIGTERM, and the exit code.
    fn terminate(&mut self) -> Option<i32> {
        self.signal(Signal::SIGTERM);
        self.exited().code()
    }

    fn kill9(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it serves. Its ready file.
    fn serving(&mut self) -> Value {
        until(&format!("{} serves", self.name), || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("{} ended with {status}: {}", self.name, self.log());
            }
            serde_json::from_slice(&std::fs::read(&self.ready).ok()?).ok()
        })
    }

    /// Where the operations port listens, which is told before it serves.
    fn operations(&self) -> String {
        until(&format!("{} tells its operations port", self.name), || {
            let log = self.log();
            let line = log
                .lines()
                .rev()
                .find(|line| line.contains("serving operations"))?;
            Some(
                line.split_once("operations=")?
                    .1
                    .split_whitespace()
                    .next()?
                    .to_owned(),
            )
        })
    }

    /// Status and body of a path of the operations port.
    fn ask(&self, path: &str) -> (u16, String) {
        get(&self.operations(), path, None)
    }

    /// The one line of a process that refuses to start.
    fn refusal(&mut self) -> String {
        assert_eq!(self.exited().code(), Some(1), "{}", self.log());
        let log = self.log();
        let lines: Vec<&str> = log
            .lines()
            .filter(|line| line.starts_with("rookery: "))
            .collect();
        assert_eq!(lines.len(), 1, "{log}");
        lines[0].to_owned()
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        self.kill9();
        drop(self.watchdog.kill());
        drop(self.watchdog.wait());
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!(
                "--- {}\n{}",
                self.name,
                lines[lines.len().saturating_sub(25)..].join("\n")
            );
        }
    }
}

impl Bench {
    /// Redis is not there yet.
    fn without_redis() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let begin = u16::try_from(std::process::id() % 4_000).unwrap();
        let redis_port = until("a free port", || {
            let port = 12_000 + (begin + NEXT.fetch_add(1, Ordering::Relaxed) * 13) % 8_000;
            TcpListener::bind(("127.0.0.1", port))
                .is_ok()
                .then_some(port)
        });
        Self {
            folder: tempfile::tempdir().unwrap(),
            redis: None,
            redis_port,
        }
    }

    fn new() -> Self {
        let mut bench = Self::without_redis();
        bench.start_redis();
        bench
    }

    fn start_redis(&mut self) {
        let data = self.folder.path().join("redis");
        std::fs::create_dir_all(&data).unwrap();
        let mut command = Command::new("redis-server");
        command
            .args([
                "--bind",
                "127.0.0.1",
                "--port",
                &self.redis_port.to_string(),
                "--dir",
            ])
            .arg(&data);
        command.args(["--save", "", "--appendonly", "yes"]);
        self.redis = Some(Spawned::start(command, self.folder.path(), "redis"));
        until("redis answers", || {
            (self.redis(&["PING"]).trim() == "PONG").then_some(())
        });
    }

    fn redis(&self, command: &[&str]) -> String {
        let asked = Command::new("redis-cli")
            .args(["-p", &self.redis_port.to_string()])
            .args(command)
            .output()
            .unwrap();
        String::from_utf8(asked.stdout).unwrap()
    }

    fn command(&self, kind: &str, name: &str) -> Command {
        let ready = self.folder.path().join(format!("{name}.ready"));
        drop(std::fs::remove_file(&ready));
        let mut command = Command::new(env!("CARGO_BIN_EXE_rookery"));
        command
            .env_clear()
            .env("ROOKERY_JWT_SECRET", SECRET)
            .env("ROOKERY_CLUSTER_KEY", CLUSTER_KEY)
            .env(
                "ROOKERY_REDIS",
                format!("redis://127.0.0.1:{}", self.redis_port),
            )
            .current_dir(self.folder.path())
            .args([kind, "--operations-listen", "127.0.0.1:0", "--ready-file"])
            .arg(ready);
        if kind != "node" {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        command
    }

    fn node_command(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = self.command("node", name);
        command.args([
            "--peer-listen",
            "127.0.0.1:0",
            "--shards",
            "4",
            "--expect-nodes",
            "1",
            "--node-id",
            name,
        ]);
        // The later of two equal flags wins.
        command.arg("--data").arg(self.data(name)).args(arguments);
        command
    }

    fn data(&self, name: &str) -> PathBuf {
        self.folder.path().join("data").join(name)
    }

    fn node(&self, name: &str, arguments: &[&str]) -> Spawned {
        Spawned::start(self.node_command(name, arguments), self.folder.path(), name)
    }

    /// Whether some file of this node's shards has this text.
    fn has_in_files(&self, name: &str, text: &str) -> bool {
        let files = std::fs::read_dir(self.data(name).join("shards"))
            .into_iter()
            .flatten()
            .flatten();
        let contents = files.filter_map(|file| std::fs::read(file.path()).ok());
        contents.into_iter().any(|bytes| {
            bytes
                .windows(text.len())
                .any(|window| window == text.as_bytes())
        })
    }

    fn router(&self) -> Spawned {
        Spawned::start(
            self.command("router", "router"),
            self.folder.path(),
            "router",
        )
    }

    /// A start that must be refused, in a log of its own.
    fn refused(&self, name: &str, arguments: &[&str]) -> String {
        let command = self.node_command(name, arguments);
        let log = self.folder.path().join("refused.log");
        drop(std::fs::remove_file(log));
        Spawned::start(command, self.folder.path(), "refused").refusal()
    }
}

fn token(user: &str) -> String {
    let exp = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap()
        .as_secs()
        + 3_600;
    let head = URL_SAFE_NO_PAD.encode(json!({"alg": "HS256"}).to_string());
    let body = format!(
        "{head}.{}",
        URL_SAFE_NO_PAD.encode(json!({"sub": user, "exp": exp}).to_string())
    );
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    format!(
        "{body}.{}",
        URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
    )
}

fn http(address: &str, head: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let length = body.len();
    write!(
        stream,
        "{head}Host: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer.split_once("\r\n\r\n")?.1.to_owned()))
}

fn get(address: &str, path: &str, user: Option<&str>) -> (u16, String) {
    let bearer = user
        .map(|user| format!("Authorization: Bearer {}\r\n", token(user)))
        .unwrap_or_default();
    http(address, &format!("GET {path} HTTP/1.1\r\n{bearer}"), "")
        .unwrap_or_else(|| panic!("{path}: no answer"))
}

fn post(address: &str, path: &str, body: &Value) -> (u16, String) {
    let head = format!(
        "POST {path} HTTP/1.1\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n",
        token("alice")
    );
    http(address, &head, &body.to_string()).unwrap_or_else(|| panic!("{path}: no answer"))
}

/// A router, with a conversation in it.
fn conversation(router: &mut Spawned) -> String {
    let client = router.serving()["client"].as_str().unwrap().to_owned();
    let (status, body) = post(
        &client,
        "/v1/conversations",
        &json!({"name": "c", "participants": ["bob"]}),
    );
    assert_eq!(status, 201, "{body}");
    client
}

fn send(client: &str, text: &str) {
    let (status, body) = post(
        client,
        "/v1/conversations/c/messages",
        &json!({"text": text}),
    );
    assert_eq!(status, 201, "{body}");
}

fn texts(client: &str) -> Vec<String> {
    let (status, body) = get(
        client,
        "/v1/conversations/c/messages?order=asc&limit=200",
        Some("bob"),
    );
    assert_eq!(status, 200, "{body}");
    let page: Value = serde_json::from_str(&body).unwrap();
    let mut items: Vec<(u64, String)> =
        page["items"].as_array().unwrap().iter().map(read).collect();
    items.sort();
    items.into_iter().map(|(_, text)| text).collect()
}

fn read(message: &Value) -> (u64, String) {
    (
        message["seq"].as_u64().unwrap(),
        message["text"].as_str().unwrap().to_owned(),
    )
}

#[test]
fn router_and_nodes_start_in_any_order_and_wait_for_redis_and_for_each_other() {
    let mut bench = Bench::without_redis();
    let mut router = bench.router();
    let three = ["--expect-nodes", "3"];
    let mut second = bench.node("node-2", &three);
    for process in [&router, &second] {
        let told = until("it says that redis does not answer", || {
            let (status, why) = process.ask("/readyz");
            (status == 503 && why.contains("Redis")).then_some(why)
        });
        assert!(told.contains("refused"), "the reason: {told}");
        assert_eq!(process.ask("/livez").0, 200);
    }
    let mut impatient = bench.node("node-4", &three);
    until("it waits", || {
        impatient
            .log()
            .contains("redis does not answer")
            .then_some(())
    });
    assert_eq!(impatient.terminate(), Some(0), "what waits can be stopped");
    bench.start_redis();
    until("it waits for the others", || {
        let (status, why) = second.ask("/readyz");
        (status == 503 && why.contains("1 of 3 have registered (--expect-nodes): node-2"))
            .then_some(())
    });
    assert_eq!(router.ask("/readyz"), (503, "no table yet\n".to_owned()));
    let (mut third, mut first) = (bench.node("node-3", &three), bench.node("node-1", &three));
    for node in [&mut first, &mut second, &mut third] {
        let ready = node.serving();
        assert!(
            ready["peer"].is_string() && ready["pid"].is_u64(),
            "{ready}"
        );
        assert_eq!(node.ask("/readyz"), (200, "ok\n".to_owned()));
        assert!(
            node.log().contains("of the 4 shards of cluster"),
            "what a person reads"
        );
    }
    let client = conversation(&mut router);
    send(&client, "hello");
    assert_eq!(texts(&client), ["hello"]);
    // All tell the same table; each the state of its own shards.
    for process in [&router, &first, &second, &third] {
        let cluster: Value = serde_json::from_str(&process.ask("/cluster").1).unwrap();
        assert_eq!(
            (
                cluster["shards"].as_array().unwrap().len(),
                cluster["nodes"].as_object().unwrap().len()
            ),
            (4, 3)
        );
    }
    let log = second.log();
    assert_eq!(
        log.matches("redis does not answer").count(),
        1,
        "an outage is told once: {log}"
    );
    assert_eq!(
        log.matches("redis answers").count(),
        1,
        "and its end: {log}"
    );
}

#[test]
fn what_was_acknowledged_is_there_after_kill_9_and_after_sigterm() {
    let bench = Bench::new();
    let (mut router, mut node) = (bench.router(), bench.node("node-1", &[]));
    node.serving();
    let client = conversation(&mut router);
    let mut sent = Vec::new();
    for end in ["kill", "term", "kill"] {
        for number in 0..5 {
            let text = format!("{end}-{}-{number}", sent.len());
            send(&client, &text);
            sent.push(text);
        }
        if end == "kill" {
            node.kill9();
        } else {
            assert_eq!(node.terminate(), Some(0), "{}", node.log());
            let (status, body) = post(
                &client,
                "/v1/conversations/c/messages",
                &json!({"text": "lost"}),
            );
            assert_eq!(status, 503, "its shards wait for it: {body}");
        }
        // On other ports, and at once: nobody waits for the watch time.
        node = bench.node("node-1", &["--takeover-watch", "1d"]);
        node.serving();
        assert_eq!(texts(&client), sent);
    }
    assert!(!node.log().contains("ERROR"), "{}", node.log());
}

#[test]
fn a_node_told_to_stop_sends_its_sessions_away_and_a_second_signal_ends_it_at_once() {
    let bench = Bench::new();
    let (mut router, mut node) = (bench.router(), bench.node("node-1", &[]));
    node.serving();
    let client = conversation(&mut router);
    let mut socket = socket(&client);
    node.signal(Signal::SIGTERM);
    until("it drains", || {
        node.log().contains("draining sessions").then_some(())
    });
    let (reconnect, code) = drained(&mut socket);
    assert!(reconnect && code == Some(1012), "{reconnect} {code:?}");
    assert_eq!(node.exited().code(), Some(0), "{}", node.log());

    let mut node = bench.node("node-1", &["--drain-window", "6s"]);
    node.serving();
    // Sessions are told over the window; one of so many is told late.
    let mut held: Vec<Socket> = (0..40).map(|_| self::socket(&client)).collect();
    let before = node.log().matches("draining sessions").count();
    node.signal(Signal::SIGTERM);
    until("it drains", || {
        (node.log().matches("draining sessions").count() > before).then_some(())
    });
    assert_eq!(node.ask("/readyz"), (503, "draining\n".to_owned()));
    node.signal(Signal::SIGTERM);
    assert_eq!(node.exited().code(), Some(130), "{}", node.log());
    held.clear();
}

#[test]
fn a_router_told_to_stop_lets_the_nodes_send_its_sockets_away() {
    let bench = Bench::new();
    let (mut router, mut node) = (bench.router(), bench.node("node-1", &[]));
    node.serving();
    let client = conversation(&mut router);
    let mut socket = socket(&client);
    router.signal(Signal::SIGTERM);
    let (reconnect, code) = drained(&mut socket);
    assert!(reconnect && code == Some(1012), "{reconnect} {code:?}");
    assert_eq!(router.exited().code(), Some(0), "{}", router.log());
    assert_eq!(node.ask("/readyz").0, 200);
}

#[test]
fn redis_gone_for_a_while_is_told_and_everything_goes_on_by_itself() {
    let mut bench = Bench::new();
    let (mut router, mut node) = (bench.router(), bench.node("node-1", &[]));
    node.serving();
    let client = conversation(&mut router);
    send(&client, "before");
    bench.redis = None;
    until("it says so", || {
        node.log()
            .contains("the table cannot be read")
            .then_some(())
    });
    assert_eq!(node.ask("/livez").0, 200);
    assert_eq!(
        node.ask("/readyz").0,
        200,
        "an outage must not take every node out"
    );
    assert_eq!(router.ask("/readyz").0, 200, "it has a table: reads go on");
    assert_eq!(texts(&client), ["before"]);
    bench.start_redis();
    until("it says that it is over", || {
        node.log()
            .contains("the table can be read again")
            .then_some(())
    });
    send(&client, "after");
    assert_eq!(texts(&client), ["before", "after"]);
    bench.redis = None;
    assert_eq!(node.terminate(), Some(0), "{}", node.log());
    assert_eq!(router.terminate(), Some(0), "{}", router.log());
}

#[test]
fn what_does_not_belong_together_is_refused_in_one_line() {
    let bench = Bench::new();
    let mut node = bench.node("node-1", &[]);
    node.serving();
    let own = bench.data("node-1");
    let own = own.to_str().unwrap();
    let line = bench.refused("node-1", &[]);
    assert!(
        line.contains(own) && line.contains("in use by another process"),
        "{line}"
    );
    let line = bench.refused("node-2", &["--shards", "8"]);
    assert!(
        line.contains("was made with 4 shards, not 8; give --shards 4"),
        "{line}"
    );
    assert_eq!(node.terminate(), Some(0));
    let line = bench.refused("node-2", &["--data", own]);
    assert!(line.contains("belongs to node-1, not to node-2"), "{line}");
    let line = bench.refused("node-1", &["--redis-prefix", "other"]);
    assert!(
        line.contains("Redis knows no cluster") && line.contains("--adopt-local"),
        "{line}"
    );
    assert_eq!(
        bench.redis(&["KEYS", "{other*"]).trim(),
        "",
        "nothing was created"
    );
    let mut other = bench.node("other-1", &["--redis-prefix", "other"]);
    other.serving();
    let line = bench.refused("node-1", &["--redis-prefix", "other"]);
    assert!(line.contains("but Redis holds cluster"), "{line}");
    // Unharmed by all of this.
    bench.node("node-1", &[]).serving();
}

#[test]
fn what_all_processes_must_share_is_not_made_up() {
    let bench = Bench::without_redis();
    for (kind, without, names) in [
        (
            "node",
            "ROOKERY_JWT_SECRET",
            "set ROOKERY_JWT_SECRET or ROOKERY_JWT_SECRET_FILE, or give --jwks",
        ),
        (
            "node",
            "ROOKERY_CLUSTER_KEY",
            "set ROOKERY_CLUSTER_KEY or ROOKERY_CLUSTER_KEY_FILE",
        ),
        ("node", "ROOKERY_REDIS", "give --redis"),
        (
            "router",
            "ROOKERY_JWT_SECRET",
            "set ROOKERY_JWT_SECRET or ROOKERY_JWT_SECRET_FILE, or give --jwks",
        ),
        (
            "router",
            "ROOKERY_CLUSTER_KEY",
            "set ROOKERY_CLUSTER_KEY or ROOKERY_CLUSTER_KEY_FILE",
        ),
        ("router", "ROOKERY_REDIS", "give --redis"),
    ] {
        let mut command = if kind == "node" {
            bench.node_command("n", &[])
        } else {
            bench.command(kind, "n")
        };
        command.env_remove(without);
        let line = Spawned::start(
            command,
            bench.folder.path(),
            &format!("{kind}-without-{without}"),
        )
        .refusal();
        assert!(line.contains(names), "{kind}: {line}");
    }
    assert!(!bench.data("n").exists(), "nothing was touched");
}

#[test]
fn a_redis_that_lost_everything_is_refused_until_the_folders_are_adopted() {
    let bench = Bench::new();
    let (mut router, mut node) = (bench.router(), bench.node("node-1", &[]));
    node.serving();
    let client = conversation(&mut router);
    (0..5).for_each(|number| send(&client, &format!("m{number}")));
    assert_eq!(node.terminate(), Some(0));
    bench.redis(&["FLUSHALL"]);
    let line = bench.refused("node-1", &[]);
    assert!(
        line.contains("Redis knows no cluster") && line.contains("--adopt-local"),
        "{line}"
    );
    assert_eq!(bench.redis(&["DBSIZE"]).trim(), "0", "nothing was created");
    let mut node = bench.node("node-1", &["--adopt-local"]);
    node.serving();
    // The router lived through all of it, and follows the table that came back.
    send(&client, "m5");
    assert_eq!(texts(&client), ["m0", "m1", "m2", "m3", "m4", "m5"]);
    node.kill9();
    let mut node = bench.node("node-1", &[]);
    node.serving();
    assert_eq!(texts(&client).len(), 6);
}

/// Starts node-1, which refuses this shard and serves the others; the line that says why.
fn refused_shard(bench: &Bench, shard: u16) -> String {
    let mut node = bench.node("node-1", &[]);
    node.serving();
    let (status, ready) = node.ask("/readyz");
    assert!(status == 200 && ready.starts_with("ok\n"), "{ready}");
    let line = ready.lines().nth(1).expect("it names the shard").to_owned();
    let cluster: Value = serde_json::from_str(&node.ask("/cluster").1).unwrap();
    for of in cluster["shards"].as_array().unwrap() {
        let is_refused = of["shard"] == shard;
        assert_eq!(
            (of["refused"] == json!(line), of["epoch"].is_u64()),
            (is_refused, !is_refused),
            "{of}"
        );
    }
    assert!(node.log().contains("ERROR"), "a person must look");
    assert_eq!(node.terminate(), Some(0));
    line
}

#[test]
fn a_shard_that_redis_lost_or_trimmed_is_refused_and_costs_itself_only() {
    let bench = Bench::new();
    let (mut router, mut node) = (bench.router(), bench.node("node-1", &[]));
    node.serving();
    let client = conversation(&mut router);
    (0..5).for_each(|number| send(&client, &format!("m{number}")));
    assert_eq!(node.terminate(), Some(0));
    let longest = |stream: &str| {
        let length = |shard: &u16| {
            bench
                .redis(&["XLEN", &format!("{{rk:s{shard}}}:{stream}")])
                .trim()
                .parse::<u64>()
                .unwrap()
        };
        (0..4).max_by_key(length).unwrap()
    };
    let shard = longest("messages");
    // The entries are gone, and so is the file that had applied them.
    bench.redis(&["XTRIM", &format!("{{rk:s{shard}}}:messages"), "MAXLEN", "1"]);
    let file = bench
        .data("node-1")
        .join(format!("shards/{shard:04}.sqlite"));
    let aside = bench.folder.path().join("aside.sqlite");
    std::fs::rename(&file, &aside).unwrap();
    let line = refused_shard(&bench, shard);
    assert!(
        line.contains("what lies between was trimmed") && line.contains(&format!("s{shard}")),
        "{line}"
    );
    std::fs::remove_file(&file).unwrap();
    std::fs::rename(&aside, &file).unwrap();
    let mut node = bench.node("node-1", &[]);
    node.serving();
    assert_eq!(texts(&client).len(), 5);
    assert_eq!(node.terminate(), Some(0));
    // The control record is gone.
    let keys = ["ctl", "messages", "receipts"].map(|key| format!("{{rk:s{shard}}}:{key}"));
    bench.redis(&["DEL", &keys[0], &keys[1], &keys[2]]);
    let line = refused_shard(&bench, shard);
    assert!(
        line.contains("the log knows nothing of this shard") && line.contains("--adopt-local"),
        "{line}"
    );
    let mut node = bench.node("node-1", &["--adopt-local"]);
    node.serving();
    assert_eq!(texts(&client).len(), 5);
}

/// Of a conversation: that its people are told neither that they are none of it nor that there is
/// none, and that nobody else gets its name.
fn is_unavailable_and_not_gone(client: &str, name: &str) {
    let (status, body) = get(
        client,
        &format!("/v1/conversations/{name}/messages"),
        Some("alice"),
    );
    assert_eq!(status, 503, "{name}: {body}");
    let (status, body) = post(
        client,
        &format!("/v1/conversations/{name}/messages"),
        &json!({"text": "x"}),
    );
    assert_eq!(status, 503, "{name}: {body}");
    let (status, body) = post(
        client,
        "/v1/conversations",
        &json!({"name": name, "participants": ["mallory"]}),
    );
    assert_eq!(status, 503, "{name}: {body}");
}

#[test]
fn a_redis_that_is_emptied_under_running_nodes_makes_nobody_begin_anew() {
    let bench = Bench::new();
    let arguments = [
        "--expect-nodes",
        "4",
        "--shards",
        "16",
        "--replicas",
        "2",
        "--balance",
        "off",
    ];
    let names = ["node-1", "node-2", "node-3", "node-4"];
    let mut router = bench.router();
    let mut nodes: Vec<Spawned> = names
        .iter()
        .map(|name| bench.node(name, &arguments))
        .collect();
    nodes.iter_mut().for_each(|node| drop(node.serving()));
    let client = conversation(&mut router);
    let conversations: Vec<String> = (0..6).map(|number| format!("c{number}")).collect();
    for name in &conversations {
        let (status, body) = post(
            &client,
            "/v1/conversations",
            &json!({"name": name, "participants": ["bob"]}),
        );
        assert_eq!(status, 201, "{body}");
        let message = json!({"text": text_in(name)});
        let (status, body) = post(
            &client,
            &format!("/v1/conversations/{name}/messages"),
            &message,
        );
        assert_eq!(status, 201, "{body}");
    }
    // What is only in Redis goes with it.
    until("owners and standbys have all of it in their files", || {
        let copies = |name: &String| {
            names
                .iter()
                .filter(|node| bench.has_in_files(node, &text_in(name)))
                .count()
        };
        conversations
            .iter()
            .all(|name| copies(name) == 2)
            .then_some(())
    });
    let table = |bench: &Bench| -> Option<Value> {
        serde_json::from_str(&bench.redis(&["HGET", "{rk:table}:table", "body"])).ok()
    };
    let before = until("every shard is claimed", || {
        table(&bench).filter(|table| {
            table["claimed"]
                .as_array()
                .is_some_and(|claimed| claimed.len() == 16)
        })
    });
    let leader = bench.redis(&["GET", "{rk:table}:leader"]).trim().to_owned();

    bench.redis(&["FLUSHALL"]);
    let place = names
        .iter()
        .position(|name| *name == leader)
        .expect("one leads");
    nodes[place].kill9();
    until("the table is written again", || table(&bench));
    nodes[place] = bench.node(&leader, &arguments);
    nodes[place].serving();
    let another = until("another one leads", || {
        let leads = bench.redis(&["GET", "{rk:table}:leader"]).trim().to_owned();
        (!leads.is_empty()).then_some(leads)
    });

    // Every node sees that its shards have gone, and each looks again at least once.
    let told = |node: &Spawned| node.log().matches("a shard cannot be opened").count();
    let owned = |table: &Value| {
        let rows = table["rows"].as_array().expect("rows").clone();
        names.map(|name| rows.iter().filter(|row| row[0] == name).count())
    };
    until("each node refuses what it owned", || {
        nodes
            .iter()
            .zip(owned(&before))
            .all(|(node, owned)| told(node) >= owned)
            .then_some(())
    });
    // Several nodes write what they remember; together that is everything.
    let after = until("the table has what it had", || {
        table(&bench).filter(|table| table["claimed"] == before["claimed"])
    });
    assert_eq!(after["rows"], before["rows"], "led by {another} now");
    for shard in 0..16 {
        let control = bench.redis(&["EXISTS", &format!("{{rk:s{shard}}}:ctl")]);
        assert_eq!(control.trim(), "0", "s{shard} began anew");
    }
    conversations
        .iter()
        .for_each(|name| is_unavailable_and_not_gone(&client, name));

    // What the line of refusal says: everything comes back from the files.
    for (node, name) in nodes.iter_mut().zip(names) {
        assert_eq!(node.terminate(), Some(0));
        *node = bench.node(name, &[&arguments[..], &["--adopt-local"]].concat());
    }
    nodes.iter_mut().for_each(|node| drop(node.serving()));
    for name in &conversations {
        let found = until("its messages are back", || {
            let (status, body) = get(
                &client,
                &format!("/v1/conversations/{name}/messages"),
                Some("bob"),
            );
            (status == 200).then_some(body)
        });
        assert!(
            found.contains(&format!("\"text\":\"{}\"", text_in(name))),
            "{found}"
        );
    }
}

/// A text that stands in files for nothing else.
fn text_in(name: &str) -> String {
    format!("what was said in {name}")
}

#[test]
fn the_peer_port_is_closed_to_whoever_lacks_the_key() {
    let bench = Bench::new();
    let mut node = bench.node("node-1", &[]);
    let peer = node.serving()["peer"].as_str().unwrap().to_owned();
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00"[..],
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        &[0xff; 70_000],
        b"",
    ] {
        let mut stream = TcpStream::connect(&peer).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        drop(stream.write_all(garbage));
        let mut answer = Vec::new();
        // Closed or reset; whatever is said before tells nothing.
        drop(stream.read_to_end(&mut answer));
        assert!(
            answer.len() < 1_000 && !answer.starts_with(b"HTTP/1.1 101"),
            "{answer:?}"
        );
    }
    // A node of the cluster in everything but the key.
    let mut command = bench.node_command("node-2", &[]);
    command.env(
        "ROOKERY_CLUSTER_KEY",
        "another-key-0123456789-0123456789-0123456789",
    );
    let mut stranger = Spawned::start(command, bench.folder.path(), "node-2");
    stranger.serving();
    let mut router = bench.router();
    let client = conversation(&mut router);
    send(&client, "served all the same");
    // Neither the stranger's link to the node is taken nor one of a router with its key.
    let mut command = bench.command("router", "router-2");
    command.env(
        "ROOKERY_CLUSTER_KEY",
        "another-key-0123456789-0123456789-0123456789",
    );
    let mut its_router = Spawned::start(command, bench.folder.path(), "router-2");
    until("its link is refused", || {
        let client = its_router.serving()["client"].as_str()?.to_owned();
        let (status, _) = post(
            &client,
            "/v1/conversations",
            &json!({"name": "x", "participants": ["bob"]}),
        );
        assert_ne!(status, 201, "through a link without the key");
        node.log().contains("peer connection refused").then_some(())
    });
    for process in [&node, &stranger] {
        assert!(!process.log().contains("ERROR"), "{}", process.log());
    }
}

#[test]
fn a_node_that_listens_everywhere_tells_others_the_name_of_its_host() {
    let bench = Bench::new();
    let mut node = bench.node("node-1", &["--peer-listen", "0.0.0.0:0"]);
    let ready = node.serving();
    let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
    assert!(
        ready["peer"]
            .as_str()
            .unwrap()
            .starts_with(&format!("{host}:")),
        "{ready}"
    );
    let mut router = bench.router();
    let client = conversation(&mut router);
    send(&client, "by name");
}

#[test]
fn a_router_full_of_idle_connections_serves_a_new_client_and_its_metric_says_so() {
    let bench = Bench::new();
    let mut command = bench.command("router", "router");
    command.args(["--connections-max", "2"]);
    let mut router = Spawned::start(command, bench.folder.path(), "router");
    let mut node = bench.node("node-1", &[]);
    node.serving();
    let client = conversation(&mut router);
    // Newcomers find their places in any order: all are to be there, and nobody else, before
    // another one comes.
    let are_there = |count: usize| {
        let line = format!("rookery_router_connections {count}");
        until(&line, || {
            router
                .ask("/metrics")
                .1
                .lines()
                .any(|told| told == line)
                .then_some(())
        });
    };
    are_there(0);
    let mut idle: Vec<TcpStream> = (0..2)
        .map(|_| TcpStream::connect(&client).unwrap())
        .collect();
    are_there(2);
    until("one gives way", || {
        (get(&client, "/v1/conversations/c", Some("bob")).0 == 200).then_some(())
    });

    let ended = until("its end is told", || {
        let mut ended = 0;
        for stream in &mut idle {
            stream
                .set_read_timeout(Some(Duration::from_millis(10)))
                .unwrap();
            ended += usize::from(matches!(stream.read(&mut [0; 1]), Ok(0)));
        }
        (ended > 0).then_some(ended)
    });
    assert_eq!(ended, 1, "and one only");
    let (_, metrics) = router.ask("/metrics");
    let evicted = r#"rookery_http_connections_evicted_total{role="router",reason="unused"} 1"#;
    assert!(metrics.lines().any(|line| line == evicted), "{metrics}");
    let refused = router
        .ask("/metrics")
        .1
        .contains(r#"rookery_http_connections_refused_total{role="router"} "#);
    assert!(refused, "counted from the start");
}

#[test]
fn each_refusal_is_in_the_log_of_the_node_with_user_code_and_route_and_nothing_of_what_was_sent() {
    let bench = Bench::new();
    let (mut router, mut node) = (
        bench.router(),
        bench.node("node-1", &["--log-level", "debug"]),
    );
    node.serving();
    let client = conversation(&mut router);
    let stranger = token("mallory");
    let head = format!(
        "POST /v1/conversations/c/messages HTTP/1.1\r\nAuthorization: Bearer {stranger}\r\n\
         Content-Type: application/json\r\nX-Request-Id: of-a-stranger\r\n"
    );
    let (status, body) = http(
        &client,
        &head,
        &json!({"text": "a secret text"}).to_string(),
    )
    .unwrap();
    assert_eq!(status, 403, "{body}");
    let line_with = |parts: [&str; 2]| {
        until("it is told", || {
            let log = node.log();
            let line = log
                .lines()
                .find(|line| parts.iter().all(|part| line.contains(part)))?;
            Some(line.to_owned())
        })
    };
    let line = line_with(["of-a-stranger", "request refused"]);
    let route = "route=\"/conversations/{name}/messages\"";
    for part in [
        "DEBUG",
        "method=POST",
        route,
        "status=403",
        "code=\"not_participant\"",
        "user=mallory",
    ] {
        assert!(line.contains(part), "{part} in {line}");
    }

    let mut socket = socket(&client);
    let frame =
        json!({"t": "send", "conversation": "elsewhere", "text": "a secret text"}).to_string();
    socket.send(tungstenite::Message::text(frame)).unwrap();
    let line = line_with(["frame refused", "code=\"not_participant\""]);
    assert!(
        line.contains("DEBUG") && line.contains("user=bob") && line.contains("status=403"),
        "{line}"
    );
    for secret in ["a secret text", stranger.as_str(), "conversations/c/"] {
        assert!(!node.log().contains(secret), "{secret}");
    }
}

/// Clients that send and read until this is dropped, whatever becomes of what they ask.
struct Load {
    over: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    fn on(client: &str) -> Self {
        let (over, sent) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let mut clients: Vec<JoinHandle<()>> = Vec::new();
        for _ in 0..2 {
            let (client, over, sent) = (client.to_owned(), Arc::clone(&over), Arc::clone(&sent));
            clients.push(std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let bearer = format!(
                        "Authorization: Bearer {}\r\nContent-Type: application/json\r\n",
                        token("alice")
                    );
                    let head = format!("POST /v1/conversations/c/messages HTTP/1.1\r\n{bearer}");
                    let answer = http(&client, &head, &json!({"text": "on and on"}).to_string());
                    sent.fetch_add(
                        usize::from(answer.is_some_and(|(status, _)| status == 201)),
                        Ordering::Relaxed,
                    );
                }
            }));
        }
        for _ in 0..3 {
            let mut socket = socket(client);
            clients.push(std::thread::spawn(move || {
                drained(&mut socket);
            }));
        }
        let load = Self {
            over,
            sent,
            clients,
        };
        until("the load is on", || {
            (load.sent.load(Ordering::Relaxed) > 30).then_some(())
        });
        load
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.clients
            .drain(..)
            .for_each(|client| drop(client.join()));
    }
}

/// Ended with 0, and since it was told to stop no line asks anybody to look.
fn ended_in_silence(process: &mut Spawned) {
    assert_eq!(process.exited().code(), Some(0), "{}", process.log());
    let log = process.log();
    let (_, end) = log.split_once(" stopping ").expect("it says that it stops");
    let told: Vec<&str> = end
        .lines()
        .filter(|line| line.contains(" WARN ") || line.contains(" ERROR "))
        .collect();
    assert!(told.is_empty(), "{}: {told:#?}", process.name);
}

#[test]
fn one_process_that_is_told_to_stop_under_load_warns_of_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let ready = folder.path().join("dev.ready");
    let mut command = Command::new(env!("CARGO_BIN_EXE_rookery"));
    command
        .env_clear()
        .env("ROOKERY_JWT_SECRET", SECRET)
        .current_dir(folder.path());
    command.args([
        "dev",
        "--listen",
        "127.0.0.1:0",
        "--operations-listen",
        "127.0.0.1:0",
        "--data",
    ]);
    command
        .arg(folder.path().join("data"))
        .arg("--ready-file")
        .arg(ready);
    let mut process = Spawned::start(command, folder.path(), "dev");
    let client = conversation(&mut process);
    let load = Load::on(&client);
    process.signal(Signal::SIGTERM);
    ended_in_silence(&mut process);
    drop(load);
}

#[test]
fn nodes_and_routers_that_are_told_to_stop_under_load_warn_of_nothing() {
    let bench = Bench::new();
    let arguments = ["--expect-nodes", "2", "--replicas", "2"];
    let mut router = bench.router();
    let mut nodes = ["node-1", "node-2"].map(|name| bench.node(name, &arguments));
    nodes.iter_mut().for_each(|node| drop(node.serving()));
    let client = conversation(&mut router);
    let load = Load::on(&client);
    router.signal(Signal::SIGTERM);
    ended_in_silence(&mut router);
    drop(load);

    let mut router = bench.router();
    let client = router.serving()["client"].as_str().unwrap().to_owned();
    let load = Load::on(&client);
    nodes.iter().for_each(|node| node.signal(Signal::SIGTERM));
    nodes.iter_mut().for_each(ended_in_silence);
    drop(load);
}

type Socket = tungstenite::WebSocket<TcpStream>;

/// A session of bob that is past its start.
fn socket(client: &str) -> Socket {
    let stream = TcpStream::connect(client).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut request = format!("ws://{client}/v1/ws")
        .into_client_request()
        .unwrap();
    request.headers_mut().insert(
        "authorization",
        format!("Bearer {}", token("bob")).parse().unwrap(),
    );
    let (mut socket, _) = tungstenite::client(request, stream).unwrap();
    loop {
        let frame = socket.read().unwrap();
        if frame.is_text() && frame.to_text().unwrap().contains("\"ready\"") {
            return socket;
        }
    }
}

/// Reads to the end: whether it was told to connect again, and the code of the close.
fn drained(socket: &mut Socket) -> (bool, Option<u16>) {
    let mut reconnect = false;
    loop {
        match socket.read() {
            Ok(tungstenite::Message::Text(text)) => reconnect |= text.contains("\"reconnect\""),
            Ok(tungstenite::Message::Close(frame)) => {
                return (reconnect, frame.map(|frame| frame.code.into()));
            }
            Ok(_) => {}
            Err(_) => return (reconnect, None),
        }
    }
}
