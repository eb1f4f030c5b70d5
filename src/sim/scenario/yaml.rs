//! YAML text to types, with every mistake at its place.
//!
//! Rule: the file is not trusted. Size, depth, nodes and aliases are bounded before anything is built, aliases may not
//! multiply, unknown tags and merge keys are refused.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_saphyr::options::{AliasLimits, MergeKeyPolicy, Options};
use serde_saphyr::{Error, Location};

use super::diagnostic::{Diagnostic, Place, closest};

/// Longest file that is read, in bytes.
pub const MAX_BYTES: usize = 1 << 20;

/// One YAML document within a file, and how its lines map to the file's.
#[derive(Debug, Clone)]
pub struct Document {
    /// Path of the file.
    pub path: String,
    /// The whole file, for showing lines.
    pub source: String,
    /// The document. Lines before it in the same text are kept as empty lines.
    pub text: String,
    /// Lines of the file before the first line of `text`.
    pub lines: usize,
    /// Characters of the file's lines that `text` lacks at the left.
    pub columns: usize,
}

/// Bytes of a file as text, or why they are not.
///
/// # Errors
/// When the file is longer than [`MAX_BYTES`], not UTF-8, binary or empty.
pub fn text_of(path: &str, bytes: Vec<u8>) -> Result<String, Diagnostic> {
    let refuse =
        |message: String, help: &str| Diagnostic { path: path.into(), place: None, message, help: help.into() };
    if bytes.len() > MAX_BYTES {
        let message = format!("the file has {} bytes, and at most {MAX_BYTES} are read", bytes.len());
        return Err(refuse(message, "keep scenarios small; the data of under-stores is made up from paths and sizes"));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        refuse(format!("byte {offset} is not UTF-8 text"), "give the path of a YAML file")
    })?;
    if let Some(offset) = text.find('\0') {
        return Err(refuse(format!("byte {offset} is NUL: this is no text file"), "give the path of a YAML file"));
    }
    if text.trim().is_empty() {
        return Err(refuse("the file is empty".into(), "see scenarios/goosefs-leader-crash.yaml for how one looks"));
    }
    Ok(text)
}

impl Document {
    /// A file that is one document.
    pub fn whole(path: &str, text: String) -> Self {
        Self { path: path.into(), source: text.clone(), text, lines: 0, columns: 0 }
    }

    /// Its documents: cut at lines that begin with `---`, which YAML allows nowhere else at the left margin.
    pub fn split(&self) -> Vec<Self> {
        let mut parts = vec![String::new()];
        for (blank, line) in self.text.lines().enumerate() {
            let marker = line == "---" || line.starts_with("--- ");
            if marker {
                parts.push("\n".repeat(blank));
            }
            if let Some(part) = parts.last_mut() {
                part.push_str(if marker { &line[3..] } else { line });
                part.push('\n');
            }
        }
        let content = |part: &String| part.lines().any(|l| !l.trim().is_empty() && !l.trim_start().starts_with('#'));
        parts.into_iter().filter(content).map(|text| Self { text, ..self.clone() }).collect()
    }

    /// The document as a value of type `T`.
    ///
    /// # Errors
    /// The first mistake, at its place.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Diagnostic> {
        serde_saphyr::from_str_with_options(&self.text, options()).map_err(|error| self.explain(&error))
    }

    /// A mistake at a place that [`Document::locate`] found, or about the whole file.
    pub fn mistake(&self, line: usize, column: usize, message: String, help: String) -> Diagnostic {
        let place = (line > 0).then(|| Place::of(&self.source, line + self.lines, column + self.columns));
        Diagnostic { path: self.path.clone(), place, message, help }
    }

    /// Line and column of the value at a path such as `steps.3.kill`, or of the deepest part of it that is there.
    pub fn locate(&self, path: &str) -> (usize, usize) {
        let Ok(root) = serde_saphyr::from_str_with_options::<Node>(&self.text, options()) else {
            return (0, 0);
        };
        let mut node = &root;
        for key in path.split('.').filter(|key| !key.is_empty()) {
            let next = match &node.value {
                Value::Scalar => None,
                Value::Seq(items) => key.parse().ok().and_then(|index: usize| items.get(index)),
                Value::Map(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, node)| node),
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        (node.line, node.column)
    }

    fn explain(&self, error: &Error) -> Diagnostic {
        let (line, column) = error.location().map_or((0, 0), |l| (l.line() as usize, l.column() as usize));
        let (message, help) = explain(error);
        self.mistake(line, column, message, help)
    }
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 32,
            flow_nesting_limit: 32,
            max_nodes: 100_000,
            max_events: 400_000,
            max_aliases: 100,
            max_anchors: 100,
            max_recorded_anchor_events: 10_000,
            max_documents: 1,
        },
        alias_limits: alias_limits(),
        merge_keys: MergeKeyPolicy::Error,
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

