//! Settings of a conversation: who may write and add there, until when messages are edited, for how
//! long they are kept, and whether others are told who types and who is there.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use crate::protocol::null::not_null;
use crate::protocol::patch::Patch;
use crate::protocol::whole;

/// Longest edit window, in seconds: a hundred years.
pub(crate) const EDIT_WINDOW_MAX_S: u32 = 3_153_600_000;

/// Shortest and longest time for which a conversation keeps its events, in seconds: a minute, and a
/// hundred years.
pub(crate) const RETENTION_MIN_S: u32 = 60;
pub(crate) const RETENTION_MAX_S: u32 = 3_153_600_000;

/// To whom a setting lets something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum Whom {
    /// Members, moderators and the admin.
    All,
    /// Moderators and the admin.
    Moderators,
}

/// The settings of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(transform = all_are_there)]
pub(crate) struct Settings {
    /// Who sends messages.
    pub post: Whom,
    /// Who adds participants.
    pub add: Whom,
    /// For how many seconds after it was sent a message can be edited; null: for ever.
    #[schemars(schema_with = "window_schema")]
    pub edit_window_s: Option<u32>,
    /// Whether others are told who types.
    pub typing: bool,
    /// Whether others are told who is there.
    pub presence: bool,
    /// For how many seconds its messages and events are kept; null: as the deployment says.
    #[schemars(schema_with = "retention_schema")]
    pub retention_s: Option<u32>,
}

/// Those whose record says nothing have a default; clients get them all.
fn all_are_there(schema: &mut Schema) {
    let names: Vec<serde_json::Value> = schema
        .get("properties")
        .and_then(serde_json::Value::as_object)
        .into_iter()
        .flat_map(|properties| properties.keys())
        .map(|name| name.as_str().into())
        .collect();
    schema.insert("required".to_owned(), names.into());
    let properties = schema.get_mut("properties");

    for property in properties
        .and_then(serde_json::Value::as_object_mut)
        .into_iter()
        .flat_map(|properties| properties.values_mut())
        .filter_map(serde_json::Value::as_object_mut)
    {
        property.remove("default");
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            post: Whom::All,
            add: Whom::Moderators,
            edit_window_s: None,
            typing: true,
            presence: true,
            retention_s: None,
        }
    }
}

/// Which settings change, and to what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SettingsChange {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub post: Option<Whom>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub add: Option<Whom>,
    #[serde(skip_serializing_if = "Patch::keeps")]
    pub edit_window_s: Patch<Option<u32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub typing: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence: Option<bool>,
    #[serde(skip_serializing_if = "Patch::keeps")]
    pub retention_s: Patch<Option<u32>>,
}

impl SettingsChange {
    /// Whether none changes.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What of it is not so already.
    #[must_use]
    pub(crate) fn but_for(self, now: &Settings) -> Self {
        Self {
            post: self.post.filter(|post| *post != now.post),
            add: self.add.filter(|add| *add != now.add),
            edit_window_s: self.edit_window_s.but_for(&now.edit_window_s),
            typing: self.typing.filter(|typing| *typing != now.typing),
            presence: self.presence.filter(|presence| *presence != now.presence),
            retention_s: self.retention_s.but_for(&now.retention_s),
        }
    }

    /// This change and a later one.
    #[must_use]
    pub(crate) fn then(self, later: Self) -> Self {
        Self {
            post: later.post.or(self.post),
            add: later.add.or(self.add),
            edit_window_s: last(self.edit_window_s, later.edit_window_s),
            typing: later.typing.or(self.typing),
            presence: later.presence.or(self.presence),
            retention_s: last(self.retention_s, later.retention_s),
        }
    }

    /// What makes these settings of the default ones.
    #[must_use]
    pub(crate) fn of(settings: &Settings) -> Self {
        Self {
            post: Some(settings.post),
            add: Some(settings.add),
            edit_window_s: Patch::Set(settings.edit_window_s),
            typing: Some(settings.typing),
            presence: Some(settings.presence),
            retention_s: Patch::Set(settings.retention_s),
        }
        .but_for(&Settings::default())
    }
}

