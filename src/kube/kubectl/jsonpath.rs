//! `-o jsonpath=`: the part of kubectl's templates that people use.
//!
//! Follows client-go's `util/jsonpath`: text and `{…}` expressions; fields, `['key']`, indices (negative from the end),
//! `[*]`, `..field`, filters `[?(@.a=="b")]` with `==` and `!=`, quoted texts, and `{range …}{end}`. Anything else is an error, never ignored.
//! A field that is not there is nothing, as with kubectl's default.

use serde_json::Value;

/// One step down a document.
#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    All,
    Deep(String),
    Filter { path: Vec<Step>, equal: bool, value: Value },
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    Path(Vec<Step>),
    Range(Vec<Step>, Vec<Part>),
}

/// What a template makes of a document.
///
/// # Errors
/// A template that cannot be understood.
pub fn render(template: &str, document: &Value) -> Result<String, String> {
    let mut rest = template;
    let parts = parse(&mut rest, false)?;
    let mut out = String::new();
    print(&parts, document, &mut out);
    Ok(out)
}

fn parse(rest: &mut &str, in_range: bool) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    loop {
        let Some(open) = rest.find('{') else {
            if in_range {
                return Err("{range} without {end}".into());
            }
            parts.extend((!rest.is_empty()).then(|| Part::Text((*rest).into())));
            *rest = "";
            return Ok(parts);
        };
        parts.extend((open > 0).then(|| Part::Text(rest[..open].into())));
        let close = closing(&rest[open..]).ok_or("unclosed action")? + open;
        let inside = rest[open + 1..close].trim();
        *rest = &rest[close + 1..];
        if inside == "end" {
            return if in_range { Ok(parts) } else { Err("{end} without {range}".into()) };
        }
        if let Some(path) = inside.strip_prefix("range ") {
            let path = steps(path.trim())?;
            parts.push(Part::Range(path, parse(rest, true)?));
        } else if let Some(text) = inside.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
            parts.push(Part::Text(text.replace("\\n", "\n").replace("\\t", "\t").replace("\\\"", "\"")));
        } else {
            parts.push(Part::Path(steps(inside)?));
        }
    }
}

/// The brace that closes the first one, outside of quotes.
fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    for (index, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '}') => return Some(index),
            _ => {}
        }
    }
    None
}

fn steps(path: &str) -> Result<Vec<Step>, String> {
    let mut rest = path.trim().trim_start_matches(['$', '@']);
    let mut found = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("..") {
            let (name, tail) = field(after);
            found.push(Step::Deep(name));
            rest = tail;
        } else if let Some(after) = rest.strip_prefix('[') {
            let close = bracket(after).ok_or_else(|| format!("unterminated array in {path}"))?;
            found.push(subscript(&after[..close])?);
            rest = &after[close + 1..];
        } else {
            let (name, tail) = field(rest.strip_prefix('.').unwrap_or(rest));
            if name == "*" {
                found.push(Step::All);
            } else if !name.is_empty() {
                found.push(Step::Field(name));
            } else if tail.len() == rest.len() {
                return Err(format!("cannot read {path}"));
            }
            rest = tail;
        }
    }
    Ok(found)
}

/// A name, in which `\.` is a dot.
fn field(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((index, c)) = chars.next() {
        match c {
            '\\' => name.extend(chars.next().map(|(_, escaped)| escaped)),
            '.' | '[' => return (name, &text[index..]),
            _ => name.push(c),
        }
    }
    (name, "")
}

/// The bracket that closes, with quotes and inner brackets skipped.
fn bracket(text: &str) -> Option<usize> {
    let (mut quote, mut depth) = (None, 0usize);
    for (index, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') if depth == 0 => return Some(index),
            (None, ']') => depth -= 1,
            _ => {}
        }
    }
    None
}

fn quoted(text: &str) -> Option<&str> {
    let inside = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    inside('\'').or_else(|| inside('"'))
}

