//! A conversation that keeps its messages for a minute: what is younger stays, what is gone stays
//! gone, and what is older goes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::chaos::clients::http::{Answer, Call};
use crate::chaos::clients::known::{AGAIN, Pair, known, sending, strictly};
use crate::chaos::history::Outcome;

/// The shortest that there is.
const KEPT: Duration = Duration::from_secs(60);
/// For what is due to go, and for a cluster that was broken a moment ago.
const GOES_WITHIN: Duration = Duration::from_secs(90);
/// At the end it is waited so long for that.
const AT_THE_END: Duration = Duration::from_secs(30);
/// Between two messages.
const PAUSE: Duration = Duration::from_millis(250);
/// Messages between two looks at everything.
const PER_LOOK: u64 = 6;
/// Of messages that are gone so many are remembered, to ask for them again.
const GONE_MAX: usize = 100;
/// Pages of one look; there are a few hundred messages at a time.
const PAGES_MAX: usize = 40;

const KEEPS: &str = "a conversation keeps what is young enough";
const GONE: &str = "what went with its time does not come back";
const GOES: &str = "what is too old goes";

/// A message that was acknowledged.
#[derive(Debug, Clone)]
struct Sent {
    number: u64,
    /// Before it was asked for, and when it was known to be written.
    begun: Instant,
    known: Instant,
}

/// What a look showed: from which seq on everything is held, and what there is.
#[derive(Debug, Default)]
struct Shown {
    first: u64,
    seqs: Vec<u64>,
    /// Ids of the messages.
    ids: BTreeMap<u64, String>,
}

/// What is known of the conversation.
#[derive(Debug, Default)]
struct Truth {
    sent: BTreeMap<u64, Sent>,
    ids: BTreeMap<u64, String>,
    /// Everything below was told to be gone.
    first: u64,
}

impl Truth {
    /// What is wrong with what was asked for at the first of these moments, and answered at the
    /// second. Clocks of nodes that were off say nothing about how old something is.
    fn judge(
        &self,
        shown: &Shown,
        (begun, answered): (Instant, Instant),
        clocks_were_off: bool,
    ) -> Option<(&'static str, String)> {
        if shown.first < self.first {
            let said = format!("it begins at {}, and began at {}", shown.first, self.first);
            return Some((GONE, said));
        }
        let mut dense = (shown.first..).zip(&shown.seqs);
        if let Some((seq, found)) = dense.find(|(seq, found)| seq != *found) {
            return Some((KEEPS, format!("seq {seq} is missing before {found}")));
        }

        let lost = self.sent.iter().find(|(seq, sent)| {
            **seq >= shown.first && sent.known < begun && shown.seqs.binary_search(seq).is_err()
        });
        if let Some((seq, _)) = lost {
            return Some((
                KEEPS,
                format!("seq {seq} was acknowledged, and is not there"),
            ));
        }
        let early = self.sent.range(..shown.first).rev();
        let early = early
            .map(|(seq, sent)| (seq, answered.duration_since(sent.begun)))
            .find(|(_, age)| *age < KEPT && !clocks_were_off);
        early.map(|(seq, age)| (KEEPS, format!("seq {seq} was gone when it was {age:?} old")))
    }

    /// Takes in what a look showed.
    fn learn(&mut self, shown: &Shown) {
        self.first = self.first.max(shown.first);
        self.ids.extend(shown.ids.clone());
        let gone: Vec<u64> = self.sent.range(..self.first).map(|(seq, _)| *seq).collect();
        for seq in gone.iter().rev().skip(GONE_MAX) {
            self.sent.remove(seq);
            self.ids.remove(seq);
        }
    }

    /// What is shown although it is too old.
    fn overdue(&self, shown: &Shown, now: Instant) -> Option<u64> {
        let held = self.sent.range(shown.first..);
        let old = |sent: &Sent| now.duration_since(sent.known) > KEPT + GOES_WITHIN;
        held.filter(|(_, sent)| old(sent))
            .map(|(seq, _)| *seq)
            .next()
    }
}

