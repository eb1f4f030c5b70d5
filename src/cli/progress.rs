//! Progress as plain lines, for pipes and logs.
//!
//! One line per change; the clock alone prints nothing.

use super::os;
use crate::base::SimTime;
use crate::report::run::failover_line;
use crate::sim::outcome::{Failover, Phase};
use crate::sim::progress::{FaultNews, HostState, ProcessState, Progress};
use crate::sim::scenario::Step;

/// A [`Progress`] that writes lines to standard error.
#[derive(Debug, Default)]
pub struct Lines {
    masters: String,
}

/// `[    12.345 s]`: times that line up.
pub fn stamp(at: SimTime) -> String {
    format!("[{:>10} s]", format!("{at:.3}"))
}

fn line(at: SimTime, text: &str) {
    os::err(&format!("{} {text}\n", stamp(at)));
}

impl Progress for Lines {
    fn on_phase(&mut self, at: SimTime, phase: Phase) {
        line(at, &format!("phase {phase}"));
    }

    fn on_step(&mut self, at: SimTime, index: usize, count: usize, step: &Step) {
        line(at, &format!("step {}/{count}: {step}", index + 1));
    }

    fn on_fault(&mut self, at: SimTime, fault: &str, hosts: &[String], news: FaultNews) {
        line(at, &news.line(fault, hosts));
    }

    fn on_roles(&mut self, at: SimTime, hosts: &[HostState]) {
        let masters = masters(hosts);
        if masters != self.masters {
            line(at, &format!("masters: {masters}"));
            self.masters = masters;
        }
    }

    fn on_failover(&mut self, at: SimTime, failover: &Failover) {
        line(at, &failover_line(failover));
    }
}

/// Hosts with a term, in one line.
fn masters(hosts: &[HostState]) -> String {
    let one = |host: &HostState| {
        let how = match host.process {
            ProcessState::Up => host.role.to_string(),
            ProcessState::CutOff => format!("{}, cut off", host.role),
            ProcessState::Frozen => format!("{}, frozen", host.role),
            ProcessState::Down => "down".into(),
        };
        let term = host.term.map_or_else(String::new, |term| format!(" term {term}"));
        format!("{} {how}{term}", host.name)
    };
    let all: Vec<String> = hosts.iter().filter(|host| host.term.is_some()).map(one).collect();
    all.join("; ")
}
