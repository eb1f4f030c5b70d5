//! The scheduler: kube-scheduler's rules as pure decisions, and a thin loop around them.
//!
//! | question | module |
//! |---|---|
//! | which nodes can run the pod, and why not | [`filter`] |
//! | which of them should | [`score`] |
//! | whose turn is it | [`queue`] |
//! | what wakes whom | [`event`] |
//! | who has to go so that it fits | [`preempt`] |
//! | what does the user see | [`message`] |
//!
//! Left out: extenders, profiles, dynamic resources, scheduling gates' timing, disruption budgets.

pub mod config;

pub mod resources;

pub mod pod;

pub mod snapshot;

pub mod filter;

pub mod score;

pub mod place;

pub mod message;

pub mod preempt;

pub mod event;

pub mod queue;

pub mod cache;

pub mod tell;

pub mod bind;

mod run;

pub use config::SchedulerConfig;
pub use run::run;