/// Until the load is over.
pub(super) async fn run(mut pair: Pair) {
    let settings = json!({"retention_s": KEPT.as_secs()});
    let Some(name) = pair.make(Some(settings)).await else {
        return;
    };
    let mut truth = Truth::default();
    let mut number = 0;
    while !pair.world.is_over() {
        tokio::time::sleep(PAUSE).await;
        number += 1;
        send(&mut pair, (&name, number), &mut truth).await;
        if number.is_multiple_of(PER_LOOK) {
            look(&mut pair, &name, &mut truth).await;
            ask_for_gone(&mut pair, &name, &truth, number).await;
        }
    }
    everything_old_goes(&mut pair, &name, &mut truth).await;
    pair.says_whether_it_looked();
}

async fn send(pair: &mut Pair, (name, number): (&str, u64), truth: &mut Truth) {
    let begun = Instant::now();
    let outcome = pair.send(name, number).await;
    if let Outcome::Ok {
        item: Some(item), ..
    } = outcome
    {
        let sent = Sent {
            number,
            begun,
            known: Instant::now(),
        };
        truth.sent.insert(item.seq, sent);
    }
}

/// Reads everything that is held, and judges it.
async fn look(pair: &mut Pair, name: &str, truth: &mut Truth) -> Option<Shown> {
    let begun = Instant::now();
    let shown = shown(pair, name).await?;
    let moments = (begun, Instant::now());
    let clocks_were_off = pair.world.log.ask(|checker| checker.clocks_were_off());
    if let Some((rule, said)) = truth.judge(&shown, moments, clocks_were_off) {
        pair.wrong(rule, format!("{name}: {said}"));
    }
    truth.learn(&shown);
    pair.looked += 1;
    Some(shown)
}

/// `None` when not all of it was answered.
async fn shown(pair: &mut Pair, name: &str) -> Option<Shown> {
    let mut shown = Shown {
        first: 1,
        ..Shown::default()
    };
    let mut after = 0;
    for _ in 0..PAGES_MAX {
        let path = format!("/v1/conversations/{name}/events?after={after}&limit=200");
        let page = strictly(&pair.world, &mut pair.member, &path).await?;
        let items = page.body.get("items").and_then(Value::as_array)?;
        for item in items {
            take(&mut shown, item)?;
        }
        let Some(next) = page.body.get("next").and_then(Value::as_u64) else {
            return Some(shown);
        };
        after = next;
    }
    None
}

/// A gap says from where on everything is held; it may have become more while it is read.
fn take(shown: &mut Shown, item: &Value) -> Option<()> {
    if let Some(to) = item.get("to").and_then(Value::as_u64) {
        shown.first = to + 1;
        shown.seqs.retain(|seq| *seq > to);
        return Some(());
    }
    let seq = item.get("seq").and_then(Value::as_u64)?;
    shown.seqs.push(seq);
    if let Some(id) = item.get("id").and_then(Value::as_str) {
        shown.ids.insert(seq, id.to_owned());
    }
    Some(())
}

/// One of those that are gone is asked for by its id, and sent again under its key.
async fn ask_for_gone(pair: &mut Pair, name: &str, truth: &Truth, number: u64) {
    let gone: Vec<(&u64, &Sent)> = truth.sent.range(..truth.first).collect();
    let count = u64::try_from(gone.len()).unwrap_or(0);
    let at = usize::try_from(number.checked_rem(count).unwrap_or(0)).unwrap_or(0);
    let Some((seq, sent)) = gone.get(at) else {
        return;
    };

    if let Some(id) = truth.ids.get(seq) {
        let path = format!("/v1/messages/{id}");
        let answer = strictly(&pair.world, &mut pair.member, &path).await;
        is_unknown(pair, answer, &format!("{name}: seq {seq} by its id"));
    }
    // A key lives for a day, by the clock of whoever decides.
    if pair.world.log.ask(|checker| checker.clocks_were_off()) {
        return;
    }
    let again = sending(name, sent.number);
    let call = Call::write(again.method, &again.path, again.body);
    let key = again.key.unwrap_or_default();
    let Ok(answer) = pair.admin.call(call.key(&key)).await else {
        return;
    };
    let answer = known(&pair.world, answer, &again.path);
    is_unknown(pair, answer, &format!("{name}: seq {seq} by its key"));
}

