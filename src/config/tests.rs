use std::ffi::OsString;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use clap::CommandFactory;

use super::cluster::{CommitLevel, NodeSettings, RouterSettings};
use super::command_line::{Cli, variable, with_variables};
use super::secrets::{self, CLUSTER_KEY, Environment, JWT_SECRET, Secret, Secrets};
use super::settings::Settings;
use super::{Invocation, Refused};

const SECRET: &str = "a-secret-that-must-never-be-shown-anywhere";

fn environment(variables: &[(&str, &str)]) -> Environment {
    Environment::new(
        variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), OsString::from(value))),
    )
}

fn gather(args: &[&str], variables: &[(&str, &str)]) -> Result<Invocation, Refused> {
    let args = std::iter::once("rookery")
        .chain(args.iter().copied())
        .map(OsString::from);
    Invocation::from_parts(args, &environment(variables))
}

fn settings(args: &[&str], variables: &[(&str, &str)]) -> Settings {
    match gather(args, variables).expect("settings") {
        Invocation::Dev(settings, _) => *settings,
        _ => panic!("not dev"),
    }
}

fn refusal(args: &[&str], variables: &[(&str, &str)]) -> String {
    match gather(args, variables).expect_err("refused") {
        Refused::Flags(error) => error.to_string(),
        Refused::Line(line) => line,
    }
}

#[test]
fn a_flag_wins_over_the_environment_over_dot_env_over_the_default() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join(".env");
    std::fs::write(
        &file,
        "ROOKERY_NODES=5\nROOKERY_HEADS=7\nROOKERY_SHARDS=8\n",
    )
    .expect("a file");
    let of_file = secrets::dot_env(&file).expect("readable");
    let of_process = [
        ("ROOKERY_HEADS".to_owned(), "9".into()),
        ("ROOKERY_SHARDS".to_owned(), "32".into()),
    ];
    let environment = Environment::new(of_process.into_iter().chain(of_file));
    for args in [
        &["rookery", "--shards", "64"][..],
        &["rookery", "dev", "--shards", "64"],
    ] {
        let found = Invocation::from_parts(args.iter().map(OsString::from), &environment)
            .expect("settings");
        let Invocation::Dev(settings, _) = found else {
            panic!("not dev")
        };
        assert_eq!(settings.dev.shards, 64, "flag");
        assert_eq!(settings.shard.heads, 9, "environment");
        assert_eq!(settings.dev.nodes, 5, ".env");
        assert_eq!(settings.shard.apply_records, 256, "default");
    }
}

#[test]
fn no_dot_env_is_no_error_and_a_broken_one_is_told_without_its_text() {
    let folder = tempfile::tempdir().expect("a folder");
    assert!(
        secrets::dot_env(&folder.path().join(".env"))
            .expect("none")
            .is_empty()
    );
    let file = folder.path().join(".env");
    std::fs::write(
        &file,
        format!("ROOKERY_NODES=5\nROOKERY_JWT_SECRET {SECRET}\n"),
    )
    .expect("a file");
    let Err(Refused::Line(line)) = secrets::dot_env(&file) else {
        panic!("taken")
    };
    assert!(
        line.contains("line 2") && !line.contains(SECRET) && !line.contains('\n'),
        "{line}"
    );
}

#[test]
fn lines_of_other_programs_in_dot_env_do_not_matter() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join(".env");
    let others = "MOTD=two words\n{\"json\": 1}\nKEY='begins\nends'\nexport HOST=redis.internal\nnot a line at all\n";
    let ours = "export ROOKERY_NODES=5\nROOKERY_REDIS=redis://${HOST}:6379\n";
    std::fs::write(&file, format!("\u{feff}ROOKERY_HEADS=9\n{others}{ours}")).expect("a file");
    let found = secrets::dot_env(&file).expect("ours are well formed");
    let expected = [
        ("ROOKERY_HEADS", "9"),
        ("ROOKERY_NODES", "5"),
        ("ROOKERY_REDIS", "redis://redis.internal:6379"),
    ];
    assert_eq!(
        found,
        expected.map(|(name, value)| (name.to_owned(), OsString::from(value)))
    );
}

