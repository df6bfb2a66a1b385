//! What is wrong with a row, what mends it, and that changes under way are no differences.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::lists::{Look, Wrong};
use super::run::Audit;
use super::*;
use crate::ids::{ConversationName, Seq, ShardId, UserId};
use crate::log::double::Double;
use crate::log::lease::Freshness;
use crate::log::record::IndexChange;
use crate::node::link::frame::{Body, Outcome};
use crate::node::owners::testing::{Fake, lone_node, soon};
use crate::shard::command::{
    AuditAsk, AuditTold, Command, Done, Found, Moment, Pair, Query, Row, ShardError, Stand,
};

/// A log that has nothing.
#[derive(Debug)]
struct Nothing;

impl Double for Nothing {}

fn pair() -> Pair {
    Pair {
        user: UserId::parse("bob").expect("a name"),
        conversation: ConversationName::parse("general").expect("a name"),
    }
}

fn moment(seq: u64) -> Moment {
    Moment {
        seq: Seq(seq),
        at: 1_000 + seq,
    }
}

fn stand(joined: Option<u64>, last: Option<u64>) -> Stand {
    Stand {
        joined: joined.map(moment),
        last: last.map(moment),
    }
}

fn row(seq: u64, joined: bool) -> Option<Row> {
    Some(Row {
        seq: Seq(seq),
        joined,
    })
}

fn look(stand: Stand, row: Option<Row>) -> Look {
    Look {
        pair: pair(),
        stand,
        row,
    }
}

/// What the index says after a change, by its own rule: an older seq, or the same, changes nothing.
fn applied(row: Option<Row>, change: &IndexChange) -> Option<Row> {
    let newer = row.is_none_or(|row| change.seq > row.seq);
    if newer {
        Some(Row {
            seq: change.seq,
            joined: change.joined,
        })
    } else {
        row
    }
}

#[test]
fn a_row_is_wrong_where_the_list_is_and_each_wrong_has_its_words() {
    let (inside, outside) = (stand(Some(5), Some(9)), stand(None, Some(9)));
    let wrong = [
        (inside, None, Some(Wrong::Lacking)),
        (inside, row(5, false), Some(Wrong::Lacking)),
        (inside, row(9, false), Some(Wrong::Lacking)),
        (inside, row(4, true), Some(Wrong::Older)),
        (inside, row(5, true), None),
        (inside, row(7, true), None),
        (inside, row(10, true), Some(Wrong::Ahead)),
        (outside, None, None),
        (outside, row(3, false), None),
        (outside, row(8, true), Some(Wrong::Surplus)),
        (outside, row(10, false), Some(Wrong::Ahead)),
        (stand(None, None), row(1, true), Some(Wrong::Invented)),
        (stand(None, None), row(1, false), None),
        (stand(None, None), None, None),
    ];
    let mut told = Vec::new();
    for (stand, row, expected) in wrong {
        let look = look(stand, row);
        assert_eq!(look.wrong(), expected, "{look:?}");
        told.push(look.to_string());
    }
    assert!(told[0].contains("lacks general") && told[0].contains("since seq 5"));
    assert!(told[9].contains("where they take no part"), "{}", told[9]);
    assert!(told[11].contains("does not exist"), "{}", told[11]);
}

#[test]
fn what_is_sent_makes_the_row_right_whatever_it_was_or_nothing_is_sent() {
    for last in 1..=8 {
        for joined in (1..=last).map(Some).chain([None]) {
            for held in 0..=10 {
                for says in [true, false] {
                    let row = row(held, says).filter(|row| row.seq > Seq(0));
                    let look = look(stand(joined, Some(last)), row);
                    if look.wrong().is_none() {
                        continue;
                    }
                    let Some(change) = look.mending() else {
                        assert!(held >= last, "{look:?} could be mended");
                        continue;
                    };
                    assert!(change.seq <= Seq(last), "no event is invented: {change:?}");
                    let after = Look {
                        row: applied(row, &change),
                        ..look.clone()
                    };
                    assert_eq!(after.wrong(), None, "{look:?} {change:?}");

                    let later = IndexChange {
                        seq: Seq(last + 1),
                        joined: joined.is_none(),
                        ..change
                    };
                    let gone_on = applied(after.row, &later).expect("a row");
                    assert_eq!(gone_on.joined, joined.is_none(), "a later change wins");
                }
            }
        }
    }
    assert_eq!(look(stand(None, None), row(1, true)).mending(), None);
}

/// A conversation's shard and a users' shard that answer from here.
#[derive(Debug, Default)]
struct Told {
    stands: HashMap<Pair, Stand>,
    rows: HashMap<Pair, Row>,
    /// Rows that arrive when an outbox is waited for.
    arriving: HashMap<Pair, Row>,
    /// Whether outboxes are delivered.
    stuck: bool,
    sent: Vec<IndexChange>,
}

