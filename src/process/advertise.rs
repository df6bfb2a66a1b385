//! How others reach a port of this process, and what a node is called when nobody says it.

use std::net::SocketAddr;

use crate::ids::NodeId;

/// The address to tell others of a port that listens here: what was given, else where it listens,
/// else this host.
///
/// # Errors
/// One clear line: the host has no name, or a port is asked for that is none.
pub(super) fn advertised(
    given: Option<&str>,
    listening: SocketAddr,
    flag: &str,
) -> Result<String, String> {
    let port = listening.port();
    match given {
        Some(given) => with_port(given, port).map_err(|why| format!("{flag} {given}: {why}")),
        None if listening.ip().is_unspecified() => {
            let host = host_name().ok_or_else(|| format!("this host has no name: give {flag}"))?;
            Ok(format!("{host}:{port}"))
        }
        None => Ok(listening.to_string()),
    }
}

/// The node's name: the one given, else the host's.
///
/// # Errors
/// One clear line: there is none.
pub(super) fn node_id(given: Option<&NodeId>) -> Result<NodeId, String> {
    let named = given
        .cloned()
        .or_else(|| Some(NodeId::from(host_name()?.as_str())));
    named.ok_or_else(|| "this host has no name: give --node-id".to_owned())
}

fn with_port(given: &str, port: u16) -> Result<String, String> {
    // The colons of a bare IPv6 address part no port from it.
    let bracketed = given.starts_with('[');
    match given.rsplit_once(':') {
        Some((host, _)) if host.contains(':') && !bracketed => {
            Err("put an IPv6 address into [ ]".to_owned())
        }
        Some((host, _)) if bracketed && !host.ends_with(']') => Ok(format!("{given}:{port}")),
        Some((host, text)) if !host.is_empty() => {
            let own: u16 = text
                .parse()
                .map_err(|_no_number| format!("{text} is no port"))?;
            Ok(format!("{host}:{own}"))
        }
        Some(_) => Err("has no host".to_owned()),
        None => Ok(format!("{given}:{port}")),
    }
}

/// The name of this host, if it has one.
pub(super) fn host_name() -> Option<String> {
    let name = nix::unistd::gethostname().ok()?.into_string().ok()?;
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(given: Option<&str>, listening: &str) -> Result<String, String> {
        advertised(
            given,
            listening.parse().expect("an address"),
            "--advertise-peer",
        )
    }

    #[test]
    fn what_is_given_wins_and_takes_the_bound_port_unless_it_has_one() {
        assert_eq!(
            told(Some("node-1.rookery"), "0.0.0.0:7080"),
            Ok("node-1.rookery:7080".to_owned())
        );
        assert_eq!(
            told(Some("node-1:80"), "127.0.0.1:7080"),
            Ok("node-1:80".to_owned())
        );
        assert_eq!(
            told(Some("[::1]"), "[::]:7080"),
            Ok("[::1]:7080".to_owned())
        );
        assert_eq!(
            told(Some("[::1]:80"), "[::]:7080"),
            Ok("[::1]:80".to_owned())
        );

        for bad in ["::1", "node-1:http", "node-1:70000", ":80"] {
            assert!(told(Some(bad), "127.0.0.1:7080").is_err(), "{bad}");
        }
    }

    #[test]
    fn where_it_listens_is_told_unless_nobody_could_connect_to_that() {
        assert_eq!(
            told(None, "127.0.0.1:7080"),
            Ok("127.0.0.1:7080".to_owned())
        );
        for unspecified in ["0.0.0.0:7080", "[::]:7080"] {
            let told = told(None, unspecified).expect("the host has a name");
            assert_eq!(told, format!("{}:7080", host_name().expect("a name")));
        }
    }

    #[test]
    fn a_node_without_a_name_has_that_of_its_host() {
        assert_eq!(
            node_id(Some(&NodeId::from("node-1"))),
            Ok(NodeId::from("node-1"))
        );
        assert_eq!(
            node_id(None).map(|id| id.to_string()),
            Ok(host_name().expect("a name"))
        );
    }
}
