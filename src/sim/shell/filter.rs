//! The programs that can stand after `|`: `awk`, `grep`, `head`, `tail` and `wc` as far as documents use them.

use super::pattern::Pattern;

/// The filters, for messages.
pub(super) const FILTERS: &str = "`awk`, `grep`, `head`, `tail` or `wc`";

/// A program that reads lines and writes lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Filter {
    /// `awk 'condition {print …}'`: all fields without a list.
    Awk { of: Lines, print: Vec<Field> },
    /// `grep [-v] [-F] pattern`.
    Grep { pattern: Pattern, inverted: bool },
    /// `head -n N`.
    Head(usize),
    /// `tail -n N`.
    Tail(usize),
    /// `wc -l`.
    Count,
}

/// Which lines `awk` takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lines {
    All,
    Matching(Pattern),
    /// `NR==n`, from 1.
    Number(usize),
    /// `NR>n`.
    After(usize),
}

/// `$N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// From 1; 0 is the line.
    Nth(usize),
    /// `$NF`.
    Last,
}

impl Filter {
    /// # Errors
    /// What is wrong and what to write.
    pub fn parse(name: &str, words: &[String]) -> Result<Self, (String, String)> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match name {
            "awk" => match words[..] {
                [program] => awk(program),
                _ => Err(("awk takes one program".into(), AWK.into())),
            },
            "grep" => grep(&words),
            "head" => Ok(Self::Head(count(name, &words)?)),
            "tail" => Ok(Self::Tail(count(name, &words)?)),
            "wc" if words == ["-l"] => Ok(Self::Count),
            "wc" => Err(("wc only counts lines".into(), "write `wc -l`".into())),
            _ => Err((format!("{name}: not a known filter"), format!("write {FILTERS} after `|`"))),
        }
    }

    /// What it writes, and its exit code.
    pub fn apply(&self, input: &str) -> (String, u8) {
        let lines: Vec<&str> = input.lines().collect();
        match self {
            Self::Awk { of, print } => {
                let taken = lines.iter().enumerate().filter(|(i, line)| of.take(i + 1, line));
                (join(taken.map(|(_, line)| fields(line, print))), 0)
            }
            Self::Grep { pattern, inverted } => {
                let found: Vec<&&str> = lines.iter().filter(|line| pattern.matches(line) != *inverted).collect();
                let status = u8::from(found.is_empty());
                (join(found.into_iter().map(|line| (*line).to_owned())), status)
            }
            Self::Head(n) => (join(lines.iter().take(*n).map(|line| (*line).to_owned())), 0),
            Self::Tail(n) => {
                let skipped = lines.len().saturating_sub(*n);
                (join(lines[skipped..].iter().map(|line| (*line).to_owned())), 0)
            }
            Self::Count => (format!("{}\n", input.matches('\n').count()), 0),
        }
    }
}

impl Lines {
    fn take(&self, number: usize, line: &str) -> bool {
        match self {
            Self::All => true,
            Self::Matching(pattern) => pattern.matches(line),
            Self::Number(n) => number == *n,
            Self::After(n) => number > *n,
        }
    }
}

fn join(lines: impl Iterator<Item = String>) -> String {
    lines.map(|line| line + "\n").collect()
}

fn fields(line: &str, print: &[Field]) -> String {
    let all: Vec<&str> = line.split_whitespace().collect();
    let field = |field: &Field| match field {
        Field::Nth(0) => line,
        Field::Nth(n) => all.get(n - 1).copied().unwrap_or(""),
        Field::Last => all.last().copied().unwrap_or(line),
    };
    print.iter().map(field).collect::<Vec<_>>().join(" ")
}

const AWK: &str = "write one such as `awk '/text/ {print $1}'`";

fn awk(program: &str) -> Result<Filter, (String, String)> {
    let wrong = |what: String| (format!("awk: {what}"), AWK.to_owned());
    let program = program.trim();
    let (of, rest) = if let Some(rest) = program.strip_prefix('/') {
        let end = rest.find('/').ok_or_else(|| wrong("the pattern is not closed".into()))?;
        (Lines::Matching(Pattern::parse(&rest[..end]).map_err(wrong)?), &rest[end + 1..])
    } else if let Some(rest) = program.strip_prefix("NR") {
        let end = rest.find('{').unwrap_or(rest.len());
        (line_numbers(&rest[..end]).ok_or_else(|| wrong("this condition is not understood".into()))?, &rest[end..])
    } else {
        (Lines::All, program)
    };
    let rest = rest.trim();
    if rest.is_empty() && of != Lines::All {
        return Ok(Filter::Awk { of, print: vec![Field::Nth(0)] });
    }
    let action = rest.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let list = action.and_then(|action| action.trim().trim_end_matches(';').trim().strip_prefix("print"));
    let list = list.ok_or_else(|| wrong(format!("`{rest}` is not understood")))?.trim();
    if list.is_empty() {
        return Ok(Filter::Awk { of, print: vec![Field::Nth(0)] });
    }
    let field = |text: &str| match text.trim().strip_prefix('$') {
        Some("NF") => Ok(Field::Last),
        Some(number) => number.parse().map(Field::Nth).map_err(|_| wrong(format!("`${number}` is no field"))),
        None => Err(wrong(format!("`{}` is not understood", text.trim()))),
    };
    Ok(Filter::Awk { of, print: list.split(',').map(field).collect::<Result<_, _>>()? })
}

