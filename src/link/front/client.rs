//! The router's end of the link to one node: opens it when it is needed, keeps frames in the order
//! in which they were sent, matches replies to calls, and hands everything else on.
//!
//! **Invariants.** A frame goes by the connection that was open, or about to be, when it was sent,
//! or by none. Connections are numbered over all links of the process, and a number is never used
//! again. Once [`Consumer::ended`] was told, nothing of that connection is handed on.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::ids::NodeId;
use crate::link::codec::FRAME_BYTES_MAX;
use crate::link::dial::{Failures, dial};
use crate::link::front::calls::{Answer, Calls};
use crate::link::front::carry::{Carrier, carry};
use crate::link::front::queue::{Bound, Queue, Refused};
use crate::link::front::server::FrontServer;
use crate::link::front::{Call, Down, Up};
use crate::link::{Config, Credentials, Failure, LinkError};
use crate::telemetry;

/// How much earlier than at our deadline the node is to answer.
const ANSWER_MARGIN: Duration = Duration::from_millis(100);

/// Bytes beside the bound for all that frames about sessions may take: without them a node would
/// not hear what ends.
const RESERVE_BYTES: usize = 8 << 20;

/// What takes the frames of a link that are no replies. Nothing here may wait.
pub trait Consumer: fmt::Debug + Send + Sync + 'static {
    /// Takes all frames that came at once over this connection, in their order.
    fn take(&self, node: &NodeId, connection: u64, frames: Vec<Down>);

    /// The connection has ended, or could not be opened.
    fn ended(&self, node: &NodeId, connection: u64);

    /// A reply told which table its node follows, and how many milliseconds ago it read it.
    fn heard(&self, version: u64, age_ms: Option<u64>);
}

/// How a node is reached.
pub enum Way {
    /// By its peer port, whose address is asked for at each attempt.
    Socket {
        /// Who we are.
        credentials: Credentials,
        /// The address now, `host:port`, if there is one.
        address: Box<dyn Fn() -> Option<String> + Send + Sync>,
    },
    /// In this process.
    Memory {
        /// Our name.
        id: NodeId,
        /// The node's end.
        server: Arc<FrontServer>,
    },
}

/// What a link is made of.
pub struct Setup {
    /// The node.
    pub node: NodeId,
    /// How it is reached.
    pub way: Way,
    /// Takes what are no replies.
    pub consumer: Arc<dyn Consumer>,
    /// Settings.
    pub config: Config,
    /// Ends the link.
    pub stop: CancellationToken,
}

/// The link to one node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct NodeLink {
    shared: Arc<Shared>,
}

struct Shared {
    setup: Setup,
    state: Mutex<State>,
}

struct State {
    connection: Arc<Connection>,
    /// An attempt has just failed: none is made now.
    resting: bool,
    stopped: bool,
}

/// One connection, from the first frame for it on.
#[derive(Debug)]
struct Connection {
    number: u64,
    out: Arc<Queue<Up>>,
    calls: Arc<Calls>,
    /// What the node speaks, once the connection is open.
    version: OnceLock<u16>,
}

impl Connection {
    fn new(config: &Config) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let out = Arc::new(Queue::new(config.queued_bytes_max, RESERVE_BYTES));
        let calls = Arc::new(Calls::new(
            Arc::clone(&out),
            config.in_flight_max,
            config.queued_bytes_max,
        ));
        Arc::new(Self {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            out,
            calls,
            version: OnceLock::new(),
        })
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeLink")
            .field("node", &self.setup.node)
            .finish_non_exhaustive()
    }
}

impl NodeLink {
    /// A link that is opened when it is first needed. Its task ends when `setup.stop` fires.
    #[must_use]
    pub fn spawn(setup: Setup) -> Self {
        let state = State {
            connection: Connection::new(&setup.config),
            resting: false,
            stopped: false,
        };
        let shared = Arc::new(Shared {
            setup,
            state: Mutex::new(state),
        });
        tokio::spawn(run(Arc::clone(&shared)));
        Self { shared }
    }

    /// The node at the other end.
    #[must_use]
    pub fn node(&self) -> &NodeId {
        &self.shared.setup.node
    }

