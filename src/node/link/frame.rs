//! The peer contract: what travels over a link, as `MessagePack` with named fields. Fields and
//! variants are only ever added: what a reader does not know it skips, what an older writer left
//! out has a default. A new variant is sent only to a peer whose version, told when the link is
//! opened, knows it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{ConversationName, Epoch, NodeId, Offset, ShardId, UserId};
use crate::log::record::{Event, EventKind};
use crate::node::link::handing::{BalancePlan, HandOverAsk, NodeStanding};
use crate::node::link::replica::{ReplicaAnswer, ReplicaAsk};
use crate::protocol::{ConversationItem, Patch};
use crate::shard::IndexPage;
use crate::shard::command::{
    Command, Done, Found, Freshness, Interest, Present, Push, Query, ShardError, Subscribed,
    Watched,
};
use crate::shard::replicas::ReplicaStatus;

/// Bytes of events in one answer to [`Body::Subscribe`]; the rest is cut as if by the interest's
/// limit.
pub(crate) const EVENT_BYTES_MAX: usize = 8 << 20;

/// One frame. `B` is the body of a request, owned or borrowed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(
    clippy::large_enum_variant,
    reason = "a frame is passed on once; a box is an allocation for each answer"
)]
pub(crate) enum Frame<B = Body> {
    /// From the node that opened the link.
    Request(Request<B>),
    /// To the node that opened the link, in any order.
    Answer(Answer),
    /// To the node that opened the link: pushes of its subscriptions, per shard in the order of
    /// their commits.
    Pushes(Vec<Push>),
}

/// A request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Request<B = Body> {
    /// Names the request on this link; its answer carries it.
    pub id: u64,
    /// What is left of the request's budget, in milliseconds.
    pub deadline_ms: u64,
    /// Version of the table by which the requester chose this node.
    #[serde(default)]
    pub table_version: u64,
    /// Milliseconds since the requester read the table in its store last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table_age_ms: Option<u64>,
    /// What is asked.
    pub body: B,
}

/// The answer to a request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// Of which request.
    pub id: u64,
    /// Version of the table that the answering node follows: with `NotOwner`, the hint where to
    /// look.
    #[serde(default)]
    pub table_version: u64,
    /// Milliseconds since the answering node read the table in its store last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table_age_ms: Option<u64>,
    /// What became of it.
    pub result: Result<Outcome, ShardError>,
    /// Shards of the request that are not at the answering node any more, and where they are: known
    /// before the table says so. Since version 5.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moved: Vec<(ShardId, NodeId)>,
}

/// How much a summary of a conversation tells.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SummaryLength {
    /// All of it.
    #[default]
    Whole,
    /// All but the last message, which may be long: for what is counted and sorted, and not shown.
    /// An owner of the version before tells the whole.
    Brief,
}

/// What is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Body {
    /// Execute a command. Answer: [`Outcome::Done`].
    Execute { shard: ShardId, command: Command },
    /// Read. Answer: [`Outcome::Found`].
    Query { shard: ShardId, query: Query },
    /// Summaries of conversations of several shards. Answer: [`Outcome::Summaries`].
    Summaries {
        reader: UserId,
        parts: Vec<(ShardId, Vec<ConversationName>)>,
        #[serde(default)]
        length: SummaryLength,
    },
    /// Subscribe to conversations of several shards. Answer: [`Outcome::Subscribed`].
    Subscribe {
        parts: Vec<(ShardId, Vec<Interest>)>,
    },
    /// End interests. Answer: [`Outcome::Ended`].
    Unsubscribe {
        parts: Vec<(ShardId, Vec<(ConversationName, UserId)>)>,
    },
    /// Subscribe to a user's index. Answer: [`Outcome::IndexPage`].
    SubscribeIndex {
        shard: ShardId,
        user: UserId,
        after: Offset,
        limit: u32,
    },
    /// End interest in a user's index. Answer: [`Outcome::Ended`].
    UnsubscribeIndex { shard: ShardId, user: UserId },
    /// Something of the node's own replica of a shard, whatever it is there. Since version 2.
    /// Answer: [`Outcome::Replica`]; `NotOwner` when it has none.
    Replica { shard: ShardId, ask: ReplicaAsk },
    /// How replicas of the asking node stand, to the owner of their shards. Since version 2.
    /// Answer: [`Outcome::Reported`].
    Reports(Vec<ReplicaStatus>),
    /// Whether everything that shards acknowledged has arrived at the users' shards named with
    /// each. Since version 3. Answer: [`Outcome::Outboxes`].
    Outboxes { parts: Vec<(ShardId, Vec<ShardId>)> },
    /// Something of a shard that is to change hands. Since version 5. Answer:
    /// [`Outcome::HandOver`].
    HandOver { shard: ShardId, ask: HandOverAsk },
    /// How the node and the shards that it owns stand. Since version 5. Answer:
    /// [`Outcome::Standing`].
    Standing,
    /// What the node would move as the coordinator; with a name, that one wants it to let nothing
    /// rest and to look now. Since version 6. Answer: [`Outcome::Balance`].
    Balance { asked_by: Option<String> },
    /// How users of several shards are; with `watch` changes are pushed from now on. Since version
    /// 7. Answer: [`Outcome::Present`].
    Presence {
        parts: Vec<(ShardId, Vec<Watched>)>,
        watch: bool,
    },
    /// Watch users no more. Since version 7. Answer: [`Outcome::Ended`].
    Unwatch { parts: Vec<(ShardId, Vec<UserId>)> },
}

