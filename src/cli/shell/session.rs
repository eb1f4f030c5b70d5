//! Who sits at the prompt: lines from standard input, answers to standard output, mistakes to standard error.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use super::saved::moved;
use super::{HELP, History, Line, complete};
use crate::base::SimTime;
use crate::cli::os;
use crate::cli::progress::stamp;
use crate::sim::prompt::{Answer, Ask, Prompt};
use crate::sim::scenario::{Scenario, Span, Spec, Step, check, load};

/// How long `until` waits if it is not told.
const UNTIL_WITHIN: Duration = Duration::from_secs(600);

/// A session at the prompt.
pub struct Session<'a> {
    scenario: &'a Scenario,
    history: History,
    /// What the world was asked last, and has not answered yet.
    asked: Option<(String, Line)>,
    /// Somebody types.
    terminal: bool,
    /// The file that was written last, and how many steps it has.
    saved: Option<(String, usize)>,
}

impl<'a> Session<'a> {
    /// Nothing typed yet.
    pub fn new(scenario: &'a Scenario) -> Self {
        let terminal = os::in_is_terminal();
        Self { scenario, history: History::new(), asked: None, terminal, saved: None }
    }

    /// The file that holds all that was done.
    pub fn saved(&self) -> Option<&str> {
        let whole = |(_, steps): &&(String, usize)| *steps == self.history.steps().len();
        self.saved.as_ref().filter(whole).map(|(path, _)| path.as_str())
    }

    /// What a line asks of the world, if it is not answered here. The error says what is wrong with it.
    fn ask(&mut self, line: &Line) -> Result<Option<Ask>, String> {
        let step = match line {
            Line::Nothing | Line::Quit => return Ok(None),
            Line::Events(count) => return Ok(Some(Ask::Events(*count))),
            Line::Trace(count) => return Ok(Some(Ask::Trace(*count))),
            Line::Pass(span) => Step::Wait(*span),
            Line::Until(expect) => {
                let mut expect = expect.clone();
                expect.within = expect.within.or(Some(Span(UNTIL_WITHIN)));
                Step::Expect(expect)
            }
            Line::Do(step) => step.clone(),
            Line::History => {
                for (i, line) in self.history.lines().iter().enumerate() {
                    os::out(&format!("{:>5}  {line}\n", i + 1));
                }
                return Ok(None);
            }
            Line::Help => {
                os::out(&format!("{HELP}\n"));
                return Ok(None);
            }
            Line::Save(path) => return self.save(path).map(|()| None),
        };
        self.check(&step)?;
        Ok(Some(Ask::Step(step)))
    }

    /// Whether the step makes sense after those before, as a scenario's must.
    fn check(&self, step: &Step) -> Result<(), String> {
        let mut scenario = self.scenario.clone();
        scenario.spec.steps = self.history.steps().to_vec();
        let place = format!("steps.{}.", scenario.spec.steps.len());
        scenario.spec.steps.push(step.clone());
        let mut problems = check::spec(&scenario.path, &scenario.spec);
        problems.extend(check::names(&scenario));
        match problems.iter().find(|problem| problem.place.starts_with(&place)) {
            Some(problem) => Err(format!("{}; {}", problem.message, problem.help)),
            None => Ok(()),
        }
    }

    fn save(&mut self, path: &str) -> Result<(), String> {
        let ours = self.saved.as_ref().is_some_and(|(saved, _)| saved == path);
        if os::exists(path) && !ours {
            return Err(format!("{path} is there already; write another name"));
        }
        let stem = Path::new(path).file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let name = stem.ok_or_else(|| format!("{path} is no file's name; write `save FILE.yaml`"))?;
        let text = self.history.scenario(&self.moved(path), &name).map_err(|error| error.to_string())?;
        let cannot = |error| format!("cannot write {path}: {error}");
        let mut file = os::create(path.as_ref()).map_err(cannot)?;
        file.write_all(text.as_bytes()).and_then(|()| file.flush()).map_err(cannot)?;
        drop(file);
        let steps = self.history.steps().len();
        self.saved = Some((path.to_owned(), steps));
        load(path, &os::read).map_err(|error| format!("{path} was written, and cannot be run:\n{error}"))?;
        os::out(&format!("{path}: {steps} steps\n"));
        Ok(())
    }

    /// The scenario's spec as a file at `path` must have it.
    fn moved(&self, path: &str) -> Spec {
        let (from, to) = (os::absolute(&self.scenario.path), os::absolute(path));
        let folder = |path| Path::new(path).parent().unwrap_or(Path::new("/"));
        moved(&self.scenario.spec, folder(&from), folder(&to))
    }

    /// The next line; none at the end of input.
    fn read(&self, now: SimTime) -> Option<String> {
        if self.terminal {
            os::out(&format!("stormglass {}> ", stamp(now)));
        }
        match os::line() {
            Ok(Some(text)) => Some(text),
            Ok(None) => {
                if self.terminal {
                    os::out("\n");
                }
                None
            }
            Err(error) => {
                os::err(&format!("error: cannot read what is typed: {error}\n"));
                None
            }
        }
    }
}