impl Told {
    fn audit(&self, ask: &AuditAsk) -> AuditTold {
        match ask {
            AuditAsk::Members { .. } => AuditTold::Members {
                members: self.stands.clone().into_iter().collect(),
                next: None,
            },
            AuditAsk::Listed { .. } => AuditTold::Listed {
                rows: self.rows.clone().into_iter().collect(),
                next: None,
            },
            AuditAsk::Stands(pairs) => {
                let stand = |pair| self.stands.get(pair).copied();
                let none = Stand {
                    joined: None,
                    last: None,
                };
                AuditTold::Stands(pairs.iter().map(|of| stand(of).unwrap_or(none)).collect())
            }
            AuditAsk::Rows(pairs) => {
                AuditTold::Rows(pairs.iter().map(|of| self.rows.get(of).copied()).collect())
            }
            other => panic!("{other:?}"),
        }
    }

    fn answer(&mut self, body: &Body) -> Result<Outcome, ShardError> {
        match body {
            Body::Query {
                query: Query::Audit(ask),
                ..
            } => {
                let told = Found::Audit(self.audit(ask));
                Ok(Outcome::Found(told, Freshness::Strict))
            }
            Body::Outboxes { parts } => {
                if !self.stuck {
                    self.rows.extend(std::mem::take(&mut self.arriving));
                }
                let clear = parts.iter().map(|(_, to)| Ok(vec![!self.stuck; to.len()]));
                Ok(Outcome::Outboxes(clear.collect()))
            }
            Body::Execute {
                command: Command::Index(changes),
                ..
            } => {
                for change in changes {
                    let of = Pair {
                        user: change.user.clone(),
                        conversation: change.conversation.clone(),
                    };
                    let after = applied(self.rows.get(&of).copied(), change);
                    self.rows.extend(after.map(|row| (of, row)));
                    self.sent.push(change.clone());
                }
                Ok(Outcome::Done(Done::Indexed))
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Takes a step over shards that answer so.
async fn step(told: &Arc<Mutex<Told>>, part: AuditPart, repair: bool) -> AuditPage {
    let answers = Arc::clone(told);
    let fake = Fake::new(move |body| answers.lock().expect("a lock").answer(body));
    let (owners, _pushed) = lone_node(&fake);
    let audit = Audit::over(owners, Arc::new(Nothing));
    let order = AuditOrder {
        part,
        after: None,
        repair,
    };
    let page = audit.step(ShardId(0), &order, soon()).await;
    page.expect("the owner answers")
}

fn told(stand: Stand, row: Option<Row>) -> Told {
    Told {
        stands: HashMap::from([(pair(), stand)]),
        rows: row.map(|row| (pair(), row)).into_iter().collect(),
        ..Told::default()
    }
}

#[tokio::test]
async fn a_row_that_is_in_the_outbox_is_no_difference() {
    let told = Arc::new(Mutex::new(Told {
        arriving: HashMap::from([(pair(), row(5, true).expect("a row"))]),
        ..told(stand(Some(5), Some(9)), None)
    }));
    let page = step(&told, AuditPart::Members, true).await;
    assert_eq!(
        (page.looked_at, page.differing, page.not_compared),
        (1, vec![], vec![])
    );
    assert_eq!(told.lock().expect("a lock").sent, []);
}

#[tokio::test]
async fn an_outbox_that_is_not_delivered_leaves_the_question_open() {
    let told = Arc::new(Mutex::new(Told {
        stuck: true,
        ..told(stand(Some(5), Some(9)), None)
    }));
    let page = step(&told, AuditPart::Members, true).await;
    assert_eq!(page.differing, []);
    assert!(
        page.not_compared[0].contains("is not delivered"),
        "{page:?}"
    );
    assert_eq!(told.lock().expect("a lock").sent, []);
}

#[tokio::test]
async fn a_missing_row_is_told_and_sent_again_when_that_is_asked_for() {
    let told = Arc::new(Mutex::new(told(stand(Some(5), Some(9)), None)));
    let page = step(&told, AuditPart::Members, false).await;
    assert!(
        page.differing[0]
            .what
            .contains("the list of bob lacks general")
    );
    assert!(!page.differing[0].mended);
    assert_eq!(told.lock().expect("a lock").sent, []);

    let repaired = step(&told, AuditPart::Members, true).await;
    assert!(repaired.differing[0].mended, "{repaired:?}");
    let sent = told.lock().expect("a lock").sent.clone();
    assert_eq!(
        (sent.len(), sent[0].seq, sent[0].joined, sent[0].at),
        (1, Seq(5), true, 1_005)
    );
    let after = step(&told, AuditPart::Members, false).await;
    assert_eq!(after.differing, []);
}

#[tokio::test]
async fn a_surplus_row_is_taken_back_and_an_invented_one_is_only_told() {
    let surplus = Arc::new(Mutex::new(told(stand(None, Some(9)), row(3, true))));
    let page = step(&surplus, AuditPart::Lists, true).await;
    assert!(page.differing[0].mended, "{page:?}");
    let sent = surplus.lock().expect("a lock").sent.clone();
    assert_eq!((sent[0].seq, sent[0].joined), (Seq(9), false));

    let invented = Arc::new(Mutex::new(told(stand(None, None), row(3, true))));
    let left = step(&invented, AuditPart::Lists, true).await;
    assert!(left.differing[0].what.contains("does not exist"));
    assert!(!left.differing[0].mended);
    assert_eq!(invented.lock().expect("a lock").sent, []);
}
