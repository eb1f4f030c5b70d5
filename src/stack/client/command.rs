//! The operators' commands, as typed: `goosefs fs masterInfo`, `alluxio fsadmin report`, and so on.
//!
//! Parsing and printing are pure; [`OperatorCommand::run`] asks the masters in between. Texts and exit codes are Alluxio
//! 2.x's: 0 for an answer (for `masterInfo` always), 255 (Java's `exit(-1)`) for anything else.

use std::str::FromStr;

use super::core::FileSystemClient;
use crate::stack::master::screen::{self, Flavour};
use crate::stack::wire::FsError;
use crate::stack::wire::master::{MasterAnswer, MasterRequest};

/// Java's `exit(-1)`.
const FAILED: u8 = 255;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    MasterInfo,
    QuorumInfo,
    Report,
}

/// A command line that can be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperatorCommand {
    flavour: Flavour,
    question: Question,
}

/// What a command printed, and its exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Printed {
    /// Standard output; every line ends with a line feed.
    pub text: String,
    /// Exit code.
    pub status: u8,
}

/// Why a text is not a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Nothing was typed.
    #[error("no command; write one such as `goosefs fs masterInfo`")]
    Empty,
    /// Another program.
    #[error("{0}: command not found; write `goosefs` or `alluxio`")]
    Program(String),
    /// A command that the program does not have.
    #[error("{typed} is an unknown command; known are {known}")]
    Unknown {
        /// What was typed.
        typed: String,
        /// What would do.
        known: &'static str,
    },
    /// A flag or argument that the command does not take.
    #[error("Unrecognized option: {0}")]
    Option(String),
    /// A value that a flag does not take.
    #[error("{value} is not a value of {flag}: {why}")]
    Value {
        /// The flag.
        flag: &'static str,
        /// What was typed.
        value: String,
        /// What would do.
        why: &'static str,
    },
}

const COMMANDS: &str = "`fs masterInfo`, `fsadmin journal quorum info` and `fsadmin report`";

impl FromStr for OperatorCommand {
    type Err = CommandError;

    fn from_str(line: &str) -> Result<Self, CommandError> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (program, words) = words.split_first().ok_or(CommandError::Empty)?;
        let flavour = match *program {
            "goosefs" => Flavour::GooseFs,
            "alluxio" => Flavour::Alluxio,
            other => return Err(CommandError::Program(other.into())),
        };
        let (question, rest) = match words {
            ["fs", "masterInfo", rest @ ..] => (Question::MasterInfo, rest),
            // GooseFS' documents leave `fsadmin` out.
            ["fsadmin", "journal", "quorum", "info", rest @ ..] | ["journal", "quorum", "info", rest @ ..] => {
                (Question::QuorumInfo, domain(rest)?)
            }
            ["fsadmin", "report", "summary", rest @ ..] | ["fsadmin", "report", rest @ ..] => (Question::Report, rest),
            typed => return Err(CommandError::Unknown { typed: typed.join(" "), known: COMMANDS }),
        };
        match rest.first() {
            Some(word) => Err(CommandError::Option((*word).into())),
            None => Ok(Self { flavour, question }),
        }
    }
}

/// Takes `-domain MASTER` off.
fn domain<'a, 'b>(words: &'a [&'b str]) -> Result<&'a [&'b str], CommandError> {
    let value = |value: &str, why| CommandError::Value { flag: "-domain", value: value.into(), why };
    match words {
        ["-domain"] => Err(value("", "write MASTER")),
        ["-domain", "MASTER", rest @ ..] => Ok(rest),
        ["-domain", "JOB_MASTER", ..] => Err(value("JOB_MASTER", "this cluster has no job masters")),
        ["-domain", other, ..] => Err(value(other, "write MASTER")),
        _ => Ok(words),
    }
}