impl Prompt for Session<'_> {
    fn next(&mut self, now: SimTime) -> Option<Ask> {
        loop {
            let text = self.read(now)?;
            if let Some(begun) = text.strip_suffix('\t') {
                complete(begun).iter().for_each(|line| os::out(&format!("{line}\n")));
                continue;
            }
            let line = match Line::parse(&text) {
                Ok(Line::Quit) => return None,
                Ok(line) => line,
                Err(why) => {
                    os::err(&format!("error: {why}\n"));
                    continue;
                }
            };
            match self.ask(&line) {
                Ok(Some(ask)) => {
                    self.asked = Some((text, line));
                    return Some(ask);
                }
                Ok(None) => self.history.add(&text, &line, Duration::ZERO),
                Err(why) => os::err(&format!("error: {why}\n")),
            }
        }
    }

    fn answer(&mut self, now: SimTime, answer: Answer) {
        let took = match &answer {
            Answer::Refused(why) => {
                self.asked = None;
                os::err(&format!("error: {why}\n"));
                return;
            }
            Answer::Passed { took, .. } | Answer::Expected { took, .. } => *took,
            Answer::Screen(_) | Answer::Fault(_) | Answer::Trace(_) => Duration::ZERO,
        };
        if let Some((text, line)) = self.asked.take() {
            self.history.add(&text, &line, took);
        }
        os::out(&shown(now, &answer));
    }
}

/// An answer as it is printed.
fn shown(now: SimTime, answer: &Answer) -> String {
    let seconds = |took: &Duration| format!("{}.{:03} s", took.as_secs(), took.subsec_millis());
    match answer {
        Answer::Passed { took, events } => format!("{} {} passed, {events} events\n", stamp(now), seconds(took)),
        Answer::Screen(screen) => {
            let end = if screen.text.is_empty() || screen.text.ends_with('\n') { "" } else { "\n" };
            let status = if screen.status == 0 { String::new() } else { format!("exit status {}\n", screen.status) };
            format!("{}{end}{status}", screen.text)
        }
        Answer::Expected { met: true, took } => format!("{} so it is, after {}\n", stamp(now), seconds(took)),
        Answer::Expected { met: false, took } => format!("{} not so, after {}\n", stamp(now), seconds(took)),
        Answer::Fault(text) => format!("{} {text}\n", stamp(now)),
        Answer::Trace(events) => events.iter().map(|event| format!("{event}\n")).collect(),
        Answer::Refused(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::outcome::Screen;

    #[test]
    fn answers_say_what_came_of_it() {
        let now = SimTime::from_millis(12_340);
        let screen = |text: &str, status| {
            Answer::Screen(Screen {
                name: "x".into(),
                command: "x".into(),
                host: "user".into(),
                at: now,
                took: Duration::ZERO,
                status,
                text: text.into(),
            })
        };
        let took = Duration::from_millis(4_070);
        for (answer, text) in [
            (Answer::Passed { took, events: 9 }, "[    12.340 s] 4.070 s passed, 9 events\n"),
            (screen("a\nb\n", 0), "a\nb\n"),
            (screen("", 0), ""),
            (screen("gone", 1), "gone\nexit status 1\n"),
            (Answer::Expected { met: true, took }, "[    12.340 s] so it is, after 4.070 s\n"),
            (Answer::Expected { met: false, took }, "[    12.340 s] not so, after 4.070 s\n"),
            (Answer::Fault("kill leader on a".into()), "[    12.340 s] kill leader on a\n"),
            (Answer::Trace(vec!["a".into(), "b".into()]), "a\nb\n"),
        ] {
            assert_eq!(shown(now, &answer), text);
        }
    }

    #[test]
    fn what_could_never_be_is_refused_before_it_is_done() {
        let scenario = load("scenarios/goosefs-leader-crash.yaml", &os::read).expect("a scenario");
        let mut session = Session::new(&scenario);
        for (text, part) in [
            ("fault kill: nowhere", Some("nowhere")),
            ("until leader: changed", Some("no fault happened yet")),
            ("expect output: {contains: [x]}", Some("no command was run yet")),
            ("expect live_workers: 4000", Some("4000")),
            ("kubectl get pod", Some("kubectl without Kubernetes")),
            ("until service: available", None),
            ("fault kill: leader", None),
        ] {
            let line = Line::parse(text).expect(text);
            match (session.ask(&line), part) {
                (Ok(Some(Ask::Step(_))), None) => session.history.add(text, &line, Duration::ZERO),
                (Err(why), Some(part)) => assert!(why.contains(part), "{text}: {why}"),
                (other, _) => panic!("{text}: {other:?}"),
            }
        }
        assert!(session.ask(&Line::parse("until leader: changed").expect("legal")).is_ok());
    }
}
