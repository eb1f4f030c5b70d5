//! The regular expressions of `grep` and `awk`, as far as documents use them: characters, `.`, `*`, `^`, `$`, `\`.

/// A pattern that is searched in a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    from_start: bool,
    to_end: bool,
    items: Vec<Item>,
}

/// One character, or any number of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Item {
    /// Nothing: any.
    character: Option<char>,
    many: bool,
}

impl Item {
    fn fits(self, c: char) -> bool {
        self.character.is_none_or(|own| own == c)
    }
}

impl Pattern {
    /// # Errors
    /// What is not understood.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut rest: Vec<char> = text.chars().collect();
        let from_start = rest.first() == Some(&'^');
        if from_start {
            rest.remove(0);
        }
        let escaped = rest.len() > 1 && rest[rest.len() - 2] == '\\';
        let to_end = rest.last() == Some(&'$') && !escaped;
        if to_end {
            rest.pop();
        }
        let mut items: Vec<Item> = Vec::new();
        let mut chars = rest.into_iter();
        while let Some(c) = chars.next() {
            let character = match c {
                '*' => {
                    let last = items.last_mut().filter(|item| !item.many);
                    last.ok_or_else(|| "`*` repeats nothing".to_owned())?.many = true;
                    continue;
                }
                '\\' => Some(chars.next().filter(|c| !c.is_alphanumeric()).ok_or("`\\` escapes nothing")?),
                '.' => None,
                '[' | ']' | '(' | ')' | '{' | '}' | '+' | '?' | '|' | '^' | '$' => {
                    return Err(format!("`{c}` in a pattern is not understood"));
                }
                other => Some(other),
            };
            items.push(Item { character, many: false });
        }
        Ok(Self { from_start, to_end, items })
    }

    /// Text without any special characters.
    pub fn fixed(text: &str) -> Self {
        let items = text.chars().map(|c| Item { character: Some(c), many: false }).collect();
        Self { from_start: false, to_end: false, items }
    }

    /// Whether it occurs in the line.
    pub fn matches(&self, line: &str) -> bool {
        let line: Vec<char> = line.chars().collect();
        let starts = if self.from_start { 1 } else { line.len() + 1 };
        (0..starts).any(|start| self.at(&line[start..]))
    }

    /// Whether it matches from the start of `text`: the set of places reached, item by item.
    fn at(&self, text: &[char]) -> bool {
        let mut reached = vec![false; text.len() + 1];
        reached[0] = true;
        for item in &self.items {
            let mut next = vec![false; text.len() + 1];
            for place in 0..=text.len() {
                if item.many {
                    next[place] |= reached[place];
                    next[place] |= place > 0 && next[place - 1] && item.fits(text[place - 1]);
                } else if place > 0 {
                    next[place] = reached[place - 1] && item.fits(text[place - 1]);
                }
            }
            reached = next;
        }
        if self.to_end { reached[text.len()] } else { reached.contains(&true) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_grep() {
        let table = [
            ("", "", true),
            ("b", "abc", true),
            ("^b", "abc", false),
            ("^ab*c$", "abbbc", true),
            ("^ab*c$", "ac", true),
            ("c$", "abcd", false),
            ("a.c", "xabcx", true),
            ("a.*d", "abcd", true),
            (r"a\.c", "abc", false),
            (r"a\.c", "a.c", true),
            (r"5\$", "5$", true),
            ("demo-jindofs-master-0", "demo-jindofs-master-0   1/1", true),
            ("demo-jindofs-master-0", "demo-jindofs-master-1", false),
            ("a*a*a*a*a*a*a*a*a*a*a*b", &"a".repeat(200), false),
        ];
        for (pattern, line, fits) in table {
            assert_eq!(Pattern::parse(pattern).expect(pattern).matches(line), fits, "{pattern} in {line}");
        }
        for wrong in ["*a", "a**", "[ab]", "a|b", "a+", r"a\", r"\d", "a^", "(a)"] {
            assert!(Pattern::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Pattern::fixed("[a].*").matches("x[a].*y"));
    }
}
