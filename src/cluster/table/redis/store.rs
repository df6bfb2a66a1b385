//! The table store of a cluster: each call is one command or one script.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use redis::Value;

use crate::cluster::table::embedded::{NODES_MAX, REGISTRATION_LIFE};
use crate::cluster::table::redis::stored::{Keys, json, malformed, mark, number, parsed};
use crate::cluster::table::{NodeAddresses, Polled, Table, TableError, TableStore};
use crate::ids::NodeId;
use crate::log::Identity;
use crate::log::redis::servers::{Lua, Servers};

const SWAP: Lua = Lua {
    text: include_str!("swap.lua"),
};
const POLL: Lua = Lua {
    text: include_str!("poll.lua"),
};
const REGISTER: Lua = Lua {
    text: include_str!("register.lua"),
};
const LEAD: Lua = Lua {
    text: include_str!("lead.lua"),
};
const NODES: Lua = Lua {
    text: include_str!("nodes.lua"),
};

/// The table store of a cluster; see the head of the folder. One for each process.
pub struct RedisTable {
    servers: Arc<Servers>,
    keys: Keys,
    /// Tells this process's announcements from those of another that has the same name.
    process: String,
    announced: AtomicBool,
}

impl fmt::Debug for RedisTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisTable")
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

impl RedisTable {
    /// A table store over these servers. Does not connect: calls fail until the servers answer.
    #[must_use]
    pub fn new(servers: Arc<Servers>) -> Self {
        let keys = Keys::of(&servers.config().prefix);
        let process = format!("{:016x}", rand::random::<u64>());
        Self {
            servers,
            keys,
            process,
            announced: AtomicBool::new(false),
        }
    }

    async fn script(
        &self,
        script: &Lua,
        key: &str,
        arguments: &[&[u8]],
    ) -> Result<Value, TableError> {
        Ok(self.servers.script(script, &[key], arguments).await?)
    }
}

#[async_trait]
impl TableStore for RedisTable {
    async fn identity(&self) -> Result<Option<Identity>, TableError> {
        let mut get = redis::cmd("GET");
        get.arg(&self.keys.identity);
        parsed(
            "identity",
            self.servers.command(&self.keys.identity, get).await?,
        )
    }

    async fn create(&self, identity: Identity) -> Result<Identity, TableError> {
        let mut set = redis::cmd("SET");
        set.arg(&self.keys.identity).arg(json(&identity)?).arg("NX");
        // What stands is asked for, whatever this answered: an attempt before may have written it.
        self.servers.command(&self.keys.identity, set).await?;
        let written = self.identity().await?;
        written.ok_or_else(|| {
            TableError::Malformed("the identity is neither absent nor there".to_owned())
        })
    }

    async fn load(&self) -> Result<Option<Table>, TableError> {
        match self.load_unless(None).await? {
            Polled::Changed(table) => Ok(Some(table)),
            Polled::Unchanged | Polled::Gone => Ok(None),
        }
    }

    async fn load_unless(&self, known: Option<&Table>) -> Result<Polled, TableError> {
        let known = known
            .map(|known| Ok::<_, TableError>(mark(known, &json(known)?)))
            .transpose()?
            .unwrap_or_default();
        let answer = self
            .script(&POLL, &self.keys.table, &[known.as_bytes()])
            .await?;
        let body: Option<Vec<u8>> = redis::from_redis_value(answer).map_err(malformed("table"))?;
        Ok(match body {
            None => Polled::Gone,
            Some(body) if body.is_empty() => Polled::Unchanged,
            Some(body) => {
                Polled::Changed(serde_json::from_slice(&body).map_err(malformed("table"))?)
            }
        })
    }

