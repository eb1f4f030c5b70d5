//! One line at the prompt.
//!
//! Conditions and faults are those of scenario steps, in YAML's flow form with the outer braces left out. Anything that
//! begins with none of the prompt's own words is a command as a `run` step types it.

use crate::sim::scenario::diagnostic::closest;
use crate::sim::scenario::yaml::Document;
use crate::sim::scenario::{CommandLine, Expect, Fault, Run, Span, Step};

/// Shown by `help`.
pub const HELP: &str = "\
step [N]          go on by at least N events of the world, one if not given
run SPAN          go on for that long: run 30s
until CONDITION   go on until it is so: until leader: present, within: 60s
expect CONDITION  ask whether it is so now: expect live_workers: 3
fault FAULT       break or mend something: fault kill: leader
trace [N]         the last N events, 20 if not given
history           what was typed
save FILE         write what was done as a scenario
help              this
quit              end the run
Conditions and faults are written as in a scenario's steps. Any other line is a command: kubectl get pod.
A line that ends with a tab is not done: shown is what it may become.";

/// Events that `trace` shows.
const TRACE: usize = 20;

/// A line that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// Nothing, or a comment.
    Nothing,
    /// Go on by at least so many events; one or more.
    Events(u64),
    /// Go on for so long.
    Pass(Span),
    /// Go on until it is so, at most for as long as its `within` says.
    Until(Expect),
    /// Do a step: a command, a fault, an expectation.
    Do(Step),
    /// Show the last events.
    Trace(usize),
    /// Show what was typed.
    History,
    /// Write a scenario to this file.
    Save(String),
    /// Show [`HELP`].
    Help,
    /// End the run.
    Quit,
}

impl Line {
    /// The words that a line may begin with, beside commands.
    pub const WORDS: [&str; 10] =
        ["step", "run", "until", "expect", "fault", "trace", "history", "save", "help", "quit"];

    /// Understands a line.
    ///
    /// # Errors
    /// What is wrong, and after a semicolon what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let rest = rest.trim();
        let alone = |line: Self| match rest {
            "" => Ok(line),
            _ => Err(format!("`{word}` stands alone; leave `{rest}` out")),
        };
        match word {
            "" => Ok(Self::Nothing),
            word if word.starts_with('#') => Ok(Self::Nothing),
            "step" => count(word, rest, 1).map(Self::Events),
            "run" => span(rest).map(Self::Pass),
            "until" => condition(word, rest).map(Self::Until),
            "expect" => condition(word, rest).map(|expect| Self::Do(Step::Expect(expect))),
            "fault" => fault(rest).map(|fault| Self::Do(Step::Fault(fault))),
            "trace" => {
                let events = count(word, rest, TRACE as u64)?;
                Ok(Self::Trace(usize::try_from(events).unwrap_or(usize::MAX)))
            }
            "history" => alone(Self::History),
            "help" | "?" => alone(Self::Help),
            "quit" | "exit" => alone(Self::Quit),
            "save" if rest.is_empty() => Err("a file's name is missing; write `save FILE.yaml`".into()),
            "save" => Ok(Self::Save(rest.into())),
            word => command(word, text),
        }
    }
}

fn count(word: &str, text: &str, otherwise: u64) -> Result<u64, String> {
    match text.parse() {
        _ if text.is_empty() => Ok(otherwise),
        Ok(0) | Err(_) => {
            Err(format!("`{text}` is no number from 1; write `{word}` or `{word} {}`", otherwise.max(10)))
        }
        Ok(number) => Ok(number),
    }
}

fn span(text: &str) -> Result<Span, String> {
    match text.parse::<Span>() {
        _ if text.is_empty() => Err("a time is missing; write `run 30s`".into()),
        Ok(Span(time)) if time.is_zero() => Err("no time passes in 0s; write `run 30s`".into()),
        Ok(span) => Ok(span),
        Err(error) if text.contains(' ') => Err(format!("{error}; a command is typed without `run`")),
        Err(error) => Err(error.to_string()),
    }
}

/// A step by its key and its value in flow form, whose braces may be left out.
fn flow(text: &str) -> Result<Step, String> {
    let document = Document::whole("the line", text.to_owned());
    document.parse().map_err(|mistake| match mistake.help.as_str() {
        "" => mistake.message,
        help => format!("{}; {help}", mistake.message),
    })
}

fn braced(text: &str) -> String {
    if text.starts_with('{') { text.to_owned() } else { format!("{{{text}}}") }
}

