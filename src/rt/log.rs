//! The stack's own log (`tracing`) as events of the world: stamped with simulated time and host by the engine.
//!
//! A layer for `tracing-subscriber`. Spans are told by the names of those that enclose an event, outermost first.
//! Libraries are heard from `WARN` up only: openraft prints instants at `INFO`, by the machine's clock and in its time
//! zone, which would make a trace depend on where it was made.

use std::fmt::{self, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};

use super::backend::with_engine;

/// Sends every event up to a level to the world of this thread.
#[derive(Debug, Default, Clone, Copy)]
pub struct WorldLog;

impl WorldLog {
    /// Makes this thread log into its world until the guard is dropped: our own code up to `level`, libraries up to
    /// `WARN`. Callsites above cost nothing.
    #[must_use = "logging ends when the guard is dropped"]
    pub fn install(level: LevelFilter) -> tracing::subscriber::DefaultGuard {
        let heard = Targets::new().with_target("stormglass", level).with_default(LevelFilter::WARN.min(level));
        // An engine's own log is no part of its world; madsim has a span for every task.
        let heard = heard.with_target("madsim", LevelFilter::OFF);
        tracing::subscriber::set_default(Registry::default().with(Self.with_filter(heard)))
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for WorldLog {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut line = Line::default();
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            line.text.push_str(span.name());
            line.text.push_str(": ");
        }
        event.record(&mut line);
        let meta = event.metadata();
        with_engine(|e| e.log(meta.level().as_str(), meta.target(), &line.text));
    }
}

/// `message field=value …`
#[derive(Default)]
struct Line {
    text: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String does not fail.
        let _ = match field.name() {
            "message" => write!(self.text, "{value:?}"),
            name => write!(self.text, " {name}={value:?}"),
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = match field.name() {
            "message" => write!(self.text, "{value}"),
            name => write!(self.text, " {name}={value}"),
        };
    }
}
