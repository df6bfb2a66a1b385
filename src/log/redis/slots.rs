//! Which master of a Redis Cluster has which slot, as far as is known here. It is only a guess: a
//! server that has not the slot says so, and then the map is read anew, at most every
//! [`REFRESH_EVERY`].

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use redis::{RedisResult, Value};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::log::redis::keys::SLOTS;
use crate::telemetry::LOG_REDIS_SLOT_READS;

/// No two reads of the map are closer than this; who asks in between goes on with what is there.
const REFRESH_EVERY: Duration = Duration::from_millis(100);
/// A slot that no one serves, as far as is known.
const NO_ONE: u16 = u16::MAX;

/// `host:port` of a server.
pub(super) type Address = Arc<str>;

#[derive(Debug)]
pub(super) struct Slots {
    map: ArcSwap<Map>,
    /// When it was last asked for. Held while it is read: one reader at a time.
    read: Mutex<Option<Instant>>,
    /// What stands for a server that does not know its own host.
    host: String,
}

/// Masters keep their number as long as they serve slots; a number that is free goes to the next
/// new one.
#[derive(Debug, Clone, Default)]
struct Map {
    masters: Vec<Option<Address>>,
    /// Number of each slot's master; empty when there is one server for all.
    slots: Vec<u16>,
    /// Every server that the last read named, replicas among them: any of them can be asked for the
    /// slots.
    servers: Vec<Address>,
}

/// What an answer to CLUSTER SLOTS says.
#[derive(Debug)]
struct Read {
    /// First slot, last slot, address of the master.
    ranges: Vec<(u16, u16, Address)>,
    servers: Vec<Address>,
}

impl Slots {
    /// One server has everything.
    pub(super) fn of_one(address: &str) -> Self {
        let map = Map {
            masters: vec![Some(Arc::from(address))],
            ..Map::default()
        };
        Self {
            map: ArcSwap::from_pointee(map),
            read: Mutex::default(),
            host: String::new(),
        }
    }

    /// Nothing is known yet.
    pub(super) fn of_cluster(host: &str) -> Self {
        let map = Map {
            slots: vec![NO_ONE; usize::from(SLOTS)],
            ..Map::default()
        };
        Self {
            map: ArcSwap::from_pointee(map),
            read: Mutex::default(),
            host: host.to_owned(),
        }
    }

    /// Number of the master that has the slot; 0 when unknown.
    pub(super) fn place(&self, slot: u16) -> u64 {
        let map = self.map.load();
        map.slots.get(usize::from(slot)).map_or(0, |&number| {
            if number == NO_ONE {
                0
            } else {
                u64::from(number)
            }
        })
    }

    pub(super) fn master(&self, slot: u16) -> Option<Address> {
        let map = self.map.load();
        let number = map.slots.get(usize::from(slot)).copied().unwrap_or(0);
        map.masters.get(usize::from(number)).cloned().flatten()
    }

    pub(super) fn masters(&self) -> Vec<Address> {
        self.map.load().masters.iter().flatten().cloned().collect()
    }

    /// Every server that is known, masters first.
    pub(super) fn servers(&self) -> Vec<Address> {
        let map = self.map.load();
        let masters: Vec<Address> = map.masters.iter().flatten().cloned().collect();
        let others = map
            .servers
            .iter()
            .filter(|server| !masters.contains(server))
            .cloned()
            .collect::<Vec<_>>();
        [masters, others].concat()
    }

    /// A server said that the slot is over there.
    pub(super) fn moved(&self, slot: u16, address: &str) {
        self.map.rcu(|map| {
            let mut map = Map::clone(map);
            let number = map.number_of(address);
            if let Some(at) = map.slots.get_mut(usize::from(slot)) {
                *at = number;
            }
            map
        });
    }

    /// `host:port` as a redirection spells it; the host is missing when the server does not know
    /// its own.
    pub(super) fn address(&self, spelled: &str) -> Option<Address> {
        let (host, port) = spelled.rsplit_once(':')?;
        Some(if host.is_empty() {
            Arc::from(format!("{}:{port}", self.host))
        } else {
            Arc::from(spelled)
        })
    }

    /// Reads the map by `ask`, unless that was done a moment ago. A failure leaves the map as it
    /// is.
    pub(super) async fn refresh(&self, ask: impl AsyncFnOnce() -> RedisResult<Value>) {
        let mut read = self.read.lock().await;
        if read.is_some_and(|read| read.elapsed() < REFRESH_EVERY) {
            return;
        }

        let map = ask()
            .await
            .map_err(|error| error.to_string())
            .and_then(|value| {
                self.parse(&value)
                    .ok_or_else(|| "the answer to CLUSTER SLOTS is malformed, or empty".to_owned())
            });
        *read = Some(Instant::now());
        match map {
            Ok(told) => {
                LOG_REDIS_SLOT_READS.add(1, &[("result", "read")]);
                self.map.rcu(|before| before.replaced_by(&told));
            }
            Err(error) => {
                LOG_REDIS_SLOT_READS.add(1, &[("result", "failed")]);
                tracing::debug!(%error, "cannot read the slots of redis cluster");
            }
        }
    }

