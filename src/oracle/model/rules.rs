//! Which answers the namespace allows to a call: success, and every refusal for which a reason holds.
//!
//! Where several reasons hold at once, any of them is a right refusal: the promise is about the namespace and not about the
//! order in which a master looks. Where the protocol leaves a choice (touching a file that is still being written), both are
//! allowed.

use super::{Gap, Model, NodeIx, ROOT, split, within};
use crate::oracle::history::{Call, Refusal};

/// A set of refusals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RefusalSet(u16);

impl RefusalSet {
    /// These refusals.
    pub fn of(refusals: &[Refusal]) -> Self {
        Self(refusals.iter().fold(0, |set, r| set | 1 << *r as u16))
    }

    /// Whether it holds `refusal`.
    pub fn contains(self, refusal: Refusal) -> bool {
        self.0 & 1 << refusal as u16 != 0
    }

    /// Its members.
    pub fn iter(self) -> impl Iterator<Item = Refusal> {
        use Refusal::{AlreadyExists, Busy, Invalid, IsADirectory, NotADirectory, NotEmpty, NotFound, ReadOnly};
        [NotFound, AlreadyExists, NotADirectory, IsADirectory, NotEmpty, Invalid, Busy, ReadOnly]
            .into_iter()
            .filter(move |r| self.contains(*r))
    }
}

/// The answers that are right.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Success.
    pub ok: bool,
    /// Refusals.
    pub no: RefusalSet,
}

impl Allowed {
    fn yes() -> Self {
        Self { ok: true, no: RefusalSet::default() }
    }

    fn no(refusals: &[Refusal]) -> Self {
        Self { ok: false, no: RefusalSet::of(refusals) }
    }

    fn either(refusals: &[Refusal]) -> Self {
        Self { ok: true, no: RefusalSet::of(refusals) }
    }

    fn gap(gap: Gap) -> Self {
        match gap {
            Gap::Missing => Self::no(&[Refusal::NotFound]),
            Gap::UnderFile => Self::no(&[Refusal::NotADirectory, Refusal::NotFound]),
        }
    }

    /// Both must allow it; either may refuse.
    fn and(self, other: Self) -> Self {
        Self { ok: self.ok && other.ok, no: RefusalSet(self.no.0 | other.no.0) }
    }
}

impl Model {
    /// Which answers to `call` are right now.
    pub fn allowed(&self, call: &Call) -> Allowed {
        match call {
            Call::Mkdir { path, recursive } => self.mkdir_rule(path, *recursive),
            Call::Create { path } => match self.walk(path) {
                Ok(node) if self.attr(node).dir => Allowed::no(&[Refusal::AlreadyExists, Refusal::IsADirectory]),
                Ok(node) if !self.attr(node).completed => Allowed::no(&[Refusal::AlreadyExists, Refusal::Busy]),
                Ok(_) => Allowed::no(&[Refusal::AlreadyExists]),
                Err(_) => self.parent_rule(path),
            },
            Call::Complete { file, path, length, .. } => match self.named(*file, path) {
                Some(node) if self.top(node) == ROOT => self.complete_rule(node, *length),
                _ => Allowed::no(&[Refusal::NotFound, Refusal::Invalid]),
            },
            Call::Rename { from, to } => self.rename_rule(from, to),
            Call::Delete { path, recursive } => self.delete_rule(path, *recursive),
            Call::Stat { path } | Call::Read { path, .. } => {
                self.walk(path).map_or_else(Allowed::gap, |_| Allowed::yes())
            }
            Call::List { path } => match self.walk(path) {
                Ok(node) if self.attr(node).dir => Allowed::yes(),
                Ok(_) => Allowed::no(&[Refusal::NotADirectory]),
                Err(gap) => Allowed::gap(gap),
            },
        }
    }

    fn mkdir_rule(&self, path: &str, recursive: bool) -> Allowed {
        match self.walk(path) {
            Ok(node) if recursive && self.attr(node).dir => Allowed::yes(),
            Ok(node) if self.attr(node).dir => Allowed::no(&[Refusal::AlreadyExists]),
            Ok(_) => Allowed::no(&[Refusal::AlreadyExists, Refusal::NotADirectory]),
            Err(Gap::UnderFile) if recursive => Allowed::no(&[Refusal::NotADirectory, Refusal::AlreadyExists]),
            Err(Gap::Missing) if recursive => Allowed::yes(),
            Err(_) => self.parent_rule(path),
        }
    }

    /// A new name needs a directory to stand in.
    fn parent_rule(&self, path: &str) -> Allowed {
        match self.walk(split(path).0) {
            Ok(parent) if self.attr(parent).dir => Allowed::yes(),
            Ok(_) => Allowed::gap(Gap::UnderFile),
            Err(gap) => Allowed::gap(gap),
        }
    }

    fn complete_rule(&self, node: NodeIx, length: u64) -> Allowed {
        let attr = self.attr(node);
        let again = [Refusal::AlreadyExists, Refusal::Invalid, Refusal::Busy];
        match (attr.dir, attr.completed) {
            (true, _) => Allowed::no(&[Refusal::IsADirectory, Refusal::Invalid]),
            // Refused as invalid while blocks are missing, of which this model knows nothing.
            (false, false) => Allowed::either(&[Refusal::Invalid]),
            (false, true) if attr.length == length => Allowed::either(&again),
            (false, true) => Allowed::no(&again),
        }
    }