fn condition(word: &str, text: &str) -> Result<Expect, String> {
    match flow(&format!("{{expect: {}}}", braced(text)))? {
        Step::Expect(expect) if !expect.is_empty() => Ok(expect),
        _ => Err(format!("a condition is missing; write `{word} leader: present`")),
    }
}

fn fault(text: &str) -> Result<Fault, String> {
    if text.is_empty() {
        return Err(format!("a fault is missing; write `fault kill: leader`, or one of {}", Fault::NAMES.join(", ")));
    }
    match flow(&braced(text))? {
        Step::Fault(fault) => Ok(fault),
        other => Err(format!("`{}` is no fault; type it without `fault`", other.name())),
    }
}

fn command(word: &str, text: &str) -> Result<Line, String> {
    match text.parse::<CommandLine>() {
        Ok(line) => Ok(Line::Do(Step::Run(Run::new(line)))),
        Err(why) => Err(match closest(word, Line::WORDS) {
            Some(near) => format!("`{word}` is no word of this prompt; did you mean `{near}`?"),
            None if Fault::NAMES.contains(&word.trim_end_matches(':')) => {
                format!("`{word}` is a fault; write `fault {text}`")
            }
            None => why,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::scenario::{LeaderExpect, ServiceExpect};
    use proptest::prelude::*;

    #[test]
    fn every_word_is_understood() {
        let leader = Expect { leader: Some(LeaderExpect::Present), ..Expect::default() };
        let served = Expect {
            service: Some(ServiceExpect::Available),
            within: Some(Span::secs(60)),
            live_workers: Some(3),
            ..Expect::default()
        };
        for (text, expected) in [
            ("", Line::Nothing),
            ("  # only a thought", Line::Nothing),
            ("step", Line::Events(1)),
            (" step   25 ", Line::Events(25)),
            ("run 1m30s", Line::Pass(Span::secs(90))),
            ("until leader: present", Line::Until(leader.clone())),
            ("until {leader: present}", Line::Until(leader.clone())),
            ("until service: available, live_workers: 3, within: 60s", Line::Until(served)),
            ("expect leader: present", Line::Do(Step::Expect(leader))),
            ("trace", Line::Trace(20)),
            ("trace 5", Line::Trace(5)),
            ("history", Line::History),
            ("save my scenario.yaml", Line::Save("my scenario.yaml".into())),
            ("help", Line::Help),
            ("exit", Line::Quit),
        ] {
            assert_eq!(Line::parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn faults_and_commands_are_those_of_scenarios() {
        for (text, step) in [
            ("fault kill: leader", "{kill: leader}"),
            ("fault {kill: leader}", "{kill: leader}"),
            ("fault partition: {from: leader, to: masters}", "{partition: {from: leader, to: masters}}"),
            ("fault power_loss: [masters, workers]", "{power_loss: [masters, workers]}"),
            ("goosefs fs masterInfo", "{run: goosefs fs masterInfo}"),
        ] {
            let step: Step = Document::whole("a step", step.into()).parse().expect(step);
            assert_eq!(Line::parse(text), Ok(Line::Do(step)), "{text}");
        }
    }

    #[test]
    fn mistakes_say_what_to_write() {
        for (text, part) in [
            ("step 0", "no number from 1"),
            ("step back", "no number from 1"),
            ("run", "write `run 30s`"),
            ("run 0s", "write `run 30s`"),
            ("run 30", "30s"),
            ("run goosefs fs masterInfo", "typed without `run`"),
            ("until", "write `until leader: present`"),
            ("until within: 5s", "write `until leader: present`"),
            ("until leader: gone", "gone"),
            ("until laeder: present", "leader"),
            ("fault", "kill"),
            ("fault kil: leader", "kill"),
            ("fault wait: 5s", "type it without `fault`"),
            ("kill: leader", "write `fault kill: leader`"),
            ("save", "save FILE.yaml"),
            ("history all", "leave `all` out"),
            ("unitl leader: present", "did you mean `until`"),
            ("goosefs fs masterinfo", "goosefs fs masterInfo"),
        ] {
            let error = Line::parse(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn help_names_every_word() {
        for word in Line::WORDS {
            assert!(HELP.lines().any(|line| line.starts_with(word)), "{word}");
        }
    }

    proptest! {
        #[test]
        fn no_line_is_too_wild(text in "(fault|until|expect|run|step|save)? ?[ a-z0-9:{}\\[\\],&*!'\"|>-]{0,30}") {
            if let Err(why) = Line::parse(&text) {
                prop_assert!(!why.is_empty());
            }
        }
    }
}