    async fn swap(&self, expected: u64, table: Table) -> Result<bool, TableError> {
        if table.version != expected.saturating_add(1) && (expected > 0 || table.version == 0) {
            return Err(TableError::Refused(format!(
                "version {} does not follow {expected}",
                table.version
            )));
        }

        let stands = if expected == 0 {
            String::new()
        } else {
            expected.to_string()
        };

        let (version, body) = (table.version.to_string(), json(&table)?);
        let mark = mark(&table, &body);
        let arguments = [
            stands.as_bytes(),
            version.as_bytes(),
            mark.as_bytes(),
            body.as_slice(),
        ];
        Ok(number(&self.script(&SWAP, &self.keys.table, &arguments).await?)? == 1)
    }

    async fn register(&self, node: &NodeId, addresses: &NodeAddresses) -> Result<(), TableError> {
        let (life, most) = (
            REGISTRATION_LIFE.as_secs().to_string(),
            NODES_MAX.to_string(),
        );

        let addresses = json(addresses)?;
        let arguments = [
            node.0.as_bytes(),
            self.process.as_bytes(),
            addresses.as_slice(),
            life.as_bytes(),
            most.as_bytes(),
        ];
        match number(&self.script(&REGISTER, &self.keys.nodes, &arguments).await?)? {
            0 => Err(TableError::Refused(format!(
                "{NODES_MAX} nodes are registered already"
            ))),
            // The first time it is most likely our own former self.
            2 if self.announced.swap(true, Ordering::Relaxed) => Err(TableError::Refused(format!(
                "another process calls itself {node} too; give each its own --node-id"
            ))),
            _ => {
                self.announced.store(true, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    async fn lead(&self, node: &NodeId, life: Duration) -> Result<bool, TableError> {
        let life = life.as_millis().max(1).to_string();
        Ok(number(
            &self
                .script(
                    &LEAD,
                    &self.keys.leader,
                    &[node.0.as_bytes(), life.as_bytes()],
                )
                .await?,
        )? == 1)
    }

    async fn nodes(&self) -> Result<BTreeMap<NodeId, NodeAddresses>, TableError> {
        let life = REGISTRATION_LIFE.as_secs().to_string();
        let listed = self
            .script(&NODES, &self.keys.nodes, &[life.as_bytes()])
            .await?;
        let listed: Vec<(String, String)> =
            redis::from_redis_value(listed).map_err(malformed("list of nodes"))?;
        let read = |(node, addresses): (String, String)| {
            let addresses =
                serde_json::from_str(&addresses).map_err(malformed("address of a node"))?;
            Ok((NodeId::from(node.as_str()), addresses))
        };
        listed.into_iter().map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cluster::table::changes::Changes;
    use crate::cluster::table::conformance::{Setup, table_conformance};
    use crate::ids::{ClusterId, Epoch, Offset, ShardId};
    use crate::log::conformance as log_claims;
    use crate::log::record::Tail;
    use crate::log::redis::denied::RIGHTS;
    use crate::log::redis::{CommitLevel, Config, RedisLog, testing};
    use crate::log::{Claim, PerStream, ShardLog, Stream, Token};

    struct OverRedis {
        config: Config,
        table: Arc<RedisTable>,
    }

    fn table(config: &Config) -> Arc<RedisTable> {
        Arc::new(RedisTable::new(
            Servers::new(config.clone()).expect("a URL"),
        ))
    }

    async fn over_redis() -> OverRedis {
        let config = testing::config(&[testing::server().await.url()]);
        let table = table(&config);
        OverRedis { config, table }
    }

    #[async_trait]
    impl Setup for OverRedis {
        fn table(&self) -> Arc<dyn TableStore> {
            Arc::clone(&self.table) as Arc<dyn TableStore>
        }

        async fn reopen(&mut self) {
            self.table = table(&self.config);
        }
    }

    mod on_one {
        use super::{over_redis, table_conformance};

        table_conformance!(over_redis);
    }

    async fn over_cluster() -> OverRedis {
        let config = testing::cluster::cluster().await.config();
        let table = table(&config);
        OverRedis { config, table }
    }

    async fn with_documented_rights() -> OverRedis {
        let server = testing::server().await;
        let config = testing::config(&[server.url()]);
        let config = testing::rights::restricted(config, std::slice::from_ref(server), None).await;
        let table = table(&config);
        OverRedis { config, table }
    }

    mod on_one_with_documented_rights {
        use super::{table_conformance, with_documented_rights};

        table_conformance!(with_documented_rights);
    }

    /// Everything that log and table do on one server, whatever becomes of it.
    async fn job(servers: Arc<Servers>) {
        let (log, table) = (
            RedisLog::new(Arc::clone(&servers)),
            RedisTable::new(servers),
        );
        let (shard, stream, node) = (ShardId(0), Stream::Messages, NodeId::from("node-a"));
        let (identity, token) = (log_claims::identity(), Token::new(Epoch(1)));
        let begin = Tail {
            offset: Offset(5),
            ..Tail::EMPTY
        };

        let claim = Claim {
            shard,
            expected: None,
            token,
            owner: node.clone(),
            identity,
            begin_at: PerStream::both(begin),
            ends_at: None,
        };

        log.claim(claim).await.ok();
        log.append(&[log_claims::batch(shard, stream, token, &begin, (1, "x"))])
            .await;
        log.control(shard).await.ok();

        log.observe(&[shard]).await;
        log.renew(&[(shard, token)]).await;
        log.read(shard, stream, Offset(0), 1).await.ok();
        log.trim(shard, token, stream, Offset(6)).await.ok();
        table.create(identity).await.ok();
        table.identity().await.ok();
        table.register(&node, &addresses(1)).await.ok();
        table.nodes().await.ok();
        table.swap(0, first(1)).await.ok();
        table.load().await.ok();
        table.lead(&node, Duration::from_secs(1)).await.ok();
    }

    #[tokio::test]
    async fn each_right_less_is_missed_and_told_by_its_name() {
        let server = testing::Server::start(&[]);
        let _replica =
            testing::Server::start(&["--replicaof", &format!("127.0.0.1 {}", server.port)]);
        let is_online = async || {
            server
                .field("replication", "slave0")
                .await
                .contains("online")
        };
        testing::until("the replica is online", is_online).await;

        // A cluster's; and one for a node that takes the place of a silent one when there are a
        // thousand.
        let elsewhere = ["cluster|slots", "asking", "config|get", "hdel"];

        for right in testing::rights::commands()
            .into_iter()
            .filter(|right| !elsewhere.contains(right))
        {
            let config = Config {
                commit: CommitLevel::Replicated,
                ..testing::config(&[server.url()])
            };
            let config =
                testing::rights::restricted(config, std::slice::from_ref(&server), Some(right))
                    .await;
            let servers = Servers::new(config).expect("a URL");
            job(Arc::clone(&servers)).await;
            let told = servers.denied();
            // Of a command within a script Redis before 7.2 says only that it is one.
            let is_named = |line: &String| {
                let is_unnamed = line.contains("The user executing the script can't");
                line.starts_with("Right") && (is_unnamed || line.contains(&format!("'{right}'")))
            };
            assert!(told.iter().any(is_named), "without {right}: {told:?}");
        }

        let config = testing::config(&[server.url()]);
        let servers = Servers::new(
            testing::rights::restricted(config, std::slice::from_ref(&server), None).await,
        );
        let servers = servers.expect("a URL");
        job(Arc::clone(&servers)).await;
        assert_eq!(servers.denied(), Vec::<String>::new());
    }

    #[test]
    fn the_rights_are_documented_as_they_are_told() {
        let page = include_str!("../../../../docs/operations.md");
        assert!(
            page.contains(&format!("ACL SETUSER rookery reset on >PASSWORD {RIGHTS}")),
            "{RIGHTS}"
        );
    }

    mod on_a_cluster {
        use super::{over_cluster, table_conformance};

        table_conformance!(over_cluster);
    }

    fn addresses(port: u16) -> NodeAddresses {
        NodeAddresses {
            http: format!("h:{port}"),
            peer: format!("p:{port}"),
            ..NodeAddresses::default()
        }
    }

    fn first(version: u64) -> Table {
        let identity = Identity {
            cluster: ClusterId::random(),
            shards: 1,
        };
        Table {
            version,
            identity,
            nodes: BTreeMap::new(),
            rows: vec![Vec::new()],
            claimed: BTreeSet::new(),
            changes: Changes::default(),
        }
    }

    #[tokio::test]
    async fn a_lost_table_begins_anew_with_a_later_version() {
        let OverRedis { table, .. } = over_redis().await;
        let seventh = first(7);
        assert_eq!(table.swap(0, seventh.clone()).await, Ok(true));
        assert_eq!(table.swap(0, first(9)).await, Ok(false), "there is one");
        assert_eq!(table.load().await, Ok(Some(seventh)));
        assert!(
            table.swap(0, first(0)).await.is_err(),
            "versions begin at 1"
        );
    }

    /// As if so many seconds had passed since these nodes announced themselves.
    async fn age(setup: &OverRedis, nodes: impl IntoIterator<Item = String>, seconds: u64) {
        let server = testing::server().await;
        let now: Vec<u64> = server.ask("TIME").await;
        let addresses = serde_json::to_string(&addresses(1)).expect("JSON");
        let mut pipe = redis::pipe();
        for node in nodes {
            pipe.hset(
                &setup.table.keys.nodes,
                node,
                format!("{} 0 {addresses}", now[0] - seconds),
            )
            .ignore();
        }
        pipe.query_async::<()>(&mut server.meddler().await)
            .await
            .expect("writes");
    }

    #[tokio::test]
    async fn a_node_that_stops_announcing_leaves_after_90_s() {
        let setup = over_redis().await;
        let lively = NodeId::from("lively");
        setup
            .table
            .register(&lively, &addresses(1))
            .await
            .expect("registers");
        age(&setup, ["silent".to_owned()], 89).await;

        assert_eq!(setup.table.nodes().await.expect("lists").len(), 2);
        age(&setup, ["silent".to_owned()], 91).await;
        assert_eq!(
            setup
                .table
                .nodes()
                .await
                .expect("lists")
                .into_keys()
                .collect::<Vec<_>>(),
            [lively]
        );
    }

    #[tokio::test]
    async fn a_node_too_many_is_refused_until_a_silent_one_makes_room() {
        let setup = over_redis().await;
        age(&setup, (0..NODES_MAX).map(|number| format!("n{number}")), 1).await;

        let (new, known) = (NodeId::from("new"), NodeId::from("n7"));
        let refused = setup
            .table
            .register(&new, &addresses(2))
            .await
            .expect_err("no room");
        assert!(
            refused
                .to_string()
                .contains("1024 nodes are registered already"),
            "{refused}"
        );

        setup
            .table
            .register(&known, &addresses(2))
            .await
            .expect("has a place");
        age(&setup, ["n8".to_owned()], 91).await;

        setup
            .table
            .register(&new, &addresses(2))
            .await
            .expect("has one now");
        assert_eq!(setup.table.nodes().await.expect("lists").len(), NODES_MAX);
    }

    #[tokio::test]
    async fn two_processes_of_one_name_are_told() {
        let setup = over_redis().await;
        let (node, other) = (NodeId::from("twin"), table(&setup.config));

        setup
            .table
            .register(&node, &addresses(1))
            .await
            .expect("the first");
        // Its own former self would look the same, so the first time says nothing.
        other
            .register(&node, &addresses(2))
            .await
            .expect("the second, once");
        for twin in [&setup.table, &other] {
            let told = twin
                .register(&node, &addresses(1))
                .await
                .expect_err("there are two");
            assert!(told.to_string().contains("calls itself twin too"), "{told}");
        }
    }
}
