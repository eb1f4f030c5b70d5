//! Events: what `kubectl describe` shows at its end, and `kubectl get events`.
//!
//! Follows client-go's `tools/record`: an event that comes again counts up instead of being written anew; many of a kind
//! that differ in their message are combined; a source that talks too much about one object is not heard. Recording never
//! waits and never fails: events may be lost, and nothing may depend on them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde_json::json;

use super::{Client, Patch};
use crate::kube::clock;
use crate::kube::kind::ApiObject;
use crate::rt::chan::mpsc;
use crate::rt::task::Scope;
use crate::rt::time::{Duration, Instant, sleep};

/// The recorder's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecorderConfig {
    /// Events that differ only in their message before they are combined: 10.
    pub similar_max: usize,
    /// …within: 10 minutes.
    pub similar_span: Duration,
    /// Events about one object at once: 25.
    pub burst: u32,
    /// …and one more every: 5 minutes.
    pub refill: Duration,
    /// How often an event is sent to a server that does not answer: 12.
    pub tries_max: u32,
    /// Between two tries: 10 s.
    pub retry_period: Duration,
}

impl Default for RecorderConfig {
    fn default() -> Self {
        Self {
            similar_max: 10,
            similar_span: Duration::from_secs(600),
            burst: 25,
            refill: Duration::from_secs(300),
            tries_max: 12,
            retry_period: Duration::from_secs(10),
        }
    }
}

/// Whether it is something to worry about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventType {
    /// No.
    Normal,
    /// Perhaps.
    Warning,
}

impl EventType {
    /// As events say it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

struct Note {
    about: ObjectReference,
    type_: EventType,
    reason: String,
    message: String,
}

/// Records the events of one component. Cloning shares it; what is not yet sent when the last clone goes is lost.
#[derive(Clone)]
pub struct EventRecorder {
    notes: mpsc::UnboundedSender<Note>,
    _task: Arc<Scope>,
}

impl EventRecorder {
    /// For a component (`kubelet`) on a host; controllers have none.
    pub fn new(client: &Client, component: &str, host: &str) -> Self {
        Self::with_config(client, component, host, RecorderConfig::default())
    }

    /// With other numbers than client-go's.
    pub fn with_config(client: &Client, component: &str, host: &str, config: RecorderConfig) -> Self {
        let (notes, receiver) = mpsc::unbounded_channel();
        let source = EventSource {
            component: Some(component.into()),
            host: Some(host.to_owned()).filter(|host| !host.is_empty()),
        };
        let scope = Scope::new();
        scope.spawn("event-recorder", send_all(client.clone(), source, config, receiver));
        Self { notes, _task: Arc::new(scope) }
    }

    /// Something happened to an object. The message must hold no secret.
    pub fn event<K: ApiObject>(&self, about: &K, type_: EventType, reason: &str, message: impl Into<String>) {
        let mut reference = about.object_ref(&());
        reference.resource_version.clone_from(&about.meta().resource_version);
        self.event_about(reference, type_, reason, message);
    }

    /// Something happened to an object that is not at hand, or to a part of it.
    pub fn event_about(&self, about: ObjectReference, type_: EventType, reason: &str, message: impl Into<String>) {
        let note = Note { about, type_, reason: reason.into(), message: message.into() };
        // Without its task, which ends with the process only, nobody is left to hear it.
        let _ = self.notes.send(note);
    }
}

/// What tells similar events from others: everything but the message.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Similar {
    object: (String, String, String, String),
    type_: EventType,
    reason: String,
}

impl Similar {
    fn of(note: &Note) -> Self {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let about = &note.about;
        let object = (text(&about.kind), text(&about.namespace), text(&about.name), text(&about.uid));
        Self { object, type_: note.type_, reason: note.reason.clone() }
    }
}

/// What to do about a note.
#[derive(Debug, PartialEq, Eq)]
enum Decision {
    /// Too many about this object.
    Drop,
    /// A new event with this message.
    Write(String),
    /// One more of an event that is there.
    Count { name: String, count: i32, message: String },
}

/// Decides; pure but for what it remembers. Sizes are bounded by forgetting everything.
struct Correlator {
    config: RecorderConfig,
    /// Messages of similar events, and since when.
    similar: BTreeMap<Similar, (Instant, BTreeSet<String>)>,
    /// Events that were written: their name and count.
    written: BTreeMap<(Similar, String), (String, i32)>,
    /// What may still be said about an object, and since when.
    budget: BTreeMap<(String, String, String, String), (u32, Instant)>,
}

/// `maxLruCacheEntries`.
const REMEMBERED_MAX: usize = 4096;
const COMBINED: &str = "(combined from similar events): ";

impl Correlator {
    fn new(config: RecorderConfig) -> Self {
        Self { config, similar: BTreeMap::new(), written: BTreeMap::new(), budget: BTreeMap::new() }
    }

    fn decide(&mut self, note: &Note, now: Instant) -> Decision {
        let similar = Similar::of(note);
        if !self.spend(&similar, now) {
            return Decision::Drop;
        }
        let (message, key) = self.combine(similar, &note.message, now);
        match self.written.get_mut(&key) {
            Some((name, count)) => {
                *count = count.saturating_add(1);
                Decision::Count { name: name.clone(), count: *count, message }
            }
            None => Decision::Write(message),
        }
    }

    fn spend(&mut self, similar: &Similar, now: Instant) -> bool {
        let RecorderConfig { burst, refill, .. } = self.config;
        if self.budget.len() > REMEMBERED_MAX {
            self.budget.clear();
        }
        let (left, since) = self.budget.entry(similar.object.clone()).or_insert((burst, now));
        let periods = now.duration_since(*since).as_nanos() / refill.as_nanos().max(1);
        if periods > 0 {
            *left = left.saturating_add(u32::try_from(periods).unwrap_or(burst)).min(burst);
            *since = now;
        }
        let may = *left > 0;
        *left = left.saturating_sub(1);
        may
    }

