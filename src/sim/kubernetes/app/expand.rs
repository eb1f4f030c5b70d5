//! Words as a command gets them: variables put in, split into words, patterns replaced by the names that they match.

use super::token::{Piece, Word};
use super::tree::{FileTree, clean};

/// Letters, each with whether it means itself.
pub type Field = Vec<(char, bool)>;

/// Puts variables in and splits; patterns stay.
fn fields(word: &Word, value: &dyn Fn(&str) -> Vec<String>) -> Vec<Field> {
    let mut all: Vec<Field> = Vec::new();
    let mut current: Option<Field> = None;
    for piece in &word.0 {
        match piece {
            Piece::Plain(text) => current.get_or_insert_default().extend(text.chars().map(|c| (c, false))),
            Piece::Quoted(text) => current.get_or_insert_default().extend(text.chars().map(|c| (c, true))),
            Piece::Variable { name, quoted: true } if name == "@" => {
                for (i, text) in value(name).into_iter().enumerate() {
                    if i > 0 {
                        all.extend(current.take());
                    }
                    current.get_or_insert_default().extend(text.chars().map(|c| (c, true)));
                }
            }
            Piece::Variable { name, quoted } => {
                let text = value(name).join(" ");
                if *quoted {
                    current.get_or_insert_default().extend(text.chars().map(|c| (c, true)));
                    continue;
                }
                for c in text.chars() {
                    match c {
                        ' ' | '\t' | '\n' => all.extend(current.take()),
                        c => current.get_or_insert_default().push((c, false)),
                    }
                }
            }
        }
    }
    all.extend(current);
    all
}

/// The word as one text: of an assignment, or of a redirection.
pub fn text(word: &Word, value: &dyn Fn(&str) -> Vec<String>) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Plain(text) | Piece::Quoted(text) => text.clone(),
        Piece::Variable { name, .. } => value(name).join(" "),
    };
    word.0.iter().map(piece).collect()
}

/// The words of a command, patterns not yet looked up.
pub fn split(list: &[Word], value: &dyn Fn(&str) -> Vec<String>) -> Vec<Field> {
    list.iter().flat_map(|word| fields(word, value)).collect()
}

/// The words of a command, from [`split`].
pub async fn words(fields: Vec<Field>, tree: &dyn FileTree, cwd: &str) -> Vec<String> {
    let mut words = Vec::new();
    for field in fields {
        let literal: String = field.iter().map(|(c, _)| c).collect();
        let found = if is_pattern(&field) { glob(&field, tree, cwd).await } else { Vec::new() };
        // A pattern that matches nothing stays as it is.
        if found.is_empty() { words.push(literal) } else { words.extend(found) }
    }
    words
}

fn is_pattern(part: &[(char, bool)]) -> bool {
    part.iter().any(|(c, quoted)| !quoted && matches!(c, '*' | '?' | '['))
}

/// Paths that match, sorted. A directory that cannot be read holds nothing.
async fn glob(field: &Field, tree: &dyn FileTree, cwd: &str) -> Vec<String> {
    let parts: Vec<&[(char, bool)]> = field.split(|(c, _)| *c == '/').collect();
    let mut found = vec![String::new()];
    let mut matched = false;
    for (i, part) in parts.iter().enumerate() {
        let last = i + 1 == parts.len();
        let slash = if last { "" } else { "/" };
        let literal: String = part.iter().map(|(c, _)| c).collect();
        let pattern = is_pattern(part);
        let mut next = Vec::new();
        for base in found {
            if !pattern {
                let path = format!("{base}{literal}");
                // After a pattern, what follows must be there.
                if !last || !matched || tree.stat(&clean(cwd, &path)).await.is_ok() {
                    next.push(format!("{path}{slash}"));
                }
                continue;
            }
            let dir = clean(cwd, if base.is_empty() { "." } else { &base });
            for (name, is_dir) in tree.list(&dir).await.unwrap_or_default() {
                if matches(part, &name) && (last || is_dir) {
                    next.push(format!("{base}{name}{slash}"));
                }
            }
        }
        matched |= pattern;
        found = next;
    }
    found.sort();
    found
}

