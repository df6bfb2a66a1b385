use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, header};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::cluster::table::changes::{Changes, Drain};
use crate::cluster::table::{NodeAddresses, Table};
use crate::ids::{ClusterId, Epoch, NodeId, Offset, ShardId};
use crate::log::record::Tail;
use crate::log::{Identity, PerStream};
use crate::operations::port::Operations;
use crate::operations::setup::Setup;
use crate::operations::shard_digest::{Digesting, ShardDigest};
use crate::operations::subject::{NO_NODE, Subject};
use crate::operations::told::Cluster;
use crate::shard::ShardStatus;
use crate::shard::replicas::ReplicaDigest;
use crate::watchdog::Watchdog;

#[derive(Debug, Default)]
struct Process {
    draining: AtomicBool,
    /// Digests are made once this is cancelled.
    digesting: CancellationToken,
    /// How many were begun.
    digests: AtomicUsize,
}

impl Subject for Process {
    fn ready(&self) -> Result<(), String> {
        if self.draining.load(Ordering::SeqCst) {
            Err("draining".to_owned())
        } else {
            Ok(())
        }
    }

    fn cluster(&self) -> Cluster {
        let [one, two] = [NodeId::from("node-1"), NodeId::from("node-2")];
        let addresses = NodeAddresses {
            http: "127.0.0.1:1".to_owned(),
            peer: "127.0.0.1:2".to_owned(),
            ..NodeAddresses::default()
        };
        let identity = Identity {
            cluster: ClusterId::random(),
            shards: 2,
        };
        let mark = Drain {
            since_ms: 7,
            by: "anna@desk".to_owned(),
        };

        let table = Table {
            version: 3,
            identity,
            nodes: [(one.clone(), addresses.clone()), (two.clone(), addresses)].into(),
            rows: vec![vec![one.clone(), two.clone()], vec![two]],
            claimed: std::collections::BTreeSet::new(),
            changes: Changes {
                draining: [(NodeId::from("node-2"), mark)].into(),
                ..Changes::default()
            },
        };

        let at = |messages, receipts| PerStream {
            messages: Offset(messages),
            receipts: Offset(receipts),
        };
        let status = ShardStatus {
            shard: ShardId(0),
            owner: one,
            epoch: Epoch(7),
            committed: at(42, 5),
            applied: at(40, 5),
            durable: at(30, 4),
            lag: 2,
            standbys: vec![(NodeId::from("node-2"), true)],
        };
        Cluster::of(Some(&table), BTreeMap::new(), &[status])
    }

    fn digest(&self, shard: ShardId, node: Option<NodeId>) -> Digesting {
        let going_on = self.digesting.clone();
        self.digests.fetch_add(1, Ordering::SeqCst);

        async move {
            going_on.cancelled().await;
            match shard.0 {
                1 => Err("the disk".to_owned()),
                12 => {
                    let tail = |offset| Tail {
                        offset: Offset(offset),
                        ..Tail::EMPTY
                    };
                    let digest = ReplicaDigest {
                        applied: PerStream {
                            messages: tail(5),
                            receipts: tail(0),
                        },
                        sha256: [0xab; 32],
                    };
                    let node = node.unwrap_or_else(|| NodeId::from("node-1"));
                    Ok(Some(ShardDigest::of(shard, node, "standby", &digest)))
                }
                _ => Ok(None),
            }
        }
        .boxed()
    }
}

async fn get(address: SocketAddr, method: &str, path: &str) -> (u16, String, String) {
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::builder()
        .method(method)
        .uri(format!("http://{address}{path}"))
        .body(Empty::new());
    let answer = client
        .request(request.expect("a request"))
        .await
        .expect("an answer");
    let kind = answer.headers()[header::CONTENT_TYPE]
        .to_str()
        .expect("text")
        .to_owned();
    let status = answer.status().as_u16();

    let body = answer
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    (
        status,
        kind,
        String::from_utf8(body.to_vec()).expect("UTF-8"),
    )
}

fn serve(process: Arc<Process>) -> Operations {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let metrics = PrometheusBuilder::new().build_recorder().handle();
    let watchdog = Watchdog::spawn(CancellationToken::new());
    Operations::serve(
        listener,
        Setup {
            metrics,
            watchdog,
            subject: process,
        },
    )
    .expect("served")
}

#[tokio::test]
async fn readiness_follows_the_process_and_liveness_does_not() {
    let process = Arc::new(Process::default());
    let port = serve(Arc::clone(&process));
    assert_eq!(get(port.address(), "GET", "/readyz").await.0, 200);
    process.draining.store(true, Ordering::SeqCst);
    let (status, _, body) = get(port.address(), "GET", "/readyz").await;
    assert_eq!((status, body.as_str()), (503, "draining\n"));
    assert_eq!(get(port.address(), "GET", "/livez").await.0, 200);
}

#[tokio::test]
async fn metrics_are_prometheus_text_and_other_paths_and_methods_are_refused() {
    let port = serve(Arc::default());
    let (status, kind, _) = get(port.address(), "GET", "/metrics").await;
    assert_eq!(
        (status, kind.as_str()),
        (200, "text/plain; version=0.0.4; charset=utf-8")
    );
    assert_eq!(get(port.address(), "GET", "/v1/conversations").await.0, 404);
    assert_eq!(get(port.address(), "POST", "/metrics").await.0, 405);
    assert_eq!(get(port.address(), "HEAD", "/livez").await.0, 200);
}

