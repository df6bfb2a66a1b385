//! One accepted link: its requests are served in order, and answers and pushes are carried back.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout_at;
use tokio_util::sync::CancellationToken;

use crate::cluster::table::reach::Told;
use crate::ids::{NodeId, ShardId};
use crate::link::codec::{decode, encode};
use crate::link::socket::{COALESCE_BYTES, Pulse, Reader, Socket, Writer, ticks};
use crate::link::{Config, LinkError};
use crate::node::link::frame::{Answer, Frame, Outcome, Request, push_weight};
use crate::node::link::port::Port;
use crate::node::link::{Asker, Serve};
use crate::problem::{Code, Problem};
use crate::shard::command::{Push, ShardError};
use crate::shard::write::subscriptions::{Subscriber, SubscriberId};

/// Longest budget that a peer may claim.
const DEADLINE_MAX: Duration = Duration::from_secs(60);

/// What is served longer than this past its deadline is given up; the peer has long done so.
const GRACE: Duration = Duration::from_secs(1);

/// Bytes of pushes in one frame; a larger single push goes alone.
const PUSHES_BYTES: usize = 1 << 20;

/// Pushes taken from the queue at once.
const PUSHES_AT_ONCE: usize = 256;

/// Serves a link until it ends.
pub(super) async fn carry(
    port: &Arc<Port>,
    (peer, version): (NodeId, u16),
    socket: Socket,
    end: &CancellationToken,
) -> LinkError {
    let Socket {
        mut reader,
        mut writer,
        pulse,
    } = socket;

    let config = &port.setup.config;
    let (push_sender, pushes) = mpsc::channel(config.pushes_max.max(1));
    let (answers, answered) = mpsc::channel(config.in_flight_max.max(1));
    let bytes = Arc::new(Semaphore::new(
        config.queued_bytes_max.min(Semaphore::MAX_PERMITS),
    ));

    let subscriber = Subscriber::new(push_sender);
    let _forget = Forget(&*port.setup.service, subscriber.id());
    let asker = Asker {
        node: peer,
        subscriber,
    };

    let serving = Serving {
        port: Arc::clone(port),
        answers,
        bytes,
    };

    let in_flight = Arc::new(Semaphore::new(config.in_flight_max));
    let reading = async {
        loop {
            if let Err(error) = serve_next(&serving, &mut reader, &pulse, &asker, &in_flight).await
            {
                return error;
            }
        }
    };

    // Whichever ends first ends the link, so that no read or write is ever taken up again after it
    // was dropped.
    let error = tokio::select! {
        error = reading => error,
        error = write(&mut writer, answered, (pushes, version), config) => error,
        error = pulse.watch(config) => error,
        () = end.cancelled() => LinkError::Stopped,
    };

    if port.stop.is_cancelled() {
        writer.say_goodbye().await;
    }
    error
}

/// Takes the next request and starts serving it, so that requests are enqueued in the order in
/// which they came.
async fn serve_next(
    serving: &Serving,
    reader: &mut Reader,
    pulse: &Pulse,
    asker: &Asker,
    in_flight: &Arc<Semaphore>,
) -> Result<(), LinkError> {
    let bytes = reader.read().await?;
    let request = match decode::<Frame>(&bytes) {
        Ok(Frame::Request(request)) => request,
        Ok(_) => {
            return Err(LinkError::Protocol(
                "only requests are taken at the owner's end".to_owned(),
            ));
        }
        Err(error) => return Err(LinkError::Protocol(error.to_string())),
    };

    let Request {
        id,
        deadline_ms,
        table_version,
        table_age_ms,
        body,
    } = request;

    let told = Told {
        version: table_version,
        age_ms: table_age_ms,
    };
    serving.port.setup.reach.hear(told, Instant::now());
    let Ok(permit) = Arc::clone(in_flight).try_acquire_owned() else {
        let full =
            Problem::unavailable("too many requests of one node are being served; try again");
        pulse
            .while_busy(serving.answer((id, Vec::new()), Err(full.into())))
            .await;
        return Ok(());
    };

    let deadline = Instant::now() + Duration::from_millis(deadline_ms).min(DEADLINE_MAX);
    let service = &serving.port.setup.service;
    // Mostly nothing has moved, and then nobody need know what is asked.
    let shards = if service.knows_of_moves() {
        body.shards()
    } else {
        Vec::new()
    };

    let mut served = service.serve(body, deadline, asker);
    // The first poll enqueues whatever `serve` did not, before the next request is looked at.
    if let Poll::Ready(result) = poll_fn(|cx| Poll::Ready(served.as_mut().poll(cx))).await {
        pulse.while_busy(serving.answer((id, shards), result)).await;
        return Ok(());
    }

    let serving = serving.clone();
    tokio::spawn(async move {
        if let Ok(result) = timeout_at((deadline + GRACE).into(), served).await {
            serving.answer((id, shards), result).await;
        }
        drop(permit);
    });

    Ok(())
}

