//! The client history as it grows: every call to the masters and every read of bytes.
//!
//! Times are the world's, from the clock given at the start, never a host's own. A call is in the history as pending from
//! the moment it begins; when its client dies, its outcome is unknown for ever. `Blocks`, which opens a file, counts as a
//! `Stat`: it promises as much about the path. Requests that promise nothing about the namespace are left out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use crate::base::{SimTime, lock};
use crate::oracle::history::{Answer, BytesSeen, Call, Content, Operation, Outcome};
use crate::oracle::observation::UfsVersion;
use crate::stack::client::Audit;
use crate::stack::wire::master::{Change, MasterAnswer, MasterReply, MasterRequest};
use crate::stack::wire::{FsError, FsResult, InodeId, OpId};

/// World time.
pub type Clock = Arc<dyn Fn() -> SimTime + Send + Sync>;

/// How many of the files completed last are remembered for later reads.
const RECENT_MAX: usize = 32;

/// Everything the clients of one run asked and saw. Shared by all of them; survives their deaths.
pub struct Recorder {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    operations: Vec<Operation>,
    /// Calls under way, by operation id, and where they are in `operations`.
    under_way: BTreeMap<OpId, usize>,
    /// Invocations of `Blocks` calls under way: they enter the history when they end.
    opens: BTreeMap<OpId, SimTime>,
    /// What clients write into the files they made; its key is the path of creation.
    contents: BTreeMap<InodeId, Content>,
    /// Files that somebody else wrote: nobody knows their bytes.
    unknown: BTreeSet<InodeId>,
    versions: u64,
    under_store: Vec<UfsVersion>,
    recent: VecDeque<String>,
    acked: u64,
    last_ack: Option<SimTime>,
    /// Bytes read, by where they came from.
    bytes: BTreeMap<&'static str, u64>,
}

impl Recorder {
    /// An empty history. `under_store`: what the under-stores serve at the start.
    pub fn new(clock: Clock, under_store: Vec<UfsVersion>) -> Arc<Self> {
        Arc::new(Self { clock, state: Mutex::new(State { under_store, ..State::default() }) })
    }

    /// World time.
    pub fn now(&self) -> SimTime {
        (self.clock)()
    }

    /// The hook of one client.
    pub fn audit(self: &Arc<Self>, client: u32) -> Arc<dyn Audit> {
        Arc::new(ClientAudit { client, recorder: self.clone() })
    }

    /// Calls that began and have not ended.
    pub fn pending(&self) -> usize {
        lock(&self.state).under_way.len()
    }

    /// Whether any client waits for an answer, to open a file included.
    pub fn waiting(&self) -> bool {
        let state = lock(&self.state);
        !state.under_way.is_empty() || !state.opens.is_empty()
    }

    /// Changes acknowledged so far, refusals left out.
    pub fn acked(&self) -> u64 {
        lock(&self.state).acked
    }

    /// When the last change was acknowledged.
    pub fn last_ack(&self) -> Option<SimTime> {
        lock(&self.state).last_ack
    }

    /// How many operations there are.
    pub fn len(&self) -> usize {
        lock(&self.state).operations.len()
    }

    /// Whether nothing was asked yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A copy of all operations, in order of invocation, but for opens and reads, which stand where they ended.
    pub fn operations(&self) -> Vec<Operation> {
        lock(&self.state).operations.clone()
    }

    /// Looks at the operations without a copy. `look` must not call back.
    pub fn look<R>(&self, look: impl FnOnce(&[Operation]) -> R) -> R {
        look(&lock(&self.state).operations)
    }

    /// All versions of under-store files.
    pub fn under_store(&self) -> Vec<UfsVersion> {
        lock(&self.state).under_store.clone()
    }

    /// Counts by kind of call and outcome, such as `create.acked`, and bytes read by source, such as `bytes.cached`, for
    /// reports.
    pub fn counters(&self) -> BTreeMap<String, u64> {
        let state = lock(&self.state);
        let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for operation in &state.operations {
            *counts.entry((kind(&operation.call), fate(&operation.outcome))).or_default() += 1;
        }
        counts.extend(state.bytes.iter().map(|(from, bytes)| (("bytes", *from), *bytes)));
        counts.into_iter().map(|((kind, fate), count)| (format!("{kind}.{fate}"), count)).collect()
    }

