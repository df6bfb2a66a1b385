//! What a request asks, taken apart and checked: path parameters, query, headers, body. Nothing
//! here waits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::ids::{ConversationName, IdempotencyKey, MessageId, Seq, UserId};
use crate::link::front::{self, Key};
use crate::node::given;
use crate::problem::{Code, Problem};
use crate::protocol::operations::{Kind, Parameter};
use crate::protocol::whole;
use crate::protocol::{
    FRAME_BYTES_MAX, NAMES_PER_REQUEST_MAX, Retention, SettingsChange, SettingsGiven,
    TITLE_BYTES_MAX,
};

/// One budget for a request, however many waits it meets.
pub(super) const BUDGET: Duration = Duration::from_secs(5);

/// Longest explanation of a JSON error, in characters: it may quote what was sent.
const JSON_ERROR_CHARS_MAX: usize = 200;

/// A request that was let in.
#[derive(Debug)]
pub(super) struct Call<'a> {
    /// As it came.
    pub(super) sent: &'a front::Call,
    /// Who asks.
    pub(super) user: UserId,
    pub(super) deadline: Instant,
}

impl Call<'_> {
    fn first(&self) -> &str {
        self.sent.first.as_deref().unwrap_or_default()
    }

    /// The conversation of the path.
    pub(super) fn conversation(&self) -> Result<ConversationName, Problem> {
        conversation_name(&percent_decoded(self.first()).unwrap_or_default())
    }

    /// The user of the path.
    pub(super) fn named_user(&self) -> Result<UserId, Problem> {
        user_name(
            &percent_decoded(self.sent.second.as_deref().unwrap_or_default()).unwrap_or_default(),
        )
    }

    /// The message of the path; what is no id names no message.
    pub(super) fn message_id(&self) -> Result<MessageId, Problem> {
        let id = percent_decoded(self.first()).and_then(|text| MessageId::parse(&text));
        id.ok_or_else(|| Problem::new(Code::MessageUnknown, "no message has this id"))
    }

    /// The query, if it has no other parameters than those declared, each at most once.
    pub(super) fn query(&self) -> Result<Query, Problem> {
        Query::parse(&self.sent.query, self.sent.operation.facts().query)
    }

    /// The body as JSON, or what stands for one that was left out.
    pub(super) fn json_if_any<T: DeserializeOwned + Default>(&self) -> Result<T, Problem> {
        if self.sent.body.is_empty() {
            return Ok(T::default());
        }
        self.json()
    }

    /// The body as JSON.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let parsed = serde_json::from_slice::<T>(&self.sent.body).map_err(|error| {
            let text: String = error
                .to_string()
                .chars()
                .take(JSON_ERROR_CHARS_MAX)
                .collect();
            let place = format!("line {} column {}", error.line(), error.column());
            // A cut or unplaced text still tells where.
            let detail = if text.ends_with(&place) {
                text
            } else {
                format!("{text} at {place}")
            };
            Problem::new(
                Code::Invalid,
                format!("the body is not as it should be: {detail}"),
            )
        })?;
        // The parser would take a struct's fields from an array, too.
        match self
            .sent
            .body
            .iter()
            .find(|byte| !byte.is_ascii_whitespace())
        {
            Some(b'{') => Ok(parsed),
            _ => Err(Problem::new(
                Code::Invalid,
                "the body must be a JSON object, at line 1 column 1",
            )),
        }
    }

    /// The member `data` of the body, in compact text: whether it is there, and whether it is null.
    pub(super) fn data(&self) -> Result<Option<Option<Arc<str>>>, Problem> {
        given::data(&self.sent.body)
    }

    /// The key under which the request may be repeated: the client's, else the one that the router
    /// stamped.
    pub(super) fn idempotency_key(&self) -> Result<Option<IdempotencyKey>, Problem> {
        let wrong = || {
            Problem::new(
                Code::Invalid,
                "one Idempotency-Key of 1 to 128 bytes is accepted",
            )
        };
        match &self.sent.key {
            Key::Client(text) => IdempotencyKey::from_client(text)
                .ok_or_else(wrong)
                .map(Some),
            Key::Malformed => Err(wrong()),
            Key::Stamped(text) => Ok(IdempotencyKey::from_client(text).map(|key| IdempotencyKey {
                stamped: true,
                ..key
            })),
            Key::None => Ok(None),
        }
    }

    /// Whether a stale answer is refused.
    pub(super) fn strict(&self) -> bool {
        self.sent.strict
    }
}

