//! Start and end of the process.

use std::process::Output;

use futures_util::future::join_all;
use http::Method;
use serde_json::json;

use crate::support::client::Client;
use crate::support::server::{Server, shared};
use crate::support::socket::Socket;
use crate::support::{Fields, Group, eventually};

/// A process that refuses to run says why in its last line, without a stack trace, and fails.
fn refusal(output: &Output, why: &str) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "it ended well: {said}");
    assert!(output.status.code().is_some(), "it was ended by a signal: {said}");
    assert!(!said.contains("panicked") && !said.contains("stack backtrace"), "{said}");
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    assert!(last.contains(why), "the last line names {why:?}: {said}");
}

// what must not happen: 8 — the end of the process is an orderly one, and nothing waits only in memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_finishes_what_is_begun_tells_the_sockets_and_exits_with_0() {
    let mut server = Server::start();
    let group = Group::create(&server, 4).await;
    let mut sockets = Vec::new();
    for member in &group.members {
        sockets.push(Socket::ready(&server, member.user()).await);
    }
    let senders: Vec<_> = group
        .members
        .iter()
        .map(|member| {
            let (member, path) = (member.clone(), group.path("/messages"));
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for i in 0.. {
                    let body = json!({"text": format!("{i}")}).to_string();
                    let headers = [("content-type", "application/json")];
                    match member.try_call(Method::POST, &path, &headers, body.into()).await {
                        Ok(answer) if answer.status == 201 => acknowledged.push(answer.json()),
                        Ok(answer) => {
                            assert_eq!(answer.status, 503, "{answer:?}");
                            break;
                        }
                        Err(_) => break,
                    }
                }
                acknowledged
            })
        })
        .collect();
    sockets[0].until_seq(&group.name, 40).await;
    server.ask_to_end();
    let closing = sockets.into_iter().map(|mut socket| {
        tokio::spawn(async move {
            let code = socket.closed().await;
            (code, socket.frames)
        })
    });
    for closed in join_all(closing).await {
        let (code, frames) = closed.unwrap();
        let reconnect = frames.iter().find(|frame| frame["t"] == "reconnect");
        let reconnect = reconnect.expect("a reconnect frame before the close");
        assert!(reconnect["after_ms"].is_u64() && !reconnect.text("reason").is_empty(), "{reconnect}");
        assert_eq!(code, Some(1012));
    }
    let status = server.exited().await;
    assert_eq!(status.code(), Some(0));
    server.restart();
    let events = server.client(group.admin.user()).all_events(&group.name).await;
    for acknowledged in join_all(senders).await {
        for message in acknowledged.unwrap() {
            let at = usize::try_from(message.number("seq")).unwrap() - 1;
            assert_eq!(events[at]["id"], message["id"], "acknowledged before the end");
        }
    }
}

#[tokio::test]
async fn a_second_process_on_the_same_folder_is_refused() {
    let server = shared();
    let data = server.data();
    let folder = data.to_str().unwrap();
    let output =
        Server::run_to_end(&["dev", "--listen", "127.0.0.1:0", "--operations-listen", "127.0.0.1:0", "--data", folder])
            .await;
    refusal(&output, folder);
    // The first one is unharmed.
    Group::create(&server, 1).await;
}

#[tokio::test]
async fn a_port_in_use_is_refused() {
    let server = shared();
    let address = server.address().to_string();
    let output =
        Server::run_to_end(&["dev", "--listen", &address, "--operations-listen", "127.0.0.1:0", "--data", "data"])
            .await;
    refusal(&output, &address);
    let operations = server.operations().to_string();
    let output =
        Server::run_to_end(&["dev", "--listen", "127.0.0.1:0", "--operations-listen", &operations, "--data", "data"])
            .await;
    refusal(&output, &operations);
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_refused() {
    let output = Server::run_to_end(&[
        "dev",
        "--listen",
        "127.0.0.1:0",
        "--operations-listen",
        "127.0.0.1:0",
        "--data",
        "/dev/null/rookery",
    ])
    .await;
    refusal(&output, "/dev/null/rookery");
}

#[tokio::test]
async fn another_number_of_shards_on_the_same_data_is_refused() {
    let mut server = Server::start_with(&["--shards", "4"]);
    Group::create(&server, 1).await;
    assert!(server.terminate().await.success());
    let data = server.data();
    let output = Server::run_to_end(&[
        "dev",
        "--listen",
        "127.0.0.1:0",
        "--operations-listen",
        "127.0.0.1:0",
        "--data",
        data.to_str().unwrap(),
        "--shards",
        "8",
    ])
    .await;
    refusal(&output, "shards");
    server.restart();
    Group::create(&server, 1).await;
}

#[tokio::test]
async fn a_mistaken_command_line_is_refused() {
    for arguments in [&["dev", "--listen", "nonsense"][..], &["dev", "--colour", "blue"], &["nonsense"]] {
        let output = Server::run_to_end(arguments).await;
        assert!(!output.status.success() && output.status.code().is_some(), "{arguments:?}: {output:?}");
        assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"), "{output:?}");
    }
}

#[tokio::test]
async fn the_token_command_makes_a_token_that_the_server_takes() {
    let server = shared();
    let output = Server::run_to_end(&["token", "zoe"]).await;
    assert!(output.status.success(), "{output:?}");
    let token = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    let zoe = server.client("zoe").with_token(Some(token));
    let made = zoe.create(&["bob"]).await;
    assert_eq!(made.text("admin"), "zoe");
}

#[tokio::test]
async fn help_explains_the_flags_and_shows_no_secret() {
    for arguments in [&["--help"][..], &["dev", "--help"], &["token", "--help"]] {
        let output = Server::run_to_end(arguments).await;
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(!said.contains(crate::support::SECRET), "{said}");
        assert!(!said.is_empty());
    }
}

#[tokio::test]
async fn the_operations_port_tells_how_the_process_is() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    group.admin.say(&group.name, "counted").await;
    let operations = Client::new(server.operations(), "operator").with_token(None);
    for path in ["/livez", "/readyz"] {
        assert_eq!(operations.get(path).await.status, 200, "{path}");
    }
    let cluster = operations.get("/cluster").await.json();
    assert!(cluster.to_string().contains("owner"), "{cluster}");
    let metrics = eventually("the metrics show the requests", || async {
        let answer = operations.get("/metrics").await;
        assert_eq!(answer.status, 200);
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        text.contains("# HELP").then_some(text)
    })
    .await;
    assert!(metrics.contains("# TYPE"), "{metrics}");
    for private in [group.name.as_str(), group.admin.user()] {
        assert!(!metrics.contains(private), "no label names a conversation or a user: {private}");
    }
}

#[tokio::test]
async fn live_sessions_are_counted_over_all_nodes() {
    let server = Server::start();
    let operations = Client::new(server.operations(), "operator").with_token(None);
    let told = |count: usize| {
        let line = format!("\nrookery_session_live {count}\n");
        let operations = operations.clone();
        async move {
            eventually("the metric tells the sessions", || async {
                let answer = operations.get("/metrics").await;
                String::from_utf8_lossy(&answer.body).contains(&line).then_some(())
            })
            .await;
        }
    };
    let mut sockets = Vec::new();
    for number in 0..9 {
        sockets.push(Socket::ready(&server, &format!("user-{number}")).await);
    }
    told(9).await;
    sockets.truncate(2);
    told(2).await;
}
