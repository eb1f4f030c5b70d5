//! Strict decoding: a typed object out of JSON, with every field that its type does not know, and where a value does not
//! fit.
//!
//! The types of `k8s_openapi` skip unknown fields. Serde tells the difference: a known field is asked for by its type, an
//! unknown one as "ignored"; those are noted with their path. No message holds a text found in the input, so that a
//! Secret's value cannot reach a log by an error.

use std::cell::RefCell;
use std::fmt;

use serde::Deserializer;
use serde::de::value::BorrowedStrDeserializer;
use serde::de::{self, DeserializeOwned, DeserializeSeed, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::Value;

/// A value that does not fit its type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{what}", at(.path))]
pub struct Misfit {
    /// Where: `spec.containers[0].image`; empty for the whole.
    pub path: String,
    /// What is wrong.
    pub what: String,
}

fn at(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!("{path}: ") }
}

/// Decodes `value`, and gives the paths of the fields that `T` does not know, in the order of the input.
///
/// # Errors
/// The first value that does not fit.
pub fn decode<T: DeserializeOwned>(value: &Value) -> Result<(T, Vec<String>), Misfit> {
    let walk = Walk::default();
    let decoded = T::deserialize(Node { value, walk: &walk });
    match decoded {
        Ok(decoded) => Ok((decoded, walk.unknown.into_inner())),
        Err(Plain(what)) => Err(Misfit { path: walk.failed.into_inner().unwrap_or_default(), what }),
    }
}

/// Decodes `value`, all of whose fields `T` has to know.
///
/// # Errors
/// The first value that does not fit, or the first field that is not known.
pub fn decode_known<T: DeserializeOwned>(value: &Value) -> Result<T, Misfit> {
    let (decoded, unknown) = decode(value)?;
    let first = unknown.into_iter().next();
    first.map_or(Ok(decoded), |path| Err(Misfit { path, what: "unknown field".into() }))
}

/// Where the decoder stands and what it found.
#[derive(Default)]
struct Walk {
    path: RefCell<String>,
    unknown: RefCell<Vec<String>>,
    failed: RefCell<Option<String>>,
}

impl Walk {
    /// Decodes an item of a list.
    fn item<R>(&self, index: usize, decode: impl FnOnce() -> Result<R, Plain>) -> Result<R, Plain> {
        let before = self.path.borrow().len();
        self.path.borrow_mut().extend(["[", &index.to_string(), "]"]);
        self.child(before, decode())
    }

    /// Decodes a field of an object.
    fn field<R>(&self, name: &str, decode: impl FnOnce() -> Result<R, Plain>) -> Result<R, Plain> {
        let before = self.path.borrow().len();
        self.path.borrow_mut().extend([if before == 0 { "" } else { "." }, name]);
        self.child(before, decode())
    }

    /// Steps back from a child to a path that was `before` long.
    fn child<R>(&self, before: usize, decoded: Result<R, Plain>) -> Result<R, Plain> {
        if decoded.is_err() {
            self.failed.borrow_mut().get_or_insert_with(|| self.path.borrow().clone());
        }
        self.path.borrow_mut().truncate(before);
        decoded
    }
}

/// An error that names types and fields, never what was found in them.
#[derive(Debug)]
struct Plain(String);

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Plain {}

impl de::Error for Plain {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self(format!("expected {expected}, found {}", name(found)))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self(format!("expected {expected}"))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self(format!("expected one of {}", expected.join(", ")))
    }
}

fn name(found: Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "a whole number",
        Unexpected::Float(_) => "a decimal number",
        Unexpected::Char(_) | Unexpected::Str(_) | Unexpected::Bytes(_) => "a text",
        Unexpected::Unit | Unexpected::Option => "null",
        Unexpected::Seq => "a list",
        _ => "an object",
    }
}

#[derive(Clone, Copy)]
struct Node<'de, 'w> {
    value: &'de Value,
    walk: &'w Walk,
}

