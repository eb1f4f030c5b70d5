//! What is wrong with a file, where, and what to write instead.
//!
//! Rule: the text of the file is shown, never trusted: control characters are replaced, long lines are cut, so that a
//! hostile file cannot speak to the terminal.

use std::fmt::Write;

/// One mistake in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// File as the user gave it, or as the scenario names it.
    pub path: String,
    /// Where; none if the file as a whole is meant.
    pub place: Option<Place>,
    /// What is wrong.
    pub message: String,
    /// What to write instead; may be empty.
    pub help: String,
}

/// A stretch of one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Length in characters, at least 1.
    pub length: usize,
    /// The line.
    pub text: String,
}

/// Characters of a line that are shown.
const SHOWN: usize = 120;

impl Place {
    /// The scalar or key that begins at `line` and `column` of `source`, both from 1.
    pub fn of(source: &str, line: usize, column: usize) -> Self {
        let text = source.lines().nth(line.saturating_sub(1)).unwrap_or("").to_string();
        let rest: Vec<char> = text.chars().skip(column.saturating_sub(1)).collect();
        Self { line, column: column.max(1), length: token(&rest).max(1), text }
    }
}

/// Length of the YAML scalar at the start of `rest`.
fn token(rest: &[char]) -> usize {
    if let Some(quote @ ('"' | '\'')) = rest.first() {
        let close = rest.iter().skip(1).position(|c| c == quote);
        return close.map_or(rest.len(), |i| i + 2);
    }
    let ends = |i: usize| match rest[i] {
        ',' | ']' | '}' => true,
        ':' => rest.get(i + 1).is_none_or(|c| c.is_whitespace()),
        '#' => i > 0 && rest[i - 1].is_whitespace(),
        _ => false,
    };
    let end = (0..rest.len()).find(|i| ends(*i)).unwrap_or(rest.len());
    end - rest[..end].iter().rev().take_while(|c| c.is_whitespace()).count()
}

impl Diagnostic {
    /// Rendered as compilers do, with ANSI colours if asked; ends without a line feed.
    pub fn render(&self, colour: bool) -> String {
        let paint = |code: &str, text: &str| {
            if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
        };
        let (bold_red, bold, blue) = ("1;31", "1", "1;34");
        let mut out = format!("{}{}", paint(bold_red, "error"), paint(bold, &format!(": {}", clean(&self.message))));
        let path = clean(&self.path);
        let Some(place) = &self.place else {
            let _ = write!(out, "\n {} {path}", paint(blue, "-->"));
            if !self.help.is_empty() {
                let _ = write!(out, "\n  {} {}", paint(blue, "="), clean(&self.help));
            }
            return out;
        };
        let number = place.line.to_string();
        let margin = " ".repeat(number.len());
        let bar = paint(blue, "|");
        let (shown, column) = window(&place.text, place.column);
        let left = SHOWN.saturating_sub(column - 1).max(1);
        let carets = "^".repeat(place.length.min(left));
        let _ = write!(out, "\n{margin}{} {path}:{}:{}", paint(blue, "-->"), place.line, place.column);
        let _ = write!(out, "\n{margin} {bar}");
        let _ = write!(out, "\n{} {bar} {shown}", paint(blue, &number));
        let _ = write!(out, "\n{margin} {bar} {}{}", " ".repeat(column - 1), paint(bold_red, &carets));
        if !self.help.is_empty() {
            let _ = write!(out, " {}", paint(bold_red, &clean(&self.help)));
        }
        out
    }
}

/// The part of a line that is shown, and the column within it.
fn window(text: &str, column: usize) -> (String, usize) {
    let skip = if column > SHOWN * 2 / 3 { column - SHOWN / 3 } else { 0 };
    let shown: String = text.chars().skip(skip).take(SHOWN).collect();
    (clean(&shown), column - skip)
}

/// Replaces what a terminal would obey.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { if c == '\t' { ' ' } else { '\u{fffd}' } } else { c }).collect()
}

/// The known word closest to `word`, if one is close: a slip of a letter or two, or another way to join words.
pub fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let fold = |s: &str| s.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect::<Vec<_>>();
    let wanted = fold(word);
    if wanted.len() > 64 {
        return None;
    }
    let slip = (wanted.len() / 3).max(1);
    let scored = known.into_iter().map(|name| (distance(&wanted, &fold(name)), name));
    let (best, name) = scored.min_by_key(|(d, name)| (*d > slip, !abbreviates(&wanted, &fold(name)), *d))?;
    (best <= slip || abbreviates(&wanted, &fold(name))).then_some(name)
}

/// Whether `short` is `long` with less than half of it left out.
fn abbreviates(short: &[char], long: &[char]) -> bool {
    let mut rest = long.iter();
    short.len() * 2 > long.len() && short.iter().all(|c| rest.any(|l| l == c))
}

/// Damerau-Levenshtein with adjacent transpositions (optimal string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let swap = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + swap);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_ends_where_yaml_ends_it() {
        for (text, want) in [
            ("leader", 6),
            ("leader # comment", 6),
            ("key: value", 3),
            ("https://a/b: x", 11),
            ("a, b]", 1),
            ("\"a, b\" ]", 6),
            ("'open", 5),
            ("", 0),
            ("goosefs fs masterInfo   ", 21),
        ] {
            assert_eq!(token(&text.chars().collect::<Vec<_>>()), want, "{text}");
        }
    }

    #[test]
    fn suggestions_are_close_or_absent() {
        let known = ["election_timeout", "heartbeat", "kill"];
        assert_eq!(closest("electionTimeout", known), Some("election_timeout"));
        assert_eq!(closest("hertbeat", known), Some("heartbeat"));
        assert_eq!(closest("klil", known), Some("kill"));
        assert_eq!(closest("power", known), None);
        assert_eq!(closest("LostWrite", ["StaleRead", "LostAckedWrite"]), Some("LostAckedWrite"));
        assert_eq!(closest(&"k".repeat(1_000_000), known), None);
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let place = Some(Place::of("a: \x1b[2Jb\x07", 1, 4));
        let shown = Diagnostic { path: "\x1b]0;x".into(), place, message: "m\r\n".into(), help: "h\x08".into() };
        assert!(!shown.render(false).chars().any(|c| c.is_control() && c != '\n'), "{:?}", shown.render(false));
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let line = format!("{}bad{}", "x, ".repeat(1000), ", y".repeat(1000));
        let shown = Diagnostic {
            path: "f".into(),
            place: Some(Place::of(&line, 1, 3001)),
            message: "m".into(),
            help: String::new(),
        };
        let text = shown.render(false);
        assert!(text.lines().all(|l| l.chars().count() < SHOWN + 10), "{text}");
        let at = text.lines().last().and_then(|l| l.find('^')).expect("carets");
        assert_eq!(text.lines().nth(3).map(|l| &l[at..at + 3]), Some("bad"));
    }
}