    /// Asks the node; number and deadline of the call are set here. Waits at most until `deadline`.
    /// Dropping the future drops the answer, and takes back what was not sent.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn call(
        &self,
        mut call: Call,
        deadline: Instant,
    ) -> impl Future<Output = Result<Answer, Failure>> + Send + 'static {
        let left = deadline.saturating_duration_since(Instant::now());
        // So that what the node says at its deadline is still heard before ours.
        let told = left.saturating_sub(ANSWER_MARGIN.min(left / 4));
        call.deadline_ms = u64::try_from(told.as_millis()).unwrap_or(u64::MAX);

        let begun = self.connection(None).and_then(|connection| {
            if connection
                .version
                .get()
                .is_some_and(|version| call.since() > *version)
            {
                return Err(Failure::NotSent("the node is too old for this request"));
            }
            connection.calls.begin(call, deadline)
        });
        async move {
            match begun {
                Ok(waiting) => waiting.await,
                Err(failure) => Err(failure),
            }
        }
    }

    /// Sends a frame about a session, by the connection `of` that was told before, or by the one
    /// that is open or opened now. Tells by which. Whether it arrives, nobody tells: if not,
    /// [`Consumer::ended`] is called for that connection.
    ///
    /// # Errors
    /// [`Failure::NotSent`]: that connection has ended, or there can be none now;
    /// [`Failure::Full`].
    pub fn send(&self, of: Option<u64>, frame: Up) -> Result<u64, Failure> {
        let connection = self.connection(of)?;
        let weight = frame.weight();
        if weight >= FRAME_BYTES_MAX {
            return Err(Failure::TooLarge);
        }

        let bound = match frame {
            Up::Taken(_) | Up::Gone(_) => Bound::Reserve,
            Up::Call(_) | Up::Open(_) | Up::Said { .. } | Up::Read(_) => Bound::All,
        };

        connection
            .out
            .put(frame, weight, bound)
            .map_err(|refused| match refused {
                Refused::Full => Failure::Full,
                Refused::Closed => Failure::NotSent("the connection has ended"),
            })?;
        Ok(connection.number)
    }

    /// Waits until half of what may wait for the connection is free, or it has ended. Cancel-safe.
    pub async fn until_space(&self, of: u64) {
        if let Ok(connection) = self.connection(Some(of)) {
            connection.out.until_space().await;
        }
    }

    fn connection(&self, of: Option<u64>) -> Result<Arc<Connection>, Failure> {
        let state = self.shared.state();
        if state.stopped {
            return Err(Failure::NotSent("this process ends"));
        }
        if of.is_some_and(|of| of != state.connection.number) {
            return Err(Failure::NotSent("the connection has ended"));
        }
        if state.resting {
            return Err(Failure::NotSent("the node could not be reached just now"));
        }
        Ok(Arc::clone(&state.connection))
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a new connection in the place of one that has ended, which nothing reaches from here
    /// on.
    fn over(&self, connection: &Connection) {
        {
            let mut state = self.state();
            state.connection = Connection::new(&self.setup.config);
            state.resting = true;
        }
        connection.out.close();
        connection.calls.end();
        self.setup
            .consumer
            .ended(&self.setup.node, connection.number);
    }
}

/// Keeps the link until it is stopped.
async fn run(shared: Arc<Shared>) {
    let stop = shared.setup.stop.clone();
    stop.run_until_cancelled(open_on_demand(&shared)).await;
    let connection = {
        let mut state = shared.state();
        state.stopped = true;
        Arc::clone(&state.connection)
    };
    connection.out.close();
    connection.calls.end();
    shared
        .setup
        .consumer
        .ended(&shared.setup.node, connection.number);
}

/// Opens a connection whenever something waits for one.
async fn open_on_demand(shared: &Arc<Shared>) {
    let setup = &shared.setup;
    let mut failures = Failures::default();
    loop {
        let connection = Arc::clone(&shared.state().connection);
        connection.out.until_filled().await;
        let begun = Instant::now();
        let error = match reach(setup, &connection).await {
            Ok(carrier) => serve(shared, &connection, carrier).await,
            Err(error) => error,
        };
        failures.add(&setup.node, begun, &error);
        shared.over(&connection);
        sleep(failures.pause(&setup.config)).await;
        shared.state().resting = false;
    }
}

/// Carries frames until the connection ends.
async fn serve(shared: &Arc<Shared>, connection: &Connection, carrier: Carrier<Down>) -> LinkError {
    let Setup {
        node,
        consumer,
        config,
        ..
    } = &shared.setup;

    tracing::info!(%node, "link opened");
    let error = carry(carrier, &connection.out, config, |frames| {
        let mut others = Vec::with_capacity(frames.len());
        for frame in frames {
            match frame {
                Down::Reply(reply) => {
                    consumer.heard(reply.table_version, reply.table_age_ms);
                    connection.calls.replied(reply);
                }
                other => others.push(other),
            }
        }
        if !others.is_empty() {
            consumer.take(node, connection.number, others);
        }
    });
    let error = error.await;
    telemetry::LINK_ENDS.add(1, &[]);
    error
}

/// Opens a connection to the node, however it is reached.
async fn reach(setup: &Setup, connection: &Connection) -> Result<Carrier<Down>, LinkError> {
    let (credentials, address) = match &setup.way {
        Way::Memory { id, server } => {
            let down = server.attach(id.clone(), Arc::clone(&connection.out));
            return down.map(Carrier::Memory).ok_or(LinkError::Left);
        }
        Way::Socket {
            credentials,
            address,
        } => (credentials, address().ok_or(LinkError::NoAddress)?),
    };
    let (socket, version) = dial(credentials, &setup.node, &address, &setup.config).await?;
    let version = *connection.version.get_or_init(|| version);
    Ok(Carrier::Socket(Box::new(socket), version))
}