/// A checked query.
#[derive(Debug)]
pub(super) struct Query(Vec<(&'static Parameter, String)>, &'static [Parameter]);

impl Query {
    fn parse(text: &str, declared: &'static [Parameter]) -> Result<Self, Problem> {
        let mut found: Vec<(&'static Parameter, String)> = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(name), Some(value)) = (percent_decoded(name), percent_decoded(value)) else {
                return Err(invalid("the query is not well encoded"));
            };
            let Some(parameter) = declared.iter().find(|parameter| parameter.name == name) else {
                return Err(Problem::new(
                    Code::Invalid,
                    format!("the query parameter {name:?} is not known here"),
                ));
            };
            if found.iter().any(|(earlier, _)| earlier.name == name) {
                return Err(Problem::new(
                    Code::Invalid,
                    format!("the query parameter {name} is given twice"),
                ));
            }
            found.push((parameter, value));
        }

        Ok(Self(found, declared))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(given, _)| given.name == name)
            .map(|(_, value)| value.as_str())
    }

    /// How many items the page has: as declared for the operation.
    pub(super) fn limit(&self) -> Result<u32, Problem> {
        let limits = self.1.iter().find_map(|parameter| match parameter.kind {
            Kind::Limit { default, max } => Some((parameter.name, default, max)),
            _ => None,
        });
        let (name, default, max) = limits.ok_or_else(|| invalid("there are no pages here"))?;
        let Some(text) = self.get(name) else {
            return Ok(default);
        };
        let limit = whole::in_query(text)
            .and_then(|number| u32::try_from(number).ok())
            .filter(|limit| (1..=max).contains(limit));
        limit.ok_or_else(|| {
            Problem::new(Code::Invalid, format!("{name} is a number from 1 to {max}"))
        })
    }

    /// A seq. One past the largest that is stored means the same as that.
    pub(super) fn seq(&self, name: &'static str) -> Result<Option<Seq>, Problem> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let seq = whole::in_query(text).ok_or_else(|| {
            Problem::new(Code::Invalid, format!("{name} is a seq, a whole number"))
        })?;
        Ok(Some(Seq(seq.min(i64::MAX.unsigned_abs()))))
    }

    /// One of the declared words.
    pub(super) fn word(&self, name: &str) -> Result<Option<&'static str>, Problem> {
        let Some((parameter, text)) = self.0.iter().find(|(given, _)| given.name == name) else {
            return Ok(None);
        };
        let Kind::Word(words) = parameter.kind else {
            return Ok(None);
        };
        let word = words.iter().find(|word| *word == text);
        let wrong = || {
            Problem::new(
                Code::Invalid,
                format!("{name} is one of: {}", words.join(", ")),
            )
        };
        word.copied().map(Some).ok_or_else(wrong)
    }

    /// A user's name.
    pub(super) fn user(&self, name: &str) -> Result<Option<UserId>, Problem> {
        self.get(name).map(user_name).transpose()
    }
}

