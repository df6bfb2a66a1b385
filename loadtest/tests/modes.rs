//! Each mode of the program against a `rookery dev` that it starts: the figures, the files, the
//! exit code.
//!
//! Needs the `rookery` of the same build (`cargo test --workspace` builds it).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at what it did not expect"
)]

mod support;

use serde_json::Value;

use support::{Ran, assert_fits_schema, loadtest, rookery};

fn run(arguments: &[&str]) -> Ran {
    assert!(
        rookery().is_some(),
        "no rookery beside loadtest: cargo build, or cargo test --workspace"
    );
    loadtest(arguments)
}

fn count(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("no count: {value}"))
}

fn assert_clean(ran: &Ran, report: &Value) {
    assert_eq!(ran.code, Some(0), "{}", ran.said());
    assert_eq!(report["verdict"]["passed"], true, "{}", ran.said());
    assert_fits_schema(report);
    let page = ran.page();
    assert!(
        page.starts_with("<!doctype html>") && page.contains("<svg") && page.contains("Passed"),
        "{}",
        ran.said()
    );
    for outside in ["src=", "href=", "url(", "<script"] {
        assert!(!page.contains(outside), "the page asks for {outside}");
    }
    assert!(ran.printed.contains("passed"), "{}", ran.said());
}

#[test]
fn a_steady_run_measures_every_send_and_finds_everything_delivered() {
    let arguments = "steady --rate 60 --duration 3s --warm-up 1s --members 2,10 --users 20 --conversations 3 --idempotency-keys";
    let ran = run(&arguments.split(' ').collect::<Vec<_>>());
    let report = ran.report();
    assert_clean(&ran, &report);
    let load = &report["steady"];
    let accepted = count(&load["sends"]["accepted"]);
    assert!(accepted > 100, "{}", ran.said());
    assert_eq!(
        accepted,
        count(&load["sends"]["scheduled"]),
        "{}",
        ran.said()
    );
    assert_eq!(
        load["deliveries"],
        load["deliveries_expected"],
        "{}",
        ran.said()
    );
    assert_eq!(count(&load["post"]["count"]), accepted);
    assert_eq!(load["by_members"].as_array().unwrap().len(), 2);
    // The warm-up is acknowledged and compared, but not measured.
    assert!(count(&report["audit"]["acknowledged"]) > accepted);
    assert_eq!(report["audit"]["history_read"], true);
    let server = &load["server"];
    assert!(
        server["cpu_us_per_message"].as_f64().unwrap() > 0.0,
        "{server}"
    );
    assert!(
        server["resident_highest_bytes"].as_f64().unwrap() > 1e6,
        "{server}"
    );
    assert!(load["client"]["cpu_seconds"].as_f64().unwrap() > 0.0);
    assert!(report["series"].as_array().unwrap().len() >= 3);
    assert!(
        ran.progress.contains("opening 20 sockets"),
        "{}",
        ran.said()
    );
}

#[test]
fn people_do_all_that_a_scenario_says_beside_sending_and_the_history_is_as_the_answers_said() {
    let arguments = "steady --mix chat --rate 60 --duration 4s --warm-up 1s --members 5 --users 20 --conversations 3";
    let ran = run(&arguments.split(' ').collect::<Vec<_>>());
    let report = ran.report();
    assert_clean(&ran, &report);
    assert_eq!(report["settings"]["mix"], "chat");

    let actions = report["steady"]["actions"].as_array().unwrap();
    let done = |kind: &str| {
        let of = actions.iter().find(|action| action["kind"] == kind);
        of.map_or(0, |action| count(&action["done"]))
    };
    // Some 240 messages: what is rare may not come at all in so short a time.
    for kind in ["react", "read", "typing", "list", "newest", "older"] {
        assert!(done(kind) > 0, "{kind}: {}", ran.said());
    }
    assert!(done("read") > done("react"), "{}", ran.said());
    for action in actions {
        assert_eq!(action["errors"].as_array().unwrap().len(), 0, "{action}");
    }
    assert!(ran.printed.contains("beside it: read"), "{}", ran.said());
}

