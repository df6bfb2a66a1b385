//! The log on Redis passes the suite on real servers, and keeps its table of answers and its
//! interleavings.

use std::sync::Arc;

use async_trait::async_trait;

use crate::log::ShardLog;
use crate::log::conformance::{Setup, log_conformance};
use crate::log::redis::testing::{Server, config, log, server, until};
use crate::log::redis::{CommitLevel, Config, RedisLog};

mod cluster;
mod failovers;
mod faults;
mod owned;
mod proxy;
mod rights;
mod scripted;
mod unheard;

struct OnRedis {
    config: Config,
    log: Arc<RedisLog>,
}

impl OnRedis {
    fn new(config: Config) -> Self {
        Self {
            log: log(&config),
            config,
        }
    }
}

/// A master with one replica, no cluster.
struct Pair {
    master: Server,
    replica: Server,
}

impl Pair {
    async fn start(program: &str) -> Self {
        let master = Server::start_program(program, &[]);
        let replica = Server::start_program(
            program,
            &["--replicaof", &format!("127.0.0.1 {}", master.port)],
        );

        until("the replica is online", async || {
            replica.field("replication", "master_link_status").await == "up"
        })
        .await;
        until("the master knows", async || {
            master
                .field("replication", "slave0")
                .await
                .contains("online")
        })
        .await;
        Self { master, replica }
    }

    /// Commits on both.
    fn config(&self) -> Config {
        Config {
            commit: CommitLevel::Replicated,
            ..config(&[self.master.url()])
        }
    }
}

#[async_trait]
impl Setup for OnRedis {
    fn log(&self) -> Arc<dyn ShardLog> {
        Arc::clone(&self.log) as Arc<dyn ShardLog>
    }

    async fn reopen(&mut self) {
        self.log = log(&self.config);
    }
}

mod one {
    use super::*;

    async fn one() -> OnRedis {
        OnRedis::new(config(&[server().await.url()]))
    }

    log_conformance!(one);
}

mod master_and_replica {
    use tokio::sync::OnceCell;

    use super::*;

    async fn replicated() -> OnRedis {
        static PAIR: OnceCell<Pair> = OnceCell::const_new();
        let pair = PAIR
            .get_or_init(async || Pair::start("redis-server").await)
            .await;
        OnRedis::new(pair.config())
    }

    log_conformance!(replicated);
}

/// What holds on Redis holds on Valkey: the same suite, and the WAIT that tells the two apart.
mod valkey {
    use tokio::sync::OnceCell;

    use super::*;

    #[expect(
        clippy::disallowed_methods,
        reason = "only these tests: which server they are to run on"
    )]
    fn program() -> String {
        std::env::var("ROOKERY_VALKEY_SERVER")
            .expect("ROOKERY_VALKEY_SERVER, as scripts/fetch-valkey prints it")
    }

    mod one {
        use super::*;

        async fn on_valkey() -> OnRedis {
            static SERVER: OnceCell<Server> = OnceCell::const_new();
            OnRedis::new(config(&[SERVER
                .get_or_init(async || Server::start_program(&program(), &[]))
                .await
                .url()]))
        }

        log_conformance!(
            #[ignore = "needs ROOKERY_VALKEY_SERVER; scripts/test runs it"]
            on_valkey
        );
    }

    mod master_and_replica {
        use super::*;

        async fn on_valkey() -> OnRedis {
            static PAIR: OnceCell<Pair> = OnceCell::const_new();
            OnRedis::new(
                PAIR.get_or_init(async || Pair::start(&program()).await)
                    .await
                    .config(),
            )
        }

        log_conformance!(
            #[ignore = "needs ROOKERY_VALKEY_SERVER; scripts/test runs it"]
            on_valkey
        );
    }

    #[tokio::test]
    #[ignore = "needs ROOKERY_VALKEY_SERVER; scripts/test runs it"]
    async fn without_its_replica_nothing_is_committed_and_later_everything_is() {
        faults::nothing_is_committed_without(&Pair::start(&program()).await).await;
    }
}
