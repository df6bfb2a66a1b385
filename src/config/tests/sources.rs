//! Where a setting is from, and which source wins.

use super::*;

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
