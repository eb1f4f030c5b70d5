//! The planted bug of a scenario, by its name in the registry.
//!
//! The registry is [`crate::base::planted`]; here is only how files write it.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::base::planted::Bug;
use crate::kube::quantity::from_text;

/// A deliberate bug that is switched on for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planted(pub Bug);

/// Whether this build can plant bugs.
pub const POSSIBLE: bool = cfg!(feature = "planted");

impl Serialize for Planted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.name())
    }
}

impl<'de> Deserialize<'de> for Planted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer, "the name of a planted bug").map(Self)
    }
}

impl JsonSchema for Planted {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Planted".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names = Bug::ALL.map(Bug::name);
        json_schema!({ "type": "string", "enum": names, "description": "A deliberate bug, by its name." })
    }
}