fn is_unknown(pair: &Pair, answer: Option<Answer>, what: &str) {
    if let Some(answer) = answer.filter(|answer| answer.status != 404) {
        let said = format!("{what}: {} {}", answer.status, answer.body);
        pair.wrong(GONE, said);
    }
}

/// When nothing is broken any more.
async fn everything_old_goes(pair: &mut Pair, name: &str, truth: &mut Truth) {
    if pair.world.log.ask(|checker| checker.clocks_were_off()) {
        return;
    }
    let end = Instant::now() + AT_THE_END;
    loop {
        let shown = look(pair, name, truth).await;
        let overdue = shown.map(|shown| truth.overdue(&shown, Instant::now()));
        match overdue {
            Some(None) => return,
            Some(Some(seq)) if Instant::now() > end => {
                let said = format!("{name}: seq {seq} is shown, and was to be gone long ago");
                return pair.wrong(GOES, said);
            }
            // Whether everything can be read in the end is looked at elsewhere.
            None if Instant::now() > end => return,
            _ => tokio::time::sleep(AGAIN).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn truth(begun: Instant) -> Truth {
        let sent = |number| Sent {
            number,
            begun: begun + Duration::from_secs(number),
            known: begun + Duration::from_secs(number),
        };
        Truth {
            sent: (2..=10).map(|number| (number, sent(number))).collect(),
            ..Truth::default()
        }
    }

    fn shown(first: u64, last: u64) -> Shown {
        Shown {
            first,
            seqs: (first..=last).collect(),
            ..Shown::default()
        }
    }

    #[test]
    fn what_is_a_minute_old_may_go_and_nothing_younger() {
        let begun = Instant::now();
        let mut truth = truth(begun);
        let at = |seconds| {
            let moment = begun + Duration::from_secs(seconds);
            (moment, moment)
        };
        let rule = |found: Option<(&'static str, String)>| found.map(|(rule, _)| rule);
        let judge = |of: &Truth, shown: &Shown, seconds| rule(of.judge(shown, at(seconds), false));

        assert_eq!(judge(&truth, &shown(1, 10), 20), None);
        assert_eq!(judge(&truth, &shown(1, 9), 20), Some(KEEPS), "one is lost");
        assert_eq!(
            judge(&truth, &shown(4, 10), 62),
            Some(KEEPS),
            "it was 59 s old"
        );
        assert_eq!(rule(truth.judge(&shown(4, 10), at(62), true)), None);
        assert_eq!(judge(&truth, &shown(4, 10), 63), None);

        truth.learn(&shown(4, 10));
        assert_eq!(judge(&truth, &shown(3, 10), 64), Some(GONE));
        let mut holed = shown(4, 10);
        holed.seqs.remove(2);
        assert_eq!(judge(&truth, &holed, 63), Some(KEEPS));

        let late = begun + Duration::from_secs(155);
        assert_eq!(truth.overdue(&shown(4, 10), late), Some(4));
        assert_eq!(truth.overdue(&shown(5, 10), late), None);
    }

    #[test]
    fn a_gap_in_the_middle_says_that_it_went_while_it_was_read() {
        let mut shown = Shown {
            first: 1,
            seqs: vec![1, 2, 3],
            ..Shown::default()
        };
        take(&mut shown, &json!({"t": "gap", "from": 4, "to": 7})).expect("a gap");
        take(&mut shown, &json!({"t": "message", "seq": 8, "id": "m"})).expect("a message");
        assert_eq!((shown.first, &shown.seqs), (8, &vec![8]));
        assert_eq!(shown.ids.get(&8).map(String::as_str), Some("m"));
    }
}