/// Whether a name is one that the pattern means. A leading dot must be asked for.
fn matches(pattern: &[(char, bool)], name: &str) -> bool {
    if name.starts_with('.') && pattern.first().is_none_or(|(c, _)| *c != '.') {
        return false;
    }
    let name: Vec<char> = name.chars().collect();
    rest_matches(pattern, &name)
}

fn rest_matches(pattern: &[(char, bool)], name: &[char]) -> bool {
    let Some(((c, quoted), rest)) = pattern.split_first() else { return name.is_empty() };
    match (c, quoted, name.split_first()) {
        ('*', false, _) => (0..=name.len()).any(|skipped| rest_matches(rest, &name[skipped..])),
        (_, _, None) => false,
        ('?', false, Some((_, tail))) => rest_matches(rest, tail),
        ('[', false, Some((first, tail))) => match set(rest) {
            Some((set, negated, after)) => {
                let inside = set.iter().any(|(low, high)| (low..=high).contains(&first));
                inside != negated && rest_matches(after, tail)
            }
            None => *first == '[' && rest_matches(rest, tail),
        },
        (c, _, Some((first, tail))) => c == first && rest_matches(rest, tail),
    }
}

type Set<'a> = (Vec<(char, char)>, bool, &'a [(char, bool)]);

/// After a `[`: ranges, whether it is negated, and what follows the `]`.
fn set(pattern: &[(char, bool)]) -> Option<Set<'_>> {
    let negated = matches!(pattern.first(), Some(('!' | '^', false)));
    let body = &pattern[usize::from(negated)..];
    // A `]` right after the opening is a letter.
    let end = 1 + body.iter().skip(1).position(|(c, quoted)| *c == ']' && !quoted)?;
    let letters: Vec<char> = body[..end].iter().map(|(c, _)| *c).collect();
    let (mut ranges, mut at) = (Vec::new(), 0);
    while at < letters.len() {
        if letters.get(at + 1) == Some(&'-') && at + 2 < letters.len() {
            ranges.push((letters[at], letters[at + 2]));
            at += 3;
        } else {
            ranges.push((letters[at], letters[at]));
            at += 1;
        }
    }
    Some((ranges, negated, &body[end + 1..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sim::kubernetes::app::token::{Token, tokens};

    fn plain(pattern: &str) -> Field {
        pattern.chars().map(|c| (c, false)).collect()
    }

    #[test]
    fn patterns_match_as_a_shells() {
        for (pattern, name, want) in [
            ("*", "a", true),
            ("*", ".a", false),
            (".*", ".a", true),
            ("*.gz", "a.tar.gz", true),
            ("*.gz", "a.gz.asc", false),
            ("a*b*c", "a-b-b-c", true),
            ("?", "ab", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]]", "]", true),
            ("[a", "[a", true),
        ] {
            assert_eq!(matches(&plain(pattern), name), want, "{pattern} {name}");
        }
        assert!(!matches(&[('*', true)], "a"));
    }

    fn split(script: &str, value: &str) -> Vec<String> {
        let words = tokens(script).expect("it is whole").into_iter().map(|token| match token {
            Token::Word(word) => word,
            Token::Op(op) => panic!("{op}"),
        });
        let value = |_: &str| vec![value.to_owned()];
        let field = |field: Field| field.into_iter().map(|(c, _)| c).collect();
        words.flat_map(|word| fields(&word, &value)).map(field).collect()
    }

    #[test]
    fn quotes_decide_what_is_split() {
        for (script, value, want) in [
            ("a$X", "1 2", vec!["a1", "2"]),
            ("a\"$X\"b", "1  2", vec!["a1  2b"]),
            ("$X", "", vec![]),
            ("\"$X\" ''", "", vec!["", ""]),
            ("'$X' \\$X \"\\$X\" \"\\n\"", "1", vec!["$X", "$X", "$X", "\\n"]),
            ("a\\ b ${X}c $", "1", vec!["a b", "1c", "$"]),
        ] {
            assert_eq!(split(script, value), want, "{script}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// Whatever a text holds, in single quotes it is one word and the same.
        #[test]
        fn quoted_words_come_back(texts in prop::collection::vec("[ -~é\n]{0,12}", 0..5)) {
            let quoted: Vec<String> = texts.iter().map(|text| format!("'{}'", text.replace('\'', "'\\''"))).collect();
            prop_assert_eq!(split(&quoted.join(" "), "none"), texts);
        }
    }
}
