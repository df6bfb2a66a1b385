//! Processes that are told to stop send their sockets away, and end in silence.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use nix::sys::signal::Signal;
use serde_json::json;

use super::bench::Bench;
use super::client::{Socket, conversation, drained, http, socket, token};
use super::spawned::Spawned;
use super::{SECRET, until};

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