#[test]
fn without_sockets_only_sends_are_measured_and_quiet_says_nothing() {
    let ran = run(
        &"steady --rate 40 --duration 2s --warm-up 0s --spacing fixed --online 0 --quiet"
            .split(' ')
            .collect::<Vec<_>>(),
    );
    let report = ran.report();
    assert_clean(&ran, &report);
    assert_eq!(report["steady"]["sends"]["accepted"], 80);
    assert_eq!(report["steady"]["deliveries_expected"], 0);
    assert_eq!(ran.progress, "", "{}", ran.said());
}

#[test]
fn a_ramp_tells_the_highest_rate_that_held() {
    let arguments =
        "ramp --from 20 --to 60 --step 20 --step-duration 1s --warm-up 0s --slo-p99 20s --users 20";
    let ran = run(&arguments.split(' ').collect::<Vec<_>>());
    let report = ran.report();
    assert_clean(&ran, &report);
    assert_eq!(
        report["ramp"]["steps"].as_array().unwrap().len(),
        3,
        "{}",
        ran.said()
    );
    assert_eq!(report["ramp"]["highest_rate"], 60.0, "{}", ran.said());
    assert!(
        ran.printed.contains("highest rate that held: 60 sends/s"),
        "{}",
        ran.said()
    );
}

#[test]
fn a_ramp_whose_first_rate_breaks_the_objective_says_so_by_its_exit_code() {
    let arguments =
        "ramp --from 20 --to 60 --step-duration 1s --warm-up 0s --slo-p99 1us --users 20";
    let ran = run(&arguments.split(' ').collect::<Vec<_>>());
    let report = ran.report();
    assert_eq!(ran.code, Some(4), "{}", ran.said());
    assert_eq!(
        report["ramp"]["steps"].as_array().unwrap().len(),
        1,
        "{}",
        ran.said()
    );
    assert!(
        report["ramp"]["highest_rate"].is_null() && ran.printed.contains("no rate held"),
        "{}",
        ran.said()
    );
}

#[test]
fn idle_sessions_stay_open_and_their_memory_is_told() {
    let ran = run(
        &"idle --sockets 50 --duration 2s --source-addresses 127.0.0.2,127.0.0.3"
            .split(' ')
            .collect::<Vec<_>>(),
    );
    let report = ran.report();
    assert_clean(&ran, &report);
    assert_eq!(report["idle"]["open_at_end"], 50, "{}", ran.said());
    assert!(report["idle"]["resident_open_bytes"].as_f64().unwrap() > 1e6);
    assert!(
        report["idle"]["processes"][0]["resident_end_bytes"]
            .as_f64()
            .unwrap()
            > 1e6
    );
    assert_eq!(count(&report["idle"]["open"]["count"]), 50);
}

#[test]
fn a_storm_of_presence_is_told_to_all_who_watch_and_its_cost_is_told() {
    assert!(
        rookery().is_some(),
        "no rookery beside loadtest: cargo build, or cargo test --workspace"
    );
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args("presence --sessions 30 --watchers 3 --rate 20 --quiet 1s".split(' '))
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert_eq!(output.status.code(), Some(0), "{said}");
    for expected in [
        "30 sessions ended, 3 watchers were told 90 of 90 states",
        "server CPU a state and watcher: ",
        "in the storm: p50 ",
    ] {
        assert!(said.contains(expected), "{said}");
    }
    assert!(!said.contains("unknown"), "{said}");
}

