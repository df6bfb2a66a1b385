//! Secrets have no flag, may come from a file, and are never shown.

use super::*;
use crate::config::secrets::{CLUSTER_KEY, JWT_SECRET, Secret};

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