#[test]
fn a_secret_in_a_file_with_a_byte_order_mark_and_a_line_end_is_the_secret() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("secret");
    std::fs::write(&file, format!("\u{feff}{SECRET}\r\n")).expect("a file");
    let environment = environment(&[("ROOKERY_JWT_SECRET_FILE", file.to_str().expect("text"))]);
    let gathered = Secrets::gather(&environment).expect("gathered");
    assert_eq!(gathered.jwt.as_ref().map(Secret::expose), Some(SECRET));
}

#[test]
fn defaults_are_those_of_the_documents() {
    let found = settings(&[], &[]);
    assert_eq!(found.dev.listen.to_string(), "127.0.0.1:8082");
    assert_eq!(found.dev.operations_listen.to_string(), "127.0.0.1:9082");
    assert_eq!((found.dev.nodes, found.dev.shards), (3, 16));
    let session = found.session();
    assert_eq!(session.outbox_bytes_max, 512 * 1024);
    assert_eq!(session.heartbeat, Duration::from_secs(25));
    assert_eq!(session.delivered_every, Duration::from_millis(250));
    let shard = found.shard();
    assert_eq!(shard.stream_bytes_max, 128 << 20);
    assert_eq!(shard.barrier_max, Duration::from_secs(2));
    assert_eq!(
        (shard.worker.records_max, shard.worker.gather_max),
        (256, Duration::from_millis(20))
    );
    assert_eq!(
        (shard.store.checkpoint_pages, shard.store.checkpoint_every),
        (1_000, Duration::from_secs(5))
    );
    assert_eq!(
        (shard.worker.trim_floor, shard.worker.trim_floor_bytes),
        (Duration::from_secs(60), 8 << 20)
    );
}

#[test]
fn every_setting_can_be_given_by_its_variable() {
    let given = settings(
        &[],
        &[
            (
                "ROOKERY_CORS_ORIGINS",
                "https://a.example,https://b.example",
            ),
            ("ROOKERY_LOG_FORMAT", "json"),
            ("ROOKERY_READY_FILE", "/tmp/ready"),
            ("ROOKERY_OUTBOX", "1MiB"),
            ("ROOKERY_DRAIN_WINDOW", "500ms"),
            ("ROOKERY_JWT_ISSUER", ""),
        ],
    );
    assert_eq!(
        given.front.cors_origins,
        ["https://a.example", "https://b.example"]
    );
    assert_eq!(given.run.log_format, crate::telemetry::LogFormat::Json);
    assert_eq!(
        given.run.ready_file.as_deref(),
        Some(Path::new("/tmp/ready"))
    );
    assert_eq!(given.session().outbox_bytes_max, 1 << 20);
    assert_eq!(given.run.drain_window, Duration::from_millis(500));
    assert_eq!(
        given.auth.jwt_issuer, None,
        "an empty variable counts as unset"
    );
}

#[test]
fn what_cannot_be_right_is_refused_with_the_name_of_the_setting() {
    for (args, variables, names) in [
        (&["--shards", "17"][..], &[][..], "--shards"),
        (&[], &[("ROOKERY_SHARDS", "0")], "--shards"),
        (&["--listen", "nowhere"], &[], "--listen"),
        (&["--heartbeat", "25"], &[], "--heartbeat"),
        (&["--outbox", "512kb"], &[], "--outbox"),
        (&["--nodes", "0"], &[], "--nodes"),
        (&["--drain-window", "1m"], &[], "--drain-window"),
        (&["--apply-tick", "9s"], &[], "--apply-tick"),
        (&["token", "not/a/name"], &[], "<USER>"),
        (&["--no-such-thing"], &[], "--no-such-thing"),
    ] {
        let told = refusal(args, variables);
        assert!(told.contains(names), "{args:?} {variables:?}: {told}");
    }
}

#[test]
fn secrets_have_no_flag_and_are_never_shown() {
    for flag in ["--jwt-secret", "--cluster-key"] {
        assert!(
            refusal(&[flag, SECRET], &[]).contains(flag),
            "{flag} is taken"
        );
    }
    let variables = [(JWT_SECRET, SECRET), (CLUSTER_KEY, SECRET)];
    let Invocation::Dev(settings, secrets) = gather(&[], &variables).expect("settings") else {
        panic!("not dev")
    };
    assert_eq!(
        secrets.jwt.as_ref().map(|secret| secret.expose()),
        Some(SECRET)
    );
    assert!(!format!("{settings:?} {secrets:?} {:?}", environment(&variables)).contains(SECRET));
    for args in [
        &["--help"][..],
        &["dev", "--help"],
        &["token", "--help"],
        &["help"],
    ] {
        let told = refusal(args, &variables);
        assert!(
            !told.contains(SECRET) && told.contains(JWT_SECRET),
            "{told}"
        );
    }
}

