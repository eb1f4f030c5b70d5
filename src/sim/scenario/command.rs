//! Command lines that a `run` step types, as an operator would.
//!
//! Rule: a line is parsed when the file is read, so that a typing error is found there and not in the middle of a run.
//! `kubectl` joins as another arm of [`Command`].

use std::fmt;
use std::str::FromStr;

use super::diagnostic::closest;
use crate::kube::quantity::text_value;
use crate::stack::client::OperatorCommand;

/// A command that can be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// The cache's own command line: `goosefs fs masterInfo` and its like.
    Operator(OperatorCommand),
}

/// What is suggested for a line that is almost one of these.
const EXAMPLES: [&str; 3] = ["goosefs fs masterInfo", "goosefs fsadmin journal quorum info", "goosefs fsadmin report"];

/// A command as it was typed and what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    text: String,
    command: Command,
}

impl CommandLine {
    /// What it means.
    pub const fn command(&self) -> Command {
        self.command
    }

    /// As it was typed, with single spaces.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl FromStr for CommandLine {
    type Err = String;

    /// The error says what is wrong, and after a semicolon what to write instead.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        match text.parse::<OperatorCommand>() {
            Ok(command) => Ok(Self { text, command: Command::Operator(command) }),
            Err(error) => match closest(&text, EXAMPLES) {
                Some(known) => {
                    let wrong = error.to_string();
                    let wrong = wrong.split("; ").next().unwrap_or("no such command");
                    Err(format!("{wrong}; did you mean `{known}`?"))
                }
                None => Err(error.to_string()),
            },
        }
    }
}

impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

text_value!(
    CommandLine,
    "CommandLine",
    "a command such as `goosefs fs masterInfo`",
    r"^ *(goosefs|alluxio)( +[A-Za-z_-]+)+ *$",
    "A command line: `goosefs fs masterInfo`, `goosefs fsadmin journal quorum info` or `goosefs fsadmin report`."
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_do_not_matter_and_slips_are_mended() {
        let line: CommandLine = "  goosefs  fs masterInfo ".parse().expect("legal");
        assert_eq!(line.text(), "goosefs fs masterInfo");
        assert_eq!("goosefs fs masterInfo".parse().map(Command::Operator), Ok(line.command()));
        let error = "goosefs fs masterinfo".parse::<CommandLine>().expect_err("a slip");
        assert_eq!(error, "fs masterinfo is an unknown command; did you mean `goosefs fs masterInfo`?");
        for text in ["", "goosefs", "goosefs fs masterInfo; rm -rf /", "kubectl get pod"] {
            assert!(text.parse::<CommandLine>().is_err(), "{text}");
        }
    }
}