    /// Paths where files were completed or moved to lately; some may be gone.
    pub(super) fn recent(&self) -> Vec<String> {
        lock(&self.state).recent.iter().cloned().collect()
    }

    /// Paths of all under-store files.
    pub(super) fn under_store_paths(&self) -> Vec<String> {
        let mut paths: Vec<String> = lock(&self.state).under_store.iter().map(|v| v.path.clone()).collect();
        paths.sort_unstable();
        paths.dedup();
        paths
    }

    /// What its client writes into a file.
    pub(super) fn content(&self, file: InodeId) -> Option<Content> {
        lock(&self.state).contents.get(&file).cloned()
    }

    /// The file is written by a program whose bytes are its own affair: reads of it cannot be judged.
    pub fn unknown_content(&self, file: InodeId) {
        lock(&self.state).unknown.insert(file);
    }

    /// What the bytes of a file may be, likeliest first: of its writer, or any version of the under-store's file.
    pub(super) fn candidates(&self, file: InodeId, path: &str) -> Vec<Content> {
        let state = lock(&self.state);
        match state.contents.get(&file) {
            _ if state.unknown.contains(&file) => Vec::new(),
            Some(content) => vec![content.clone()],
            None => state.under_store.iter().rev().filter(|v| v.path == path).map(|v| v.content.clone()).collect(),
        }
    }

    /// Adds a read of bytes that has ended.
    pub(super) fn read(&self, client: u32, op: OpId, call: Call, invoked: SimTime, seen: BytesSeen) {
        let returned = self.now();
        let outcome = Outcome::Acked { returned, index: 0, term: 0, answer: Answer::Bytes(seen) };
        let operation = Operation { client, op, call, invoked, attempts: 1, outcome };
        lock(&self.state).operations.push(operation);
    }

    /// Adds bytes that came from a source.
    pub(super) fn came(&self, from: &'static str, bytes: u64) {
        *lock(&self.state).bytes.entry(from).or_default() += bytes;
    }

    /// A client is gone: what it had asked may take effect or not, and nobody will hear of it.
    pub(super) fn abandon(&self, client: u32) {
        let returned = self.now();
        let mut state = lock(&self.state);
        let State { operations, under_way, .. } = &mut *state;
        under_way.retain(|_, at| {
            let operation = &mut operations[*at];
            let kept = operation.client != client;
            if !kept {
                operation.outcome = Outcome::Unknown { returned, error: "the client died".into(), documented: true };
            }
            kept
        });
    }

    fn began(&self, client: u32, op: OpId, request: &MasterRequest) {
        let invoked = self.now();
        let mut state = lock(&self.state);
        if let MasterRequest::Blocks { .. } = request {
            state.opens.insert(op, invoked);
            return;
        }
        let Some(call) = state.call(request) else { return };
        let at = state.operations.len();
        state.under_way.insert(op, at);
        state.operations.push(Operation { client, op, call, invoked, attempts: 0, outcome: Outcome::Pending });
    }

    fn ended(&self, op: OpId, attempts: u32, reply: &FsResult<MasterReply>) {
        let returned = self.now();
        let mut state = lock(&self.state);
        let Some(at) = state.under_way.remove(&op) else { return };
        if let Ok(MasterReply { result: Ok(answer), .. }) = reply {
            let call = state.operations[at].call.clone();
            state.carried_out(&call, answer);
        }
        let operation = &mut state.operations[at];
        (operation.attempts, operation.outcome) = (attempts, Outcome::of(returned, reply));
        if operation.acked_change() {
            state.acked += 1;
            state.last_ack = Some(returned);
        }
    }

    /// The end of a `Blocks` call, as a `Stat`. `IsADirectory` is left out: a stat would have told the directory.
    fn opened(&self, client: u32, op: OpId, path: &str, attempts: u32, reply: &FsResult<MasterReply>) {
        let returned = self.now();
        let mut state = lock(&self.state);
        let Some(invoked) = state.opens.remove(&op) else { return };
        let reply = match reply {
            Ok(MasterReply { index, term, result: Ok(MasterAnswer::Blocks { info, .. }) }) => {
                Ok(MasterReply { index: *index, term: *term, result: Ok(MasterAnswer::Info(info.clone())) })
            }
            Ok(MasterReply { result: Err(FsError::IsADirectory(_)), .. }) => return,
            other => other.clone(),
        };
        let outcome = Outcome::of(returned, &reply);
        let call = Call::Stat { path: path.into() };
        state.operations.push(Operation { client, op, call, invoked, attempts, outcome });
    }
}