    /// The message to write, and under what it is remembered.
    fn combine(&mut self, similar: Similar, message: &str, now: Instant) -> (String, (Similar, String)) {
        let RecorderConfig { similar_max, similar_span, .. } = self.config;
        if self.similar.len() > REMEMBERED_MAX {
            self.similar.clear();
        }
        let (last, messages) = self.similar.entry(similar.clone()).or_insert_with(|| (now, BTreeSet::new()));
        if now.duration_since(*last) > similar_span {
            messages.clear();
        }
        *last = now;
        messages.insert(message.into());
        if messages.len() < similar_max {
            return (message.into(), (similar, message.into()));
        }
        // Upstream forgets one, so that the set does not grow.
        messages.pop_first();
        (format!("{COMBINED}{message}"), (similar, COMBINED.into()))
    }

    fn wrote(&mut self, note: &Note, message: &str, name: String) {
        if self.written.len() > REMEMBERED_MAX {
            self.written.clear();
        }
        let key = if message.starts_with(COMBINED) { COMBINED } else { message };
        self.written.insert((Similar::of(note), key.into()), (name, 1));
    }
}

async fn send_all(
    client: Client,
    source: EventSource,
    config: RecorderConfig,
    mut notes: mpsc::UnboundedReceiver<Note>,
) {
    let mut correlator = Correlator::new(config);
    while let Some(note) = notes.recv().await {
        let now = clock::time_now();
        match correlator.decide(&note, Instant::now()) {
            Decision::Drop => {}
            Decision::Write(message) => write(&client, &source, &mut correlator, &note, message, now).await,
            Decision::Count { name, count, message } => {
                let patch = Patch::Merge(json!({"count": count, "lastTimestamp": now, "message": message}));
                let namespace = namespace(&note);
                let counted = client.patch::<Event>(&namespace, &name, &patch).await;
                // Somebody deleted it, or its time was over.
                if counted.is_err_and(|error| error.is_not_found()) {
                    write(&client, &source, &mut correlator, &note, message, now).await;
                }
            }
        }
    }
}

fn namespace(note: &Note) -> String {
    note.about.namespace.clone().filter(|namespace| !namespace.is_empty()).unwrap_or_else(|| "default".into())
}

async fn write(
    client: &Client,
    source: &EventSource,
    correlator: &mut Correlator,
    note: &Note,
    message: String,
    now: Time,
) {
    let nanos = clock::now().as_nanosecond();
    let name = format!("{}.{nanos:x}", note.about.name.as_deref().unwrap_or("event"));
    let event = Event {
        metadata: ObjectMeta { name: Some(name.clone()), namespace: Some(namespace(note)), ..ObjectMeta::default() },
        involved_object: note.about.clone(),
        type_: Some(note.type_.word().into()),
        reason: Some(note.reason.clone()),
        message: Some(message.clone()),
        source: Some(source.clone()),
        reporting_component: source.component.clone(),
        reporting_instance: source.host.clone(),
        first_timestamp: Some(now.clone()),
        last_timestamp: Some(now),
        count: Some(1),
        ..Event::default()
    };
    for _ in 0..correlator.config.tries_max {
        match client.post(&event).await {
            Ok(()) => return correlator.wrote(note, &message, name),
            Err(error) if error.is_transport() => sleep(correlator.config.retry_period).await,
            Err(error) => return tracing::debug!(%error, reason = note.reason, "event not recorded"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(reason: &str, message: &str) -> Note {
        let about = ObjectReference { kind: Some("Pod".into()), name: Some("p".into()), ..ObjectReference::default() };
        Note { about, type_: EventType::Warning, reason: reason.into(), message: message.into() }
    }

    #[test]
    fn the_same_event_counts_up() {
        let mut correlator = Correlator::new(RecorderConfig::default());
        let now = Instant::now();
        let failed = note("BackOff", "again");
        assert_eq!(correlator.decide(&failed, now), Decision::Write("again".into()));
        correlator.wrote(&failed, "again", "p.1".into());
        for count in [2, 3] {
            let want = Decision::Count { name: "p.1".into(), count, message: "again".into() };
            assert_eq!(correlator.decide(&failed, now), want);
        }
        assert_eq!(correlator.decide(&note("Killing", "again"), now), Decision::Write("again".into()));
    }

    #[test]
    fn similar_events_are_combined_and_floods_dropped() {
        let mut correlator = Correlator::new(RecorderConfig::default());
        let now = Instant::now();
        let mut decisions = Vec::new();
        for n in 0..30 {
            let one = note("Failed", &format!("try {n}"));
            let decision = correlator.decide(&one, now);
            if let Decision::Write(message) = &decision {
                correlator.wrote(&one, message, format!("p.{n}"));
            }
            decisions.push(decision);
        }
        assert_eq!(decisions[8], Decision::Write("try 8".into()));
        assert_eq!(decisions[9], Decision::Write(format!("{COMBINED}try 9")));
        let tenth = Decision::Count { name: "p.9".into(), count: 2, message: format!("{COMBINED}try 10") };
        assert_eq!(decisions[10], tenth);
        assert!(decisions[..25].iter().all(|decision| *decision != Decision::Drop));
        assert!(decisions[25..].iter().all(|decision| *decision == Decision::Drop));
        let later = now + RecorderConfig::default().refill;
        assert_ne!(correlator.decide(&note("Failed", "late"), later), Decision::Drop);
        assert_eq!(correlator.decide(&note("Failed", "late"), later), Decision::Drop);
    }
}
