//! The one-screen view of a run: simulated time, phase, step, hosts, faults.
//!
//! The run's thread only writes down what happened; another thread draws. So drawing takes no time, chance or clock from
//! the run, and a watched run is the same run.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::os::Every;
use super::progress::stamp;
use crate::base::{Seed, SimTime, lock};
use crate::report::{Paint, run::failover_line};
use crate::sim::outcome::{Failover, Phase, Screen};
use crate::sim::progress::{FaultNews, HostState, Load, ProcessState, Progress};
use crate::sim::scenario::Step;

/// Lines of the log that are shown.
const LOG: usize = 6;
/// Hosts that are shown one by one.
const HOSTS: usize = 12;
/// Time between two drawings.
const REDRAW: Duration = Duration::from_millis(100);

/// What is on the screen.
#[derive(Debug, Default)]
struct Model {
    title: String,
    at: SimTime,
    phase: Option<Phase>,
    step: Option<(usize, usize, String)>,
    hosts: Vec<HostState>,
    faults: Vec<(String, Vec<String>)>,
    load: Load,
    log: VecDeque<String>,
}

/// A [`Progress`] that draws on the terminal until it is dropped.
pub struct Live {
    model: Arc<Mutex<Model>>,
    _painter: Every,
}

impl Live {
    /// Begins to draw on standard error.
    pub fn new(scenario: &str, seed: Seed, paint: Paint) -> Self {
        let title = format!("{}  seed {seed}", paint.strong(scenario));
        let model = Arc::new(Mutex::new(Model { title, ..Model::default() }));
        let screen = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        screen.set_style(ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()));
        let shared = Arc::clone(&model);
        let painter = Every::new(REDRAW, move |last| {
            if last {
                screen.finish_and_clear();
            } else {
                screen.set_message(draw(&lock(&shared), paint));
            }
        });
        Self { model, _painter: painter }
    }

    fn write(&self, at: SimTime, change: impl FnOnce(&mut Model)) {
        let mut model = lock(&self.model);
        model.at = at;
        change(&mut model);
    }
}

impl Model {
    fn fault(&mut self, fault: &str, hosts: &[String], news: FaultNews) {
        match news {
            FaultNews::Begins => self.faults.push((fault.into(), hosts.into())),
            FaultNews::Ends => self.faults.retain(|(name, on)| !(name == fault && on == hosts)),
            FaultNews::Remedies => {
                self.faults.iter_mut().for_each(|(_, on)| on.retain(|host| !hosts.contains(host)));
                self.faults.retain(|(_, on)| !on.is_empty());
            }
        }
    }

    fn log(&mut self, line: String) {
        self.log.push_back(format!("{} {line}", stamp(self.at)));
        if self.log.len() > LOG {
            self.log.pop_front();
        }
    }
}

impl Progress for Live {
    fn on_phase(&mut self, at: SimTime, phase: Phase) {
        self.write(at, |model| {
            model.phase = Some(phase);
            if phase == Phase::Heal {
                model.faults.clear();
            }
        });
    }

    fn on_step(&mut self, at: SimTime, index: usize, count: usize, step: &Step) {
        self.write(at, |model| model.step = Some((index + 1, count, step.to_string())));
    }

    fn on_fault(&mut self, at: SimTime, fault: &str, hosts: &[String], news: FaultNews) {
        self.write(at, |model| {
            model.fault(fault, hosts, news);
            model.log(news.line(fault, hosts));
        });
    }

    fn on_roles(&mut self, at: SimTime, hosts: &[HostState]) {
        self.write(at, |model| model.hosts = hosts.into());
    }

    fn on_failover(&mut self, at: SimTime, failover: &Failover) {
        self.write(at, |model| model.log(failover_line(failover)));
    }

    fn on_screen(&mut self, screen: &Screen) {
        let first = screen.text.lines().next().unwrap_or("").to_string();
        self.write(screen.at, |model| model.log(format!("{}$ {}: {first}", screen.host, screen.command)));
    }