impl Body {
    /// The shards that it concerns, as their owners see it.
    #[must_use]
    pub(crate) fn shards(&self) -> Vec<ShardId> {
        match self {
            Self::Execute { shard, .. }
            | Self::Query { shard, .. }
            | Self::SubscribeIndex { shard, .. }
            | Self::UnsubscribeIndex { shard, .. } => vec![*shard],
            Self::Summaries { parts, .. } => parts.iter().map(|(shard, _)| *shard).collect(),
            Self::Subscribe { parts } => parts.iter().map(|(shard, _)| *shard).collect(),
            Self::Outboxes { parts } => parts.iter().map(|(shard, _)| *shard).collect(),
            Self::Presence { parts, .. } => parts.iter().map(|(shard, _)| *shard).collect(),
            Self::Unsubscribe { .. }
            | Self::Unwatch { .. }
            | Self::Replica { .. }
            | Self::Reports(_)
            | Self::HandOver { .. }
            | Self::Standing
            | Self::Balance { .. } => Vec::new(),
        }
    }

    /// The shard that it is for, when it is for one alone and the owner's handle answers it.
    #[must_use]
    pub(crate) fn one_shard(&self) -> Option<ShardId> {
        match self {
            Self::Execute { shard, .. }
            | Self::Query { shard, .. }
            | Self::SubscribeIndex { shard, .. }
            | Self::UnsubscribeIndex { shard, .. } => Some(*shard),
            Self::Summaries { .. }
            | Self::Subscribe { .. }
            | Self::Unsubscribe { .. }
            | Self::Reports(_)
            | Self::Outboxes { .. }
            | Self::Presence { .. }
            | Self::Unwatch { .. }
            | Self::HandOver { .. }
            | Self::Standing
            | Self::Balance { .. }
            | Self::Replica { .. } => None,
        }
    }

    /// The lowest version of the contract that knows this request.
    #[must_use]
    pub(crate) fn since(&self) -> u16 {
        match self {
            Self::Execute { command, .. } => command_since(command),
            Self::Query { query, .. } => match query {
                Query::Audit(_) | Query::Reactions { .. } => 9,
                Query::Bans { .. } => 8,
                Query::Acquainted { .. } => 7,
                _ => 1,
            },
            Self::Presence { .. } | Self::Unwatch { .. } => 7,
            Self::Balance { .. } => 6,
            Self::HandOver { .. } | Self::Standing => 5,
            Self::Outboxes { .. } => 3,
            Self::Replica { ask, .. } => ask.since(),
            Self::Reports(_) => 2,
            Self::Summaries { .. }
            | Self::Subscribe { .. }
            | Self::Unsubscribe { .. }
            | Self::SubscribeIndex { .. }
            | Self::UnsubscribeIndex { .. } => 1,
        }
    }
}

