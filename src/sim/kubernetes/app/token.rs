//! A script's text as words and operators; quotes are kept in mind, nothing is expanded.

use std::fmt;

/// A part of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// A word.
    Word(Word),
    /// An operator, or the end of a line.
    Op(&'static str),
}

/// A word, in pieces.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Word(pub Vec<Piece>);

/// A piece of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Text as it stands; `*`, `?` and `[` in it are patterns.
    Plain(String),
    /// Text that means itself.
    Quoted(String),
    /// A variable; split into words unless quoted.
    Variable {
        /// Its name: letters, or one of `?`, `#`, `$`, `@`, `*` and digits.
        name: String,
        /// Between double quotes.
        quoted: bool,
    },
}

/// Longest first.
const OPS: [&str; 20] = [
    "1>>", "2>>", "1>&", "2>&", "&>", "1>", "2>", ">>", ">&", "<<", "&&", "||", ";;", ";", "&", "|", ">", "<", "(", ")",
];

impl Word {
    /// The text of a word that is nothing but plain text.
    pub fn bare(&self) -> Option<&str> {
        match self.0.as_slice() {
            [Piece::Plain(text)] => Some(text),
            _ => None,
        }
    }

    /// `name=value`, if it is that.
    pub fn assignment(&self) -> Option<(String, Word)> {
        let Piece::Plain(first) = self.0.first()? else { return None };
        let (name, value) = first.split_once('=')?;
        let legal = |c: char| c == '_' || c.is_ascii_alphanumeric();
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(legal) {
            return None;
        }
        let mut pieces = self.0.clone();
        pieces[0] = Piece::Plain(value.to_owned());
        Some((name.to_owned(), Word(pieces)))
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Plain(text) | Piece::Quoted(text) => f.write_str(text),
            Piece::Variable { name, .. } => write!(f, "${name}"),
        })
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word) => word.fmt(f),
            Self::Op("\n") => f.write_str("newline"),
            Self::Op(op) => f.write_str(op),
        }
    }
}

/// Cuts a script up.
///
/// # Errors
/// A quote without its end, or a substitution.
pub fn tokens(script: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = script;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r']);
        let Some(first) = rest.chars().next() else { return Ok(tokens) };
        if let Some(tail) = rest.strip_prefix("\\\n") {
            rest = tail;
        } else if first == '#' {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
        } else if first == '\n' {
            tokens.push(Token::Op("\n"));
            rest = &rest[1..];
        } else if let Some(op) = OPS.into_iter().find(|op| rest.starts_with(op)) {
            tokens.push(Token::Op(op));
            rest = &rest[op.len()..];
        } else {
            let mut scan = Scan { rest, pieces: Vec::new() };
            scan.word()?;
            rest = scan.rest;
            tokens.push(Token::Word(Word(scan.pieces)));
        }
    }
}

struct Scan<'a> {
    rest: &'a str,
    pieces: Vec<Piece>,
}

impl Scan<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn plain(&mut self, c: char) {
        match self.pieces.last_mut() {
            Some(Piece::Plain(text)) => text.push(c),
            _ => self.pieces.push(Piece::Plain(c.into())),
        }
    }

    fn quoted(&mut self, c: char) {
        match self.pieces.last_mut() {
            Some(Piece::Quoted(text)) => text.push(c),
            _ => self.pieces.push(Piece::Quoted(c.into())),
        }
    }

    fn word(&mut self) -> Result<(), String> {
        while let Some(c) = self.rest.chars().next() {
            if matches!(c, ' ' | '\t' | '\r' | '\n' | ';' | '&' | '|' | '<' | '>' | '(' | ')') {
                break;
            }
            self.next();
            match c {
                '\'' => {
                    let end = self.rest.find('\'').ok_or("syntax error: unterminated quoted string")?;
                    self.pieces.push(Piece::Quoted(self.rest[..end].to_owned()));
                    self.rest = &self.rest[end + 1..];
                }
                '"' => self.double()?,
                '\\' => match self.next() {
                    Some('\n') => {}
                    Some(c) => self.quoted(c),
                    None => self.plain('\\'),
                },
                '$' => self.variable(false)?,
                '`' => return Err("command substitution is not supported by the simulated shell".into()),
                c => self.plain(c),
            }
        }
        Ok(())
    }

    fn double(&mut self) -> Result<(), String> {
        // An empty pair of quotes is a word, too.
        self.pieces.push(Piece::Quoted(String::new()));
        loop {
            match self.next().ok_or("syntax error: unterminated quoted string")? {
                '"' => return Ok(()),
                '\\' => match self.next() {
                    Some('\n') => {}
                    Some(c @ ('"' | '\\' | '$' | '`')) => self.quoted(c),
                    Some(c) => {
                        self.quoted('\\');
                        self.quoted(c);
                    }
                    None => return Err("syntax error: unterminated quoted string".into()),
                },
                '$' => self.variable(true)?,
                '`' => return Err("command substitution is not supported by the simulated shell".into()),
                c => self.quoted(c),
            }
        }
    }

    /// After a `$`.
    fn variable(&mut self, quoted: bool) -> Result<(), String> {
        let letter = |c: char| c == '_' || c.is_ascii_alphanumeric();
        let name = match self.rest.chars().next() {
            Some('(') => return Err("`$(` is not supported by the simulated shell".into()),
            Some('{') => {
                let end = self.rest.find('}').ok_or("syntax error: missing '}'")?;
                let name = self.rest[1..end].to_owned();
                let special = matches!(name.as_str(), "?" | "#" | "$" | "@" | "*");
                if name.is_empty() || !special && !name.chars().all(letter) {
                    return Err(format!("`${{{name}}}` is not supported by the simulated shell"));
                }
                self.rest = &self.rest[end + 1..];
                name
            }
            Some(c @ ('?' | '#' | '$' | '@' | '*' | '0'..='9')) => {
                self.next();
                c.to_string()
            }
            Some(c) if letter(c) => {
                let end = self.rest.find(|c| !letter(c)).unwrap_or(self.rest.len());
                let name = self.rest[..end].to_owned();
                self.rest = &self.rest[end..];
                name
            }
            _ => {
                if quoted {
                    self.quoted('$')
                } else {
                    self.plain('$')
                }
                return Ok(());
            }
        };
        self.pieces.push(Piece::Variable { name, quoted });
        Ok(())
    }
}
