//! The JSON Schema of scenario files, from which editors complete and check them.

use schemars::generate::SchemaSettings;

use super::Spec;

/// The schema (draft 2020-12) as text, ending with a line feed. Kept in `scenarios/schema.json`.
pub fn schema() -> String {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Spec>();
    // Field docs are written with line breaks of the source.
    schemars::transform::transform_subschemas(&mut unwrap_lines, &mut schema);
    unwrap_lines(&mut schema);
    let text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text + "\n"
}

/// Joins the lines of descriptions, here and below.
fn unwrap_lines(schema: &mut schemars::Schema) {
    if let Some(serde_json::Value::String(text)) = schema.get_mut("description") {
        *text = text.replace('\n', " ");
    }
    schemars::transform::transform_subschemas(&mut unwrap_lines, schema);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Run `stormglass schema > scenarios/schema.json` when this fails.
    #[test]
    fn the_stored_schema_is_current() {
        let stored = include_str!("../../../scenarios/schema.json");
        assert!(
            stored == schema(),
            "scenarios/schema.json is out of date: run `stormglass schema > scenarios/schema.json`"
        );
    }

    #[test]
    fn every_field_is_described() {
        let schema: serde_json::Value = serde_json::from_str(&schema()).expect("JSON");
        let mut lacking = Vec::new();
        collect(&schema, "", &mut lacking);
        assert_eq!(lacking, Vec::<String>::new());
    }

    /// Properties without a description of their own or of their type.
    fn collect(value: &serde_json::Value, at: &str, lacking: &mut Vec<String>) {
        let Some(object) = value.as_object() else { return };
        for (key, inner) in object {
            let place = format!("{at}/{key}");
            match inner {
                serde_json::Value::Object(properties) if key == "properties" => {
                    for (name, property) in properties {
                        let own = ["description", "$ref", "anyOf"].iter().any(|key| property.get(key).is_some());
                        // The arm of an enum is described beside its one property.
                        let arm = properties.len() == 1 && object.contains_key("description");
                        if !own && !arm {
                            lacking.push(format!("{place}/{name}"));
                        }
                        collect(property, &format!("{place}/{name}"), lacking);
                    }
                }
                serde_json::Value::Array(items) => items.iter().for_each(|item| collect(item, &place, lacking)),
                other => collect(other, &place, lacking),
            }
        }
    }
}
