//! An object but for its metadata: its fields, each as the text that somebody wrote or as a tree.
//!
//! Most of what passes through an API server is looked at by nobody there: a lease's new time, a spec beside which the status
//! changes. A field is shared by all versions of an object that have it, and its tree or its text is made when somebody asks.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock};

use serde::de::{Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

/// serde_json reads trees to a depth of 128.
const BRACKETS_MAX: usize = 100;

/// Fields by name.
#[derive(Clone, Default, PartialEq)]
pub struct Body(Vec<(Name, Field)>);

impl Body {
    fn find(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(own, _)| (*own.0).cmp(name))
    }

    /// A field, if there is one.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.find(name).ok().map(|at| &self.0[at].1)
    }

    /// A field's value, if there is one.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.field(name).map(Field::tree)
    }

    /// Sets a field.
    pub fn insert(&mut self, name: impl Into<Name>, field: impl Into<Field>) {
        let (name, field) = (name.into(), field.into());
        match self.find(&name.0) {
            Ok(at) => self.0[at].1 = field,
            Err(at) => self.0.insert(at, (name, field)),
        }
    }

    /// Takes a field away.
    pub fn remove(&mut self, name: &str) {
        if let Ok(at) = self.find(name) {
            self.0.remove(at);
        }
    }

    /// Changes a field's value, if there is one.
    pub fn change(&mut self, name: &str, change: impl FnOnce(&mut Value)) {
        if let Ok(at) = self.find(name) {
            let (name, field) = self.0.remove(at);
            let mut tree = field.into_tree();
            change(&mut tree);
            self.0.insert(at, (name, tree.into()));
        }
    }

    /// All fields, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Field)> {
        self.0.iter().map(|(name, field)| (&*name.0, field))
    }

    /// All values.
    pub fn to_map(&self) -> Map<String, Value> {
        self.iter().map(|(name, field)| (name.to_owned(), field.tree().clone())).collect()
    }
}

impl From<Map<String, Value>> for Body {
    fn from(map: Map<String, Value>) -> Self {
        // A map is in its keys' order.
        Self(map.into_iter().map(|(name, tree)| (name.into(), tree.into())).collect())
    }
}

impl fmt::Debug for Body {
    /// Which fields there are, and not what is in them: it may be a Secret's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

/// A field's name. Those that nearly every object has are not copied.
#[derive(Clone, PartialEq, Eq)]
pub struct Name(Cow<'static, str>);

impl Name {
    fn known(name: &str) -> Option<&'static str> {
        ["apiVersion", "kind", "spec", "status"].into_iter().find(|known| *known == name)
    }
}

impl From<&str> for Name {
    fn from(name: &str) -> Self {
        Self(Self::known(name).map_or_else(|| Cow::Owned(name.to_owned()), Cow::Borrowed))
    }
}

impl From<String> for Name {
    fn from(name: String) -> Self {
        Self(Self::known(&name).map_or(Cow::Owned(name), Cow::Borrowed))
    }
}

impl std::ops::Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl Visitor<'_> for Names {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field's name")
            }

            fn visit_str<E>(self, name: &str) -> Result<Name, E> {
                Ok(name.into())
            }
        }
        deserializer.deserialize_str(Names)
    }
}

/// A value that is not changed any more.
#[derive(Clone)]
pub struct Field(Arc<Both>);

/// One of the two is there from the beginning.
struct Both {
    text: OnceLock<Box<RawValue>>,
    tree: OnceLock<Value>,
}

impl Field {
    /// From a text, as serde_json writes it: without spaces.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn of_text(text: &RawValue) -> serde_json::Result<Self> {
        let brackets = text.get().bytes().filter(|byte| matches!(byte, b'[' | b'{')).count();
        if brackets > BRACKETS_MAX {
            // It may be deeper than what can be read.
            return text.get().parse::<Value>().map(Self::from);
        }
        Ok(Self(Arc::new(Both { text: OnceLock::from(text.to_owned()), tree: OnceLock::new() })))
    }

    fn text(&self) -> &RawValue {
        let Both { text, tree } = &*self.0;
        text.get_or_init(|| match to_raw_value(&tree.get()) {
            Ok(text) => text,
            Err(error) => unreachable!("a tree of JSON values is JSON: {error}"),
        })
    }

    /// Its value.
    pub fn tree(&self) -> &Value {
        self.0.tree.get_or_init(|| read(self.0.text.get().map(|text| &**text)))
    }

    fn into_tree(self) -> Value {
        match Arc::try_unwrap(self.0) {
            Ok(Both { text, tree }) => tree.into_inner().unwrap_or_else(|| read(text.get().map(|text| &**text))),
            Err(shared) => Self(shared).tree().clone(),
        }
    }
}

