//! The steps of a story: wait, run a command, expect something, or inject a fault.
//!
//! A step is a mapping with one key. Actions and faults share the key space but not the type, so that what runs a story
//! matches four arms and what injects faults matches only faults.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{EnumAccessDeserializer, MapAccessDeserializer, StrDeserializer};
use serde::de::{DeserializeSeed, EnumAccess, Error, IntoDeserializer, MapAccess, VariantAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::command::CommandLine;
use super::fault::Fault;
use super::target::Target;
use super::value::Span;

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Let simulated time pass.
    Wait(Span),
    /// Type a command and keep its screen.
    Run(Run),
    /// Ask for something to be so; otherwise the run fails.
    Expect(Expect),
    /// Break (or mend) something.
    Fault(Fault),
}

impl Step {
    /// The keys that are not faults.
    pub const ACTIONS: [&str; 3] = ["wait", "run", "expect"];

    /// All keys, in the order in which they are documented.
    pub const NAMES: [&str; Self::ACTIONS.len() + Fault::NAMES.len()] = {
        let mut names = [""; Self::ACTIONS.len() + Fault::NAMES.len()];
        let mut i = 0;
        while i < names.len() {
            let actions = Self::ACTIONS.len();
            names[i] = if i < actions { Self::ACTIONS[i] } else { Fault::NAMES[i - actions] };
            i += 1;
        }
        names
    };

    /// Its key.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Wait(_) => "wait",
            Self::Run(_) => "run",
            Self::Expect(_) => "expect",
            Self::Fault(fault) => fault.name(),
        }
    }
}

/// As progress views print it.
impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Wait(span) => write!(f, "wait {span}"),
            Self::Run(run) => write!(f, "run {}", run.command),
            Self::Expect(expect) => write!(f, "expect {expect}"),
            Self::Fault(fault) => fault.fmt(f),
        }
    }
}

/// A command to type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(transform = or_command)]
pub struct Run {
    /// What is typed.
    pub command: CommandLine,
    /// On which host. Without it, on the first master that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<Target>,
    /// Name of its screen in the outcome. Without it, the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl Run {
    /// That command with nothing else said.
    pub const fn new(command: CommandLine) -> Self {
        Self { command, on: None, name: None }
    }
}

/// What should be so. All given conditions hold at the same moment.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// About the masters' leader.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leader: Option<LeaderExpect>,
    /// About the service: whether a change of the namespace goes through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceExpect>,
    /// Workers that the leader counts as live.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live_workers: Option<u32>,
    /// Snapshots that masters took over from a leader, since the start of the run: at least so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshots_installed: Option<u32>,
    /// About the screen of the last `run` step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<OutputExpect>,
    /// It becomes so within this time; at once if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<Span>,
}

/// What is expected of the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LeaderExpect {
    /// One master leads and a majority follows it.
    Present,
    /// No master leads with a majority behind it.
    Absent,
    /// One leads with a majority, and it is another than before the last fault.
    Changed,
    /// The one that led before the last fault leads still.
    Unchanged,
}

/// What is expected of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServiceExpect {
    /// A change of the namespace is acknowledged.
    Available,
    /// No change of the namespace is acknowledged; with `within`, for all of that time.
    Unavailable,
}

/// What is expected of a screen.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OutputExpect {
    /// Texts that are in it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contains: Vec<String>,
    /// Texts that are not in it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lacks: Vec<String>,
}

impl OutputExpect {
    /// The first text that is missing or should be, with what is wrong about it; none if the screen is as expected.
    pub fn unmet(&self, screen: &str) -> Option<String> {
        let missing = self.contains.iter().find(|text| !screen.contains(text.as_str()));
        let found = self.lacks.iter().find(|text| screen.contains(text.as_str()));
        missing
            .map(|t| format!("the screen lacks `{t}`"))
            .or_else(|| found.map(|t| format!("the screen contains `{t}`")))
    }
}

impl Expect {
    /// Whether nothing is asked for.
    pub const fn is_empty(&self) -> bool {
        let cluster = self.leader.is_none() && self.service.is_none() && self.live_workers.is_none();
        cluster && self.snapshots_installed.is_none() && self.output.is_none()
    }
}