#[tokio::test]
async fn cluster_joins_the_table_with_what_owners_tell() {
    let port = serve(Arc::default());
    let (status, kind, body) = get(port.address(), "GET", "/cluster").await;
    assert_eq!((status, kind.as_str()), (200, "application/json"));

    let told: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(told["table_version"], 3);

    let node = |draining: serde_json::Value| {
        let mut node = serde_json::json!({"peer": "127.0.0.1:2", "sessions": null, "ready": null, "cut_off": null});
        if !draining.is_null() {
            node["draining"] = draining;
        }
        node
    };
    let mark = serde_json::json!({"since_ms": 7, "by": "anna@desk"});
    assert_eq!(told["nodes"]["node-1"], node(serde_json::Value::Null));
    assert_eq!(told["nodes"]["node-2"], node(mark.clone()));
    assert_eq!(told["draining"], serde_json::json!({"node-2": mark}));

    let offsets = |messages: u64, receipts: u64| serde_json::json!({"messages": messages, "receipts": receipts});
    let owned = serde_json::json!({
        "shard": 0, "owner": "node-1", "standby": ["node-2"],
        "standbys": [{"node": "node-2", "in_sync": true}], "epoch": 7, "tails": offsets(42, 5),
        "committed": offsets(42, 5), "applied": offsets(40, 5), "durable": offsets(30, 4), "lag": 2,
    });

    assert_eq!(told["shards"][0], owned);
    assert_eq!(told["shards"][1]["owner"], "node-2");
    assert!(told["shards"][1]["epoch"].is_null());
}

#[tokio::test]
async fn what_changes_the_cluster_needs_a_proof_and_what_is_only_told_needs_none() {
    let port = serve(Arc::default());
    for (method, path) in [
        ("POST", "/shards/0/owner?node=node-2"),
        ("POST", "/nodes/node-1/drain"),
        ("DELETE", "/nodes/node-1/drain?by=anna"),
        ("POST", "/balance"),
    ] {
        let (status, _, why) = get(port.address(), method, path).await;
        assert!(
            status == 401 && why.contains("must prove the cluster key"),
            "{method} {path}: {status} {why}"
        );
    }

    for (method, path) in [
        ("GET", "/shards/0/owner"),
        ("GET", "/nodes/node-1/drain"),
        ("DELETE", "/balance"),
    ] {
        assert_eq!(
            get(port.address(), method, path).await.0,
            405,
            "{method} {path}"
        );
    }

    let (status, _, why) = get(port.address(), "GET", "/balance").await;
    assert_eq!((status, why), (503, format!("{NO_NODE}\n")));
}

#[tokio::test]
async fn a_port_that_is_dropped_takes_no_more_connections() {
    let port = serve(Arc::default());
    let address = port.address();
    drop(port);
    let refused = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), refused)
        .await
        .expect("refused in time");
}

#[tokio::test]
async fn a_digest_is_told_of_what_is_here_and_of_nothing_else() {
    let process = Arc::new(Process::default());
    process.digesting.cancel();

    let port = serve(Arc::clone(&process));
    let (status, kind, body) = get(port.address(), "GET", "/shards/12/digest").await;
    assert_eq!((status, kind.as_str()), (200, "application/json"));

    let told: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    let tail = |offset: u64| serde_json::json!({"offset": offset, "chain": "0".repeat(32)});
    let expected = serde_json::json!({
        "shard": 12, "node": "node-1", "role": "standby", "applied": [tail(5), tail(0)], "digest": "ab".repeat(32),
    });
    assert_eq!(told, expected);

    let (_, _, named) = get(port.address(), "GET", "/shards/12/digest?node=node-7").await;
    assert!(named.contains("node-7"), "{named}");

    let (absent, _, why) = get(port.address(), "GET", "/shards/1/digest").await;
    assert_eq!((absent, why.as_str()), (503, "the disk\n"));

    for path in [
        "/shards/13/digest",
        "/shards/x/digest",
        "/shards/70000/digest",
        "/shards/12",
        "/shards/12/digest/x",
    ] {
        assert_eq!(get(port.address(), "GET", path).await.0, 404, "{path}");
    }

    assert_eq!(
        get(port.address(), "POST", "/shards/12/digest").await.0,
        405
    );
}

#[tokio::test]
async fn one_digest_is_made_at_a_time_and_probes_are_answered_meanwhile() {
    let process = Arc::new(Process::default());
    let port = serve(Arc::clone(&process));
    let address = port.address();
    let first = tokio::spawn(async move { get(address, "GET", "/shards/12/digest").await.0 });
    let begun = std::time::Instant::now();

    while process.digests.load(Ordering::SeqCst) == 0 {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "the first one never began"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    let (status, _, body) = get(address, "GET", "/shards/12/digest").await;
    assert!(status == 503 && body.contains("another"), "{status} {body}");
    assert_eq!(get(address, "GET", "/livez").await.0, 200);

    process.digesting.cancel();
    assert_eq!(first.await.expect("no panic"), 200);
}