impl State {
    fn call(&self, request: &MasterRequest) -> Option<Call> {
        let change = match request {
            MasterRequest::Stat { path } => return Some(Call::Stat { path: path.clone() }),
            MasterRequest::List { path } => return Some(Call::List { path: path.clone() }),
            MasterRequest::Change { change, .. } => change.clone(),
            _ => return None,
        };
        Some(match change {
            Change::Mkdir { path, recursive } => Call::Mkdir { path, recursive },
            Change::Create { path, .. } => Call::Create { path },
            Change::Complete { file, length } => {
                let unknown = || Content { key: String::new(), version: 0 };
                let content = self.contents.get(&file).cloned().unwrap_or_else(unknown);
                Call::Complete { file, path: content.key.clone(), length, content }
            }
            Change::Rename { from, to } => Call::Rename { from, to },
            Change::Delete { path, recursive } => Call::Delete { path, recursive },
            Change::Mount { .. } | Change::Unmount { .. } => return None,
        })
    }

    /// What clients may count on, more or less, after a change.
    fn carried_out(&mut self, call: &Call, answer: &MasterAnswer) {
        match (call, answer) {
            (Call::Create { path }, MasterAnswer::Info(info)) => {
                self.versions += 1;
                self.contents.insert(info.id, Content { key: path.clone(), version: self.versions });
            }
            (Call::Complete { path, .. }, _) => self.is_there(path.clone()),
            (Call::Rename { from, to }, _) => {
                let was_file = self.recent.contains(from);
                self.is_gone(from);
                if was_file {
                    self.is_there(to.clone());
                }
            }
            (Call::Delete { path, .. }, _) => self.is_gone(path),
            _ => {}
        }
    }

    fn is_there(&mut self, path: String) {
        self.recent.retain(|other| *other != path);
        self.recent.push_back(path);
        if self.recent.len() > RECENT_MAX {
            self.recent.pop_front();
        }
    }

    fn is_gone(&mut self, path: &str) {
        self.recent
            .retain(|other| other.strip_prefix(path).is_none_or(|rest| !rest.is_empty() && !rest.starts_with('/')));
    }
}

/// One client's hook.
struct ClientAudit {
    client: u32,
    recorder: Arc<Recorder>,
}

impl Audit for ClientAudit {
    fn began(&self, op: OpId, request: &MasterRequest) {
        self.recorder.began(self.client, op, request);
    }

    fn ended(&self, op: OpId, request: &MasterRequest, attempts: u32, reply: &FsResult<MasterReply>) {
        match request {
            MasterRequest::Blocks { path } => self.recorder.opened(self.client, op, path, attempts, reply),
            _ => self.recorder.ended(op, attempts, reply),
        }
    }
}

fn kind(call: &Call) -> &'static str {
    match call {
        Call::Mkdir { .. } => "mkdir",
        Call::Create { .. } => "create",
        Call::Complete { .. } => "complete",
        Call::Rename { .. } => "rename",
        Call::Delete { .. } => "delete",
        Call::Stat { .. } => "stat",
        Call::List { .. } => "list",
        Call::Read { .. } => "read",
    }
}

