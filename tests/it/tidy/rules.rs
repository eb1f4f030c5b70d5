//! Rules that one file keeps or breaks by itself.

use super::Finding;
use super::code::{Source, is_name};

/// More lines than this are worth a look.
pub const LONG: usize = 400;
/// More lines than this are refused.
const TOO_LONG: usize = 600;
/// `main.rs` only calls the library.
const MAIN: usize = 60;

/// The layers with their ranks: a module imports from lower ranks only, so equals do not see each other.
const LAYERS: [(&str, usize); 12] = [
    ("base", 0),
    ("trace", 1),
    ("rt", 2),
    ("stack", 3),
    ("kube", 3),
    ("world", 3),
    ("oracle", 4),
    ("sim", 5),
    ("hunt", 6),
    ("report", 7),
    ("cli", 8),
    ("main", 9),
];

/// Crates that come in by one door, and where it is. Of tokio its I/O traits are everybody's.
const DOORS: [(&str, &[&str]); 8] = [
    ("tokio::", &["src/rt/", "src/world/engine/turmoil/"]),
    ("openraft::", &["src/rt/raft.rs", "src/stack/master/"]),
    ("opendal::", &["src/stack/ufs/"]),
    (
        "hyper::",
        &[
            "src/rt/hyper_io.rs",
            "src/stack/ufs/",
            "src/world/s3/",
            "src/world/web/",
            "src/kube/apiserver/",
            "src/kube/client/",
            "src/kube/kubelet/server.rs",
            "src/sim/kubernetes/machine/http.rs",
        ],
    ),
    ("tracing_subscriber::", &["src/rt/log.rs", "src/sim/mod.rs"]),
    ("rand_xoshiro::", &["src/base/seed.rs"]),
    ("clap::", &["src/cli/", "src/kube/kubectl/"]),
    ("indicatif::", &["src/cli/"]),
];

/// What must not stand anywhere, and what to do.
const WORDS: [(&str, &str); 9] = [
    ("#[ignore", "a test that does not run proves nothing: mend it or remove it"),
    ("#[should_panic", "assert on the error instead"),
    ("todo!", "finish it"),
    ("unimplemented!", "finish it"),
    ("dbg!", "left over from debugging: remove it"),
    ("tokio::select!", "it picks a branch at random: use rt::select2"),
    ("futures_util::select!", "it picks a branch at random: use rt::select2"),
    ("HashMap", "its order is random: use BTreeMap"),
    ("HashSet", "its order is random: use BTreeSet"),
];

fn finding(source: &Source, at: usize, what: String) -> Finding {
    Finding { path: source.path.clone(), line: source.line(at), what }
}

/// The layer of a file of the library or the program, and how deep its module stands in the crate.
fn layer(path: &str) -> Option<(&str, usize)> {
    let inside = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    let names: Vec<&str> = inside.split('/').filter(|name| *name != "mod").collect();
    names.first().filter(|name| **name != "lib").map(|name| (*name, names.len()))
}