/// The names of a body, checked: 1 to 1,000 as sent; given back without duplicates, in their order.
pub(super) fn participants(names: &[String]) -> Result<Vec<UserId>, Problem> {
    if !(1..=NAMES_PER_REQUEST_MAX).contains(&names.len()) {
        let detail = format!("participants has 1 to {NAMES_PER_REQUEST_MAX} names");
        return Err(Problem::new(Code::Invalid, detail));
    }
    let mut seen = std::collections::HashSet::with_capacity(names.len());
    let parsed = names
        .iter()
        .map(|name| user_name(name))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(parsed
        .into_iter()
        .filter(|user| seen.insert(user.clone()))
        .collect())
}

/// A message named in a body or a query: any UUID. One that is no id of ours goes on to the shard,
/// which answers in the order of the contract that it knows no such message.
pub(super) fn message_reference(text: &str) -> Result<MessageId, Problem> {
    let hyphenated = Some(text)
        .filter(|text| text.len() == 36)
        .and_then(|text| Uuid::try_parse(text).ok());
    hyphenated
        .map(MessageId)
        .ok_or_else(|| invalid("reply_to is no UUID"))
}

/// A title, or none.
pub(super) fn title(title: Option<String>) -> Result<Option<String>, Problem> {
    if title
        .as_ref()
        .is_some_and(|title| !(1..=TITLE_BYTES_MAX).contains(&title.len()))
    {
        let detail = format!("title is null or has 1 to {TITLE_BYTES_MAX} bytes");
        return Err(Problem::new(Code::Invalid, detail));
    }
    Ok(title)
}

/// The settings that a body names, which are at least one if it has any, and keep nothing for
/// longer than the deployment lets them.
pub(super) fn settings(
    given: Option<SettingsGiven>,
    retention: Retention,
) -> Result<SettingsChange, Problem> {
    if given.is_some_and(|settings| settings.is_empty()) {
        return Err(invalid("settings has at least one setting"));
    }
    let given = given.unwrap_or_default();
    if let (Some(Some(asked)), Some(most)) = (given.retention_s, retention.max_s)
        && asked > most
    {
        let detail = format!("settings.retention_s is at most {most} here");
        return Err(Problem::new(Code::Invalid, detail));
    }
    Ok(given.into())
}

pub(super) fn conversation_name(text: &str) -> Result<ConversationName, Problem> {
    ConversationName::parse(text)
        .map_err(|wrong| Problem::new(Code::InvalidName, wrong.to_string()))
}

pub(super) fn user_name(text: &str) -> Result<UserId, Problem> {
    UserId::parse(text).map_err(|wrong| Problem::new(Code::InvalidName, wrong.to_string()))
}

/// When a call must be answered: when the router says, at most after our own budget.
pub(super) fn deadline(of: Instant) -> Instant {
    of.min(Instant::now() + BUDGET)
}

/// The refusal of a body over the limit.
pub(super) fn too_large() -> Problem {
    Problem::new(
        Code::TooLarge,
        format!("a body has at most {FRAME_BYTES_MAX} bytes"),
    )
}

pub(super) fn invalid(detail: &'static str) -> Problem {
    Problem::new(Code::Invalid, detail)
}

/// Percent-decoding; `None` when it is not well formed or gives no UTF-8.
fn percent_decoded(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    let digit = |byte: Option<u8>| {
        char::from(byte?)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };

    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
            decoded.push(high << 4 | low);
        } else {
            decoded.push(byte);
        }
    }

    String::from_utf8(decoded).ok()
}