/// The lowest version that knows this command; an older node would leave out what it does not know.
fn command_since(command: &Command) -> u16 {
    match command {
        Command::Create(create) if create.settings.retention_s.is_some() => 11,
        Command::Update(update) if !update.settings.retention_s.keeps() => 11,
        Command::View(_) | Command::OwnMark(_) => 11,
        Command::Close(_) => 10,
        Command::Create(create) if create.has_more() => 8,
        Command::Update(_) | Command::SetParticipant(_) | Command::Ban(_) | Command::Unban(_) => 8,
        Command::Edit(_) | Command::Delete(_) | Command::Typing(_) => 7,
        Command::Send(send) if send.has_more() => 7,
        _ => 1,
    }
}

/// What became of a request that was served.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// Of [`Body::Execute`].
    Done(Done),
    /// Of [`Body::Query`].
    Found(Found, Freshness),
    /// Of [`Body::Summaries`]: one for each part, in their order.
    Summaries(Vec<Result<Vec<Option<ConversationItem>>, ShardError>>),
    /// Likewise, when an owner of one of them could not prove its lease: as stale as the stalest
    /// part.
    StaleSummaries {
        parts: Vec<Result<Vec<Option<ConversationItem>>, ShardError>>,
        /// Milliseconds since its last proof.
        ms: u64,
    },
    /// Of [`Body::Subscribe`]: one for each part, in their order.
    Subscribed(Vec<Result<Vec<Subscribed>, ShardError>>),
    /// Of [`Body::SubscribeIndex`].
    IndexPage(IndexPage),
    /// Of [`Body::Unsubscribe`], [`Body::UnsubscribeIndex`] and [`Body::Unwatch`].
    Ended,
    /// Of [`Body::Replica`].
    Replica(ReplicaAnswer),
    /// Of [`Body::Reports`]: under which epoch each of the shards is owned here, in their order;
    /// `None` where it is not.
    Reported(Vec<Option<Epoch>>),
    /// Of [`Body::Outboxes`]: one for each part, in their order, and in it one for each users'
    /// shard. True is proven.
    Outboxes(Vec<Result<Vec<bool>, ShardError>>),
    /// Of [`Body::HandOver`]: done, or one sentence why not.
    HandOver(Result<(), String>),
    /// Of [`Body::Standing`].
    Standing(Box<NodeStanding>),
    /// Of [`Body::Balance`]; `None` of a node that does not coordinate.
    Balance(Option<Box<BalancePlan>>),
    /// Of [`Body::Presence`]: one for each part, in their order.
    Present(Vec<Result<Present, ShardError>>),
}

/// About how many bytes an event takes on a link, never much less.
#[must_use]
pub(crate) fn event_weight(event: &Event) -> usize {
    let names = |users: &[UserId]| {
        users
            .iter()
            .map(|user| user.as_str().len() + 4)
            .sum::<usize>()
    };
    let length = |text: &Option<Arc<str>>| text.as_ref().map_or(0, |text| text.len());

    let kind = match &event.kind {
        EventKind::Created {
            participants,
            title,
            data,
            ..
        } => names(participants) + length(title) + length(data),
        EventKind::Updated { title, data, .. } => {
            let length = |patch: &Patch<Option<Arc<str>>>| patch.set().map_or(0, length);
            length(title) + length(data) + 256
        }
        EventKind::Message {
            text,
            data,
            mentions,
            ..
        }
        | EventKind::Edited {
            text,
            data,
            mentions,
            ..
        } => text.len() + length(data) + names(mentions) + 256,
        // Some of them may be muted, or come as readers.
        EventKind::Joined {
            users,
            readers,
            muted,
            ..
        } => names(users) + names(readers) + muted.len() * 16,
        EventKind::Left { reason, .. } => 256 + length(reason),
        EventKind::Deleted { .. } | EventKind::Role { .. } | EventKind::Closed { .. } => 256,
    };
    kind + 512
}

/// About how many bytes a push takes on a link, never much less.
#[must_use]
pub(crate) fn push_weight(push: &Push) -> usize {
    match push {
        Push::Event { event, .. } => event_weight(event),
        Push::Watermark { targets, .. } => {
            targets
                .iter()
                .map(|user| user.as_str().len() + 4)
                .sum::<usize>()
                + 512
        }
        Push::Presence { changes, .. } => {
            changes
                .iter()
                .map(|one| one.user.as_str().len() + 64)
                .sum::<usize>()
                + 512
        }
        Push::Reaction { .. }
        | Push::View { .. }
        | Push::Index { .. }
        | Push::Pruned { .. }
        | Push::Typing { .. }
        | Push::Resubscribe { .. } => 512,
    }
}

