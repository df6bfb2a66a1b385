//! What is done in a conversation, step by step, and what it then is, told in the plainest way.

use super::*;

/// The first is the admin, who stays.
pub(super) const USERS: [&str; 5] = ["alice", "Bert", "bert", "bert-2", "carol"];

/// What is done next; numbers are taken modulo what there is.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Say {
        who: usize,
    },
    React {
        who: usize,
        to: usize,
        with: Option<u32>,
    },
    Read {
        who: usize,
        to: usize,
    },
    Delete {
        which: usize,
    },
    ComesOrGoes {
        who: usize,
    },
    Look {
        limit: u32,
    },
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let (who, one) = (0..USERS.len(), 0..100_usize);
    let react = (
        who.clone(),
        one.clone(),
        prop::option::weighted(0.7, 1..4_u32),
    );
    prop_oneof![
        2 => who.clone().prop_map(|who| Step::Say { who }),
        8 => react.prop_map(|(who, to, with)| Step::React { who, to, with }),
        2 => (who, one.clone()).prop_map(|(who, to)| Step::Read { who, to }),
        1 => one.prop_map(|which| Step::Delete { which }),
        2 => (1..USERS.len()).prop_map(|who| Step::ComesOrGoes { who }),
        2 => (1..4_u32).prop_map(|limit| Step::Look { limit }),
    ]
}

/// A message of the model.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) message: Message,
    deleted: bool,
    reactions: BTreeMap<UserId, u32>,
}

/// What a conversation is, told in the plainest way.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// Who takes part, with the seq of their join.
    joined: BTreeMap<UserId, u64>,
    read: BTreeMap<UserId, u64>,
    pub(super) said: Vec<Said>,
    last_seq: u64,
}

impl Model {
    /// Everybody is in from the first event on.
    pub(super) fn new() -> Self {
        Self {
            joined: USERS.iter().map(|who| (user(who), 1)).collect(),
            last_seq: 1,
            ..Self::default()
        }
    }

    pub(super) fn has(&self, who: &str) -> bool {
        self.joined.contains_key(&user(who))
    }

    /// (user, reaction) of all that is shown of a message, by name.
    pub(super) fn reactions(&self, said: &Said) -> Vec<(UserId, u32)> {
        let shown = said.reactions.iter().filter(|_| !said.deleted);
        shown.map(|(user, code)| (user.clone(), *code)).collect()
    }

    /// (user, read, reaction) of those whose join precedes the message, but its sender.
    pub(super) fn receipts(&self, said: &Said) -> Vec<(UserId, bool, Option<u32>)> {
        let (seq, source) = (said.message.core.seq.0, &said.message.core.source);
        let concerned = |(user, joined): &(&UserId, &u64)| **joined < seq && *user != source;
        let receipt = |(user, _): (&UserId, &u64)| {
            let read = self.read.get(user).is_some_and(|read| *read >= seq);
            let reaction = said.reactions.get(user).filter(|_| !said.deleted);
            (user.clone(), read, reaction.copied())
        };
        self.joined.iter().filter(concerned).map(receipt).collect()
    }
}

pub(super) async fn take(bench: &Bench, model: &mut Model, step: Step) {
    let said = |number: usize| number.checked_rem(model.said.len());
    match step {
        Step::Say { who } => say(bench, model, USERS[who]).await,
        Step::React { who, to, with } => {
            if let Some(to) = said(to) {
                change_reaction(bench, model, (USERS[who], to, with)).await;
            }
        }
        Step::Read { who, to } => {
            if let Some(to) = said(to) {
                mark(bench, model, (USERS[who], to)).await;
            }
        }
        Step::Delete { which } => {
            if let Some(which) = said(which) {
                erase(bench, model, which).await;
            }
        }
        Step::ComesOrGoes { who } => come_or_go(bench, model, USERS[who]).await,
        Step::Look { limit } => look(bench, model, limit).await,
    }
}

async fn say(bench: &Bench, model: &mut Model, who: &str) {
    let done = in_time(bench.execute(send("c", who, "hello"))).await;
    if !model.has(who) {
        return assert_eq!(code(done), Code::NotParticipant);
    }

    model.last_seq += 1;
    let message = sent(done);
    assert_eq!(message.core.seq.0, model.last_seq);
    model.said.push(Said {
        message,
        deleted: false,
        reactions: BTreeMap::new(),
    });
}

async fn change_reaction(
    bench: &Bench,
    model: &mut Model,
    (who, to, with): (&str, usize, Option<u32>),
) {
    let takes_part = model.has(who);
    let said = &mut model.said[to];
    let done = in_time(bench.execute(react(&said.message, who, with))).await;
    match with {
        _ if !takes_part => assert_eq!(code(done), Code::MessageUnknown),
        Some(_) if said.deleted => assert_eq!(code(done), Code::MessageDeleted),
        Some(with) => {
            done.expect("set");
            said.reactions.insert(user(who), with);
        }
        None => {
            done.expect("taken back");
            said.reactions.remove(&user(who));
        }
    }
}

async fn mark(bench: &Bench, model: &mut Model, (who, to): (&str, usize)) {
    let message = &model.said[to].message;
    let done = in_time(bench.execute(mark_read(message, who))).await;
    if !model.has(who) {
        return assert_eq!(code(done), Code::MessageUnknown);
    }

    done.expect("read");
    let read = model.read.entry(user(who)).or_default();
    *read = message.core.seq.0.max(*read);
}

async fn erase(bench: &Bench, model: &mut Model, which: usize) {
    let said = &mut model.said[which];
    let delete = Command::Delete(Delete {
        message_id: said.message.core.id,
        by: user(USERS[0]),
    });
    in_time(bench.execute(delete)).await.expect("deleted");
    model.last_seq += u64::from(!said.deleted);
    said.deleted = true;
}

async fn come_or_go(bench: &Bench, model: &mut Model, who: &str) {
    model.last_seq += 1;
    if model.joined.remove(&user(who)).is_some() {
        bench.remove("c", who, who).await.expect("gone");
    } else {
        bench.add("c", USERS[0], &[who]).await.expect("added");
        model.joined.insert(user(who), model.last_seq);
    }
}
