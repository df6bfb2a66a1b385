//! A scenario: how often people do each other thing for each message that is sent, by a file.

use std::collections::BTreeMap;
use std::str::FromStr;

use rand::Rng;
use serde::{Deserialize, Serialize};

/// The scenario that comes with the program.
const CHAT: &str = include_str!("../../../scenarios/chat.json");

/// Most of one kind for each message.
const WEIGHT_MAX: f64 = 1_000.0;

/// One thing that people do beside sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// The sender of a message changes its text.
    Edit,
    /// The sender of a message deletes it.
    Delete,
    /// A member sets a reaction.
    React,
    /// A member marks a message as read.
    Read,
    /// A member with a socket says over it that they type.
    Typing,
    /// A member with a socket says over it whose presence they want to be told.
    Watch,
    /// A member asks who is there.
    Presence,
    /// A user asks for the first page of their conversations.
    List,
    /// A member asks for the newest page of messages.
    Newest,
    /// A member asks for a page before some message.
    Older,
}

impl Kind {
    /// The word of scenarios and reports.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Edit => "edit",
            Self::Delete => "delete",
            Self::React => "react",
            Self::Read => "read",
            Self::Typing => "typing",
            Self::Watch => "watch",
            Self::Presence => "presence",
            Self::List => "list",
            Self::Newest => "newest",
            Self::Older => "older",
        }
    }
}

/// How often each thing is done for each message that is sent. At least one is done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mix {
    /// `chat`, or the path of the file.
    pub(crate) name: String,
    weights: BTreeMap<Kind, f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// For people.
    #[serde(rename = "about")]
    _about: String,
    for_each_message: BTreeMap<Kind, f64>,
}

impl Mix {
    /// Reads a scenario. The error says what is wrong with it.
    fn read(name: &str, text: &str) -> Result<Self, String> {
        let file: File =
            serde_json::from_str(text).map_err(|error| format!("scenario {name}: {error}"))?;
        for (kind, weight) in &file.for_each_message {
            if !(0.0..=WEIGHT_MAX).contains(weight) {
                return Err(format!(
                    "scenario {name}: {} is {weight}; it may be 0 to {WEIGHT_MAX}",
                    kind.word()
                ));
            }
        }

        let mut weights = file.for_each_message;
        weights.retain(|_, weight| *weight > 0.0);
        if weights.is_empty() {
            return Err(format!("scenario {name}: nothing is done; leave --mix out"));
        }
        Ok(Self {
            name: name.to_owned(),
            weights,
        })
    }

    /// How many things are done for each message that is sent.
    pub(crate) fn for_each_message(&self) -> f64 {
        self.weights.values().sum()
    }

    /// One of them, each as often as the scenario says.
    pub(crate) fn pick(&self, chance: &mut impl Rng) -> Kind {
        let mut rest = chance.random_range(0.0..self.for_each_message());
        let mut last = Kind::Read;
        for (kind, weight) in &self.weights {
            if rest < *weight {
                return *kind;
            }
            (rest, last) = (rest - weight, *kind);
        }
        last
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        if name == "chat" {
            return Self::read(name, CHAT);
        }
        let text = std::fs::read_to_string(name).map_err(|error| {
            format!("{name}: {error}; say chat, or the file of a scenario of your own")
        })?;
        Self::read(name, &text)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn the_scenario_that_comes_with_the_program_has_every_kind() {
        let chat: Mix = "chat".parse().unwrap();
        assert_eq!(chat.weights.len(), 10);
        assert!(chat.weights[&Kind::Read] > 1.0 && chat.weights[&Kind::Delete] < 0.1);
    }

    #[test]
    fn each_thing_is_done_as_often_as_the_scenario_says() {
        let mix = Mix::read(
            "x",
            r#"{"about":"","for_each_message":{"edit":0.5,"read":1.5,"list":0}}"#,
        )
        .unwrap();
        let mut chance = rand::rngs::SmallRng::seed_from_u64(7);
        let mut done: BTreeMap<Kind, u32> = BTreeMap::new();
        for _ in 0..10_000 {
            *done.entry(mix.pick(&mut chance)).or_default() += 1;
        }

        assert_eq!(
            done.keys().copied().collect::<Vec<_>>(),
            [Kind::Edit, Kind::Read]
        );
        // The standard deviation is 43.
        assert!(done[&Kind::Edit].abs_diff(2_500) < 250, "{done:?}");
    }

    #[test]
    fn what_is_no_scenario_is_refused_with_the_reason() {
        let refused = |text: &str| Mix::read("x", text).unwrap_err();
        let of = |kinds: &str| format!(r#"{{"about":"","for_each_message":{{{kinds}}}}}"#);
        assert!(refused(&of(r#""sing":1"#)).contains("unknown variant `sing`"));
        assert!(refused(&of(r#""read":-1"#)).contains("read is -1"));
        assert!(refused(&of("")).contains("nothing is done"));
        assert!(refused("{}").contains("missing field"));
        assert!(
            "no/such/file"
                .parse::<Mix>()
                .unwrap_err()
                .contains("say chat")
        );
    }
}