#[test]
fn a_report_can_be_shown_again() {
    let ran = run(
        &"steady --rate 20 --duration 1s --warm-up 0s --users 10 --quiet"
            .split(' ')
            .collect::<Vec<_>>(),
    );
    assert_eq!(ran.code, Some(0), "{}", ran.said());
    let shown = std::process::Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .arg("report")
        .arg(ran.report_path())
        .output()
        .unwrap();
    assert!(shown.status.success());
    let shown = String::from_utf8(shown.stdout).unwrap();
    let table = |printed: &str| {
        printed
            .lines()
            .take_while(|line| !line.contains("passed"))
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert_eq!(table(&shown), table(&ran.printed));
}

/// How `loadtest compare` ended, and what it said.
struct Compared {
    code: Option<i32>,
    printed: String,
    told: String,
}

fn compare(arguments: &[&str]) -> Compared {
    let ran = std::process::Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .arg("compare")
        .args(arguments)
        .output()
        .unwrap();
    let text = |of: Vec<u8>| String::from_utf8(of).unwrap();
    Compared {
        code: ran.status.code(),
        printed: text(ran.stdout),
        told: text(ran.stderr),
    }
}

#[test]
fn two_reports_are_compared_and_one_that_is_worse_past_the_factor_is_told_by_the_exit_code() {
    let ran = run(
        &"steady --rate 20 --duration 1s --warm-up 0s --users 10 --quiet"
            .split(' ')
            .collect::<Vec<_>>(),
    );
    let mut worse = ran.report();
    let p99 = worse["steady"]["post"]["p99_ms"].as_f64().unwrap();
    worse["steady"]["post"]["p99_ms"] = (p99 * 1.2).into();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("after.json"), worse.to_string()).unwrap();
    let before = ran.report_path().display().to_string();
    let after = folder.path().join("after.json").display().to_string();

    let same = compare(&[&before, &before, "--max-ratio", "1"]);
    assert_eq!(same.code, Some(0), "{}", same.printed);
    assert!(
        same.printed.contains("sends/s") && same.printed.contains("no figure is worse"),
        "{}",
        same.printed
    );

    let past = compare(&[&before, &after, "--max-ratio", "1.15"]);
    assert_eq!(past.code, Some(1), "{}", past.printed);
    let marked: Vec<&str> = past
        .printed
        .lines()
        .filter(|line| line.ends_with("PAST"))
        .collect();
    assert!(
        marked.len() == 1 && marked[0].contains("1.20  post-p99"),
        "{}",
        past.printed
    );

    assert_eq!(
        compare(&[&before, &after, "--max-ratio", "1.25"]).code,
        Some(0)
    );
    assert_eq!(
        compare(&[&before, &after, "--figures", "sends,post-p99"]).code,
        Some(0),
        "nothing is judged"
    );

    let absent = compare(&[&before, &after, "--figures", "redis-cpu"]);
    assert!(
        absent.code == Some(2) && absent.told.contains("no figure redis-cpu in either"),
        "{}",
        absent.told
    );
}

#[test]
fn what_is_no_report_is_refused_in_one_line_that_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("broken.json"), r#"{"version": 1"#).unwrap();
    std::fs::write(path("other.json"), r#"{"version": 1, "mode": "steady"}"#).unwrap();

    for (name, word) in [
        ("none.json", "No such file"),
        ("broken.json", "EOF"),
        ("other.json", "missing field"),
    ] {
        let Compared {
            code,
            printed,
            told,
        } = compare(&[&path(name), &path(name)]);
        assert_eq!((code, printed.as_str()), (Some(2), ""), "{name}: {told}");
        assert!(
            told.contains(name) && told.contains(word) && told.lines().count() == 1,
            "{name}: {told}"
        );
    }
}

#[test]
fn what_cannot_be_run_is_refused_in_one_line() {
    for (arguments, word) in [
        ("steady --users 5 --members 10", "--users"),
        (
            "steady --url http://127.0.0.1:9",
            "--token-secret-file or --token-command",
        ),
        ("idle --sockets 4000000", "ulimit"),
        ("steady --binary /no/such/program", "does not start"),
    ] {
        let ran = loadtest(&arguments.split(' ').collect::<Vec<_>>());
        assert_eq!(ran.code, Some(1), "{arguments}: {}", ran.said());
        assert!(
            ran.progress.contains(word) && ran.progress.lines().count() == 1,
            "{arguments}: {}",
            ran.said()
        );
    }
}
