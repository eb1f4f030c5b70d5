//! A script's text as commands: words, quotes, redirections, lists, `if`, `while`, `until`, `for` and groups.
//!
//! As POSIX has it, for what containers' commands need. Refused by name, never run as something else: pipes, jobs in the
//! background, subshells, command and arithmetic substitution, here-documents, `case` and functions.

use super::token::{Token, Word, tokens};

/// A list: commands, each with how it hangs on the one before.
pub type List = Vec<(Join, Command)>;

/// When a command of a list runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// Always.
    Then,
    /// After a success: `&&`.
    And,
    /// After a failure: `||`.
    Or,
}

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A program with its words.
    Simple(Simple),
    /// `{ …; }`.
    Group(List),
    /// `! …`.
    Not(Box<Command>),
    /// `if … then … else … fi`, `elif` being an `if` in the `else`.
    If(List, List, List),
    /// `while` (or, if true, `until`) `… do … done`.
    While(bool, List, List),
    /// `for name in words; do … done`.
    For(String, Vec<Word>, List),
}

/// A simple command.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Simple {
    /// `name=value` before the words.
    pub assigns: Vec<(String, Word)>,
    /// The words.
    pub words: Vec<Word>,
    /// Where output goes, in order.
    pub redirects: Vec<Redirect>,
}

/// A redirection of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// 1 or 2; 0 stands for both (`&>`).
    pub stream: u8,
    /// Into a file, appending or not, or to where the other stream goes.
    pub to: RedirectTo,
}

/// The target of a redirection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedirectTo {
    /// A file; appended to, if true.
    File(Word, bool),
    /// `>&n`.
    Stream(u8),
}

/// Reads a script.
///
/// # Errors
/// What is wrong with it, or not supported.
pub fn parse(script: &str) -> Result<List, String> {
    let mut parser = Parser { tokens: tokens(script)?, at: 0 };
    let list = parser.list(&[])?;
    match parser.peek() {
        None => Ok(list),
        Some(token) => Err(format!("syntax error: unexpected \"{token}\"")),
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    /// The next token, if it is a word without any quotes.
    fn bare(&self) -> Option<&str> {
        match self.peek()? {
            Token::Word(word) => word.bare(),
            Token::Op(_) => None,
        }
    }

    fn op(&self) -> Option<&'static str> {
        match self.peek()? {
            Token::Op(op) => Some(op),
            Token::Word(_) => None,
        }
    }

    fn skip_separators(&mut self) {
        while matches!(self.op(), Some(";" | "\n")) {
            self.at += 1;
        }
    }

    fn want(&mut self, word: &str) -> Result<(), String> {
        if self.bare() == Some(word) {
            self.at += 1;
            return Ok(());
        }
        match self.peek() {
            Some(token) => Err(format!("syntax error: unexpected \"{token}\" (expecting \"{word}\")")),
            None => Err(format!("syntax error: unexpected end of file (expecting \"{word}\")")),
        }
    }

    /// Commands up to the end or one of these reserved words, which is left.
    fn list(&mut self, ends: &[&str]) -> Result<List, String> {
        let mut list = List::new();
        let mut join = Join::Then;
        loop {
            if join == Join::Then {
                self.skip_separators();
            } else {
                while self.op() == Some("\n") {
                    self.at += 1;
                }
            }
            let over = self.peek().is_none() || self.bare().is_some_and(|word| ends.contains(&word));
            if over && join == Join::Then {
                return Ok(list);
            }
            list.push((join, self.command()?));
            join = match self.op() {
                Some("&&") => Join::And,
                Some("||") => Join::Or,
                Some(";" | "\n") => Join::Then,
                Some(op) => return Err(unsupported(op)),
                None => return Ok(list),
            };
            self.at += 1;
        }
    }

    /// A list that must not be empty, and the word that ends it.
    fn body(&mut self, end: &str) -> Result<List, String> {
        let list = self.some(&[end])?;
        self.want(end)?;
        Ok(list)
    }

    fn some(&mut self, ends: &[&str]) -> Result<List, String> {
        let list = self.list(ends)?;
        if list.is_empty() {
            return Err(format!("syntax error: unexpected \"{}\"", self.bare().unwrap_or("end of file")));
        }
        Ok(list)
    }

    fn command(&mut self) -> Result<Command, String> {
        let word = self.bare().unwrap_or_default().to_owned();
        let reserved = matches!(word.as_str(), "!" | "{" | "if" | "while" | "until" | "for");
        if reserved {
            self.at += 1;
        }
        match word.as_str() {
            "!" => Ok(Command::Not(Box::new(self.command()?))),
            "{" => Ok(Command::Group(self.body("}")?)),
            "if" => self.rest_of_if(),
            "while" | "until" => {
                let condition = self.body("do")?;
                Ok(Command::While(word == "until", condition, self.body("done")?))
            }
            "for" => {
                let name = self.bare().unwrap_or_default().to_owned();
                self.at += 1;
                self.want("in")?;
                let mut words = Vec::new();
                while let Some(Token::Word(word)) = self.peek() {
                    words.push(word.clone());
                    self.at += 1;
                }
                self.skip_separators();
                self.want("do")?;
                Ok(Command::For(name, words, self.body("done")?))
            }
            "case" | "function" | "select" => Err(unsupported(&word)),
            "then" | "else" | "elif" | "fi" | "do" | "done" | "}" => {
                Err(format!("syntax error: unexpected \"{word}\""))
            }
            _ => self.simple(),
        }
    }

    /// After `if` or `elif`.
    fn rest_of_if(&mut self) -> Result<Command, String> {
        let condition = self.body("then")?;
        let yes = self.some(&["else", "elif", "fi"])?;
        let word = self.bare().unwrap_or_default().to_owned();
        let no = match word.as_str() {
            "elif" => {
                self.at += 1;
                vec![(Join::Then, self.rest_of_if()?)]
            }
            "else" => {
                self.at += 1;
                self.body("fi")?
            }
            _ => {
                self.want("fi")?;
                List::new()
            }
        };
        Ok(Command::If(condition, yes, no))
    }

    fn simple(&mut self) -> Result<Command, String> {
        let mut simple = Simple::default();
        loop {
            match self.peek() {
                Some(Token::Word(word)) => {
                    let word = word.clone();
                    self.at += 1;
                    match word.assignment().filter(|_| simple.words.is_empty()) {
                        Some(assign) => simple.assigns.push(assign),
                        None => simple.words.push(word),
                    }
                }
                Some(&Token::Op(op)) => match redirect(op) {
                    Some((stream, append, both)) => {
                        self.at += 1;
                        let Some(Token::Word(word)) = self.peek().cloned() else {
                            return Err("syntax error: a redirection without a file".into());
                        };
                        self.at += 1;
                        let to = match (both, word.bare()) {
                            (true, Some("1")) => RedirectTo::Stream(1),
                            (true, Some("2")) => RedirectTo::Stream(2),
                            (true, _) => return Err(unsupported(op)),
                            (false, _) => RedirectTo::File(word, append),
                        };
                        simple.redirects.push(Redirect { stream, to });
                    }
                    None => break,
                },
                None => break,
            }
        }
        if simple == Simple::default() {
            let what = self.peek().map_or_else(|| "end of file".into(), ToString::to_string);
            return match self.op() {
                Some(op @ ("(" | ")" | "<" | "<<" | "|" | "&")) => Err(unsupported(op)),
                _ => Err(format!("syntax error: unexpected \"{what}\"")),
            };
        }
        Ok(Command::Simple(simple))
    }
}

