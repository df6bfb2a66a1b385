//! A load test that finds nothing wrong is worth something only if it can find something wrong:
//! against a small server that loses, doubles, reorders or lies, the program must say which, and
//! end with its exit code for it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at what it did not expect"
)]

#[path = "support/faulty.rs"]
mod faulty;
mod support;

use faulty::Break;
use serde_json::Value;

use support::{Ran, assert_fits_schema, loadtest};

/// A run of two seconds against a server that breaks this promise.
async fn run(broken: Break, more: &[&str]) -> (Ran, Value) {
    let url = faulty::start(broken).await;
    let line = "--rate 100 --spacing fixed --duration 2s --warm-up 0s --users 6 --members 3 --conversations 2 --patience 8s";
    let mut arguments = vec![
        "steady",
        "--url",
        &url,
        "--token-command",
        "printf '%s' token-of-{user}",
    ];
    arguments.extend(line.split(' ').chain(more.iter().copied()));
    let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
    let running = move || loadtest(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let ran = tokio::task::spawn_blocking(running).await.unwrap();
    let report = ran.report();
    assert_fits_schema(&report);
    (ran, report)
}

/// The run must have ended with 3, with one of these counts above 0 and a sentence with this word.
fn assert_found(ran: &Ran, report: &Value, count: &str, word: &str) {
    assert_eq!(ran.code, Some(3), "{}", ran.said());
    assert_eq!(report["verdict"]["passed"], false, "{}", ran.said());
    assert!(
        report["audit"][count].as_u64().unwrap() > 0,
        "{count}: {}",
        ran.said()
    );
    let faults = report["verdict"]["faults"].to_string();
    assert!(faults.contains(word), "{word}: {}", ran.said());
    assert!(
        ran.printed.contains("FAULT") && ran.printed.contains("FAILED"),
        "{}",
        ran.said()
    );
    assert!(
        ran.page().contains("<strong>Failed.</strong>"),
        "the page does not say so"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_keeps_its_promises_passes() {
    let (ran, report) = run(Break::Nothing, &[]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.said());
    assert_eq!(report["steady"]["sends"]["accepted"], 200, "{}", ran.said());
    assert_eq!(report["audit"]["delivered"], 600, "{}", ran.said());
    assert!(report["steady"]["server"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_message_that_is_not_in_the_history_is_found() {
    let (ran, report) = run(Break::Forget, &[]).await;
    assert_found(
        &ran,
        &report,
        "history_missing",
        "not in the history (lost)",
    );
    assert_eq!(
        report["audit"]["history_missing"],
        20,
        "every tenth of 200: {}",
        ran.said()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_never_comes_is_found() {
    let (ran, report) = run(Break::LoseFrame, &[]).await;
    assert_found(
        &ran,
        &report,
        "missing",
        "never reached their session (lost)",
    );
    assert_eq!(
        report["audit"]["missing"],
        60,
        "20 messages to 3 members each: {}",
        ran.said()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_comes_twice_is_found() {
    let (ran, report) = run(Break::DoubleFrame, &[]).await;
    assert_found(&ran, &report, "doubled", "(doubled)");
    assert_eq!(report["audit"]["doubled"], 60, "{}", ran.said());
    assert_eq!(report["audit"]["missing"], 0, "{}", ran.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_that_change_places_are_found() {
    let (ran, report) = run(Break::SwapFrames, &[]).await;
    assert_found(&ran, &report, "out_of_order", "(order)");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_written_twice_is_found() {
    let (ran, report) = run(Break::WriteTwice, &[]).await;
    assert_found(&ran, &report, "history_doubled", "more than once (doubled)");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_was_written_all_the_same_is_found_and_counted_by_its_code() {
    let (ran, report) = run(Break::WriteRefused, &[]).await;
    assert_found(&ran, &report, "history_unwritten", "nothing was written");
    let error = &report["steady"]["errors"][0];
    assert_eq!(
        (
            error["status"].as_u64(),
            error["code"].as_str(),
            error["count"].as_u64()
        ),
        (Some(503), Some("unavailable"), Some(20))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_stays_though_its_deletion_was_answered_is_found() {
    let scenario = r#"{"about": "half is taken back", "for_each_message": {"delete": 0.5}}"#;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("taken-back.json");
    std::fs::write(&file, scenario).unwrap();
    let more = ["--mix", file.to_str().unwrap()];

    let (clean, told) = run(Break::Nothing, &more).await;
    assert_eq!(clean.code, Some(0), "{}", clean.said());
    let [deletions] = &told["steady"]["actions"].as_array().unwrap()[..] else {
        panic!("{}", clean.said())
    };
    assert_eq!(deletions["kind"], "delete");
    assert!(deletions["done"].as_u64().unwrap() > 10, "{}", clean.said());

    let (ran, report) = run(Break::KeepDeleted, &more).await;
    assert_found(&ran, &report, "history_undeleted", "that they are deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scenario_that_is_none_is_refused_with_what_is_wrong() {
    let line = ["steady", "--mix", "no/such/file"];
    let ran = tokio::task::spawn_blocking(move || loadtest(&line))
        .await
        .unwrap();
    assert_eq!(ran.code, Some(2), "{}", ran.said());
    assert!(ran.said().contains("say chat"), "{}", ran.said());
}

/// At most 50 a second get through of 100 that are due: a closed loop would see 20 ms; the schedule
/// sees what waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_server_is_not_excused_by_sending_less() {
    let (ran, report) = run(Break::Slow, &["--in-flight", "4", "--timeout", "20s"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.said());
    let load = &report["steady"];
    assert_eq!(load["sends"]["accepted"], 200, "{}", ran.said());
    assert!(
        load["sends"]["held"].as_u64().unwrap() > 100,
        "{}",
        ran.said()
    );
    let (from_due, from_start) = (&load["post"]["p99_ms"], &load["post_from_start"]["p99_ms"]);
    assert!(
        from_due.as_f64().unwrap() > 5.0 * from_start.as_f64().unwrap(),
        "{}",
        ran.said()
    );
    assert!(
        report["verdict"]["warnings"]
            .to_string()
            .contains("too many were in flight"),
        "{}",
        ran.said()
    );
}
