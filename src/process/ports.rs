//! What a process is reached by: its ports, the operations port among them, and the ready file that
//! names them.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;

use crate::files::write_whole;
use crate::operations::{self, Operations, Subject};
use crate::telemetry;
use crate::watchdog::Watchdog;

/// Binds a port.
///
/// # Errors
/// One clear line that names the flag.
pub(crate) async fn bind(address: SocketAddr, flag: &str) -> Result<TcpListener, String> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|error| {
        format!("cannot listen on {address}: {error}; choose another address with {flag}")
    })
}

/// Serves the operations port.
///
/// # Errors
/// One clear line.
pub(crate) fn serve_operations(
    listener: TcpListener,
    metrics: PrometheusHandle,
    watchdog: Watchdog,
    subject: Arc<dyn Subject>,
) -> Result<Operations, String> {
    let unpolled = listener
        .into_std()
        .map_err(|error| format!("operations port: {error}"))?;
    let served = Operations::serve(
        unpolled,
        operations::Setup {
            metrics,
            watchdog,
            subject,
        },
    )?;
    telemetry::BUILD_INFO.set(1.0, &[("version", env!("CARGO_PKG_VERSION"))]);
    Ok(served)
}

/// Writes the ready file, if one is asked for.
///
/// # Errors
/// One clear line.
pub(crate) fn write_ready(file: Option<&Path>, addresses: &[(&str, String)]) -> Result<(), String> {
    let Some(path) = file else { return Ok(()) };
    let mut ready = serde_json::Map::new();
    for (name, address) in addresses {
        ready.insert((*name).to_owned(), address.clone().into());
    }
    ready.insert("pid".to_owned(), std::process::id().into());
    write_whole(
        path,
        serde_json::Value::Object(ready).to_string().as_bytes(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_that_is_taken_is_refused_in_one_line_that_names_the_flag() {
        let taken = bind(SocketAddr::from(([127, 0, 0, 1], 0)), "--listen")
            .await
            .expect("a free port");
        let address = taken.local_addr().expect("bound");
        let refused = bind(address, "--listen").await.expect_err("taken");
        assert!(
            refused.contains(&address.to_string()) && refused.contains("--listen"),
            "{refused}"
        );
        assert!(!refused.contains('\n'), "{refused}");
    }
}
