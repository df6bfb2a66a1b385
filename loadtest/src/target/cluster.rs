//! What runs in a folder of `scripts/cluster`; it is neither started nor stopped here.

use std::path::Path;

use crate::client::dial::Endpoint;
use crate::client::tokens::Source;
use crate::target::{Found, Operations};

/// Reads the folder's `ports` and `jwt-secret`.
pub(crate) fn find(folder: &Path) -> Result<Found, String> {
    let read = |name: &str| {
        let path = folder.join(name);
        std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let mut found = Found {
        clients: Vec::new(),
        operations: Vec::new(),
        redis: Vec::new(),
        tokens: Source::Secret(read("jwt-secret")?.trim().to_owned()),
    };

    for line in read("ports")?.lines() {
        let Some((name, port)) = line.split_once(' ') else {
            continue;
        };
        let (process, what) = name.split_once('.').unwrap_or((name, ""));
        // Ports are chosen for more processes than there are.
        let Ok(pid) = read(&format!("{process}/pid")) else {
            continue;
        };
        let pid = pid
            .split_whitespace()
            .next()
            .and_then(|pid| pid.parse().ok());
        let address = format!("127.0.0.1:{port}");
        match (process.split('-').next(), what) {
            (Some("router"), "client") => found.clients.push(Endpoint::plain(&address)?),
            (Some("redis"), _) => found.redis.push(address),
            (_, "operations") => {
                let endpoint = Endpoint::plain(&address)?;
                found.operations.push(Operations {
                    name: process.to_owned(),
                    endpoint,
                    pid,
                });
            }
            _ => {}
        }
    }

    if found.clients.is_empty() {
        Err(format!("no router runs in {}", folder.display()))
    } else {
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_tells_its_routers_operations_ports_and_redis_servers_that_run() {
        let folder = tempfile::tempdir().unwrap();
        let ports = "redis-1 7001\nnode-1.peer 2\nnode-1.operations 3\nnode-2.operations 4\n\
                     router-1.client 5\nrouter-1.operations 6\n";
        std::fs::write(folder.path().join("ports"), ports).unwrap();
        std::fs::write(folder.path().join("jwt-secret"), "secret\n").unwrap();
        for process in ["redis-1", "node-1", "router-1"] {
            std::fs::create_dir(folder.path().join(process)).unwrap();
            std::fs::write(folder.path().join(process).join("pid"), "1 2").unwrap();
        }

        let found = find(folder.path()).unwrap();
        assert_eq!(found.clients, [Endpoint::plain("127.0.0.1:5").unwrap()]);

        let names: Vec<&str> = found
            .operations
            .iter()
            .map(|operations| operations.name.as_str())
            .collect();
        assert_eq!(names, ["node-1", "router-1"]);

        assert_eq!(found.operations[0].pid, Some(1));
        assert_eq!(found.redis, ["127.0.0.1:7001"]);
        assert_eq!(found.tokens, Source::Secret("secret".to_owned()));
    }
}
