//! What carries a connection's frames: a socket between two processes, or memory within one.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::link::codec::{decode, encode};
use crate::link::front::queue::Queue;
use crate::link::socket::{COALESCE_BYTES, Reader, Socket, Writer, ticks};
use crate::link::{Config, LinkError};
use crate::telemetry;

/// What not every version of the contract knows.
pub(super) trait Since {
    /// The lowest version that knows it.
    fn since(&self) -> u16;
}

/// The way of one connection.
pub(super) enum Carrier<R> {
    /// To another process, which speaks this version.
    Socket(Box<Socket>, u16),
    /// Within this one: what the other end has put in.
    Memory(Arc<Queue<R>>),
}

/// Carries frames out of `out` and to `take`, given all that came at once, until either end ends.
/// `take` must not wait. Not cancel-safe: dropped, the connection is of no more use.
pub(super) async fn carry<S, R>(
    carrier: Carrier<R>,
    out: &Queue<S>,
    config: &Config,
    take: impl FnMut(Vec<R>),
) -> LinkError
where
    S: Serialize + Since,
    R: DeserializeOwned,
{
    match carrier {
        Carrier::Socket(socket, version) => {
            over_socket((*socket, version), out, config, take).await
        }
        Carrier::Memory(from) => {
            let error = over_memory(&from, out, take).await;
            from.close();
            error
        }
    }
}

async fn over_memory<S, R>(
    from: &Queue<R>,
    out: &Queue<S>,
    mut take: impl FnMut(Vec<R>),
) -> LinkError {
    let taken = telemetry::LINK_FRAMES.bind(&[]);
    let reading = async {
        while let Some(frames) = from.take(COALESCE_BYTES).await {
            taken.increment(u64::try_from(frames.len()).unwrap_or(u64::MAX));
            take(frames);
        }
        // Within a process no network breaks: an end that closes means to.
        LinkError::Left
    };
    tokio::select! {
        error = reading => error,
        () = out.closed() => LinkError::Stopped,
    }
}

async fn over_socket<S, R>(
    (socket, version): (Socket, u16),
    out: &Queue<S>,
    config: &Config,
    take: impl FnMut(Vec<R>),
) -> LinkError
where
    S: Serialize + Since,
    R: DeserializeOwned,
{
    let Socket {
        mut reader,
        mut writer,
        pulse,
    } = socket;

    // Whichever ends first ends the link, so that no read or write is ever taken up again after it
    // was dropped.
    let error = tokio::select! {
        error = read(&mut reader, take) => error,
        error = write((&mut writer, version), out, config) => error,
        error = pulse.watch(config) => error,
    };
    if matches!(error, LinkError::Stopped) {
        writer.say_goodbye().await;
    }

    error
}

/// Hands on at once all that is there: nothing more is waited for once a frame has come. How much
/// that can be is bounded by the runtime, which lets a task read only so often before it has others
/// go on.
async fn read<R: DeserializeOwned>(reader: &mut Reader, mut take: impl FnMut(Vec<R>)) -> LinkError {
    let gathered = Mutex::new(Vec::new());
    let reading = async {
        loop {
            let read = reader.read().await;
            let decoded = read.and_then(|bytes| {
                decode::<Vec<R>>(&bytes).map_err(|error| LinkError::Protocol(error.to_string()))
            });
            match decoded {
                Ok(mut more) => gathered
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .append(&mut more),
                Err(error) => return error,
            }
        }
    };
    let mut reading = pin!(reading);

    poll_fn(|cx| {
        let polled = reading.as_mut().poll(cx);
        let frames = std::mem::take(&mut *gathered.lock().unwrap_or_else(PoisonError::into_inner));
        if !frames.is_empty() {
            take(frames);
        }
        polled
    })
    .await
}

async fn write<S: Serialize + Since>(
    (writer, version): (&mut Writer, u16),
    out: &Queue<S>,
    config: &Config,
) -> LinkError {
    let mut ticks = ticks(config.heartbeat);
    loop {
        tokio::select! {
            _ = ticks.tick() => writer.beat(),
            frames = out.take(COALESCE_BYTES) => {
                let Some(mut frames) = frames else { return LinkError::Stopped };
                // What an older process does not know would end the connection.
                frames.retain(|frame| frame.since() <= version);
                match encode(&frames) {
                    Ok(bytes) => writer.add(bytes, frames.len()),
                    Err(error) => return LinkError::Protocol(error.to_string()),
                }
            }
        }
        if let Err(error) = writer.flush().await {
            return error;
        }
    }
}