/// Stream, whether it appends, whether it goes to another stream.
fn redirect(op: &str) -> Option<(u8, bool, bool)> {
    Some(match op {
        ">" | "1>" => (1, false, false),
        ">>" | "1>>" => (1, true, false),
        "2>" => (2, false, false),
        "2>>" => (2, true, false),
        "&>" => (0, false, false),
        ">&" | "1>&" => (1, false, true),
        "2>&" => (2, false, true),
        _ => return None,
    })
}

fn unsupported(what: &str) -> String {
    format!("`{what}` is not supported by the simulated shell")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shape of a script: words in brackets, structure in capitals.
    fn shape(list: &List) -> String {
        let one = |(join, command): &(Join, Command)| {
            let mark = match join {
                Join::Then => "",
                Join::And => "&&",
                Join::Or => "||",
            };
            let inner = match command {
                Command::Simple(simple) => {
                    let assigns = simple.assigns.iter().map(|(name, _)| format!("{name}="));
                    let words = simple.words.iter().map(ToString::to_string);
                    let redirects = simple.redirects.iter().map(|redirect| format!("{}>", redirect.stream));
                    assigns.chain(words).chain(redirects).collect::<Vec<_>>().join(" ")
                }
                Command::Group(list) => format!("GROUP{}", shape(list)),
                Command::Not(command) => format!("NOT{}", shape(&vec![(Join::Then, (**command).clone())])),
                Command::If(a, b, c) => format!("IF{}{}{}", shape(a), shape(b), shape(c)),
                Command::While(until, a, b) => format!("WHILE {until}{}{}", shape(a), shape(b)),
                Command::For(name, words, body) => format!("FOR {name} {}{}", words.len(), shape(body)),
            };
            format!("{mark}[{inner}]")
        };
        format!("({})", list.iter().map(one).collect::<String>())
    }

    #[test]
    fn scripts_have_the_shape_that_posix_gives_them() {
        for (script, want) in [
            ("", "()"),
            ("set -x; time cp -r /data/hbase ./", "([set -x][time cp -r /data/hbase ./])"),
            ("a && b || c\nd", "([a]&&[b]||[c][d])"),
            ("a &&\n b;", "([a]&&[b])"),
            ("A=1 B= c A=2 > /f 2>&1 d", "([A= B= c A=2 d 1> 2>])"),
            ("while true; do ls /d; sleep 5; done", "([WHILE false([true])([ls /d][sleep 5])])"),
            ("if a; then b; elif c; then d; else e; fi; f", "([IF([a])([b])([IF([c])([d])([e])])][f])"),
            ("for f in a b c\ndo echo x\ndone && y", "([FOR f 3([echo x])]&&[y])"),
            ("{ a; b; } ; ! c", "([GROUP([a][b])][NOT([c])])"),
            ("a # b; c\nd a#b", "([a][d a#b])"),
            ("echo if then", "([echo if then])"),
        ] {
            assert_eq!(parse(script).map(|list| shape(&list)).as_deref(), Ok(want), "{script}");
        }
    }

    #[test]
    fn what_is_wrong_or_not_supported_is_said() {
        for (script, want) in [
            ("a | b", "`|`"),
            ("a &", "`&`"),
            ("(a)", "`(`"),
            ("echo $(ls)", "`$(`"),
            ("echo `ls`", "command substitution"),
            ("cat <<EOF", "`<<`"),
            ("case a in", "`case`"),
            ("a &&", "unexpected \"end of file\""),
            (";;", "unexpected \";;\""),
            ("if a; then b", "expecting \"fi\""),
            ("while; do a; done", "unexpected \"do\""),
            ("fi", "unexpected \"fi\""),
            ("echo 'a", "unterminated"),
            ("echo \"a", "unterminated"),
            ("a >", "without a file"),
        ] {
            let error = parse(script).expect_err(script);
            assert!(error.contains(want), "{script}: {error}");
        }
    }
}