impl std::fmt::Display for Expect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let leader = self.leader.map(|leader| match leader {
            LeaderExpect::Present => "a leader".to_string(),
            LeaderExpect::Absent => "no leader".into(),
            LeaderExpect::Changed => "another leader".into(),
            LeaderExpect::Unchanged => "the same leader".into(),
        });
        let service = self.service.map(|service| match service {
            ServiceExpect::Available => "service".to_string(),
            ServiceExpect::Unavailable => "no service".into(),
        });
        let workers = self.live_workers.map(|n| format!("{n} live workers"));
        let snapshots = self.snapshots_installed.map(|n| format!("{n} snapshots installed"));
        let output = self.output.as_ref().map(|_| "the screen".to_string());
        let all: Vec<String> = [leader, service, workers, snapshots, output].into_iter().flatten().collect();
        f.write_str(&all.join(", "))?;
        self.within.map_or(Ok(()), |span| write!(f, " within {span}"))
    }
}

impl Serialize for Step {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = match self {
            Self::Fault(fault) => return fault.serialize(serializer),
            _ => serializer.serialize_map(Some(1))?,
        };
        match self {
            Self::Wait(span) => map.serialize_entry("wait", span)?,
            Self::Run(run) => map.serialize_entry("run", run)?,
            Self::Expect(expect) => map.serialize_entry("expect", expect)?,
            Self::Fault(_) => unreachable!("returned above"),
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Step {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneKey;

        impl<'de> Visitor<'de> for OneKey {
            type Value = Step;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a step: a mapping with one key, such as `wait: 30s` or `kill: leader`")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Step, A::Error> {
                let Some(StepKey(key)) = map.next_key()? else {
                    return Err(Error::custom("a step needs one key, such as `wait: 30s` or `kill: leader`"));
                };
                let step = match key {
                    "wait" => Step::Wait(map.next_value()?),
                    "run" => Step::Run(map.next_value()?),
                    "expect" => Step::Expect(map.next_value()?),
                    fault => {
                        let keyed = KeyedVariant { key: fault, map: &mut map };
                        Step::Fault(Fault::deserialize(EnumAccessDeserializer::new(keyed))?)
                    }
                };
                match map.next_key::<String>()? {
                    None => Ok(step),
                    Some(more) => Err(Error::custom(format!(
                        "a step has one key, and this one has `{key}` and `{more}`; start another step with `- {more}:`"
                    ))),
                }
            }
        }

        deserializer.deserialize_map(OneKey)
    }
}

/// The key of a step: refused as an unknown variant right at the key.
struct StepKey(&'static str);

impl<'de> Deserialize<'de> for StepKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Key;

        impl Visitor<'_> for Key {
            type Value = StepKey;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the key of a step")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<StepKey, E> {
                let known = Step::NAMES.iter().find(|name| **name == text);
                known.map(|name| StepKey(name)).ok_or_else(|| E::unknown_variant(text, &Step::NAMES))
            }
        }

        deserializer.deserialize_identifier(Key)
    }
}

/// An enum whose variant is known and whose content is the next value of a mapping.
struct KeyedVariant<'a, A> {
    key: &'static str,
    map: &'a mut A,
}

impl<'de, A: MapAccess<'de>> EnumAccess<'de> for KeyedVariant<'_, A> {
    type Error = A::Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), A::Error> {
        let key: StrDeserializer<'_, A::Error> = self.key.into_deserializer();
        seed.deserialize(key).map(|variant| (variant, self))
    }
}

impl<'de, A: MapAccess<'de>> VariantAccess<'de> for KeyedVariant<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.map.next_value()
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, A::Error> {
        self.map.next_value_seed(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, A::Error> {
        Err(Error::custom("a fault holds one value"))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, A::Error> {
        Err(Error::custom("a fault holds one value"))
    }
}

impl JsonSchema for Step {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Step".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let arm = |key: &str, description: &str, value: Schema| {
            json_schema!({
                "type": "object",
                "description": description,
                "properties": { key: value },
                "required": [key],
                "additionalProperties": false
            })
        };
        let wait = arm("wait", "Let simulated time pass.", generator.subschema_for::<Span>());
        let run = arm("run", "Type a command and keep its screen.", generator.subschema_for::<Run>());
        let expect =
            arm("expect", "Ask for something to be so; otherwise the run fails.", generator.subschema_for::<Expect>());
        let fault = generator.subschema_for::<Fault>();
        json_schema!({ "description": "One step: a mapping with one key.", "anyOf": [wait, run, expect, fault] })
    }
}

impl Serialize for Run {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.on.is_none() && self.name.is_none() {
            self.command.serialize(serializer)
        } else {
            Self::serialize(self, serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Run {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Run;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a command such as `goosefs fs masterInfo`, or a mapping with `command`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Run, E> {
                text.parse().map(Run::new).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Run, A::Error> {
                Run::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

/// Adds the short form to the schema of [`Run`].
fn or_command(schema: &mut Schema) {
    let whole = std::mem::take(schema);
    *schema = json_schema!({ "anyOf": [{ "$ref": "#/$defs/CommandLine" }, whole] });
}