fn line_numbers(text: &str) -> Option<Lines> {
    let text = text.trim();
    if let Some(number) = text.strip_prefix("==") {
        return number.trim().parse().ok().map(Lines::Number);
    }
    text.strip_prefix('>').and_then(|number| number.trim().parse().ok()).map(Lines::After)
}

fn grep(words: &[&str]) -> Result<Filter, (String, String)> {
    let (mut inverted, mut fixed, mut pattern) = (false, false, None);
    for word in words {
        match *word {
            "-v" => inverted = true,
            "-F" => fixed = true,
            other if other.starts_with('-') || pattern.is_some() => {
                let help = "write `grep [-v] [-F] PATTERN`";
                return Err((format!("grep: `{other}` is not understood"), help.into()));
            }
            other => pattern = Some(other),
        }
    }
    let pattern = pattern.ok_or(("grep without a pattern".to_owned(), "write `grep PATTERN`".to_owned()))?;
    let parsed = if fixed { Ok(Pattern::fixed(pattern)) } else { Pattern::parse(pattern) };
    let pattern = parsed.map_err(|why| (format!("grep: {why}"), "write it with `grep -F`, or simpler".to_owned()))?;
    Ok(Filter::Grep { pattern, inverted })
}

/// `-n N`, `-nN`, `-N`; 10 without.
fn count(name: &str, words: &[&str]) -> Result<usize, (String, String)> {
    let number = match words {
        [] => return Ok(10),
        ["-n", number] => Some(*number),
        [word] => word.strip_prefix("-n").or_else(|| word.strip_prefix('-')),
        _ => None,
    };
    let number = number.and_then(|number| number.parse().ok());
    number.ok_or_else(|| (format!("{name}: a number of lines is expected"), format!("write `{name} -n 10`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PODS: &str = "NAME  READY  NODE\nm-0   1/1    a\nm-1   1/1    b\n";

    fn filter(words: &[&str]) -> Result<Filter, (String, String)> {
        let rest: Vec<String> = words[1..].iter().map(|word| (*word).to_owned()).collect();
        Filter::parse(words[0], &rest)
    }

    #[test]
    fn filters_write_what_the_programs_write() {
        let table: [(&[&str], &str, u8); 13] = [
            (&["awk", "/m-0/ {print $3}"], "a\n", 0),
            (&["awk", "/m-./{print $NF, $1}"], "a m-0\nb m-1\n", 0),
            (&["awk", "{ print $9 }"], "\n\n\n", 0),
            (&["awk", "NR==2 {print $1}"], "m-0\n", 0),
            (&["awk", "NR>1{print}"], "m-0   1/1    a\nm-1   1/1    b\n", 0),
            (&["awk", "/m-1/"], "m-1   1/1    b\n", 0),
            (&["grep", "m-1"], "m-1   1/1    b\n", 0),
            (&["grep", "-v", "^m"], "NAME  READY  NODE\n", 0),
            (&["grep", "none"], "", 1),
            (&["head", "-n", "1"], "NAME  READY  NODE\n", 0),
            (&["head", "-0"], "", 0),
            (&["tail", "-n1"], "m-1   1/1    b\n", 0),
            (&["wc", "-l"], "3\n", 0),
        ];
        for (words, text, status) in table {
            assert_eq!(filter(words).expect("legal").apply(PODS), (text.to_owned(), status), "{words:?}");
        }
        assert_eq!(filter(&["tail"]).expect("ten").apply(""), (String::new(), 0));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let table: [&[&str]; 11] = [
            &["awk"],
            &["awk", "{print $x}"],
            &["awk", "/open {print $1}"],
            &["awk", "BEGIN {print 1}"],
            &["awk", "{print 1}"],
            &["grep"],
            &["grep", "-E", "a|b"],
            &["grep", "a", "b"],
            &["head", "-n"],
            &["wc"],
            &["sed", "s/a/b/"],
        ];
        for words in table {
            assert!(filter(words).is_err(), "{words:?}");
        }
    }
}
