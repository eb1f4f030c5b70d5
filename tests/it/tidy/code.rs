//! A source file, and its text without comments and literals, so that rules look at code only.
//!
//! Not a parser: it knows comments, strings, raw strings, characters and lifetimes, and keeps lines where they are.

/// A file of the tree.
pub struct Source {
    /// From the project's root, with `/` between the names.
    pub path: String,
    /// As it is.
    pub text: String,
    /// With comments and the insides of literals blanked; as many lines as `text`.
    pub code: String,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        Self { path: path.into(), text: text.into(), code: blank(text) }
    }

    /// How many lines it has.
    pub fn lines(&self) -> usize {
        self.text.lines().count()
    }

    /// The code from its first `#[cfg(test)]` on; all of it for files of tests.
    pub fn tests(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        let all = ["tests.rs", "testing.rs", "generated.rs"].contains(&name) || self.path.contains("/tests/");
        if all { &self.text } else { self.text.split_once("#[cfg(test)]").map_or("", |(_, tests)| tests) }
    }

    /// Where `word` stands in the code, as offsets; not where it is the end of a longer name.
    pub fn find(&self, word: &str) -> Vec<usize> {
        let starts = self.code.match_indices(word).map(|(at, _)| at);
        starts.filter(|at| !self.code[..*at].ends_with(is_name) || !word.starts_with(is_name)).collect()
    }

    /// The line of an offset, from 1.
    pub fn line(&self, at: usize) -> usize {
        self.code[..at].matches('\n').count() + 1
    }
}

/// Whether a name may hold it.
pub fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The text with everything but code blanked.
fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = skipped(&chars, at);
        if end == at {
            code.push(chars[at]);
            at += 1;
        } else {
            code.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    code
}

/// The end of the comment or literal that begins at `at`; `at` if none does.
fn skipped(chars: &[char], at: usize) -> usize {
    let next = |n: usize| chars.get(at + n).copied().unwrap_or('\0');
    match (chars[at], next(1)) {
        ('/', '/') => chars[at..].iter().position(|c| *c == '\n').map_or(chars.len(), |n| at + n),
        ('/', '*') => block_comment(chars, at),
        ('"', _) => string(chars, at + 1, '"'),
        ('\'', '\\') => string(chars, at + 1, '\''),
        ('\'', c) if c != '\'' && next(2) == '\'' => at + 3,
        ('r', '"' | '#') if at == 0 || !is_name(chars[at - 1]) || matches!(chars[at - 1], 'b' | 'c') => raw(chars, at),
        _ => at,
    }
}

fn block_comment(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => (depth, at) = (depth + 1, at + 2),
            ('*', '/') => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

fn string(chars: &[char], mut at: usize, quote: char) -> usize {
    while at < chars.len() && chars[at] != quote {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

fn raw(chars: &[char], at: usize) -> usize {
    let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
    let open = at + 1 + hashes;
    if chars.get(open) != Some(&'"') {
        return at;
    }
    let closes =
        |i: &usize| chars[*i] == '"' && chars[i + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
    (open + 1..chars.len()).find(closes).map_or(chars.len(), |i| i + 1 + hashes)
}

#[test]
fn only_code_is_left() {
    let rows = [
        ("a // b\nc", "a     \nc"),
        ("a /* b /* c */\nd */ e", "a             \n     e"),
        (r#"f("x // \" y", z)"#, "f(           , z)"),
        ("r\"a\\\" b", "      b"),
        ("let s = r#\"say \"no\"\"#; t", "let s =              ; t"),
        ("br\"x\" r#type", "b     r#type"),
        (r"['a', '\'', '\n', '''] <'a, 'static>", r"[   ,     ,     , '''] <'a, 'static>"),
        ("for\"x\"", "for   "),
        ("\"open", "     "),
        ("/* open", "       "),
    ];
    for (text, code) in rows {
        assert_eq!(blank(text), code, "{text}");
    }
}

#[test]
fn words_are_found_whole_and_with_their_line() {
    let source = Source::new("src/x.rs", "a\nmy_todo!(); // todo!\ntodo!();\n");
    let found: Vec<usize> = source.find("todo!").into_iter().map(|at| source.line(at)).collect();
    assert_eq!(found, [3]);
}
