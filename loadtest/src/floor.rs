//! What a frame to many sockets costs at least: a loop that writes the same bytes to each, and
//! nothing else. What a server needs for a delivered frame is held against it.

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use clap::Args;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use tokio::io::AsyncReadExt as _;

use crate::load::options::allow_files;
use crate::output;
use crate::report::figures::float;

/// Bytes that a reader takes at once.
const READ_BYTES: usize = 64 << 10;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many sockets
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    sockets: u32,
    /// Bytes of a frame; a message of 120 bytes of text is about 370 in a frame
    #[arg(long, value_name = "BYTES", default_value_t = 370)]
    bytes: usize,
    /// How long it writes
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = humantime::parse_duration)]
    duration: Duration,
}

/// What the loop needed.
struct Needed {
    writes: u64,
    processor: Duration,
    elapsed: Duration,
}

pub(crate) async fn run(options: &Options) -> Result<(), String> {
    allow_files(2 * u64::from(options.sockets))?;
    let (duration, bytes) = (options.duration, options.bytes);
    let sockets = pairs(options.sockets).map_err(|error| format!("sockets: {error}"))?;
    let writing = tokio::task::spawn_blocking(move || write(sockets, bytes, duration));
    let needed = writing.await.map_err(|error| error.to_string())?;
    let needed = needed.map_err(|error| format!("writing: {error}"))?;

    let writes = float(needed.writes);
    output::say(&format!(
        "{} sockets, {bytes} bytes: {:.2} us CPU a write, {:.0} writes a second",
        options.sockets,
        needed.processor.as_secs_f64() * 1e6 / writes,
        writes / needed.elapsed.as_secs_f64(),
    ));
    Ok(())
}

/// Sockets to write to; what is written is read away at their other ends.
fn pairs(count: u32) -> std::io::Result<Vec<TcpStream>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let mut sockets = Vec::new();

    for _ in 0..count {
        let reader = TcpStream::connect(address)?;
        reader.set_nonblocking(true)?;
        let mut reader = tokio::net::TcpStream::from_std(reader)?;
        tokio::spawn(async move {
            let mut bytes = vec![0; READ_BYTES];
            while reader.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
        });
        let (socket, _) = listener.accept()?;
        socket.set_nodelay(true)?;
        sockets.push(socket);
    }

    Ok(sockets)
}

/// Writes round after round. The time is that of this thread alone, at which the system counts what
/// it does for a write.
fn write(mut sockets: Vec<TcpStream>, bytes: usize, duration: Duration) -> std::io::Result<Needed> {
    let frame = vec![b'x'; bytes];
    let (begun, before) = (Instant::now(), processor()?);
    let mut writes = 0;
    while begun.elapsed() < duration {
        for socket in &mut sockets {
            socket.write_all(&frame)?;
            writes += 1;
        }
    }
    Ok(Needed {
        writes,
        processor: processor()?.saturating_sub(before),
        elapsed: begun.elapsed(),
    })
}

/// Processor time of this thread so far.
fn processor() -> std::io::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_THREAD)?;
    let used = usage.user_time() + usage.system_time();
    Ok(Duration::from_micros(
        u64::try_from(used.num_microseconds()).unwrap_or_default(),
    ))
}