#[test]
fn a_secret_may_come_from_a_file_but_not_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("secret");
    std::fs::write(&path, format!("{SECRET}\n")).expect("a file");
    let path = path.to_str().expect("UTF-8");
    let by_file = [("ROOKERY_JWT_SECRET_FILE", path)];
    let Invocation::Token(_, secrets) = gather(&["token", "alice"], &by_file).expect("settings")
    else {
        panic!("token")
    };
    assert_eq!(
        secrets.jwt.as_ref().map(|secret| secret.expose()),
        Some(SECRET)
    );
    let twice = refusal(
        &[],
        &[("ROOKERY_JWT_SECRET_FILE", path), (JWT_SECRET, SECRET)],
    );
    assert!(
        twice.contains("not both") && !twice.contains(SECRET),
        "{twice}"
    );
    let absent = refusal(&[], &[("ROOKERY_CLUSTER_KEY_FILE", "/no/such/file")]);
    assert!(
        absent.contains("ROOKERY_CLUSTER_KEY_FILE: /no/such/file") && !absent.contains('\n'),
        "{absent}"
    );
}

fn node(args: &[&str], variables: &[(&str, &str)]) -> (NodeSettings, Secrets) {
    let args: Vec<&str> = std::iter::once("node")
        .chain(args.iter().copied())
        .collect();
    match gather(&args, variables).expect("settings") {
        Invocation::Node(settings, secrets) => (*settings, secrets),
        _ => panic!("no node"),
    }
}

fn router(args: &[&str], variables: &[(&str, &str)]) -> (RouterSettings, Secrets) {
    let args: Vec<&str> = std::iter::once("router")
        .chain(args.iter().copied())
        .collect();
    match gather(&args, variables).expect("settings") {
        Invocation::Router(settings, secrets) => (*settings, secrets),
        _ => panic!("no router"),
    }
}

#[test]
fn a_node_tells_its_zone_or_none() {
    let zone = |args: &[&str], variables: &[(&str, &str)]| {
        node(args, variables).0.node.zone.unwrap_or_default()
    };
    assert_eq!(zone(&[], &[]), "");
    assert_eq!(zone(&["--zone", "eu-west-1a"], &[]), "eu-west-1a");
    assert_eq!(
        zone(&[], &[("ROOKERY_ZONE", "topology/rack:7")]),
        "topology/rack:7"
    );
    assert_eq!(
        zone(&["--zone="], &[]),
        "",
        "as a label that is not there comes from Kubernetes"
    );
    assert!(refusal(&["node", "--zone", "eu west"], &[]).contains("not at most 128 of"));
}

#[test]
fn what_concerns_every_question_may_stand_after_it_too() {
    let ask = |args: &[&str]| match gather(&[&["cluster"], args].concat(), &[]).expect("settings") {
        Invocation::Cluster(settings, _) => settings,
        _ => panic!("not cluster"),
    };
    for args in [
        &["--json", "--by", "anna", "drain", "node-3"][..],
        &["drain", "node-3", "--by", "anna", "--json"],
    ] {
        let settings = ask(args);
        assert!(
            settings.json && settings.by.as_deref() == Some("anna"),
            "{args:?}"
        );
    }
    assert!(!ask(&["drain", "node-3", "--no-wait"]).json);
}

#[test]
fn the_separate_processes_have_the_defaults_of_the_documents() {
    let (found, _) = node(&[], &[]);
    assert_eq!((found.cluster.shards, found.cluster.expect_nodes), (256, 3));
    let config = found.node().expect("they fit together");
    assert_eq!(config.shard.takeover_watch, Some(Duration::from_secs(3)));
    assert_eq!(config.shard.renew_every, Duration::from_millis(750));
    assert!(!config.shard.adopt_local && !found.redis.redis_cluster);
    assert_eq!(
        (found.node.node_id, found.redis.redis_prefix.as_str()),
        (None, "rk")
    );
    let (front, _) = router(&[], &[]);
    assert_eq!(front.router.listen.to_string(), "127.0.0.1:8082");
    assert_eq!(front.router().expect("origins").sockets_max, 20_000);
}