    fn delete_rule(&self, path: &str, recursive: bool) -> Allowed {
        let node = match self.walk(path) {
            Ok(node) => node,
            Err(gap) => return Allowed::gap(gap),
        };
        let full = !recursive && !self.nodes[node as usize].children.is_empty();
        let rule = if full { Allowed::no(&[Refusal::NotEmpty]) } else { Allowed::yes() };
        rule.and(self.touch_rule(path, node))
    }

    fn rename_rule(&self, from: &str, to: &str) -> Allowed {
        let mut rule = Allowed::yes();
        let node = match self.walk(from) {
            Ok(node) => {
                rule = rule.and(self.touch_rule(from, node));
                Some(node)
            }
            Err(gap) => {
                rule = rule.and(Allowed::gap(gap));
                None
            }
        };
        if from == to {
            return if node.is_some() { Allowed { ok: true, ..rule } } else { rule };
        }
        let dir = node.is_some_and(|node| self.attr(node).dir);
        if within(to, from) {
            rule = rule.and(Allowed::no(&[Refusal::Invalid]));
        }
        let Ok(target) = self.walk(to) else { return rule.and(self.parent_rule(to)) };
        let onto = self.attr(target);
        rule = rule.and(self.touch_rule(to, target));
        match (dir, onto.dir) {
            (false, false) => rule,
            (false, true) if node.is_none() => rule,
            (false, true) => rule.and(Allowed::no(&[Refusal::IsADirectory])),
            (true, false) => rule.and(Allowed::no(&[Refusal::NotADirectory])),
            (true, true) if self.nodes[target as usize].children.is_empty() => rule,
            (true, true) => rule.and(Allowed::no(&[Refusal::NotEmpty])),
        }
    }

    /// The root and mount points stay where they are; a file being written may be held.
    fn touch_rule(&self, path: &str, node: NodeIx) -> Allowed {
        if path == "/" || self.protected.iter().any(|mount| within(mount, path)) {
            return Allowed::no(&[Refusal::Invalid, Refusal::Busy, Refusal::ReadOnly]);
        }
        match self.attr(node) {
            attr if !attr.dir && !attr.completed => Allowed::either(&[Refusal::Busy]),
            _ => Allowed::yes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::record::Setup;

    /// `/d` with a file `/d/f`, an empty directory `/e`, files `/f` and `/g`; `/m` is a mount point.
    fn model() -> Model {
        let setup = Setup { directories: vec!["/m".into()], external: vec!["/m".into()] };
        let mut model = Model::new(&setup);
        let calls = [
            Call::Mkdir { path: "/d".into(), recursive: false },
            Call::Create { path: "/d/f".into() },
            Call::Mkdir { path: "/e".into(), recursive: false },
            Call::Create { path: "/f".into() },
            Call::Create { path: "/g".into() },
        ];
        for (i, call) in calls.iter().enumerate() {
            assert!(model.try_apply(call, i as u32), "{call}");
        }
        model
    }

    /// POSIX `rename`, `rmdir`, `unlink`, `mkdir` and `open(O_CREAT|O_EXCL)` as tables.
    #[test]
    fn rename_follows_posix() {
        use Refusal::{Invalid, IsADirectory, NotADirectory, NotEmpty, NotFound};
        for (from, to, want) in [
            ("/f", "/new", None),
            ("/f", "/g", None),
            ("/f", "/f", None),
            ("/d", "/e", None),
            ("/f", "/e", Some(IsADirectory)),
            ("/e", "/f", Some(NotADirectory)),
            ("/e", "/d", Some(NotEmpty)),
            ("/d", "/d/x", Some(Invalid)),
            ("/x", "/y", Some(NotFound)),
            ("/f", "/x/y", Some(NotFound)),
            ("/f", "/g/y", Some(NotADirectory)),
            ("/m", "/n", Some(Invalid)),
        ] {
            let allowed = model().allowed(&Call::Rename { from: from.into(), to: to.into() });
            assert_eq!(allowed.ok, want.is_none(), "{from} to {to}: {allowed:?}");
            assert!(want.is_none_or(|r| allowed.no.contains(r)), "{from} to {to}: {allowed:?}");
        }
    }

    #[test]
    fn the_other_calls_follow_posix() {
        use Refusal::{AlreadyExists, NotADirectory, NotEmpty, NotFound};
        let mkdir = |path: &str, recursive| Call::Mkdir { path: path.into(), recursive };
        let create = |path: &str| Call::Create { path: path.into() };
        let delete = |path: &str, recursive| Call::Delete { path: path.into(), recursive };
        for (call, want) in [
            (mkdir("/x", false), None),
            (mkdir("/x/y", false), Some(NotFound)),
            (mkdir("/x/y", true), None),
            (mkdir("/d", false), Some(AlreadyExists)),
            (mkdir("/d", true), None),
            (mkdir("/f", true), Some(AlreadyExists)),
            (mkdir("/f/x", true), Some(NotADirectory)),
            (create("/x"), None),
            (create("/x/y"), Some(NotFound)),
            (create("/f"), Some(AlreadyExists)),
            (create("/f/y"), Some(NotADirectory)),
            (delete("/x", true), Some(NotFound)),
            (delete("/d", false), Some(NotEmpty)),
            (delete("/d", true), None),
            (delete("/e", false), None),
            (delete("/f", false), None),
            (Call::List { path: "/f".into() }, Some(NotADirectory)),
            (Call::Stat { path: "/d/f".into() }, None),
        ] {
            let allowed = model().allowed(&call);
            assert_eq!(allowed.ok, want.is_none(), "{call}: {allowed:?}");
            assert!(want.is_none_or(|r| allowed.no.contains(r)), "{call}: {allowed:?}");
        }
    }
}