/// Cuts the events of an answer to [`Body::Subscribe`] so that it fits a frame. What is cut looks
/// as if the interest's limit had cut it, so the subscriber asks again from where it stands.
pub(crate) fn cut_events(parts: &mut [Result<Vec<Subscribed>, ShardError>]) {
    let mut left = EVENT_BYTES_MAX;
    for subscribed in parts.iter_mut().flatten().flatten() {
        if let Subscribed::Live { events, .. } | Subscribed::Ended { events, .. } = subscribed {
            let fits = events.iter().take_while(|event| {
                let weight = event_weight(event);
                let room = left.checked_sub(weight);
                left = room.unwrap_or(0);
                room.is_some()
            });
            let keep = fits.count();
            events.truncate(keep);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::ids::{MessageId, Seq, Slot};
    use crate::link::codec::{decode, encode};
    use crate::protocol::{
        Conversation, Message, MessageCore, OwnView, Page, Participant, Reaction, Role, Settings,
    };

    /// A request of version 1, as it was sent first. Never change it: older nodes send it.
    const REQUEST_V1: &str = "81a75265717565737484a2696407ab646561646c696e655f6d73cd1388ad7461626c655f76657273696f6e03\
                              a4626f647981b0556e737562736372696265496e64657882a57368617264\
                              0ca475736572a3626f62";

    fn name(text: &str) -> ConversationName {
        ConversationName::parse(text).expect("a name")
    }

    fn user(text: &str) -> UserId {
        UserId::parse(text).expect("a name")
    }

    fn message() -> Message {
        let id = MessageId::new(1, Slot(77), 5);
        let core = MessageCore {
            id,
            conversation: name("general"),
            seq: Seq(9),
            source: user("alice"),
            text: "hi ✓".to_owned(),
            reply_to: Some(id),
            created: 1_700_000_000_000,
            edited: None,
            deleted: false,
            data: None,
            mentions: Vec::new(),
            deleted_by: None,
        };

        Message {
            core,
            reactions: BTreeMap::from([(128_077, 2)]),
            my_reaction: Some(128_077),
        }
    }

    fn item() -> ConversationItem {
        let conversation = Conversation {
            retention_effective_s: None,
            first_seq: Seq(1),
            name: name("general"),
            title: None,
            direct: false,
            admin: user("alice"),
            created: 5,
            last_seq: Seq(9),
            participants_count: 1,
            participants: Some(vec![Participant {
                name: user("alice"),
                role: Role::Admin,
                muted_until: None,
                joined_seq: Seq(1),
            }]),
            my_role: Role::Admin,
            my_muted_until: None,
            data: None,
            settings: Settings::default(),
            own: Some(OwnView {
                notify_after: None,
                pinned: None,
                archived: false,
                read_up_to: Seq(0),
                unread: 3,
                unread_mentions: 0,
            }),
        };
        ConversationItem {
            conversation,
            last_message: Some(message()),
            changed: None,
        }
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<_> = hex.chars().collect();
        digits
            .chunks(2)
            .map(|two| u8::from_str_radix(&String::from_iter(two), 16).expect("hex"))
            .collect()
    }

    #[test]
    fn a_request_of_the_first_version_is_read_and_written_as_ever() {
        let frame: Frame = decode(&bytes(REQUEST_V1)).expect("it is read");
        let Frame::Request(request) = &frame else {
            panic!("{frame:?}")
        };
        assert_eq!(
            (request.id, request.deadline_ms, request.table_version),
            (7, 5_000, 3)
        );
        assert!(
            matches!(&request.body, Body::UnsubscribeIndex { shard: ShardId(12), user } if user.as_str() == "bob")
        );
        assert_eq!(encode(&frame).expect("it is written"), bytes(REQUEST_V1));
    }

    #[test]
    fn what_an_older_version_would_not_know_or_leave_out_is_asked_of_newer_nodes_only() {
        use crate::shard::command::{Delete, Edit, Patch, Send};

        let since = |command| {
            Body::Execute {
                shard: ShardId(1),
                command,
            }
            .since()
        };
        let (message_id, by) = (MessageId::new(1, Slot(77), 5), user("alice"));
        let plain = Send::plain(name("general"), user("alice"), "hi");
        let data = Send {
            data: Some("{}".into()),
            ..plain.clone()
        };
        let mentions = Send {
            mentions: vec![user("bob")],
            ..plain.clone()
        };
        let edit = Edit {
            message_id,
            by: by.clone(),
            text: None,
            data: Patch::Set(None),
            mentions: None,
            key: None,
            unless: Vec::new(),
        };
        assert_eq!(since(Command::Send(plain)), 1);
        assert_eq!(
            [data, mentions].map(|send| since(Command::Send(send))),
            [7, 7]
        );
        let read: Edit = decode(&encode(&edit).expect("it is written")).expect("it is read");
        assert_eq!(
            read.data,
            Patch::Set(None),
            "to take the data away is not to leave it"
        );
        assert_eq!(since(Command::Edit(edit)), 7);
        assert_eq!(since(Command::Delete(Delete { message_id, by })), 7);
    }

    #[test]
    fn a_query_of_the_ninth_version_is_asked_of_newer_nodes_only() {
        use crate::shard::command::AuditAsk;

        let reactions = Query::Reactions {
            id: MessageId::new(1, Slot(77), 5),
            reader: user("alice"),
            after: Some(user("bob")),
            limit: 10,
        };
        for query in [reactions, Query::Audit(AuditAsk::Ends)] {
            let asked = Body::Query {
                shard: ShardId(1),
                query,
            };
            assert_eq!(asked.since(), 9);
        }
    }

    #[test]
    fn a_deletion_of_a_conversation_is_asked_of_newer_nodes_only_and_its_end_is_told() {
        use crate::shard::command::Close;

        let close = Close {
            conversation: name("c"),
            by: user("alice"),
        };
        let asked = Body::Execute {
            shard: ShardId(1),
            command: Command::Close(close),
        };
        assert_eq!(asked.since(), 10);

        let event = Arc::new(Event {
            conversation: name("c"),
            seq: Seq(7),
            created: 1,
            key: None,
            kind: EventKind::Closed { by: user("alice") },
        });
        let told = Subscribed::Closed {
            event: Arc::clone(&event),
        };
        let read: Subscribed = decode(&encode(&told).expect("it is written")).expect("it is read");
        assert!(matches!(read, Subscribed::Closed { event: read } if read == event));
    }

    #[test]
    fn an_audit_is_read_as_it_was_written() {
        use crate::shard::command::{AuditAsk, AuditTold, Moment, Pair, Row, Stand};

        let pair = Pair {
            user: user("alice"),
            conversation: name("general"),
        };
        let ask = AuditAsk::Members {
            after: Some(pair.clone()),
            limit: 3,
        };
        let read: Query = decode(&encode(&Query::Audit(ask.clone())).expect("it is written"))
            .expect("it is read");
        assert!(matches!(read, Query::Audit(read) if read == ask));

        let moment = Moment { seq: Seq(5), at: 7 };
        let stand = Stand {
            joined: Some(moment),
            last: None,
        };
        let row = Row {
            seq: Seq(5),
            joined: true,
        };
        for told in [
            AuditTold::Members {
                members: vec![(pair.clone(), stand)],
                next: Some(pair),
            },
            AuditTold::Rows(vec![None, Some(row)]),
        ] {
            let outcome = Outcome::Found(Found::Audit(told.clone()), Freshness::Strict);
            let back = decode(&encode(&outcome).expect("it is written")).expect("it is read");
            assert!(matches!(back, Outcome::Found(Found::Audit(back), _) if back == told));
        }
    }

    #[test]
    fn events_of_an_older_version_are_read_and_plain_messages_are_written_as_ever() {
        let id = MessageId::new(1, Slot(77), 5);
        let event = Event {
            conversation: name("general"),
            seq: Seq(2),
            created: 5,
            key: None,
            kind: EventKind::plain(id, user("alice"), "hi"),
        };
        let older = json!({"conversation": "general", "seq": 2, "created": 5, "key": null,
            "kind": {"Message": {"id": serde_json::to_value(id).expect("json"), "source": "alice", "text": "hi",
                "reply_to": null}}});
        assert_eq!(serde_json::to_value(&event).expect("json"), older);

        assert_eq!(
            decode::<Event>(&encode(&event).expect("it is written")).expect("it is read"),
            event
        );

        let since = crate::log::record::Since {
            seq: Seq(3),
            edited: Some(7),
            deleted_by: None,
        };
        let changed = event.since(Some(since));

        assert_eq!(
            decode::<Event>(&encode(&changed).expect("it is written")).expect("it is read"),
            changed
        );
    }

    #[test]
    fn unknown_fields_are_skipped_and_missing_ones_have_defaults() {
        let later = json!({"Request": {
            "id": 1, "deadline_ms": 5, "priority": [1, {"a": null}],
            "body": {"UnsubscribeIndex": {"shard": 3, "user": "bob", "why": "later"}},
        }});
        let frame: Frame = decode(&encode(&later).expect("it is written")).expect("it is read");

        assert!(matches!(
            frame,
            Frame::Request(Request {
                id: 1,
                table_version: 0,
                ..
            })
        ));

        let later_answer = json!({"Answer": {"id": 2, "result": {"Err": {"Problem": {
            "code": "lagging", "detail": "x", "retry_after": null, "hint": 7,
        }}}, "epoch": 4}});
        let answer: Frame =
            decode(&encode(&later_answer).expect("it is written")).expect("it is read");
        assert!(matches!(
            answer,
            Frame::Answer(Answer {
                id: 2,
                result: Err(ShardError::Problem(_)),
                ..
            })
        ));
        assert!(decode::<Frame>(&[0xc1, 0, 1]).is_err());
    }

    #[test]
    fn answers_come_out_as_they_went_in() {
        let reactions = Page {
            items: vec![Reaction {
                user: user("bob"),
                reaction: 0x1f44d,
                ts: 7,
            }],
            next: Some("bob".to_owned()),
            partial: false,
        };
        let outcomes = [
            Outcome::Found(Found::Message(message()), Freshness::Stale { ms: 7 }),
            Outcome::Found(Found::Reactions(reactions), Freshness::Strict),
            Outcome::Summaries(vec![
                Ok(vec![Some(item()), None]),
                Err(ShardError::NotOwner),
            ]),
            Outcome::StaleSummaries {
                parts: vec![Ok(vec![Some(item())]), Err(ShardError::NotOwner)],
                ms: 2_700,
            },
            Outcome::Done(Done::Sent {
                message: message(),
                replayed: true,
            }),
        ];
        for outcome in outcomes {
            let before = format!("{outcome:?}");
            let frame = Frame::<()>::Answer(Answer {
                id: 1,
                table_version: 2,
                table_age_ms: None,
                result: Ok(outcome),
                moved: Vec::new(),
            });
            let read: Frame = decode(&encode(&frame).expect("it is written")).expect("it is read");
            let Frame::Answer(Answer {
                result: Ok(after), ..
            }) = read
            else {
                panic!("{read:?}")
            };
            assert_eq!(format!("{after:?}"), before);
        }
    }

    #[test]
    fn events_are_cut_from_the_end_so_that_an_answer_fits_and_stays_dense() {
        let event = |seq| {
            let text = Arc::from("x".repeat(16_384));
            let kind = EventKind::plain(MessageId::new(1, Slot(1), seq), user("a"), text);
            Arc::new(Event {
                conversation: name("c"),
                seq: Seq(seq),
                created: 1,
                key: None,
                kind,
            })
        };

        let live = || Subscribed::Live {
            pruned: Seq(0),
            tail: Seq(400),
            joined: Seq(1),
            events: (1..=400).map(event).collect(),
            departed: None,
        };
        let mut parts = vec![
            Ok(vec![live()]),
            Err(ShardError::NotOwner),
            Ok(vec![live()]),
        ];
        cut_events(&mut parts);

        let mut kept = Vec::new();
        for part in parts.iter().flatten().flatten() {
            let Subscribed::Live { events, .. } = part else {
                panic!("{part:?}")
            };
            assert!(events.iter().zip(1..).all(|(one, seq)| one.seq == Seq(seq)));
            kept.push(events.len());
        }

        assert_eq!(kept[0], 400);
        assert!((1..400).contains(&kept[1]), "{kept:?}");

        let frame = Frame::<()>::Answer(Answer {
            id: 1,
            table_version: 1,
            table_age_ms: None,
            result: Ok(Outcome::Subscribed(parts)),
            moved: Vec::new(),
        });
        assert!(encode(&frame).is_ok());
    }
}
