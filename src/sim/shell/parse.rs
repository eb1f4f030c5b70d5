//! From text to a [`Line`].

use std::str::FromStr;

use super::filter::Filter;
use super::{Join, Line, LineError, Piece, Pipeline, Simple, Word};

/// `$(…)` within `$(…)` so many times at most.
const DEEPEST: usize = 8;

impl FromStr for Line {
    type Err = LineError;

    fn from_str(text: &str) -> Result<Self, LineError> {
        let mut parser = Parser { text: text.chars().collect(), at: 0, depth: 0 };
        let line = parser.line()?;
        match parser.peek() {
            Some(_) => Err(parser.error("`)` closes nothing", "quote it, or open it with `$(`")),
            None => Ok(line),
        }
    }
}

struct Parser {
    text: Vec<char>,
    at: usize,
    /// Of `$(`.
    depth: usize,
}

impl Parser {
    fn error(&self, wrong: impl Into<String>, help: impl Into<String>) -> LineError {
        self.error_at(self.at, wrong, help)
    }

    #[expect(clippy::unused_self, reason = "beside `error`")]
    fn error_at(&self, at: usize, wrong: impl Into<String>, help: impl Into<String>) -> LineError {
        LineError { column: at + 1, wrong: wrong.into(), help: help.into() }
    }

    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn next_is(&self, text: &str) -> bool {
        text.chars().enumerate().all(|(i, c)| self.text.get(self.at + i) == Some(&c))
    }

    fn eat(&mut self, text: &str) -> bool {
        let found = self.next_is(text);
        if found {
            self.at += text.chars().count();
        }
        found
    }

    /// White space and a comment.
    fn spaces(&mut self) {
        while self.peek().is_some_and(|c| c == ' ' || c == '\t') || self.next_is("\\\n") {
            self.at += if self.peek() == Some('\\') { 2 } else { 1 };
        }
        if self.peek() == Some('#') {
            while self.peek().is_some_and(|c| c != '\n') {
                self.at += 1;
            }
        }
    }

    /// White space and line feeds.
    fn blanks(&mut self) {
        self.spaces();
        while self.eat("\n") {
            self.spaces();
        }
    }

    /// Up to the end or to a `)`.
    fn line(&mut self) -> Result<Line, LineError> {
        let mut all = Vec::new();
        let mut join = Join::Always;
        loop {
            self.blanks();
            let done = matches!(self.peek(), None | Some(')'));
            if done && join == Join::Always && !all.is_empty() {
                return Ok(Line(all));
            }
            all.push((join, self.pipeline()?));
            self.spaces();
            join = match self.peek() {
                None | Some(')') => return Ok(Line(all)),
                _ if self.eat("&&") => Join::IfDone,
                _ if self.eat("||") => Join::IfFailed,
                _ if self.eat(";") || self.eat("\n") => Join::Always,
                _ => return Err(self.error("nothing can run in the background", "write `&&` or `;`")),
            };
        }
    }

    fn pipeline(&mut self) -> Result<Pipeline, LineError> {
        let head = self.simple()?;
        let mut filters = Vec::new();
        self.spaces();
        while self.peek() == Some('|') && !self.next_is("||") {
            self.at += 1;
            self.blanks();
            let start = self.at;
            let words = self.words()?;
            let literal = words.iter().map(Word::literal).collect::<Option<Vec<_>>>();
            let literal = literal.ok_or_else(|| self.error_at(start, "a variable in a filter", "write it out"))?;
            let (name, rest) = literal.split_first().ok_or_else(|| self.missing())?;
            filters.push(Filter::parse(name, rest).map_err(|(wrong, help)| self.error_at(start, wrong, help))?);
            self.spaces();
        }
        if let (Simple::Set(_), false) = (&head, filters.is_empty()) {
            return Err(self.error("variables that are set print nothing", "put the filter inside `$(…)`"));
        }
        Ok(Pipeline { head, filters })
    }

    fn missing(&self) -> LineError {
        self.error("a command is missing", "write one such as `kubectl get pod`")
    }