fn read(text: Option<&RawValue>) -> Value {
    match text.map_or("null", RawValue::get).parse() {
        Ok(tree) => tree,
        Err(error) => unreachable!("a text of serde_json's is JSON and flat enough: {error}"),
    }
}

impl From<Value> for Field {
    fn from(tree: Value) -> Self {
        Self(Arc::new(Both { text: OnceLock::new(), tree: OnceLock::from(tree) }))
    }
}

impl PartialEq for Field {
    /// Two texts of one value hold the same bytes, perhaps in another order: a type writes its fields as they were declared,
    /// a tree by name. So few values that differ have to be looked at.
    fn eq(&self, other: &Self) -> bool {
        if Arc::ptr_eq(&self.0, &other.0) {
            return true;
        }
        let (one, two) = (self.text().get(), other.text().get());
        let sum = |text: &str| text.bytes().fold(0u32, |sum, byte| sum.wrapping_add(u32::from(byte)));
        one == two || (one.len() == two.len() && sum(one) == sum(two) && self.tree() == other.tree())
    }
}

impl Serialize for Field {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.text().serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn raw(text: &str) -> Field {
        Field::of_text(serde_json::from_str(text).unwrap()).unwrap()
    }

    #[test]
    fn a_text_and_a_tree_are_the_same_field() {
        let text = r#"{"b":[1,"x\n"],"a":{"c":-0.5,"d":null}}"#;
        let tree: Value = text.parse().unwrap();
        let other_order = r#"{"a":{"d":null,"c":-0.5},"b":[1,"x\n"]}"#;
        assert!(raw(text) == raw(other_order) && raw(text) == tree.clone().into());
        assert_eq!((raw(text).tree(), raw(text).into_tree()), (&tree, tree.clone()));
        assert_eq!(serde_json::to_string(&raw(text)).unwrap(), text, "as it was written");
        assert_eq!(serde_json::to_value(Field::from(tree.clone())).unwrap(), tree);
    }

    #[test]
    fn other_values_are_other_fields_whatever_their_texts_look_like() {
        // The same bytes in another order.
        for (one, two) in [(r#"{"a":12}"#, r#"{"a":21}"#), ("[1,2]", "[2,1]"), (r#""ab""#, r#""ba""#), ("1", "2")] {
            assert!(raw(one) != raw(two), "{one} {two}");
        }
    }

    #[test]
    fn what_is_too_deep_to_be_read_is_refused_at_once() {
        let deep = |depth| "[".repeat(depth) + &"]".repeat(depth);
        assert!(Field::of_text(serde_json::from_str(&deep(127)).unwrap()).is_ok_and(|field| field.tree().is_array()));
        assert!(Field::of_text(serde_json::from_str(&deep(200)).unwrap()).is_err());
    }

    #[test]
    fn debug_shows_names_alone() {
        let mut body = Body::default();
        body.insert("stringData", json!({"password": "hunter2"}));
        assert_eq!(format!("{body:?}"), r#"["stringData"]"#);
    }

    /// What is done to a body.
    #[derive(Debug, Clone)]
    enum Step {
        Insert(&'static str, u8),
        Remove(&'static str),
        Change(&'static str, u8),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let name = prop::sample::select(vec!["spec", "status", "data", "apiVersion", "z", ""]);
        let step = (name, 0..3u8, any::<u8>()).prop_map(|(name, what, value)| match what {
            0 => Step::Insert(name, value),
            1 => Step::Remove(name),
            _ => Step::Change(name, value),
        });
        prop::collection::vec(step, 0..24)
    }

    proptest! {
        #[test]
        fn a_body_is_a_map(steps in steps()) {
            let (mut body, mut map) = (Body::default(), Map::new());
            let mut before = Vec::new();
            for step in steps {
                before.push((body.clone(), map.clone()));
                match step {
                    Step::Insert(name, value) => {
                        body.insert(name, json!({"v": value}));
                        map.insert(name.into(), json!({"v": value}));
                    }
                    Step::Remove(name) => {
                        body.remove(name);
                        map.remove(name);
                    }
                    Step::Change(name, value) => {
                        body.change(name, |tree| tree["w"] = json!(value));
                        map.get_mut(name).into_iter().for_each(|tree| tree["w"] = json!(value));
                    }
                }
                prop_assert_eq!(body.to_map(), map.clone());
                prop_assert!(body == Body::from(map.clone()));
            }
            // Older versions that share fields are as they were.
            for (body, map) in before {
                prop_assert_eq!(body.to_map(), map);
            }
        }
    }
}
