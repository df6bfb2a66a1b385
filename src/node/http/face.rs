//! The face itself: takes the calls of routers, makes the checks in the order of `docs/api.md`, has
//! each operation answered in time, and says what was refused to whom.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use http::StatusCode;
use tracing::Instrument;

use crate::auth::Verifier;
use crate::cluster::table::reach::{Reach, Told};
use crate::ids::{ShardId, UserId};
use crate::link::front;
use crate::link::front::server::{Answering, Answers};
use crate::node::http::answer::{self, Answer, Refusal};
use crate::node::http::request::{self, Call};
use crate::node::http::rest::{Config, Rest};
use crate::node::owners::Owners;
use crate::problem::{Code, Problem};
use crate::protocol::routes::Operation;
use crate::telemetry::{HTTP_REQUEST_SECONDS, HTTP_REQUESTS};

/// Value of the label `role` of our metrics.
const ROLE: &str = "node";

/// Given to a shard beyond the deadline it was told, before it is given up.
const OVERTIME: Duration = Duration::from_millis(500);

/// The REST face of a node. One for the node.
pub(crate) struct Http {
    rest: Arc<Rest>,
    reach: Arc<Reach>,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http")
            .field("rest", &self.rest)
            .finish_non_exhaustive()
    }
}

impl Http {
    /// The REST face over these owners.
    #[must_use]
    pub(crate) fn new(owners: Owners, verifier: Verifier, config: Config) -> Self {
        let reach = Arc::clone(owners.reach());
        Self {
            rest: Arc::new(Rest::new(Arc::new(owners), verifier, config)),
            reach,
        }
    }
}

impl Answers for Http {
    fn answer(&self, call: front::Call, deadline: Instant) -> Answering {
        self.reach.hear(
            Told {
                version: call.table_version,
                age_ms: call.table_age_ms,
            },
            Instant::now(),
        );
        let rest = Arc::clone(&self.rest);
        Box::pin(async move { rest.answer_call(call, deadline).await })
    }

    fn refuse(&self, call: &front::Call) -> front::calls::Told {
        let problem = Problem::unavailable(
            "this node has as many requests of this router as it may have; try again",
        );
        observe(
            call.operation.place().0.template(),
            problem.code.status(),
            Duration::ZERO,
        );
        answer::told(problem.response(&call.request_id))
    }

    fn table(&self) -> (u64, Option<u64>) {
        let Told { age_ms, .. } = self.reach.told(Instant::now());
        (self.rest.shards.table().version, age_ms)
    }
}

impl Rest {
    pub(super) async fn answer_call(
        &self,
        sent: front::Call,
        deadline: Instant,
    ) -> front::calls::Answer {
        let started = Instant::now();
        let route = sent.operation.place().0.template();
        let span = tracing::info_span!("request", id = sent.request_id);

        async {
            let mut user = None;
            let answered = match self.admit(&sent, &mut user) {
                // The router has thrown it away, and leaves the answer to us, in its place in the
                // order of checks.
                Ok(_) if sent.too_large => Err(request::too_large().into()),
                Ok(user) => self.answer_in_time(&sent, user, request::deadline(deadline)).await,
                Err(refused) => Err(refused),
            };
            let elapsed = started.elapsed();
            if let Err(refused) = &answered {
                tell_refused(refused, &sent, user.as_ref(), elapsed);
            }
            let mut response = match answered {
                Ok(answer) => answer.response(),
                Err(Refusal::Problem(problem)) => problem.response(&sent.request_id),
                Err(Refusal::Elsewhere(shard)) => {
                    observe(route, StatusCode::MISDIRECTED_REQUEST.as_u16(), elapsed);
                    return self.elsewhere(shard);
                }
            };
            if sent.head {
                response = answer::without_body(response);
            }
            let status = response.status().as_u16();
            observe(route, status, elapsed);
            tracing::debug!(operation = ?sent.operation, route, status, ?elapsed, "request answered");
            front::calls::Answer::Told(answer::told(response))
        }
        .instrument(span)
        .await
    }

    /// Whom to ask instead: never this node.
    fn elsewhere(&self, shard: ShardId) -> front::calls::Answer {
        let owner = self
            .shards
            .owner_of(shard)
            .filter(|owner| *owner != self.config.node);
        front::calls::Answer::Elsewhere {
            owner,
            version: self.shards.table().version,
        }
    }

