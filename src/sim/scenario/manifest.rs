//! Where a scenario's manifests come from: a file beside it, or text written into it.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Where manifests come from: `manifests/goosefs/dataset.yaml`, or `inline: |` with the documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManifestSource {
    /// A file, relative to the scenario file, with one or several YAML documents.
    File(String),
    /// One or several YAML documents written into the scenario.
    Inline(String),
}

impl Serialize for ManifestSource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::File(path) => serializer.serialize_str(path),
            Self::Inline(text) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("inline", text)?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for ManifestSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(field_identifier, rename_all = "snake_case")]
        enum Key {
            Inline,
        }

        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = ManifestSource;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the path of a manifest, or `inline: |` and the manifest")
            }

            fn visit_str<E: Error>(self, path: &str) -> Result<ManifestSource, E> {
                Ok(ManifestSource::File(path.into()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ManifestSource, A::Error> {
                let Some(Key::Inline) = map.next_key()? else {
                    return Err(Error::missing_field("inline"));
                };
                let text = map.next_value()?;
                match map.next_key::<Key>()? {
                    None => Ok(ManifestSource::Inline(text)),
                    Some(Key::Inline) => Err(Error::duplicate_field("inline")),
                }
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for ManifestSource {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ManifestSource".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                {
                    "type": "string",
                    "description": "A file with one or several YAML documents, relative to the scenario file."
                },
                {
                    "type": "object",
                    "description": "YAML documents written into the scenario.",
                    "properties": { "inline": { "type": "string", "description": "The documents, after `|`." } },
                    "required": ["inline"],
                    "additionalProperties": false
                }
            ]
        })
    }
}