impl OperatorCommand {
    /// Asks the masters and prints. Takes as long as the client's budget if nobody leads.
    pub async fn run(self, client: &FileSystemClient) -> Printed {
        let deadline = client.deadline();
        match self.question {
            Question::MasterInfo => {
                let answer = client.call(MasterRequest::WhoLeads { seen: None }, deadline).await.answer();
                self.master_info(&client.options().masters, answer)
            }
            Question::QuorumInfo => printed(client.quorum_info(deadline).await.map(|info| screen::quorum_info(&info))),
            Question::Report => {
                printed(client.report(deadline).await.map(|report| screen::report(self.flavour, &report)))
            }
        }
    }

    /// All masters are those of the client's own configuration, as in Alluxio.
    fn master_info(self, configured: &[String], answer: Result<MasterAnswer, FsError>) -> Printed {
        let leader = match &answer {
            Ok(MasterAnswer::Leader { address, .. }) => Some(address.as_str()),
            _ => None,
        };
        let masters = (!configured.is_empty()).then_some(configured);
        Printed { text: screen::master_info(self.flavour, leader, masters), status: 0 }
    }
}

/// Runs a command line as a shell would; what cannot be parsed is printed, with exit code 255.
pub async fn run_line(line: &str, client: &FileSystemClient) -> Printed {
    match line.parse::<OperatorCommand>() {
        Ok(command) => command.run(client).await,
        Err(error) => Printed { text: format!("{error}\n"), status: FAILED },
    }
}

fn printed(text: Result<String, FsError>) -> Printed {
    match text {
        Ok(text) => Printed { text, status: 0 },
        Err(error) => Printed { text: format!("{error}\n"), status: FAILED },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_documents_commands_in_both_dialects() {
        use Question::{MasterInfo, QuorumInfo, Report};
        for (line, flavour, question) in [
            ("goosefs fs masterInfo", Flavour::GooseFs, MasterInfo),
            ("  alluxio  fs masterInfo ", Flavour::Alluxio, MasterInfo),
            ("goosefs fsadmin journal quorum info", Flavour::GooseFs, QuorumInfo),
            ("goosefs journal quorum info", Flavour::GooseFs, QuorumInfo),
            ("alluxio fsadmin journal quorum info -domain MASTER", Flavour::Alluxio, QuorumInfo),
            ("alluxio fsadmin report", Flavour::Alluxio, Report),
            ("goosefs fsadmin report summary", Flavour::GooseFs, Report),
        ] {
            assert_eq!(line.parse(), Ok(OperatorCommand { flavour, question }), "{line}");
        }
    }

    #[test]
    fn refuses_the_rest_and_says_what_is_wrong() {
        for (line, word) in [
            ("", "no command"),
            ("hdfs dfs -ls", "hdfs: command not found"),
            ("goosefs", "unknown command"),
            ("goosefs fs masterinfo", "fs masterinfo is an unknown command"),
            ("goosefs fs masterInfo -x", "Unrecognized option: -x"),
            ("goosefs fsadmin report ufs", "Unrecognized option: ufs"),
            ("goosefs fsadmin journal quorum info -domain", "write MASTER"),
            ("goosefs fsadmin journal quorum info -domain JOB_MASTER", "no job masters"),
            ("goosefs fsadmin journal quorum info MASTER", "Unrecognized option: MASTER"),
        ] {
            let error = line.parse::<OperatorCommand>().expect_err(line).to_string();
            assert!(error.contains(word), "{line}: {error}");
        }
    }

    #[test]
    fn master_info_is_an_answer_even_without_a_leader() {
        let command: OperatorCommand = "goosefs fs masterInfo".parse().expect("known");
        let masters = ["m0:26000".to_owned(), "m1:26000".to_owned()];
        let leads = MasterAnswer::Leader { address: "m1:26000".into(), masters: vec![], mark: None };
        let all = "All masters: [m0:26000, m1:26000]\n";
        for (answer, first) in [
            (Ok(leads), "current leader master: m1:26000"),
            (Err(FsError::Unavailable("no master leads".into())), "Failed to find leader master"),
        ] {
            let want = Printed { text: format!("{first}\n{all}"), status: 0 };
            assert_eq!(command.master_info(&masters, answer), want);
        }
    }
}
