//! The log on Redis passes the suite on real servers, and keeps its table of answers and its interleavings.

use std::sync::Arc;

use async_trait::async_trait;

use crate::shard::log::ShardLog;
use crate::shard::log::conformance::{Setup, log_conformance};
use crate::shard::log::redis::testing::{config, log, server};
use crate::shard::log::redis::{Config, RedisLog};

struct OnRedis {
    config: Config,
    log: Arc<RedisLog>,
}

impl OnRedis {
    fn new(config: Config) -> Self {
        Self { log: log(&config), config }
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
