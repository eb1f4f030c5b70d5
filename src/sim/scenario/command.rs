//! Command lines that a `run` step types, as an operator would.
//!
//! Rule: known commands only, so that a typing error is found when the file is read and not in the middle of a run.
//! `kubectl` joins as another arm of [`Command`].

use std::fmt;
use std::str::FromStr;

use crate::text_value;

/// A command that can be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// The cache's own command line.
    Goosefs(GoosefsCommand),
}

/// Commands of `goosefs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoosefsCommand {
    /// `goosefs fs masterInfo`: who leads.
    MasterInfo,
    /// `goosefs fsadmin journal quorum info`: the members of the Raft group.
    QuorumInfo,
    /// `goosefs fsadmin report`: the state of the cluster.
    Report,
}

/// What each command is typed as. `-domain MASTER` is what `quorum info` means without it too.
const COMMANDS: [(&str, Command); 6] = [
    ("goosefs fs masterInfo", Command::Goosefs(GoosefsCommand::MasterInfo)),
    ("goosefs fsadmin journal quorum info", Command::Goosefs(GoosefsCommand::QuorumInfo)),
    ("goosefs journal quorum info", Command::Goosefs(GoosefsCommand::QuorumInfo)),
    ("goosefs fsadmin journal quorum info -domain MASTER", Command::Goosefs(GoosefsCommand::QuorumInfo)),
    ("goosefs fsadmin report", Command::Goosefs(GoosefsCommand::Report)),
    ("goosefs fsadmin report summary", Command::Goosefs(GoosefsCommand::Report)),
];

/// A command as it was typed and what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    text: String,
    command: Command,
}

/// Why a text is not a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a command that can be run; write `goosefs fs masterInfo`, `goosefs fsadmin journal quorum info` or `goosefs fsadmin report`"
)]
pub struct CommandError(String);

impl CommandLine {
    /// What it means.
    pub const fn command(&self) -> &Command {
        &self.command
    }

    /// As it was typed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// All command lines, for suggestions.
    pub fn known() -> impl Iterator<Item = &'static str> {
        COMMANDS.iter().map(|(text, _)| *text)
    }
}

impl FromStr for CommandLine {
    type Err = CommandError;

    fn from_str(text: &str) -> Result<Self, CommandError> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let typed = words.join(" ");
        match COMMANDS.iter().find(|(known, _)| *known == typed) {
            Some((_, command)) => Ok(Self { text: typed, command: command.clone() }),
            None => Err(CommandError(text.trim().into())),
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
    r"^ *goosefs( +[A-Za-z-]+)+ *$",
    "A command line: `goosefs fs masterInfo`, `goosefs fsadmin journal quorum info` or `goosefs fsadmin report`."
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_do_not_matter_and_unknown_commands_are_refused() {
        let line: CommandLine = "  goosefs  fs masterInfo ".parse().expect("legal");
        assert_eq!(line.text(), "goosefs fs masterInfo");
        assert_eq!(line.command(), &Command::Goosefs(GoosefsCommand::MasterInfo));
        for text in ["", "goosefs", "goosefs fs masterinfo", "goosefs fs masterInfo; rm -rf /"] {
            assert!(text.parse::<CommandLine>().is_err(), "{text}");
        }
    }
}
