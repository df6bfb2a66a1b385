//! What is printed when the cluster serves: lines to paste that show it at work.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::auth;
use crate::clock::Clock;
use crate::config::secrets::Secret;
use crate::ids::UserId;
use crate::output;

/// Prints them, with tokens for `alice` and `bob`.
///
/// # Errors
/// One clear line: no token can be made.
pub(super) fn print(
    client: SocketAddr,
    operations: SocketAddr,
    jwt: &Secret,
) -> Result<(), String> {
    let token = |name: &str| {
        let user = UserId::parse(name).map_err(|error| error.to_string())?;
        auth::issue(
            jwt.expose(),
            &user,
            Duration::from_secs(24 * 3600),
            &Clock::system(),
        )
    };
    let (alice, bob) = (token("alice")?, token("bob")?);
    let at = reachable(client);
    output::announce(format!(
        r#"
Rookery serves on http://{at} (operations: http://{operations}).

To try it, paste this into a second terminal; bob listens (with npx here, but any WebSocket client will do):

  TOKEN_BOB={bob}
  npx --yes wscat -H "Authorization: Bearer $TOKEN_BOB" -c ws://{at}/v1/ws

And this into a third; alice creates a conversation with bob, and writes to it:

  TOKEN_ALICE={alice}
  curl -sS -w '\n' http://{at}/v1/conversations -H "Authorization: Bearer $TOKEN_ALICE" \
    -H 'Content-Type: application/json' -H 'Idempotency-Key: example' -d '{{"name":"example","participants":["bob"]}}'
  curl -sS -w '\n' http://{at}/v1/conversations/example/messages -H "Authorization: Bearer $TOKEN_ALICE" \
    -H 'Content-Type: application/json' -d '{{"text":"hello, bob"}}'

The tokens are good for 24 hours; `rookery token <user>` makes others.

"#
    ));
    Ok(())
}

/// An address that this machine can connect to.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