/// What two changes of one setting come to.
fn last<T>(change: Patch<T>, later: Patch<T>) -> Patch<T> {
    match later {
        Patch::Keep => change,
        set @ Patch::Set(_) => set,
    }
}

impl Settings {
    /// These settings after a change.
    #[must_use]
    pub(crate) fn with(self, change: &SettingsChange) -> Self {
        Self {
            post: change.post.unwrap_or(self.post),
            add: change.add.unwrap_or(self.add),
            edit_window_s: change
                .edit_window_s
                .set()
                .copied()
                .unwrap_or(self.edit_window_s),
            typing: change.typing.unwrap_or(self.typing),
            presence: change.presence.unwrap_or(self.presence),
            retention_s: change
                .retention_s
                .set()
                .copied()
                .unwrap_or(self.retention_s),
        }
    }
}

/// Settings as a client gives them: those that change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub(crate) struct SettingsGiven {
    /// Who sends messages: everybody but readers, or the admin and moderators alone.
    #[serde(default, deserialize_with = "post")]
    #[schemars(with = "Whom")]
    pub post: Option<Whom>,
    /// Who adds participants: everybody but readers, or the admin and moderators alone.
    #[serde(default, deserialize_with = "add")]
    #[schemars(with = "Whom")]
    pub add: Option<Whom>,
    /// For how many seconds after it was sent a message can be edited; null: for ever.
    #[serde(default, deserialize_with = "window")]
    #[schemars(schema_with = "window_schema")]
    pub edit_window_s: Option<Option<u32>>,
    /// Whether others are told who types.
    #[serde(default, deserialize_with = "typing")]
    #[schemars(with = "bool")]
    pub typing: Option<bool>,
    /// Whether others are told who is there.
    #[serde(default, deserialize_with = "presence")]
    #[schemars(with = "bool")]
    pub presence: Option<bool>,
    /// For how many seconds messages and events are kept; null: as the deployment says.
    #[serde(default, deserialize_with = "retention")]
    #[schemars(schema_with = "retention_schema")]
    pub retention_s: Option<Option<u32>>,
}

impl SettingsGiven {
    /// Whether there is none.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Settings as an event tells them: those that it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct ChangedSettings {
    /// Who sends messages from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Whom")]
    pub post: Option<Whom>,
    /// Who adds participants from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Whom")]
    pub add: Option<Whom>,
    /// For how many seconds after it was sent a message can be edited from now on; null: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "window_schema")]
    pub edit_window_s: Option<Option<u32>>,
    /// Whether others are told who types from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    pub typing: Option<bool>,
    /// Whether others are told who is there from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    pub presence: Option<bool>,
    /// For how many seconds messages and events are kept from now on; null: as the deployment says.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "retention_schema")]
    pub retention_s: Option<Option<u32>>,
}

fn post<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Whom>, D::Error> {
    named("settings.post", not_null(from))
}

fn add<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Whom>, D::Error> {
    named("settings.add", not_null(from))
}

fn typing<'de, D: Deserializer<'de>>(from: D) -> Result<Option<bool>, D::Error> {
    named("settings.typing", not_null(from))
}

fn presence<'de, D: Deserializer<'de>>(from: D) -> Result<Option<bool>, D::Error> {
    named("settings.presence", not_null(from))
}

/// Says which setting it is that cannot be read.
fn named<T, E: Error>(name: &str, read: Result<T, E>) -> Result<T, E> {
    read.map_err(|error| E::custom(format_args!("{name}: {error}")))
}

fn window<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<u32>>, D::Error> {
    let window = named("settings.edit_window_s", whole::number_or_null(from))?;
    if window.is_some_and(|window| window > EDIT_WINDOW_MAX_S) {
        return Err(D::Error::custom(format_args!(
            "settings.edit_window_s is null or a whole number from 0 to {EDIT_WINDOW_MAX_S}"
        )));
    }
    Ok(Some(window))
}