/// Checks that the body comes as one that can be read, if it has to be read.
///
/// # Errors
/// `unsupported_media_type`.
pub(super) fn has_fitting_body(sent: &front::Call) -> Result<(), Problem> {
    let refused = |detail| Err(Problem::new(Code::UnsupportedMediaType, detail));
    if sent.operation.writes() && sent.encoded {
        return refused("a body is taken as it is: send it without Content-Encoding");
    }
    let lacks = sent.operation.needs_body() && sent.body.is_empty();
    if lacks || (sent.operation.takes_body() && !sent.body.is_empty() && !sent.json) {
        return refused("a body with the Content-Type application/json is needed");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::routes::Operation;

    #[test]
    fn a_query_takes_what_is_known_once() {
        let parse = |text| Query::parse(text, Operation::ListConversations.facts().query);
        assert_eq!(
            parse("limit=5&after=a%40b").expect("a query").get("after"),
            Some("a@b")
        );
        assert!(parse("").expect("a query").get("limit").is_none());

        for bad in [
            "x=1",
            "limit=1&limit=1",
            "limit=%",
            "limit=%zz",
            "after=%ff",
            "Limit=1",
            "token=x",
        ] {
            assert_eq!(parse(bad).expect_err(bad).code, Code::Invalid);
        }
    }

    #[test]
    fn limits_are_never_cut_silently() {
        let query = |text: &str| {
            Query::parse(text, Operation::ListConversations.facts().query).expect("a query")
        };
        let limit = |text: &str| query(text).limit().map_err(|p| p.code);
        assert_eq!(limit(""), Ok(50));
        assert_eq!(limit("limit=1"), Ok(1));
        assert_eq!(limit("limit=200"), Ok(200));
        assert_eq!(limit("limit=7.0"), Ok(7));

        for bad in [
            "limit=0",
            "limit=201",
            "limit=-1",
            "limit=+1",
            "limit=",
            "limit",
            "limit=1.5",
            "limit=99999999999999999999",
        ] {
            assert_eq!(limit(bad), Err(Code::Invalid), "{bad}");
        }
    }

    #[test]
    fn a_word_is_one_of_those_declared() {
        let query =
            |text: &str| Query::parse(text, Operation::ShowHistory.facts().query).expect("a query");
        let order = |text: &str| query(text).word("order").map_err(|p| p.code);
        assert_eq!(
            (order(""), order("order=asc"), order("order=desc")),
            (Ok(None), Ok(Some("asc")), Ok(Some("desc")))
        );
        for bad in ["order=", "order=ASC", "order=up"] {
            assert_eq!(order(bad), Err(Code::Invalid), "{bad}");
        }
    }

    #[test]
    fn a_seq_is_digits_however_many() {
        let query =
            |text: &str| Query::parse(text, Operation::ShowHistory.facts().query).expect("a query");
        let seq = |text: &str| query(text).seq("after").map_err(|p| p.code);
        assert_eq!(seq("after=0"), Ok(Some(Seq(0))));
        assert_eq!(seq("after=1e3"), Ok(Some(Seq(1_000))));
        assert_eq!(
            seq("after=99999999999999999999"),
            Ok(Some(Seq(i64::MAX.unsigned_abs())))
        );
        for bad in ["after=", "after=-1", "after=x", "after=1.5", "after=%201"] {
            assert_eq!(seq(bad), Err(Code::Invalid), "{bad}");
        }
    }

    #[test]
    fn the_budget_is_never_more_than_ours() {
        let now = Instant::now();
        let soon = now + Duration::from_millis(100);
        assert_eq!(deadline(soon), soon);
        assert!(deadline(now + Duration::from_secs(60)) <= Instant::now() + BUDGET);
    }

    #[test]
    fn names_are_counted_as_sent_and_given_without_duplicates() {
        let names = |list: &[&str]| {
            participants(
                &list
                    .iter()
                    .map(|name| (*name).to_owned())
                    .collect::<Vec<_>>(),
            )
        };
        let found = names(&["b", "a", "b"]).expect("names");

        assert_eq!(
            found.iter().map(UserId::as_str).collect::<Vec<_>>(),
            ["b", "a"]
        );
        assert_eq!(names(&[]).expect_err("none").code, Code::Invalid);
        assert_eq!(
            names(&["a"; 1_001]).expect_err("too many").code,
            Code::Invalid
        );
        assert!(names(&["a"; 1_000]).is_ok());
        assert_eq!(
            names(&["a b"]).expect_err("no name").code,
            Code::InvalidName
        );
    }
}
