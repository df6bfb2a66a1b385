//! The rights that are documented are all that the log needs, on a master with a replica and on a
//! cluster; and what is refused is told by its name.

use tokio::sync::OnceCell;

use super::{OnRedis, Pair, log_conformance};
use crate::ids::ShardId;
use crate::log::redis::Config;
use crate::log::redis::servers::Servers;
use crate::log::redis::testing::cluster::{Cluster, cluster};
use crate::log::redis::testing::rights::restricted;
use crate::log::redis::testing::{Server, config, server};
use crate::log::{LogError, ShardLog};

mod on_a_pair {
    use super::*;

    async fn with_these_rights() -> OnRedis {
        static PAIR: OnceCell<Pair> = OnceCell::const_new();
        let pair = PAIR
            .get_or_init(async || Pair::start("redis-server").await)
            .await;
        OnRedis::new(restricted(pair.config(), std::slice::from_ref(&pair.master), None).await)
    }

    log_conformance!(with_these_rights);
}

mod on_a_cluster {
    use super::*;

    async fn with_these_rights() -> OnRedis {
        let Cluster { servers, .. } = cluster().await;
        OnRedis::new(restricted(cluster().await.config(), servers, None).await)
    }

    log_conformance!(with_these_rights);
}

/// What a process with these settings is told when it asks for something, and in which words.
async fn refused(config: Config) -> (LogError, Vec<String>) {
    let servers = Servers::new(config.clone()).expect("a URL");
    let log = crate::log::redis::RedisLog::new(std::sync::Arc::clone(&servers));
    let first = log.control(ShardId(0)).await.expect_err("it is refused");
    log.control(ShardId(1))
        .await
        .expect_err("it is refused again");
    (first, servers.denied())
}

#[tokio::test]
async fn a_wrong_password_a_missing_one_and_a_wrong_database_are_told_once_by_their_names() {
    let closed = Server::start(&["--requirepass", "secret"]);
    let url =
        |login: &str, database: &str| format!("redis://{login}127.0.0.1:{}{database}", closed.port);
    for (login, database, name) in [
        (":wrong@", "", "Password"),
        ("nobody:secret@", "", "Password"),
        ("", "", "NoPassword"),
        (":secret@", "/99", "Database"),
    ] {
        let (error, told) = refused(config(&[url(login, database)])).await;
        let is_denied = matches!(error, LogError::Denied(_)) || name == "Database";
        assert!(
            is_denied && !error.to_string().contains("secret"),
            "{error:?}"
        );
        assert_eq!(
            told.iter().map(|told| told.trim()).collect::<Vec<_>>(),
            [name],
            "{login}{database}"
        );
    }

    let open = server().await;
    let (_, told) = refused(config(&[format!(
        "redis://:secret@127.0.0.1:{}",
        open.port
    )]))
    .await;

    assert_eq!(
        told.iter().map(|told| told.trim()).collect::<Vec<_>>(),
        ["Password"],
        "a server without one"
    );
}