fn window_schema(_generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": ["integer", "null"], "format": "int64", "minimum": 0, "maximum": EDIT_WINDOW_MAX_S,
    })
}

fn retention<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<u32>>, D::Error> {
    let retention = named("settings.retention_s", whole::number_or_null(from))?;
    if retention.is_some_and(|s| !(RETENTION_MIN_S..=RETENTION_MAX_S).contains(&s)) {
        return Err(D::Error::custom(format_args!(
            "settings.retention_s is null or a whole number from {RETENTION_MIN_S} to {RETENTION_MAX_S}"
        )));
    }
    Ok(Some(retention))
}

fn retention_schema(_generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": ["integer", "null"], "format": "int64", "minimum": RETENTION_MIN_S, "maximum": RETENTION_MAX_S,
    })
}

impl From<SettingsGiven> for SettingsChange {
    fn from(given: SettingsGiven) -> Self {
        Self {
            post: given.post,
            add: given.add,
            edit_window_s: given.edit_window_s.map_or(Patch::Keep, Patch::Set),
            typing: given.typing,
            presence: given.presence,
            retention_s: given.retention_s.map_or(Patch::Keep, Patch::Set),
        }
    }
}

impl From<SettingsChange> for ChangedSettings {
    fn from(change: SettingsChange) -> Self {
        Self {
            post: change.post,
            add: change.add,
            edit_window_s: change.edit_window_s.set().copied(),
            typing: change.typing,
            presence: change.presence,
            retention_s: change.retention_s.set().copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(text: &str) -> Result<SettingsGiven, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn null_clears_the_edit_window_and_the_retention_and_nothing_else() {
        let both = r#"{"edit_window_s":null,"retention_s":null}"#;
        let change: SettingsChange = given(both).expect("given").into();
        assert_eq!(change.edit_window_s, Patch::Set(None));
        assert_eq!(change.retention_s, Patch::Set(None));
        assert!(SettingsChange::from(given("{}").expect("given")).is_empty());
        for name in ["post", "add", "typing", "presence"] {
            assert!(given(&format!(r#"{{"{name}":null}}"#)).is_err(), "{name}");
        }
    }

    #[test]
    fn what_is_no_setting_or_none_of_its_values_is_named() {
        for (text, named) in [
            (r#"{"history":"all"}"#, "history"),
            (r#"{"retention_s":59}"#, "settings.retention_s"),
            (r#"{"retention_s":3153600001}"#, "settings.retention_s"),
            (r#"{"retention_s":"1h"}"#, "settings.retention_s"),
            (r#"{"post":"nobody"}"#, "settings.post"),
            (r#"{"edit_window_s":3153600001}"#, "edit_window_s"),
            (r#"{"edit_window_s":-1}"#, "edit_window_s"),
            (r#"{"typing":1}"#, "settings.typing"),
            (r#"{"add":null}"#, "settings.add"),
        ] {
            let told = given(text).expect_err(text);
            assert!(told.contains(named), "{text}: {told}");
        }
        assert_eq!(
            given(r#"{"edit_window_s":7.0}"#)
                .expect("whole")
                .edit_window_s,
            Some(Some(7))
        );
    }

    #[test]
    fn a_change_is_what_differs_and_two_are_one_after_the_other() {
        let now = Settings {
            edit_window_s: Some(60),
            ..Settings::default()
        };
        let change = SettingsChange {
            post: Some(Whom::Moderators),
            edit_window_s: Patch::Set(Some(60)),
            typing: Some(true),
            ..SettingsChange::default()
        };

        let differs = change.but_for(&now);
        let expected = SettingsChange {
            post: Some(Whom::Moderators),
            ..SettingsChange::default()
        };
        assert_eq!(differs, expected);

        let later = SettingsChange {
            edit_window_s: Patch::Set(None),
            presence: Some(false),
            retention_s: Patch::Set(Some(60)),
            ..SettingsChange::default()
        };
        let both = now.with(&differs).with(&later);
        assert_eq!(now.with(&differs.then(later)), both);
        assert_eq!(Settings::default().with(&SettingsChange::of(&both)), both);
    }
}