fn fate(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Pending => "pending",
        Outcome::Unknown { .. } => "unknown",
        Outcome::Acked { answer: Answer::Refused(_), .. } => "refused",
        Outcome::Acked { answer: Answer::Bytes(BytesSeen::Failed(_)), .. } => "failed",
        Outcome::Acked { answer: Answer::Bytes(BytesSeen::Mismatch { .. }), .. } => "mismatch",
        Outcome::Acked { .. } => "acked",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::oracle::history::Refusal;
    use crate::stack::wire::FileInfo;

    fn recorder() -> Arc<Recorder> {
        let ticks = AtomicU64::new(0);
        Recorder::new(Arc::new(move || SimTime::from_secs(ticks.fetch_add(1, Ordering::Relaxed))), vec![])
    }

    fn info(id: u64) -> FileInfo {
        FileInfo {
            id: InodeId(id),
            name: "f".into(),
            dir: false,
            length: 0,
            block_size: 1,
            completed: false,
            version: 4,
            mtime_ms: 0,
            ufs: None,
        }
    }

    fn op(seq: u64) -> OpId {
        OpId { client: 9, seq }
    }

    #[test]
    fn the_content_of_a_file_is_known_from_its_creation_on() {
        let recorder = recorder();
        let audit = recorder.audit(3);
        let reply = || Ok(MasterReply { index: 4, term: 2, result: Ok(MasterAnswer::Info(info(7))) });
        let change = Change::Create { path: "/f".into(), block_size: 1 };
        let create = MasterRequest::Change { op: op(1), change };
        audit.began(op(1), &create);
        assert_eq!((recorder.pending(), recorder.len()), (1, 1));
        audit.ended(op(1), &create, 2, &reply());
        let content = recorder.content(InodeId(7)).expect("registered");
        let change = Change::Complete { file: InodeId(7), length: 5 };
        let complete = MasterRequest::Change { op: op(2), change };
        audit.began(op(2), &complete);
        audit.ended(op(2), &complete, 1, &reply());
        let operations = recorder.operations();
        assert_eq!((operations[0].client, operations[0].attempts), (3, 2));
        let want = Call::Complete { file: InodeId(7), path: "/f".into(), length: 5, content };
        assert_eq!((&operations[1].call, recorder.recent()), (&want, vec!["/f".to_owned()]));
        assert_eq!(operations[1].invoked, SimTime::from_secs(2));
    }

    #[test]
    fn what_never_ends_stays_pending_and_what_ended_in_doubt_is_unknown() {
        let recorder = recorder();
        let audit = recorder.audit(0);
        let delete = |seq| {
            let change = Change::Delete { path: "/f".into(), recursive: false };
            MasterRequest::Change { op: op(seq), change }
        };
        (1..=3).for_each(|seq| audit.began(op(seq), &delete(seq)));
        let refused = Err(FsError::NotFound("/f".into()));
        audit.ended(op(2), &delete(2), 1, &Ok(MasterReply { index: 5, term: 1, result: refused }));
        audit.ended(op(3), &delete(3), 9, &Err(FsError::Unavailable("no master leads".into())));
        let operations = recorder.operations();
        assert_eq!(operations[0].outcome, Outcome::Pending);
        assert_eq!(operations[1].answer(), Some(&Answer::Refused(Refusal::NotFound)));
        assert!(matches!(operations[2].outcome, Outcome::Unknown { documented: true, .. }));
        assert_eq!(recorder.pending(), 1);
        recorder.abandon(1);
        assert_eq!(recorder.pending(), 1, "another client");
        recorder.abandon(0);
        assert_eq!(recorder.pending(), 0);
        assert!(matches!(&recorder.operations()[0].outcome, Outcome::Unknown { error, .. } if error.contains("died")));
    }

    #[test]
    fn an_open_counts_as_a_stat_and_other_requests_do_not_count() {
        let recorder = recorder();
        let audit = recorder.audit(0);
        let blocks = MasterRequest::Blocks { path: "/f".into() };
        let results = [
            Ok(MasterAnswer::Blocks { info: info(7), blocks: vec![] }),
            Err(FsError::NotFound("/f".into())),
            Err(FsError::IsADirectory("/f".into())),
        ];
        for (seq, result) in (1..).zip(results) {
            audit.began(op(seq), &blocks);
            audit.ended(op(seq), &blocks, 1, &Ok(MasterReply { index: 5, term: 1, result }));
        }
        audit.began(op(9), &MasterRequest::Workers);
        let operations = recorder.operations();
        assert_eq!(operations.len(), 2);
        assert_eq!(operations[0].call, Call::Stat { path: "/f".into() });
        assert!(matches!(operations[0].answer(), Some(Answer::Info(seen)) if seen.id == InodeId(7)));
        assert_eq!(operations[1].answer(), Some(&Answer::Refused(Refusal::NotFound)));
    }
}