    fn simple(&mut self) -> Result<Simple, LineError> {
        let mut set = Vec::new();
        let start = loop {
            self.spaces();
            let start = self.at;
            let Some(name) = self.assignment() else { break start };
            let (word, _) = self.word()?;
            set.push((name, word));
        };
        let words = self.words()?;
        let Some((program, words)) = words.split_first() else {
            return if set.is_empty() { Err(self.missing()) } else { Ok(Simple::Set(set)) };
        };
        if !set.is_empty() {
            let help = "put `;` between the two";
            return Err(self.error_at(start, "a variable for one command only is not supported", help));
        }
        let name = program.literal();
        let help = "write one such as `kubectl`";
        let name = name.ok_or_else(|| self.error_at(start, "the program depends on a variable", help))?;
        Ok(Simple::Program { name, words: words.to_vec(), column: start + 1 })
    }

    /// `name=`, if that is what comes.
    fn assignment(&mut self) -> Option<String> {
        let name: String = self.text[self.at..].iter().take_while(|c| is_name(**c)).collect();
        let legal = name.starts_with(|c: char| !c.is_ascii_digit());
        let found = legal && self.text.get(self.at + name.len()) == Some(&'=');
        found.then(|| {
            self.at += name.len() + 1;
            name
        })
    }

    fn words(&mut self) -> Result<Vec<Word>, LineError> {
        let mut words = Vec::new();
        loop {
            self.spaces();
            let (word, length) = self.word()?;
            if length == 0 {
                return Ok(words);
            }
            words.push(word);
        }
    }

    /// A word and how many characters it took; none if no word comes.
    fn word(&mut self) -> Result<(Word, usize), LineError> {
        let (start, mut pieces, mut text) = (self.at, Vec::new(), String::new());
        let mut quoted = false;
        while let Some(c) = self.peek() {
            match c {
                ' ' | '\t' | '\n' | ';' | '&' | '|' | ')' => break,
                '>' | '<' => return Err(self.error("files cannot be written or read here", "quote it, or use `|`")),
                '(' => return Err(self.error("`(` is not understood here", "quote it, or write `$(`")),
                '`' => return Err(self.error("back quotes are not understood", "write `$(…)`")),
                '\'' => {
                    quoted = true;
                    text.push_str(&self.single()?);
                }
                '"' => {
                    quoted = true;
                    self.double(&mut pieces, &mut text)?;
                }
                '$' => self.dollar(&mut pieces, &mut text, false)?,
                '\\' => {
                    self.at += 1;
                    text.push(self.peek().ok_or_else(|| self.error("`\\` escapes nothing", "leave it out"))?);
                    self.at += 1;
                }
                other => {
                    text.push(other);
                    self.at += 1;
                }
            }
        }
        if !text.is_empty() || quoted && pieces.is_empty() {
            pieces.push(Piece::Text(text));
        }
        Ok((Word(pieces), self.at - start))
    }

    fn single(&mut self) -> Result<String, LineError> {
        let start = self.at;
        let rest = &self.text[start + 1..];
        let Some(length) = rest.iter().position(|c| *c == '\'') else {
            return Err(self.error("this quote is not closed", "write `'` at its end"));
        };
        let text = rest[..length].iter().collect();
        self.at = start + length + 2;
        Ok(text)
    }

    fn double(&mut self, pieces: &mut Vec<Piece>, text: &mut String) -> Result<(), LineError> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.peek() {
                None => return Err(self.error_at(start, "this quote is not closed", "write `\"` at its end")),
                Some('"') => break,
                Some('$') => self.dollar(pieces, text, true)?,
                Some('\\') if self.text.get(self.at + 1).is_some_and(|c| "$\"\\`".contains(*c)) => {
                    text.push(self.text[self.at + 1]);
                    self.at += 2;
                }
                Some('`') => return Err(self.error("back quotes are not understood", "write `$(…)`")),
                Some(other) => {
                    text.push(other);
                    self.at += 1;
                }
            }
        }
        self.at += 1;
        Ok(())
    }

    fn dollar(&mut self, pieces: &mut Vec<Piece>, text: &mut String, quoted: bool) -> Result<(), LineError> {
        let start = self.at;
        let mut flush = |piece| {
            if !text.is_empty() {
                pieces.push(Piece::Text(std::mem::take(text)));
            }
            pieces.push(piece);
        };
        self.at += 1;
        if self.eat("(") {
            if self.depth == DEEPEST {
                return Err(self.error_at(start, "`$(` within too many others", "use variables"));
            }
            self.depth += 1;
            let line = Box::new(self.line()?);
            self.depth -= 1;
            if !self.eat(")") {
                return Err(self.error_at(start, "this `$(` is not closed", "write `)` at its end"));
            }
            flush(Piece::Output { line, quoted });
            return Ok(());
        }
        let braced = self.eat("{");
        let name: String = self.text[self.at..].iter().take_while(|c| is_name(**c)).collect();
        self.at += name.len();
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(self.error_at(start, "`$` without a name", "write `$name`, or quote it with `'`"));
        }
        if braced && !self.eat("}") {
            return Err(self.error("`}` is expected here", format!("write `${{{name}}}`")));
        }
        flush(Piece::Variable { name, quoted });
        Ok(())
    }
}

const fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_the_documents_are_understood() {
        let calls = |text: &str| {
            let line: Line = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            let show = |call: super::super::Call| {
                (call.program, call.words.map_or_else(|| "?".into(), |words| words.join("|")), call.column)
            };
            line.calls().into_iter().map(show).collect::<Vec<_>>()
        };
        let call = |program: &str, words: &str, column| (program.to_owned(), words.to_owned(), column);
        let line = "master_node=$(kubectl get pod -o wide | awk '/demo-jindofs-master-0/ {print $7}')";
        assert_eq!(calls(line), [call("kubectl", "get|pod|-o|wide", 15)]);
        let line = "kubectl taint node $master_node test-jindofs-master=reschedule:NoSchedule";
        assert_eq!(calls(line), [call("kubectl", "?", 1)]);
        let line = "kubectl delete -f pod.yaml && kubectl create -f pod.yaml";
        let two = [call("kubectl", "delete|-f|pod.yaml", 1), call("kubectl", "create|-f|pod.yaml", 31)];
        assert_eq!(calls(line), two);
        assert_eq!(calls("kubectl exec -it nginx -- ls /data"), [call("kubectl", "exec|-it|nginx|--|ls|/data", 1)]);
        let line = "kubectl get pod -o jsonpath='{.items[*].metadata.name}' # all";
        assert_eq!(calls(line), [call("kubectl", "get|pod|-o|jsonpath={.items[*].metadata.name}", 1)]);
        assert_eq!(calls("a 'x y' \"\" z\\ z\nb;"), [call("a", "x y||z z", 1), call("b", "", 17)]);
        assert_eq!(calls("a \"$(b \"$(c d)\")\""), [call("a", "?", 1), call("b", "?", 6), call("c", "d", 11)]);
    }

    #[test]
    fn mistakes_are_told_by_column() {
        let table = [
            ("", 1, "a command is missing"),
            ("a &&", 5, "a command is missing"),
            ("a | ", 5, "a command is missing"),
            ("a && && b", 6, "a command is missing"),
            ("; a", 1, "a command is missing"),
            ("a &", 3, "nothing can run in the background"),
            ("a 'b", 3, "this quote is not closed"),
            ("a \"b'", 3, "this quote is not closed"),
            ("x=$(a", 3, "this `$(` is not closed"),
            ("x=$()", 5, "a command is missing"),
            ("a )", 3, "`)` closes nothing"),
            ("a $ b", 3, "`$` without a name"),
            ("a ${b", 6, "`}` is expected here"),
            ("a > b", 3, "files cannot be written or read here"),
            ("a `b`", 3, "back quotes are not understood"),
            ("a | b c", 5, "b: not a known filter"),
            ("a | grep $x", 5, "a variable in a filter"),
            ("a | wc", 5, "wc only counts lines"),
            ("$x a", 1, "the program depends on a variable"),
            ("x=1 a", 5, "a variable for one command only is not supported"),
            ("(a)", 1, "`(` is not understood here"),
        ];
        for (text, column, wrong) in table {
            let error = text.parse::<Line>().expect_err(text);
            assert_eq!((error.column, error.wrong.as_str()), (column, wrong), "{text}");
            assert!(!error.help.is_empty(), "{text}");
        }
        assert!("a $(".repeat(10_000).parse::<Line>().is_err(), "no stack overflow");
    }
}