    /// `None` for anything else than a list with at least one range.
    fn parse(&self, value: &Value) -> Option<Read> {
        let Value::Array(items) = value else {
            return None;
        };
        let mut read = Read {
            ranges: Vec::new(),
            servers: Vec::new(),
        };

        for item in items {
            let Value::Array(item) = item else {
                return None;
            };
            let [Value::Int(first), Value::Int(last), master, replicas @ ..] = item.as_slice()
            else {
                return None;
            };
            // One whose host is not known for now.
            let Some(address) = self.server(master)? else {
                continue;
            };
            read.ranges.push((
                u16::try_from(*first).ok()?,
                u16::try_from(*last).ok()?,
                Arc::clone(&address),
            ));
            let replicas = replicas
                .iter()
                .filter_map(|replica| self.server(replica).flatten());
            for server in std::iter::once(address).chain(replicas) {
                if !read.servers.contains(&server) {
                    read.servers.push(server);
                }
            }
        }

        (!read.ranges.is_empty()).then_some(read)
    }

    /// The address of one server; `None` within when its host is not known, `None` when that is
    /// malformed.
    fn server(&self, value: &Value) -> Option<Option<Address>> {
        let Value::Array(fields) = value else {
            return None;
        };
        let [host, Value::Int(port), ..] = fields.as_slice() else {
            return None;
        };
        let host = match host {
            Value::BulkString(host) => std::str::from_utf8(host).ok()?,
            Value::Nil => "",
            _ => return None,
        };
        if host == "?" {
            return Some(None);
        }
        self.address(&format!("{host}:{port}")).map(Some)
    }
}

impl Map {
    fn number_of(&mut self, address: &str) -> u16 {
        let known = self
            .masters
            .iter()
            .position(|master| master.as_deref() == Some(address));
        let number = known.unwrap_or_else(|| {
            let free = self
                .masters
                .iter()
                .position(Option::is_none)
                .unwrap_or(self.masters.len());
            self.masters.resize(self.masters.len().max(free + 1), None);
            if let Some(master) = self.masters.get_mut(free) {
                *master = Some(Arc::from(address));
            }
            free
        });
        // More masters than slots there are not.
        u16::try_from(number).unwrap_or(NO_ONE)
    }

    fn replaced_by(&self, Read { ranges, servers }: &Read) -> Self {
        let named = |master: &Address| ranges.iter().any(|(_, _, address)| address == master);
        let masters = self
            .masters
            .iter()
            .map(|master| master.clone().filter(named))
            .collect();
        let mut map = Self {
            masters,
            slots: vec![NO_ONE; usize::from(SLOTS)],
            servers: servers.clone(),
        };

        for (first, last, address) in ranges {
            let number = map.number_of(address);
            let range = usize::from(*first)..=usize::from(*last);
            for slot in map.slots.get_mut(range).into_iter().flatten() {
                *slot = number;
            }
        }

        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn ranges(of: &[(i64, i64, &str, i64)]) -> Value {
        let range = |&(first, last, host, port): &(i64, i64, &str, i64)| {
            let master = Value::Array(vec![bulk(host), Value::Int(port), bulk("id")]);
            let replica = Value::Array(vec![bulk("10.9.9.9"), Value::Int(1), bulk("id")]);
            Value::Array(vec![Value::Int(first), Value::Int(last), master, replica])
        };
        Value::Array(of.iter().map(range).collect())
    }

    async fn read(slots: &Slots, value: Value) {
        slots.refresh(async || Ok(value)).await;
        tokio::time::advance(REFRESH_EVERY).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_master_keeps_its_place_while_others_come_and_go() {
        let slots = Slots::of_cluster("seed");
        assert_eq!((slots.master(5), slots.place(5)), (None, 0));

        read(
            &slots,
            ranges(&[(0, 99, "a", 1), (100, 199, "b", 2), (200, 16_383, "c", 3)]),
        )
        .await;

        assert_eq!(
            (slots.place(99), slots.place(100), slots.place(16_383)),
            (0, 1, 2)
        );

        read(
            &slots,
            ranges(&[(0, 99, "d", 4), (100, 199, "b", 2), (200, 16_383, "c", 3)]),
        )
        .await;

        assert_eq!(
            (slots.place(99), slots.place(100), slots.place(200)),
            (0, 1, 2)
        );
        assert_eq!(slots.master(0).as_deref(), Some("d:4"));

        read(&slots, ranges(&[(0, 99, "", 4), (200, 16_383, "c", 3)])).await;
        assert_eq!(
            (slots.master(0).as_deref(), slots.master(150)),
            (Some("seed:4"), None)
        );
        assert_eq!(slots.masters().len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_redirection_moves_one_slot() {
        let slots = Slots::of_cluster("seed");
        read(&slots, ranges(&[(0, 16_383, "a", 1)])).await;
        slots.moved(7, "b:2");
        assert_eq!(
            (slots.master(7).as_deref(), slots.master(8).as_deref()),
            (Some("b:2"), Some("a:1"))
        );
        assert_eq!((slots.place(7), slots.place(8)), (1, 0));
        assert_eq!(slots.address(":9").as_deref(), Some("seed:9"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_read_changes_nothing_and_reads_have_a_pause() {
        let slots = Slots::of_cluster("seed");
        read(&slots, ranges(&[(0, 16_383, "a", 1)])).await;
        for broken in [
            Value::Nil,
            Value::Array(vec![]),
            Value::Array(vec![Value::Int(1)]),
            ranges(&[(-1, 5, "z", 1)]),
        ] {
            read(&slots, broken).await;
            assert_eq!(slots.master(5).as_deref(), Some("a:1"));
        }

        slots
            .refresh(async || Ok(ranges(&[(0, 16_383, "b", 1)])))
            .await;
        slots
            .refresh(async || panic!("asked twice within the pause"))
            .await;
        assert_eq!(slots.master(5).as_deref(), Some("b:1"));
    }

    #[test]
    fn one_server_is_one_place() {
        let slots = Slots::of_one("a:1");
        assert_eq!(
            (slots.place(9), slots.master(9).as_deref()),
            (0, Some("a:1"))
        );
    }
}