    /// The checks that need nothing but the head. Puts down who asks as soon as that is known.
    fn admit(&self, sent: &front::Call, asker: &mut Option<UserId>) -> Result<UserId, Refusal> {
        let Some(token) = &sent.token else {
            return Err(Problem::new(
                Code::Unauthorized,
                "send Authorization: Bearer with a token",
            )
            .into());
        };
        let identity = self.verifier.verify(token);
        let user = identity
            .map_err(|refused| Problem::new(Code::Unauthorized, refused.0))?
            .user;
        *asker = Some(user.clone());

        self.rate.take(&user).map_err(|wait| {
            let mut problem = Problem::new(
                Code::RateLimited,
                "too many requests of this user; slow down",
            );
            problem.retry_after = Some(Duration::from_secs(wait.as_secs().saturating_add(1)));
            problem
        })?;
        Ok(user)
    }

    /// Answers, whatever happens below: not later than a little after the deadline, and also when
    /// there is a bug.
    async fn answer_in_time(
        &self,
        sent: &front::Call,
        user: UserId,
        deadline: Instant,
    ) -> Result<Answer, Refusal> {
        let writes = sent.operation.writes();
        let answering = AssertUnwindSafe(self.answer(sent, user, deadline)).catch_unwind();
        let why = match tokio::time::timeout_at((deadline + OVERTIME).into(), answering).await {
            Ok(Ok(answered)) => return answered,
            Ok(Err(_panic)) => "request ended in a panic",
            Err(_elapsed) => "request was not answered by its deadline",
        };
        tracing::error!("{why}");

        let problem = if writes {
            Problem::new(
                Code::OutcomeUnknown,
                "no answer in time; retry with the same key",
            )
        } else {
            Problem::unavailable("no answer in time")
        };
        Err(problem.into())
    }

    #[expect(clippy::cognitive_complexity, reason = "one arm for each operation")]
    async fn answer(
        &self,
        sent: &front::Call,
        user: UserId,
        deadline: Instant,
    ) -> Result<Answer, Refusal> {
        let operation = sent.operation;
        request::has_fitting_body(sent)?;

        let call = Call {
            sent,
            user,
            deadline,
        };

        if operation.writes() {
            // Also where it is not needed: a client that sends a broken key has to know.
            call.idempotency_key()?;
        }

        match operation {
            Operation::CreateConversation => self.create_conversation(&call).await,
            Operation::OpenDirect => self.open_direct(&call).await,
            Operation::ListConversations => self.list_conversations(&call).await,
            Operation::ShowConversation => self.show_conversation(&call).await,
            Operation::ChangeConversation => self.change_conversation(&call).await,
            Operation::DeleteConversation => self.delete_conversation(&call).await,
            Operation::ListParticipants => self.list_participants(&call).await,
            Operation::AddParticipants => self.add_participants(&call).await,
            Operation::SetParticipant => self.set_participant(&call).await,
            Operation::ListBans => self.list_bans(&call).await,
            Operation::Ban => self.ban(&call).await,
            Operation::EndBan => self.end_ban(&call).await,
            Operation::SetOwnView => self.set_own_view(&call).await,
            Operation::RemoveParticipant => self.remove_participant(&call).await,
            Operation::ShowWatermarks => self.show_watermarks(&call).await,
            Operation::ShowPresence => self.show_presence(&call).await,
            Operation::SendMessage => self.send_message(&call).await,
            Operation::ShowHistory => self.show_history(&call).await,
            Operation::ShowEvents => self.show_events(&call).await,
            Operation::ShowMessage => self.show_message(&call).await,
            Operation::EditMessage => self.edit_message(&call).await,
            Operation::DeleteMessage => self.delete_message(&call).await,
            Operation::ShowReceipts => self.show_receipts(&call).await,
            Operation::ListReactions => self.list_reactions(&call).await,
            Operation::React => self.react(&call).await,
            Operation::TakeReactionBack => self.take_reaction_back(&call).await,
            Operation::MarkRead => self.mark_read(&call).await,
            Operation::OpenSession | Operation::ShowDocument => {
                Err(answer::unexpected("no request of a node's"))
            }
        }
    }
}

/// Says what was refused to whom: mistakes of clients to those who look closely, what the node
/// cannot do to everyone. The id of the request is in the span.
fn tell_refused(refused: &Refusal, sent: &front::Call, user: Option<&UserId>, elapsed: Duration) {
    let user = user.map(tracing::field::display);
    let (endpoint, method) = sent.operation.place();
    let route = endpoint.template();
    let (status, code) = refused.told();
    if status < 500 {
        tracing::debug!(%method, route, status, code, user, ?elapsed, "request refused");
    } else {
        tracing::info!(%method, route, status, code, user, ?elapsed, "request refused");
    }
}

fn observe(route: &'static str, status: u16, elapsed: Duration) {
    HTTP_REQUESTS.add(
        1,
        &[
            ("role", ROLE),
            ("route", route),
            ("status", &status.to_string()),
        ],
    );
    HTTP_REQUEST_SECONDS.record(elapsed.as_secs_f64(), &[("role", ROLE), ("route", route)]);
}