fn alias_limits() -> AliasLimits {
    serde_saphyr::alias_limits! { max_total_replayed_events: 10_000, max_replay_stack_depth: 8 }
}

/// The mistake in words, and what to write instead.
fn explain(error: &Error) -> (String, String) {
    match error {
        Error::WithSnippet { error, .. } | Error::AliasError { error, .. } => explain(error),
        Error::SerdeUnknownField { field, expected, .. } => {
            (format!("unknown field `{field}`"), suggest(field, expected))
        }
        Error::SerdeUnknownVariant { variant, expected, .. } => {
            (format!("`{variant}` is not known here"), suggest(variant, expected))
        }
        Error::SerdeMissingField { field, .. } => {
            (format!("`{field}` is missing"), format!("add `{field}:` beside this"))
        }
        Error::SerdeInvalidType { unexpected, expected, .. }
        | Error::SerdeInvalidValue { unexpected, expected, .. } => {
            (format!("{unexpected} where {expected} belongs"), format!("write {expected}"))
        }
        Error::Unexpected { expected, .. } => {
            let wanted = shape_in_words(expected);
            (format!("this is not {wanted}"), format!("write {wanted}"))
        }
        Error::InvalidScalar { ty, .. } => {
            let wanted = number_in_words(ty);
            (format!("this is not {wanted}"), format!("write {wanted}"))
        }
        Error::InvalidBooleanStrict { .. } => ("this is not a boolean".into(), "write true or false".into()),
        Error::NullIntoString { .. } => ("a value is missing".into(), "write one after the colon".into()),
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            (format!("`{key}` is given twice"), "remove one of them".into())
        }
        Error::MergeKeyNotAllowed { .. } => ("merge keys are not supported".into(), "write the fields out".into()),
        Error::MultipleDocuments { .. } => {
            ("a scenario is one YAML document".into(), "remove what follows from `---` on".into())
        }
        Error::Eof { .. } => ("the file ends in the middle of something".into(), "the file seems cut off".into()),
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => {
            (plain(error), "write it smaller: no deep nesting, few anchors and aliases".into())
        }
        Error::Message { msg, .. } | Error::SerdeVariantId { msg, .. } => match msg.split_once("; ") {
            Some((message, help)) => (message.into(), help.into()),
            None => (msg.clone(), String::new()),
        },
        other => {
            let message = plain(other);
            let help = match &message {
                m if m.contains("tab") => "indent with spaces",
                m if m.contains("unclosed") => "close it; the file may be cut off",
                _ => "",
            };
            (message, help.into())
        }
    }
}

/// The parser's own words, without the location that the diagnostic shows anyhow.
fn plain(error: &Error) -> String {
    use serde_saphyr::{MessageFormatter, UserMessageFormatter};
    let text = UserMessageFormatter.format_message(error).into_owned();
    text.lines().next().unwrap_or("this is not YAML").into()
}

fn suggest(word: &str, known: &[&'static str]) -> String {
    match closest(word, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None if known.is_empty() => "nothing is allowed here".into(),
        None => format!("write one of {}", known.join(", ")),
    }
}

/// The parser's name of a shape, for people.
fn shape_in_words(shape: &str) -> &str {
    match shape {
        "sequence start" => "a list, such as [a, b]",
        "mapping start" => "a mapping, such as {key: value}",
        "string scalar" | "scalar" => "a single text",
        other => other,
    }
}

fn number_in_words(ty: &str) -> &'static str {
    match ty {
        "bool" => "true or false",
        ty if ty.starts_with('u') => "a whole number that is not negative and not too large",
        ty if ty.starts_with('i') => "a whole number",
        _ => "a number",
    }
}

/// A YAML node that remembers where it begins.
struct Node {
    line: usize,
    column: usize,
    value: Value,
}

enum Value {
    Scalar,
    Seq(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = serde_saphyr::Spanned::<Value>::deserialize(deserializer)?;
        let at: Location = spanned.referenced;
        Ok(Self { line: at.line() as usize, column: at.column() as usize, value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> serde::de::Visitor<'de> for Any {
            type Value = Value;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("any YAML")
            }

            fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
                Ok(Value::Scalar)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
                Ok(Value::Scalar)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Value, E> {
                Ok(Value::Scalar)
            }

            fn visit_i128<E>(self, _: i128) -> Result<Value, E> {
                Ok(Value::Scalar)
            }

            fn visit_u128<E>(self, _: u128) -> Result<Value, E> {
                Ok(Value::Scalar)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
                Ok(Value::Scalar)
            }

            fn visit_str<E>(self, _: &str) -> Result<Value, E> {
                Ok(Value::Scalar)
            }

            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Scalar)
            }

            fn visit_none<E>(self) -> Result<Value, E> {
                Ok(Value::Scalar)
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Value::Seq(items))
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Value::Map(entries))
            }
        }

        deserializer.deserialize_any(Any)
    }
}
