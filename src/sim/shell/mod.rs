//! Command lines as documents print them: `a && b`, `a | awk …`, `name=$(…)`, quotes and variables.
//!
//! Parsing ([`Line`]) is pure and happens when a scenario is read; running ([`run`]) asks a [`Runner`] for each simple
//! command. After `|` only the small filters of `filter` can stand. Differs from a shell: no files, no globs, no loops,
//! no jobs; what is not understood is refused with its column, never passed on.

mod filter;
mod parse;
mod pattern;
mod run;

pub use run::{Output, Runner, Stream, Variables, run};

use filter::Filter;

/// A parsed command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line(Vec<(Join, Pipeline)>);

/// When a pipeline runs, after the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Join {
    /// `;`, and the first.
    Always,
    /// `&&`.
    IfDone,
    /// `||`.
    IfFailed,
}

/// Commands whose output goes through filters.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pipeline {
    head: Simple,
    filters: Vec<Filter>,
}

/// One command, or variables that are set.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Simple {
    /// `name=value`, at least one.
    Set(Vec<(String, Word)>),
    /// A program and its arguments.
    Program { name: String, words: Vec<Word>, column: usize },
}

/// What becomes none, one or more arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Word(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    /// As written; quoted text makes an argument even if it is empty.
    Text(String),
    /// `$name`: split at white space unless quoted.
    Variable { name: String, quoted: bool },
    /// `$(…)`, likewise.
    Output { line: Box<Line>, quoted: bool },
}

impl Word {
    /// The text, if nothing in it depends on the run.
    fn literal(&self) -> Option<String> {
        let text = |piece: &Piece| match piece {
            Piece::Text(text) => Some(text.clone()),
            _ => None,
        };
        self.0.iter().map(text).collect()
    }
}

/// A command of a line: what is known of it before it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The program.
    pub program: String,
    /// Its arguments, if none depends on the run.
    pub words: Option<Vec<String>>,
    /// Where it begins, in characters from 1.
    pub column: usize,
}

impl Line {
    /// All commands, those within `$(…)` too. Filters are not among them.
    pub fn calls(&self) -> Vec<Call> {
        let mut all = Vec::new();
        self.collect(&mut all);
        all
    }

    fn collect(&self, all: &mut Vec<Call>) {
        for (_, pipeline) in &self.0 {
            let words: Vec<&Word> = match &pipeline.head {
                Simple::Set(set) => set.iter().map(|(_, word)| word).collect(),
                Simple::Program { name, words, column } => {
                    let literal = words.iter().map(Word::literal).collect();
                    all.push(Call { program: name.clone(), words: literal, column: *column });
                    words.iter().collect()
                }
            };
            for piece in words.iter().flat_map(|word| &word.0) {
                if let Piece::Output { line, .. } = piece {
                    line.collect(all);
                }
            }
        }
    }
}

/// Why a text is no command line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {wrong}; {help}")]
pub struct LineError {
    /// Where, in characters from 1.
    pub column: usize,
    /// What is wrong.
    pub wrong: String,
    /// What to write.
    pub help: String,
}