#[test]
fn a_switch_is_a_plain_flag_and_true_or_false_in_the_environment() {
    let cluster = |args: &[&str], value: &str| {
        node(args, &[("ROOKERY_REDIS_CLUSTER", value)])
            .0
            .redis
            .redis_cluster
    };
    assert!(
        cluster(&["--redis-cluster"], "")
            && cluster(&["--redis-cluster"], "false")
            && cluster(&[], "true")
    );
    assert!(
        !cluster(&[], "") && !cluster(&[], "false") && !cluster(&["--redis-cluster=false"], "true")
    );
    // What stands behind it is no value of it.
    let (found, _) = node(&["--adopt-local", "--shards", "4"], &[]);
    assert!(found.node.adopt_local && found.cluster.shards == 4);
    assert!(refusal(&["node"], &[("ROOKERY_ADOPT_LOCAL", "perhaps")]).contains("--adopt-local"));
}

#[test]
fn a_write_needs_a_replica_by_default_where_there_are_some() {
    let level = |args: &[&str]| {
        let args: Vec<&str> = args
            .iter()
            .copied()
            .chain(["--redis", "redis://h:1"])
            .collect();
        let (found, secrets) = node(&args, &[]);
        found.redis(&secrets).expect("a URL").commit
    };
    use crate::log::redis::CommitLevel::{Log, Replicated};
    assert_eq!(level(&[]), Log);
    assert_eq!(level(&["--redis-cluster"]), Replicated);
    assert_eq!(level(&["--redis-cluster", "--commit-level", "log"]), Log);
    assert_eq!(level(&["--commit-level", "replicated"]), Replicated);
    assert_eq!(
        node(&["--commit-level", "log"], &[]).0.commit.commit_level,
        Some(CommitLevel::Log)
    );
}

#[test]
fn the_urls_of_redis_come_by_flag_variable_or_file_and_are_never_shown() {
    let url = format!("redis://:{SECRET}@h:1");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("redis");
    std::fs::write(&path, format!("{url}, redis://h:2\n")).expect("a file");
    let path = path.to_str().expect("UTF-8");
    let by_file = [("ROOKERY_REDIS_FILE", path)];
    let by_variable = [("ROOKERY_REDIS", url.as_str())];
    for (args, variables, urls) in [
        (&["--redis", url.as_str()][..], &[][..], 1),
        (&[], &by_variable, 1),
        (&[], &by_file, 2),
        (&["--redis", "redis://other:1"], &by_file, 1),
    ] {
        let (found, secrets) = node(args, variables);
        let config = found.redis(&secrets).expect("URLs");
        assert_eq!(config.urls.len(), urls);
        let flag = args.last().copied().unwrap_or(url.as_str());
        assert_eq!(config.urls[0], flag, "a flag wins");
        assert!(!format!("{found:?} {secrets:?}").contains(SECRET));
        let (front, its) = router(args, variables);
        assert_eq!(front.redis(&its).expect("URLs").urls.len(), urls);
        assert!(!refusal(&["node", "--no-such-thing"], variables).contains(SECRET));
    }
    let twice = refusal(&["node"], &[by_file[0], by_variable[0]]);
    assert!(
        twice.contains("not both") && !twice.contains(SECRET),
        "{twice}"
    );
    let (found, secrets) = node(&[], &[]);
    let Err(none) = found.redis(&secrets) else {
        panic!("no URL is taken")
    };
    assert!(
        none.contains("--redis") && none.contains("ROOKERY_REDIS_FILE") && !none.contains('\n'),
        "{none}"
    );
}

#[test]
fn what_cannot_be_right_of_a_cluster_is_refused_with_the_name_of_the_setting() {
    for (args, names) in [
        (&["node", "--node-id", "a/b"][..], "--node-id"),
        (&["node", "--shards", "3"], "--shards"),
        (&["node", "--expect-nodes", "0"], "--expect-nodes"),
        (&["node", "--redis-prefix", "a}b"], "--redis-prefix"),
        (&["node", "--commit-level", "maybe"], "--commit-level"),
        (
            &["node", "--advertise-peer", "http://h"],
            "--advertise-peer",
        ),
        (&["router", "--expect-nodes", "3"], "--expect-nodes"),
        (&["router", "--data", "x"], "--data"),
    ] {
        let told = refusal(args, &[]);
        assert!(told.contains(names), "{args:?}: {told}");
    }
    let line = node(&["--renew-every", "2s"], &[])
        .0
        .node()
        .expect_err("too seldom");
    assert!(
        line.contains("--renew-every") && line.contains("--takeover-watch"),
        "{line}"
    );
}

