//! `rookery check` and its `--repair`, after rows of users' lists were changed behind the back of a
//! process that did not run.

use std::process::Output;

use crate::support::backup::rookery;
use crate::support::client::Client;
use crate::support::damage::change_a_row;
use crate::support::embedded::Process;
use crate::support::{Fields, eventually, unique};

/// Runs a check of this process.
async fn check(process: &Process, more: &[&str]) -> (Output, String) {
    let operations = format!("http://{}", process.operations());
    let data = process.data();
    let arguments = ["check", "--pause", "1ms", "--operations", &operations];
    let mut command = tokio::process::Command::from(rookery(&arguments));
    let output = command
        .arg("--data")
        .arg(data)
        .args(more)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (output, said)
}

/// The names in a user's list.
async fn list(client: &Client) -> Vec<String> {
    let page = client.get("/v1/conversations?limit=100").await.expect(200);
    let mut names: Vec<String> = page
        .list("items")
        .iter()
        .map(|item| item.text("name").to_owned())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn wrong_rows_of_a_list_are_told_by_a_check_and_mended_by_its_repair() {
    let mut process = Process::start(&["--shards", "4"]);
    let (admin, member) = (unique("alice"), unique("bob"));
    let alice = Client::new(process.address(), &admin);
    let mut names = Vec::new();
    for _ in 0..4 {
        let name = alice.create(&[&member]).await.text("name").to_owned();
        alice.say(&name, "hello").await;
        names.push(name);
    }
    let [lacking, turned, left, well] = &names[..] else {
        panic!("four of them")
    };
    alice.remove(left, &member).await.expect(204);

    let bob = Client::new(process.address(), &member);
    let mut right = vec![lacking.clone(), turned.clone(), well.clone()];
    right.sort();
    assert_eq!(list(&bob).await, right);
    let (output, said) = check(&process, &[]).await;
    assert!(output.status.success(), "{said}");
    assert!(said.contains("0 differ, 0 of them were mended, 0 could not"));

    process.ask_to_end();
    assert!(process.exited().await.success());
    let of = |name: &str| format!("WHERE user = '{member}' AND conversation = '{name}'");
    let data = process.data();
    change_a_row(&data, &format!("DELETE FROM user_index {}", of(lacking))).await;
    for (name, joined) in [(turned, 0), (left, 1)] {
        let statement = format!("UPDATE user_index SET joined = {joined} {}", of(name));
        change_a_row(&data, &statement).await;
    }
    process.restart();

    let (output, said) = check(&process, &[]).await;
    assert_eq!(output.status.code(), Some(1), "{said}");
    for (what, name) in [("lacks", lacking), ("lacks", turned)] {
        let words = format!("the list of {member} {what} {name}, where they take part");
        assert!(said.contains(&words), "{words}: {said}");
    }
    let words = format!("the list of {member} has {left}, where they take no part");
    assert!(said.contains(&words), "{said}");
    assert!(!said.contains(well.as_str()), "{said}");
    assert!(said.contains("3 differ, 0 of them were mended"), "{said}");

    // A row that was turned has the seq of its event: what wins over it is as of a later one.
    let alice = Client::new(process.address(), &admin);
    alice.say(left, "they are gone").await;
    let (output, said) = check(&process, &["--repair", "--by", "tess"]).await;
    assert!(output.status.success(), "{said}");
    assert!(said.contains("3 differ, 3 of them were mended"), "{said}");
    let bob = Client::new(process.address(), &member);
    assert_eq!(list(&bob).await, right);
    eventually("the repair is in the log", || async {
        let log = process.log();
        log.lines()
            .any(|line| line.contains("mended") && line.contains("tess"))
            .then_some(())
    })
    .await;

    let (output, said) = check(&process, &[]).await;
    assert!(output.status.success(), "{said}");
    assert!(said.contains("0 differ"), "{said}");

    // What was mended goes on like any other.
    alice.remove(turned, &member).await.expect(204);
    right.retain(|name| name != turned);
    assert_eq!(list(&bob).await, right);
}

#[tokio::test]
async fn a_repair_needs_the_cluster_key() {
    let process = Process::start(&["--shards", "4"]);
    let operations = format!("http://{}", process.operations());
    let arguments = ["check", "--repair", "--operations", &operations];
    let mut command = tokio::process::Command::from(rookery(&arguments));
    let elsewhere = tempfile::tempdir().unwrap();
    command.arg("--data").arg(elsewhere.path());
    let output = command.output().await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no key"));
}
