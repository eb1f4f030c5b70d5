//! Holding an answer against the model: one step of a replay.
#![expect(missing_docs, reason = "the doc of a variant names its fields")]

use std::fmt;

use super::{Allowed, Attr, Model, NodeIx, ROOT, split};
use crate::oracle::history::{Answer, Call, Seen};

/// Why an answer cannot be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// The rules give other answers.
    Rules(Allowed),
    /// The answer is of the wrong kind for the call.
    Kind,
    /// A listing is not sorted, or names something twice.
    Unsorted,
    /// A listing lacks this name.
    Lacks { name: String },
    /// A listing shows this name, which does not exist.
    Shows { name: String },
    /// An attribute differs: which name (empty for the path itself), and what was expected.
    Differs { name: String, expected: Box<Attr> },
    /// The inode number belongs to something else.
    OtherInode { name: String },
}

impl Wrong {
    /// The entry of the listing that is wrong, if it is one entry.
    pub fn entry(&self) -> Option<&str> {
        match self {
            Self::Lacks { name } | Self::Shows { name } | Self::Differs { name, .. } | Self::OtherInode { name } => {
                Some(name).filter(|n| !n.is_empty()).map(String::as_str)
            }
            _ => None,
        }
    }
}

impl Model {
    /// Replays one answered operation. After an error the model is in an undefined state between the two: the caller goes
    /// back to its mark.
    pub fn step(&mut self, call: &Call, ordinal: u32, index: u64, answer: &Answer) -> Result<(), Wrong> {
        let allowed = self.allowed(call);
        if let Answer::Refused(refusal) = answer {
            return if allowed.no.contains(*refusal) { Ok(()) } else { Err(Wrong::Rules(allowed)) };
        }
        if !allowed.ok {
            return Err(Wrong::Rules(allowed));
        }
        self.apply(call, ordinal);
        match (call, answer) {
            (Call::Mkdir { path, .. } | Call::Create { path } | Call::Stat { path }, Answer::Info(seen)) => {
                if seen.name != split(path).1 {
                    return Err(Wrong::Kind);
                }
                match self.walk(path) {
                    Ok(node) => self.compare(node, seen, index, ""),
                    Err(_) => Err(Wrong::Kind),
                }
            }
            (Call::Complete { file, .. }, Answer::Info(seen)) if seen.id != *file => Err(Wrong::Kind),
            (Call::List { path }, Answer::Entries(entries)) => self.compare_listing(path, entries, index),
            (Call::Stat { .. } | Call::List { .. }, _) | (_, Answer::Entries(_) | Answer::Bytes(_)) => Err(Wrong::Kind),
            (_, _) => Ok(()),
        }
    }

    fn compare_listing(&mut self, path: &str, entries: &[Seen], index: u64) -> Result<(), Wrong> {
        if entries.windows(2).any(|pair| pair[0].name >= pair[1].name) {
            return Err(Wrong::Unsorted);
        }
        let Ok(dir) = self.walk(path) else { return Err(Wrong::Kind) };
        let mut pairs: Vec<(NodeIx, &Seen)> = Vec::with_capacity(entries.len());
        let mut seen = entries.iter().peekable();
        for (name, node) in &self.nodes[dir as usize].children {
            match seen.peek() {
                Some(next) if *next.name == **name => pairs.push((*node, next)),
                Some(next) if *next.name < **name => return Err(Wrong::Shows { name: next.name.clone() }),
                _ => return Err(Wrong::Lacks { name: name.to_string() }),
            }
            seen.next();
        }
        if let Some(next) = seen.next() {
            return Err(Wrong::Shows { name: next.name.clone() });
        }
        pairs.into_iter().try_for_each(|(node, seen)| self.compare(node, seen, index, &seen.name))
    }

    /// Holds one inode against what was seen of it; learns its number.
    fn compare(&mut self, node: NodeIx, seen: &Seen, index: u64, name: &str) -> Result<(), Wrong> {
        let attr = *self.attr(node);
        let file = !attr.dir;
        let differs = attr.dir != seen.dir
            || attr.id.is_some_and(|id| id != seen.id)
            || file && attr.completed != seen.completed
            || file && attr.completed && attr.length != seen.length
            || seen.version < attr.version
            || index > 0 && seen.version > index;
        if differs {
            return Err(Wrong::Differs { name: name.into(), expected: Box::new(attr) });
        }
        if attr.id.is_none() {
            if self.inode(seen.id).is_some() {
                return Err(Wrong::OtherInode { name: name.into() });
            }
            self.bind(node, seen.id);
        }
        if seen.version > attr.version {
            self.set(node, Attr { version: seen.version, ..*self.attr(node) });
        }
        Ok(())
    }

    /// What the model expects instead, in words.
    pub fn expectation(&self, call: &Call, wrong: &Wrong) -> String {
        match wrong {
            Wrong::Rules(Allowed { ok: true, .. }) => format!("`{call}` should have succeeded"),
            Wrong::Rules(Allowed { no, .. }) => {
                let names: Vec<String> = no.iter().map(|r| format!("{r:?}")).collect();
                format!("`{call}` should have been refused with {}", names.join(" or "))
            }
            Wrong::Kind => "the answer is of another kind than the call".into(),
            Wrong::Unsorted => "the entries are not sorted by name, or one is there twice".into(),
            Wrong::Lacks { name } => format!("`{name}` should be in the listing"),
            Wrong::Shows { name } => format!("`{name}` should not be in the listing"),
            Wrong::Differs { name, expected } if name.is_empty() => format!("expected {expected}"),
            Wrong::Differs { name, expected } => format!("expected of `{name}`: {expected}"),
            Wrong::OtherInode { name } => {
                format!(
                    "the inode number{} belongs to something else",
                    if name.is_empty() { "" } else { " of the entry" }
                )
            }
        }
    }

    /// Whether an inode number is known and no longer in the tree; then the ordinal of the operation that removed it.
    pub fn removed(&self, seen: &Seen) -> Option<u32> {
        let top = self.top(self.inode(seen.id)?);
        (top != ROOT).then(|| self.attr(top).remover)
    }
}

impl fmt::Display for Attr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.dir, self.completed) {
            (true, _) => f.write_str("directory")?,
            (false, true) => write!(f, "file of {} bytes", self.length)?,
            (false, false) => f.write_str("incomplete file")?,
        }
        if let Some(id) = self.id {
            write!(f, ", inode {}", id.0)?;
        }
        write!(f, ", version at least {}", self.version)
    }
}