#[test]
fn help_explains_every_flag_with_its_default_and_its_variable() {
    let command = with_variables(Cli::command());
    let subs = command
        .get_subcommands()
        .filter(|sub| sub.get_name() != "help");
    for arg in std::iter::once(&command)
        .chain(subs)
        .flat_map(clap::Command::get_arguments)
    {
        let Some(flag) = arg.get_long() else { continue };
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        assert!(
            help.len() > 50 && help.contains("[default: "),
            "--{flag}: {help}"
        );
        assert!(
            help.contains(&format!("[env: {}]", variable(flag))),
            "--{flag}: {help}"
        );
    }
}

fn document() -> String {
    let mut text = String::from(
        "# Configuration\n\nGenerated from `src/config`: `UPDATE_DOCS=1 cargo test --lib config`.\n\n\
         Every flag is also a variable of the environment, and may stand in a file `.env` in the working\n\
         folder. A flag wins over the environment, which wins over `.env`, which wins over the default. An\n\
         empty variable counts as unset. Durations are whole numbers with `ms`, `s`, `m`, `h` or `d`; sizes\n\
         with `KiB`, `MiB`, `GiB` or nothing for bytes.\n\n\
         ## Secrets\n\nSecrets have no flag, so that no list of processes shows them, and are in no log.\n\n\
         | variable | what it is |\n|---|---|\n\
         | `ROOKERY_JWT_SECRET` | shared secret of HS256 tokens, at least 32 bytes |\n\
         | `ROOKERY_JWT_SECRET_FILE` | a file with that secret |\n\
         | `ROOKERY_CLUSTER_KEY` | key by which nodes and routers trust each other's links, at least 32 bytes |\n\
         | `ROOKERY_CLUSTER_KEY_FILE` | a file with that key |\n\
         | `ROOKERY_REDIS_FILE` | a file with the URLs of Redis, which may hold a password; instead of `--redis` |\n\n\
         Without them `rookery dev` makes random ones at its first start: `jwt-secret` and `cluster-key` in\n\
         the data folder, readable by their owner only. All nodes and routers of a cluster must be given the\n\
         same secret (or `--jwks`) and the same cluster key.\n",
    );
    let subs = [
        ("dev", "`rookery` or `rookery dev`"),
        ("node", "`rookery node`"),
        ("router", "`rookery router`"),
        ("backup", "`rookery backup`"),
        ("restore", "`rookery restore`"),
        ("check", "`rookery check`"),
        ("token", "`rookery token <user>`"),
    ];
    for (sub, title) in subs {
        write!(text, "\n## {title}\n").expect("to a string");
        let command = Cli::command();
        let command = command.find_subcommand(sub).expect("a subcommand");
        let mut current = None;
        for arg in command
            .get_arguments()
            .filter(|arg| arg.get_long().is_some())
        {
            let flag = arg.get_long().expect("filtered");
            let heading = arg.get_help_heading();
            if current != Some(heading) {
                current = Some(heading);
                if let Some(name) = heading {
                    write!(text, "\n### {name}\n").expect("to a string");
                }
                text.push_str(
                    "\n| flag | variable | default | what it does |\n|---|---|---|---|\n",
                );
            }
            let default = arg
                .get_default_values()
                .first()
                .map_or_else(|| "–".to_owned(), |of| format!("`{}`", of.display()));
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            writeln!(
                text,
                "| `--{flag}` | `{}` | {default} | {help} |",
                variable(flag)
            )
            .expect("to a string");
        }
    }
    text
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "only this test: whether to rewrite the document"
)]
fn the_document_of_settings_is_not_stale() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    if std::env::var("UPDATE_DOCS").is_ok() {
        std::fs::write(&path, document()).expect("docs can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        found,
        document(),
        "docs/configuration.md is stale: run UPDATE_DOCS=1 cargo test --lib config"
    );
}