/// The names right after a path's beginning: one, or several in braces; empty for anything else, such as `*`.
fn names(after: &str) -> Vec<&str> {
    let one = |text: &'_ str| text.find(|c| !is_name(c)).unwrap_or(text.len());
    let after = after.trim_start();
    let Some(group) = after.strip_prefix('{') else { return vec![&after[..one(after)]] };
    let mut found = Vec::new();
    let (mut depth, mut start) = (0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                let part = group[start..at].trim_start();
                found.extend((!part.is_empty()).then(|| &part[..one(part)]));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    found
}

/// The import matrix of the design.
pub fn imports(source: &Source) -> Vec<Finding> {
    let Some((own, depth)) = layer(&source.path) else { return Vec::new() };
    let rank = |name: &str| LAYERS.iter().find(|(layer, _)| *layer == name).map(|(_, rank)| *rank);
    let Some(own_rank) = rank(own) else {
        return vec![finding(source, 0, format!("`{own}` is no layer of the design: move it into one"))];
    };
    let mut found = Vec::new();
    let root = if own == "main" { "stormglass::" } else { "crate::" };
    for at in source.find(root) {
        for name in names(&source.code[at + root.len()..]).into_iter().filter(|name| *name != own) {
            let what = match rank(name) {
                None => format!("`{root}{name}` names no layer: import by the path of a layer"),
                Some(_) if own == "main" && name != "cli" => "main calls cli and nothing else".into(),
                Some(other) if other >= own_rank => format!("`{own}` must not import `{name}`: {}", remedy(own, name)),
                Some(_) => continue,
            };
            found.push(finding(source, at, what));
        }
    }
    found.extend(upwards(source, own, depth));
    found
}

fn remedy(own: &str, name: &str) -> String {
    let sealed = ["stack", "kube", "world"];
    if sealed.contains(&own) && sealed.contains(&name) {
        return "move what both need to a lower layer, or join them in sim; a test that needs both belongs in tests/it"
            .into();
    }
    "a layer imports only from its left; move the shared piece down".into()
}

/// Other layers reached by `super::` up to the crate's root.
fn upwards(source: &Source, own: &str, depth: usize) -> Vec<Finding> {
    let mut found = Vec::new();
    for at in source.find("super::").into_iter().filter(|at| !source.code[..*at].ends_with("super::")) {
        let mut rest = &source.code[at..];
        let mut climbed = 0;
        while let Some(after) = rest.strip_prefix("super::") {
            (rest, climbed) = (after, climbed + 1);
        }
        let layers =
            names(rest).into_iter().filter(|name| *name != own && LAYERS.iter().any(|(layer, _)| layer == name));
        if climbed >= depth {
            found.extend(layers.map(|name| finding(source, at, format!("import `{name}` as `crate::{name}`"))));
        }
    }
    found
}

/// Crates that are used outside of their door. Files of tests may, for the runtime or the peer that they need.
pub fn doors(source: &Source) -> Vec<Finding> {
    if !source.path.starts_with("src/") || source.path.ends_with("/tests.rs") || source.path.contains("/tests/") {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (name, doors) in DOORS.iter().filter(|(_, doors)| !doors.iter().any(|door| source.path.starts_with(door))) {
        for at in source.find(name) {
            let after = &source.code[at + name.len()..];
            if *name == "tokio::" && names(after) == ["io"] {
                continue;
            }
            let what = format!("`{name}` comes in by {} only: use what that offers", doors.join(", "));
            found.push(finding(source, at, what));
        }
    }
    found
}

/// A file begins with what it is.
pub fn header(source: &Source) -> Vec<Finding> {
    let first = source.text.lines().next().unwrap_or_default();
    let good = first.strip_prefix("//! ").is_some_and(|text| !text.trim().is_empty());
    let what = "begin with `//!`: what the file is, the rule it keeps, what it does not do";
    if good { Vec::new() } else { vec![finding(source, 0, what.into())] }
}

/// Files are small rooms.
pub fn length(source: &Source) -> Vec<Finding> {
    let most = if source.path == "src/main.rs" { MAIN } else { TOO_LONG };
    let lines = source.lines();
    let what = format!("{lines} lines, {most} are allowed: make two rooms of it");
    if lines <= most { Vec::new() } else { vec![Finding { path: source.path.clone(), line: lines, what }] }
}

/// Words that belong nowhere.
pub fn words(source: &Source) -> Vec<Finding> {
    let exempt = |word: &str| word.starts_with("Hash") && source.code.contains("expect(clippy::disallowed_types");
    let of = |(word, what): &(&str, &str)| {
        let found = if exempt(word) { Vec::new() } else { source.find(word) };
        found.into_iter().map(|at| finding(source, at, format!("`{word}`: {what}"))).collect::<Vec<_>>()
    };
    WORDS.iter().flat_map(of).collect()
}

/// Only the command line writes to the terminal.
pub fn prints(source: &Source) -> Vec<Finding> {
    if !source.path.starts_with("src/") || source.path.starts_with("src/cli/") || source.path == "src/main.rs" {
        return Vec::new();
    }
    let found =
        ["print!", "println!", "eprint!", "eprintln!", "stdout()", "stderr()"].map(|word| source.find(word)).concat();
    found.into_iter().map(|at| finding(source, at, "only cli prints: return the text, or log it".into())).collect()
}

/// An exemption from a lint says why.
pub fn exemptions(source: &Source) -> Vec<Finding> {
    let mut found = Vec::new();
    for at in ["#[", "#!["].map(|open| source.find(open)).concat() {
        let mut depth = 0;
        let closed = |c: char| {
            depth += i32::from(c == '[') - i32::from(c == ']');
            c == ']' && depth == 0
        };
        let attribute = &source.code[at..];
        let attribute = &attribute[..attribute.find(closed).unwrap_or(attribute.len())];
        let exempts = ["allow(", "expect("]
            .iter()
            .any(|word| attribute.match_indices(word).any(|(at, _)| !attribute[..at].ends_with(is_name)));
        if exempts && !attribute.contains("reason =") {
            found.push(finding(source, at, "an exemption from a lint needs `reason = \"…\"`".into()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines that a rule finds fault with.
    fn lines(rule: fn(&Source) -> Vec<Finding>, path: &str, text: &str) -> Vec<usize> {
        rule(&Source::new(path, text)).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn imports_from_the_right_are_found() {
        let rows: [(&str, &str, &[usize]); 18] = [
            ("src/rt/time.rs", "use crate::base::SimTime;\nuse crate::trace::Event;", &[]),
            ("src/rt/time.rs", "use crate::rt::task;", &[]),
            ("src/base/ids.rs", "\nuse crate::trace::Event;", &[2]),
            ("src/stack/mod.rs", "use crate::world::lab::Lab;", &[1]),
            ("src/stack/mod.rs", "// crate::world\nlet x = \"crate::world\";", &[]),
            ("src/kube/mod.rs", "fn f(x: crate::stack::X) {}", &[1]),
            ("src/world/disk/tests.rs", "mod tests { use crate::kube::X; }", &[1]),
            ("src/oracle/judge.rs", "use crate::{base::SimTime, stack::wire::{A, sim}};", &[]),
            ("src/oracle/judge.rs", "use crate::{\n    base::SimTime,\n    sim,\n};", &[1]),
            ("src/oracle/judge.rs", "use crate::*;", &[1]),
            ("src/oracle/judge.rs", "pub(crate) use a_crate::sim;", &[]),
            ("src/sim/mod.rs", "use crate::helper;", &[1]),
            ("src/extra/mod.rs", "", &[1]),
            ("src/stack/ufs/web.rs", "use super::super::super::world::Lab;", &[1]),
            ("src/stack/ufs/web.rs", "use super::super::wire::{world, rt};", &[]),
            ("src/base/mod.rs", "mod tests { use super::*; }", &[]),
            ("src/main.rs", "stormglass::cli::main()", &[]),
            ("src/main.rs", "use stormglass::{cli, sim};", &[1]),
        ];
        for (path, text, want) in rows {
            assert_eq!(lines(imports, path, text), want, "{path}: {text}");
        }
    }

    #[test]
    fn layers_know_each_other_as_the_design_says() {
        let order = ["base", "trace", "rt", "stack", "kube", "world", "oracle", "sim", "hunt", "report", "cli"];
        for (left, a) in order.iter().enumerate() {
            for (right, b) in order.iter().enumerate() {
                let peers = (3..6).contains(&left) && (3..6).contains(&right);
                let may = left == right || (right < left && !peers);
                let found = lines(imports, &format!("src/{a}/mod.rs"), &format!("use crate::{b}::X;"));
                assert_eq!(found.is_empty(), may, "{a} imports {b}");
            }
        }
    }

    #[test]
    fn crates_that_come_in_elsewhere_are_found() {
        assert_eq!(lines(doors, "src/rt/net/mod.rs", "use tokio::net::TcpStream;"), [0; 0]);
        assert_eq!(lines(doors, "src/stack/mod.rs", "use tokio::io::AsyncRead;\nuse tokio::net::TcpStream;"), [2]);
        assert_eq!(lines(doors, "src/stack/mod.rs", "use tokio::{io, net};"), [1]);
        assert_eq!(lines(doors, "src/sim/mod.rs", "clap::Parser"), [1]);
        assert_eq!(lines(doors, "tests/it/seam.rs", "tokio::net::TcpStream"), [0; 0]);
    }

    #[test]
    fn files_without_a_header_are_found() {
        assert_eq!(lines(header, "src/x.rs", "//! A file.\n"), [0; 0]);
        for text in ["", "//!\n", "use std::fmt;\n", "\n//! Late.\n", "// No.\n"] {
            assert_eq!(lines(header, "src/x.rs", text), [1], "{text}");
        }
    }

    #[test]
    fn long_files_are_found() {
        assert_eq!(lines(length, "src/x.rs", &"x\n".repeat(TOO_LONG)), [0; 0]);
        assert_eq!(lines(length, "src/x.rs", &"x\n".repeat(TOO_LONG + 1)), [TOO_LONG + 1]);
        assert_eq!(lines(length, "src/main.rs", &"x\n".repeat(MAIN + 1)), [MAIN + 1]);
    }

    #[test]
    fn words_are_found() {
        for (word, _) in WORDS {
            assert_eq!(lines(words, "tests/it/x.rs", &format!("a\n{word}")), [2], "{word}");
            assert_eq!(lines(words, "tests/it/x.rs", &format!("// {word}\n\"{word}\"")), [0; 0], "{word}");
        }
        let exempt = "#![expect(clippy::disallowed_types, reason = \"theirs\")]\nHashMap";
        assert_eq!(lines(words, "src/x.rs", exempt), [0; 0]);
    }

    #[test]
    fn prints_are_found() {
        let text = "println!(\"x\");\nio::stdout().lock();\nwriteln!(f)";
        assert_eq!(lines(prints, "src/sim/mod.rs", text), [1, 2]);
        assert_eq!(lines(prints, "src/cli/os.rs", text), [0; 0]);
        assert_eq!(lines(prints, "tests/it/x.rs", text), [0; 0]);
    }

    #[test]
    fn exemptions_without_a_reason_are_found() {
        let rows: [(&str, &[usize]); 7] = [
            ("#[expect(unused, reason = \"why\")]", &[]),
            ("#[expect(\n    unused,\n    reason = \"why\"\n)]", &[]),
            ("\n#[expect(unused)]", &[2]),
            ("#![allow(unused)]", &[1]),
            ("#[cfg_attr(test, expect(unused))]", &[1]),
            ("#[derive(Debug)]\nx.expect(\"y\")", &[]),
            ("#[my_expect(a)]", &[]),
        ];
        for (text, want) in rows {
            assert_eq!(lines(exemptions, "src/x.rs", text), want, "{text}");
        }
    }
}
