//! Keeps a link open for as long as something waits for it, and carries requests, answers and
//! pushes over it.

use std::sync::Arc;
use std::time::Instant;

use tokio::time::sleep;

use crate::cluster::table::reach::Told;
use crate::link::LinkError;
use crate::link::codec::decode;
use crate::link::dial::{Failures, dial};
use crate::link::socket::{Pulse, Reader, Socket, ticks};
use crate::node::link::frame::Frame;
use crate::node::link::outgoing::{Setup, Shared};
use crate::telemetry;

/// Keeps the link until it is stopped.
pub(super) async fn run(shared: Arc<Shared>) {
    let setup = &shared.setup;
    setup
        .stop
        .run_until_cancelled(open_on_demand(&shared))
        .await;
    shared.stopped();
    (setup.broken)(&setup.peer);
}

/// Opens the link whenever something waits for it.
async fn open_on_demand(shared: &Shared) {
    let setup = &shared.setup;
    let mut failures = Failures::default();
    loop {
        shared.until_queued().await;
        let begun = Instant::now();
        let error = match dial_peer(setup).await {
            Ok((socket, version)) => use_link(shared, socket, version).await,
            Err(error) => error,
        };
        failures.add(&setup.peer, begun, &error);
        sleep(failures.pause(&setup.config)).await;
    }
}

async fn use_link(shared: &Shared, socket: Socket, version: u16) -> LinkError {
    tracing::info!(peer = %shared.setup.peer, version, "link opened");
    shared.state().connected = true;
    let error = carry(shared, socket, version).await;
    shared.disconnected();
    (shared.setup.broken)(&shared.setup.peer);
    telemetry::LINK_ENDS.add(1, &[]);
    error
}

/// Carries requests, answers and pushes until the socket ends.
async fn carry(shared: &Shared, socket: Socket, version: u16) -> LinkError {
    let Socket {
        mut reader,
        mut writer,
        pulse,
    } = socket;

    let config = &shared.setup.config;
    let reading = async {
        loop {
            if let Err(error) = take_frame(shared, &mut reader, &pulse).await {
                return error;
            }
        }
    };

    let writing = async {
        let mut ticks = ticks(config.heartbeat);
        loop {
            tokio::select! {
                _ = ticks.tick() => writer.beat(),
                () = shared.until_queued() => shared.take(&mut writer, version),
            }
            if let Err(error) = writer.flush().await {
                return error;
            }
        }
    };

    // Whichever ends first ends the link, so that no read or write is ever taken up again after it
    // was dropped.
    tokio::select! {
        error = reading => error,
        error = writing => error,
        error = pulse.watch(config) => error,
    }
}

async fn take_frame(shared: &Shared, reader: &mut Reader, pulse: &Pulse) -> Result<(), LinkError> {
    let bytes = reader.read().await?;
    match decode::<Frame>(&bytes).map_err(|error| LinkError::Protocol(error.to_string()))? {
        Frame::Answer(answer) => {
            let told = Told {
                version: answer.table_version,
                age_ms: answer.table_age_ms,
            };
            shared.setup.reach.hear(told, Instant::now());
            shared.answered(answer);
        }
        Frame::Pushes(pushes) => {
            for push in pushes {
                let sent = pulse.while_busy(shared.setup.pushes.send(push)).await;
                sent.map_err(|_closed| LinkError::Stopped)?;
            }
        }
        Frame::Request(_) => {
            return Err(LinkError::Protocol(
                "a request came from the owner's end".to_owned(),
            ));
        }
    }

    Ok(())
}

/// Opens a connection to where the table says that the node is.
async fn dial_peer(setup: &Setup) -> Result<(Socket, u16), LinkError> {
    let address = setup
        .table
        .borrow()
        .addresses(&setup.peer)
        .map(|node| node.peer.clone());
    dial(
        &setup.credentials,
        &setup.peer,
        &address.ok_or(LinkError::NoAddress)?,
        &setup.config,
    )
    .await
}