fn subscript(text: &str) -> Result<Step, String> {
    let text = text.trim();
    if text == "*" {
        return Ok(Step::All);
    }
    if let Some(name) = quoted(text) {
        return Ok(Step::Field(name.into()));
    }
    if let Some(filter) = text.strip_prefix("?(").and_then(|filter| filter.strip_suffix(')')) {
        let split = filter.split_once("==").map(|(p, v)| (p, v, true));
        let split = split.or_else(|| filter.split_once("!=").map(|(p, v)| (p, v, false)));
        let (path, value, equal) = split.ok_or_else(|| format!("unsupported filter {filter}"))?;
        let value = value.trim();
        let value = match quoted(value) {
            Some(text) => Value::String(text.into()),
            None => serde_json::from_str(value).map_err(|_| format!("unsupported filter value {value}"))?,
        };
        return Ok(Step::Filter { path: steps(path)?, equal, value });
    }
    text.parse().map(Step::Index).map_err(|_| format!("unsupported subscript [{text}]"))
}

fn walk<'v>(path: &[Step], from: &'v Value) -> Vec<&'v Value> {
    let mut at = vec![from];
    for step in path {
        at = at.into_iter().flat_map(|value| one(step, value)).collect();
    }
    at
}

fn one<'v>(step: &Step, value: &'v Value) -> Vec<&'v Value> {
    let items = || -> Vec<&'v Value> {
        match value {
            Value::Array(items) => items.iter().collect(),
            Value::Object(fields) => fields.values().collect(),
            _ => Vec::new(),
        }
    };
    match step {
        Step::Field(name) => value.get(name).into_iter().collect(),
        Step::Index(index) => {
            let count = value.as_array().map_or(0, Vec::len) as i64;
            let at = if *index < 0 { count.saturating_add(*index) } else { *index };
            usize::try_from(at).ok().and_then(|at| value.get(at)).into_iter().collect()
        }
        Step::All => items(),
        Step::Deep(name) => {
            let mut found: Vec<&Value> = value.get(name).into_iter().collect();
            found.extend(items().into_iter().flat_map(|inner| one(step, inner)));
            found
        }
        Step::Filter { path, equal, value: wanted } => {
            let holds = |item: &&Value| walk(path, item).contains(&wanted) == *equal;
            items().into_iter().filter(holds).collect()
        }
    }
}

fn print(parts: &[Part], here: &Value, out: &mut String) {
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Path(path) => {
                let texts: Vec<String> = walk(path, here).into_iter().map(text).collect();
                out.push_str(&texts.join(" "));
            }
            Part::Range(path, inner) => {
                for item in walk(path, here) {
                    print(inner, item, out);
                }
            }
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn templates_print_what_kubectls_do() {
        let pods = json!({"items": [
            {"metadata": {"name": "a", "labels": {"x.y/z": "1"}}, "spec": {"nodeName": "n1", "c": [1, 2, 3]}},
            {"metadata": {"name": "b"}, "spec": {"nodeName": "n2"}, "status": {"conditions": [
                {"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"},
            ]}},
        ]});
        let rows = [
            ("{.items[0].spec.nodeName}", "n1"),
            ("{.items[*].metadata.name}", "a b"),
            ("{$.items[-1:].x}", "!"),
            ("{.items[-1].metadata.name}", "b"),
            ("{range .items[*]}{.metadata.name}{\"\\t\"}{.spec.nodeName}{\"\\n\"}{end}", "a\tn1\nb\tn2\n"),
            ("{.items[1].status.conditions[?(@.type==\"Ready\")].status}", "True"),
            ("{.items[?(@.spec.nodeName=='n2')].metadata.name}", "b"),
            ("{.items[?(@.spec.nodeName!='n2')].metadata.name}", "a"),
            ("{.items[0].metadata.labels.x\\.y/z}", "1"),
            ("{.items[0].metadata.labels['x.y/z']}", "1"),
            ("{.items[0].spec.c}", "[1,2,3]"),
            ("{..nodeName}", "n1 n2"),
            ("node: {.items[0].nothing}!", "node: !"),
            ("{range .items}", "!"),
            ("{.items", "!"),
            ("{end}", "!"),
        ];
        for (template, want) in rows {
            let got = render(template, &pods);
            assert_eq!(got.as_deref().unwrap_or("!"), want, "{template}");
        }
    }
}