impl<'de> Deserializer<'de> for Node<'de, '_> {
    type Error = Plain;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Plain> {
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(value), _, _) => visitor.visit_u64(value),
                (_, Some(value), _) => visitor.visit_i64(value),
                (_, _, value) => visitor.visit_f64(value.unwrap_or(f64::NAN)),
            },
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(items) => visitor.visit_seq(Items { items: items.iter().enumerate(), walk: self.walk }),
            Value::Object(fields) => visitor.visit_map(Fields { rest: fields.iter(), next: None, walk: self.walk }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Plain> {
        if self.value.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Plain> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Plain> {
        self.walk.unknown.borrow_mut().push(self.walk.path.borrow().clone());
        visitor.visit_unit()
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Plain> {
        if let Value::String(text) = self.value {
            let text = BorrowedStrDeserializer::<Plain>::new(text);
            return text.deserialize_enum(name, variants, visitor);
        }
        self.value.deserialize_enum(name, variants, visitor).map_err(|_| Plain(format!("is no {name}")))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier
    }
}

struct Items<'de, 'w> {
    items: std::iter::Enumerate<std::slice::Iter<'de, Value>>,
    walk: &'w Walk,
}

impl<'de> SeqAccess<'de> for Items<'de, '_> {
    type Error = Plain;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Plain> {
        let Some((index, value)) = self.items.next() else { return Ok(None) };
        let node = Node { value, walk: self.walk };
        self.walk.item(index, || seed.deserialize(node)).map(Some)
    }
}

struct Fields<'de, 'w> {
    rest: serde_json::map::Iter<'de>,
    next: Option<(&'de str, &'de Value)>,
    walk: &'w Walk,
}

impl<'de> MapAccess<'de> for Fields<'de, '_> {
    type Error = Plain;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Plain> {
        self.next = self.rest.next().map(|(key, value)| (key.as_str(), value));
        let Some((key, _)) = self.next else { return Ok(None) };
        seed.deserialize(BorrowedStrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Plain> {
        let Some((key, value)) = self.next.take() else { return Err(Plain("a value before its key".into())) };
        let node = Node { value, walk: self.walk };
        self.walk.field(key, || seed.deserialize(node))
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{Pod, Secret};
    use serde_json::json;

    use super::*;

    #[test]
    fn unknown_fields_are_named_with_their_path() {
        let rows = [
            (json!({"spec": {"containers": [{"name": "a"}]}}), vec![]),
            (json!({"spec": {"containers": [{"name": "a", "imagee": "x"}]}}), vec!["spec.containers[0].imagee"]),
            (json!({"spce": {}, "metadata": {"lables": {"a": "b"}}}), vec!["spce", "metadata.lables"]),
            (json!({"metadata": {"labels": {"any.key/x": "b"}}}), vec![]),
            (
                json!({"spec": {"containers": [], "volumes": [{"name": "v", "gitLab": {"x": 1}}]}}),
                vec!["spec.volumes[0].gitLab"],
            ),
        ];
        for (value, want) in rows {
            let (_, unknown) = decode::<Pod>(&value).unwrap();
            let mut unknown: Vec<&str> = unknown.iter().map(String::as_str).collect();
            let mut want = want.clone();
            unknown.sort_unstable();
            want.sort_unstable();
            assert_eq!(unknown, want, "{value}");
            let known = decode_known::<Pod>(&value).map(drop).map_err(|misfit| misfit.to_string());
            let refused = known.err().map(|error| error.strip_suffix(": unknown field").unwrap().to_owned());
            assert!(refused.as_deref().map_or(want.is_empty(), |path| want.contains(&path)), "{value}: {refused:?}");
        }
    }

    #[test]
    fn a_wrong_type_says_where_and_not_what_was_there() {
        let rows = [
            (json!({"spec": {"hostNetwork": "yes"}}), "spec.hostNetwork: expected a boolean, found a text"),
            (json!({"spec": {"containers": {}}}), "spec.containers: expected a sequence, found an object"),
            (json!({"kind": "Node"}), "expected Pod"),
            (
                json!({"spec": {"containers": [{"name": "a", "ports": [{"containerPort": true}]}]}}),
                "spec.containers[0].ports[0].containerPort: expected i32, found a boolean",
            ),
        ];
        for (value, want) in rows {
            assert_eq!(decode::<Pod>(&value).unwrap_err().to_string(), want);
        }
        let secret = json!({"data": {"key": "hunter2!"}});
        let error = decode::<Secret>(&secret).unwrap_err().to_string();
        assert!(error.starts_with("data.key: ") && !error.contains("hunter2"), "{error}");
    }
}