/// An encoded answer and its share of the bytes that may wait.
type Written = (Vec<u8>, OwnedSemaphorePermit);

/// What one accepted link shares with the requests that it serves.
#[derive(Clone)]
struct Serving {
    port: Arc<Port>,
    answers: mpsc::Sender<Written>,
    bytes: Arc<Semaphore>,
}

impl Serving {
    /// Queues the answer to a request that concerns these shards; waits while too many bytes do.
    async fn answer(&self, (id, shards): (u64, Vec<ShardId>), result: Result<Outcome, ShardError>) {
        let table_version = self.port.setup.table.borrow().version;
        let table_age_ms = self.port.setup.reach.told(Instant::now()).age_ms;
        let service = &self.port.setup.service;
        let moved = if service.knows_of_moves() {
            service.moved(&shards)
        } else {
            Vec::new()
        };

        let frame_of = |told| {
            Frame::<()>::Answer(Answer {
                id,
                table_version,
                table_age_ms,
                result: told,
                moved: moved.clone(),
            })
        };
        let encoded = encode(&frame_of(result)).or_else(|error| {
            tracing::error!(%error, "an answer cannot be sent over a link");
            let problem = Problem::new(
                Code::TooLarge,
                "the answer is too large; ask for a smaller page",
            );
            encode(&frame_of(Err(problem.into())))
        });
        let Ok(frame) = encoded else { return };
        let most = self
            .port
            .setup
            .config
            .queued_bytes_max
            .min(Semaphore::MAX_PERMITS);
        let share = u32::try_from(frame.len().min(most)).unwrap_or(u32::MAX);

        if let Ok(permit) = Arc::clone(&self.bytes).acquire_many_owned(share).await {
            // Fails when the link is gone: then nobody waits for the answer.
            self.answers.send((frame, permit)).await.ok();
        }
    }
}

/// Ends the interests of a link, however the link ends.
struct Forget<'a>(&'a dyn Serve, SubscriberId);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.0.forget(self.1);
    }
}

/// Writes answers, pushes and signs of life, as many at once as are there.
async fn write(
    writer: &mut Writer,
    mut answers: mpsc::Receiver<Written>,
    (mut pushes, version): (mpsc::Receiver<Push>, u16),
    config: &Config,
) -> LinkError {
    let mut ticks = ticks(config.heartbeat);
    let mut taken = Vec::with_capacity(PUSHES_AT_ONCE);
    let mut permits = Vec::new();

    loop {
        tokio::select! {
            _ = ticks.tick() => writer.beat(),
            Some((frame, held)) = answers.recv() => {
                writer.add(frame, 1);
                permits.push(held);
                while writer.gathered() < COALESCE_BYTES && let Ok((more, permit)) = answers.try_recv() {
                    writer.add(more, 1);
                    permits.push(permit);
                }
            }
            _ = pushes.recv_many(&mut taken, PUSHES_AT_ONCE) => {}
        }
        // What an older node does not know would end the link; it is told nothing of it.
        let known = std::mem::take(&mut taken)
            .into_iter()
            .filter(|push| push.since() <= version);
        let mut left = known.peekable();
        while left.peek().is_some() {
            let mut room = PUSHES_BYTES;
            let mut some: Vec<Push> = left.next().into_iter().collect();
            while let Some(push) = left.next_if(|push| push_weight(push) <= room) {
                room -= push_weight(&push);
                some.push(push);
            }
            let count = some.len();
            match encode(&Frame::<()>::Pushes(some)) {
                Ok(frame) => writer.add(frame, count),
                Err(error) => return LinkError::Protocol(error.to_string()),
            }
            if let Err(error) = writer.flush().await {
                return error;
            }
        }
        if let Err(error) = writer.flush().await {
            return error;
        }
        permits.clear();
    }
}