    fn on_time(&mut self, at: SimTime, load: Load) {
        self.write(at, |model| model.load = load);
    }
}

/// The screen as text.
fn draw(model: &Model, paint: Paint) -> String {
    let phase = model.phase.map_or_else(|| "loading".to_string(), |phase| phase.to_string());
    let mut lines = vec![format!("{}  {:.3} s simulated  {}", model.title, model.at, paint.good(&phase))];
    if let Some((index, count, step)) = &model.step {
        lines.push(format!("step {index}/{count}: {step}"));
    }
    for host in model.hosts.iter().take(HOSTS) {
        let term = host.term.map_or_else(String::new, |term| format!("  term {term}"));
        lines.push(format!("  {:<24} {}{term}", host.name, state(host, paint)));
    }
    if model.hosts.len() > HOSTS {
        lines.push(format!("  and {} more", model.hosts.len() - HOSTS));
    }
    let faults: Vec<String> = model.faults.iter().map(|(fault, on)| format!("{fault} ({})", on.join(", "))).collect();
    lines.push(match faults.as_slice() {
        [] => paint.faint("no fault"),
        some => format!("{} {}", paint.bad("faults"), some.join("; ")),
    });
    let Load { acked, open, events } = model.load;
    lines.push(format!("{acked} acked, {open} open, {events} events"));
    lines.extend(model.log.iter().map(|line| paint.faint(line)));
    lines.join("\n")
}

/// A host's state in one word.
fn state(host: &HostState, paint: Paint) -> String {
    match host.process {
        ProcessState::Up if host.role == "leader" => paint.good(host.role),
        ProcessState::Up => host.role.into(),
        ProcessState::CutOff => paint.warn(&format!("{} (cut off)", host.role)),
        ProcessState::Frozen => paint.warn(&format!("{} (frozen)", host.role)),
        ProcessState::Down => paint.bad("down"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_shown_until_it_ends_or_a_remedy_comes() {
        let (a, b) = (["a".to_owned()], ["b".to_owned()]);
        let mut model = Model::default();
        model.fault("kill", &[a[0].clone(), b[0].clone()], FaultNews::Begins);
        model.fault("freeze", &b, FaultNews::Begins);
        model.fault("restart", &a, FaultNews::Remedies);
        assert_eq!(model.faults, [("kill".to_owned(), b.to_vec()), ("freeze".to_owned(), b.to_vec())]);
        model.fault("freeze", &b, FaultNews::Ends);
        assert_eq!(model.faults, [("kill".to_owned(), b.to_vec())]);
        model.fault("heal", &b, FaultNews::Remedies);
        assert_eq!(model.faults, []);
    }

    #[test]
    fn the_screen_shows_time_roles_phase_and_faults() {
        let host = |name: &str, role, process, term| HostState { name: name.into(), role, process, term };
        let mut model = Model {
            title: "story  seed 7".into(),
            at: SimTime::from_millis(42_318),
            phase: Some(Phase::Safety),
            step: Some((4, 9, "kill leader".into())),
            hosts: vec![
                host("hbase-master-0", "leader", ProcessState::Down, None),
                host("hbase-master-1", "leader", ProcessState::Up, Some(2)),
                host("hbase-master-2", "follower", ProcessState::Frozen, Some(2)),
            ],
            faults: vec![("kill leader".into(), vec!["hbase-master-0".into()])],
            load: Load { acked: 17, open: 2, events: 9000 },
            log: VecDeque::new(),
        };
        for i in 0..10 {
            model.log(format!("line {i}"));
        }
        let want = "\
story  seed 7  42.318 s simulated  safety
step 4/9: kill leader
  hbase-master-0           down
  hbase-master-1           leader  term 2
  hbase-master-2           follower (frozen)  term 2
faults kill leader (hbase-master-0)
17 acked, 2 open, 9000 events
[    42.318 s] line 4
[    42.318 s] line 5
[    42.318 s] line 6
[    42.318 s] line 7
[    42.318 s] line 8
[    42.318 s] line 9";
        assert_eq!(draw(&model, Paint::PLAIN), want);
    }
}
