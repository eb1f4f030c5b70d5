//! Opening a journal: which segments count, what a crash may have left and is mended, what is refused.
//!
//! Rule: decide everything before anything is changed on disk; then cut, finish and remove; then sync. The last good frame
//! is written again, with the bytes it has: after a failed sync Linux shows pages that it will never write, and a killed
//! process leaves pages that were never synced. Either would be acknowledged now and be gone after a power loss.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};

use super::JournalError;
use super::layout::Layout;
use super::log::{Active, Journal, JournalConfig, Recovered, Segment, Shared, append, create_segment, segment_number};
use super::record::{Batch, Record, records};
use super::scan::{Frame, Tail, scan};
use crate::rt::fs::{self, FileKind, OpenOptions};

/// One segment as read.
struct Loaded {
    number: u64,
    path: String,
    bytes: Vec<u8>,
    frames: Vec<Frame>,
    tail: Tail,
    sealed: bool,
}

/// What opening will do, decided before anything is changed.
struct Plan {
    /// Oldest first; never empty.
    chain: VecDeque<Loaded>,
    /// A last segment whose creation never finished.
    unborn: Option<String>,
    /// Older segments that nothing needs.
    left_over: Vec<String>,
    layout: Layout,
}

pub(super) async fn open(dir: &str, config: JournalConfig) -> Result<(Journal, Recovered), JournalError> {
    make_dir(dir).await?;
    let journal = match plan(dir).await? {
        Some(plan) => carry_out(dir, config, plan).await?,
        None => (begin(dir, config).await?, Recovered::default()),
    };
    if let Some((file, offset, bytes)) = &journal.1.torn {
        tracing::warn!(file, offset, bytes, "cut an unfinished frame at the end of the journal");
    }
    Ok(journal)
}

/// Makes the directory and its parents, durably.
pub(super) async fn make_dir(dir: &str) -> Result<(), JournalError> {
    let mut missing = Vec::new();
    let mut at = dir.trim_end_matches('/');
    while !at.is_empty() && fs::metadata(at).await.is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
        missing.push(at);
        at = parent(at);
    }
    for path in missing.into_iter().rev() {
        fs::create_dir(path).await.map_err(JournalError::io(path, "create the directory"))?;
        fs::sync_dir(parent_or_root(path)).await.map_err(JournalError::io(path, "sync the directory above"))?;
    }
    // Perhaps made by a process that was killed before it synced.
    let above = parent_or_root(dir);
    fs::sync_dir(above).await.map_err(JournalError::io(above, "sync the directory"))
}

fn parent(path: &str) -> &str {
    path.trim_end_matches('/').rsplit_once('/').map_or("", |(above, _)| above)
}

fn parent_or_root(path: &str) -> &str {
    match parent(path) {
        "" => "/",
        above => above,
    }
}

async fn begin(dir: &str, config: JournalConfig) -> Result<Journal, JournalError> {
    let start = Batch::start(1, 0, 0, &std::collections::BTreeMap::new());
    let active = create_segment(dir, 1, 0, &start, 1).await?;
    Ok(journal(dir, config, Shared::default(), active, 2))
}

fn journal(dir: &str, config: JournalConfig, mut shared: Shared, active: Active, batch: u64) -> Journal {
    let segment = Segment { path: active.path.clone(), file: active.file.clone() };
    shared.segments.insert(active.number, segment);
    let shared = Arc::new(Mutex::new(shared));
    Journal { dir: dir.into(), config, shared, active, batch, failed: None, frame: Vec::new() }
}

async fn plan(dir: &str) -> Result<Option<Plan>, JournalError> {
    let mut files = list(dir).await?;
    let (mut chain, mut unborn) = (VecDeque::new(), None);
    while let Some((number, path)) = files.pop() {
        let wanted = chain.front().map(|after: &Loaded| after.number);
        if wanted.is_some_and(|after| number + 1 != after) {
            files.push((number, path));
            break;
        }
        let loaded = load(number, path).await?;
        if !loaded.frames.is_empty() {
            chain.push_front(loaded);
        } else if chain.is_empty() && unborn.is_none() && !matches!(loaded.tail, Tail::Rotten { .. }) {
            unborn = Some((loaded.number, loaded.path));
        } else {
            return Err(JournalError::corrupt(&loaded.path, 0, "the segment does not begin with a good frame"));
        }
    }
    if chain.is_empty() {
        return match unborn {
            // Crashed while the very first segment was made: nothing was acknowledged.
            Some((1, path)) => {
                fs::remove_file(&path).await.map_err(JournalError::io(&path, "remove"))?;
                Ok(None)
            }
            Some((number, _)) => Err(missing(dir, number - 1, "a later one was being made")),
            None => Ok(None),
        };
    }
    check_tails(&chain)?;
    let left_over = files.into_iter().map(|(_, path)| path).collect();
    let layout = replay(dir, &mut chain)?;
    let plan = Plan { chain, unborn: unborn.map(|(_, path)| path), left_over, layout };
    plan.check_seals(dir)?;
    Ok(Some(plan))
}

fn missing(dir: &str, segment: u64, why: &str) -> JournalError {
    JournalError::Missing { dir: dir.into(), segment, why: why.into() }
}

/// The segments of a directory by number. Other files are not ours.
async fn list(dir: &str) -> Result<Vec<(u64, String)>, JournalError> {
    let names = fs::read_dir(dir).await.map_err(JournalError::io(dir, "list"))?;
    let files = names.into_iter().filter(|(_, kind)| *kind == FileKind::File);
    let mut found: Vec<(u64, String)> =
        files.filter_map(|(name, _)| Some((segment_number(&name)?, format!("{dir}/{name}")))).collect();
    found.sort();
    match found.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => Err(JournalError::corrupt(&pair[1].1, 0, format!("{} has the same number", pair[0].1))),
        None => Ok(found),
    }
}

async fn load(number: u64, path: String) -> Result<Loaded, JournalError> {
    let bytes = fs::read(&path).await.map_err(JournalError::io(&path, "read"))?;
    let (frames, tail) = scan(&bytes, None);
    Ok(Loaded { number, path, bytes, frames, tail, sealed: false })
}

/// Applies every record of the chain.
fn replay(dir: &str, chain: &mut VecDeque<Loaded>) -> Result<Layout, JournalError> {
    let mut layout: Option<Layout> = None;
    let mut expect = None;
    for loaded in chain.iter_mut() {
        let path = loaded.path.clone();
        let corrupt = |at: usize, what: &str| JournalError::corrupt(&path, at as u64, what);
        for (i, frame) in loaded.frames.iter().enumerate() {
            let body = &loaded.bytes[frame.body.clone()];
            let found = records(body).map_err(|(at, what)| corrupt(frame.body.start + at, what))?;
            if i == 0 && expect.is_some_and(|batch| batch != frame.batch) {
                return Err(corrupt(frame.start(), "frames are missing before it"));
            }
            let state = match (found.first(), layout.take()) {
                (Some(Record::Start { segment, first, next }), before) if i == 0 && *segment == loaded.number => {
                    let told = Layout::starting(*first, *next);
                    let state = before.unwrap_or_else(|| told.clone());
                    if (state.first, state.next) != (told.first, told.next) {
                        return Err(corrupt(frame.start(), "it does not continue the segment before it"));
                    }
                    state
                }
                (Some(first), Some(before)) if i > 0 && before.sealed.is_none() && !first.is_start() => before,
                _ => return Err(corrupt(frame.start(), "not the record that belongs here")),
            };
            let state = layout.insert(state);
            state.check(&found).map_err(|(next, got)| corrupt(frame.start(), &format!("entry {got} after {next}")))?;
            state.apply(loaded.number, frame.body.start as u64, body, &found);
            loaded.sealed = state.sealed.is_some();
            expect = Some(if loaded.sealed { frame.batch } else { frame.batch.wrapping_add(1) });
        }
    }
    let layout = layout.unwrap_or_default();
    if layout.first < layout.have_from {
        let oldest = chain.front().map_or(1, |loaded| loaded.number);
        return Err(missing(dir, oldest.saturating_sub(1), &format!("entry {} is needed", layout.first)));
    }
    Ok(layout)
}

/// Whether segment `i` may be unsealed, its seal torn: the next one has just been made.
fn rotating(chain: &VecDeque<Loaded>, i: usize) -> bool {
    i + 2 == chain.len() && chain[i + 1].frames.len() == 1 && chain[i + 1].tail == Tail::Clean
}

/// Refuses bytes that no crash leaves.
fn check_tails(chain: &VecDeque<Loaded>) -> Result<(), JournalError> {
    for (i, loaded) in chain.iter().enumerate() {
        match loaded.tail {
            Tail::Torn { .. } if i + 1 == chain.len() || rotating(chain, i) => {}
            Tail::Torn { at, why } | Tail::Rotten { at, why } => {
                return Err(JournalError::corrupt(&loaded.path, at as u64, why));
            }
            Tail::Clean => {}
        }
    }
    Ok(())
}

impl Plan {
    /// Refuses ends that no crash leaves: a seal is written when the next segment is durable.
    fn check_seals(&self, dir: &str) -> Result<(), JournalError> {
        for (i, loaded) in self.chain.iter().enumerate() {
            let last = i + 1 == self.chain.len();
            if last && loaded.sealed {
                return Err(missing(dir, loaded.number + 1, "the one before it says that it was durable"));
            }
            if !last && !loaded.sealed && !rotating(&self.chain, i) {
                return Err(JournalError::corrupt(&loaded.path, good_end(loaded), "the end of the segment is missing"));
            }
        }
        Ok(())
    }
}

/// Where a segment's good frames end.
fn good_end(loaded: &Loaded) -> u64 {
    loaded.frames.last().map_or(0, |frame| frame.body.end as u64)
}

async fn carry_out(dir: &str, config: JournalConfig, plan: Plan) -> Result<(Journal, Recovered), JournalError> {
    let mut recovered = Recovered::default();
    let mut shared = Shared { layout: plan.layout, ..Shared::default() };
    let mut chain = Vec::new();
    for loaded in plan.chain {
        let options = OpenOptions::new().read(true).write(true);
        let file = options.open(&loaded.path).await.map_err(JournalError::io(&loaded.path, "open"))?;
        chain.push((Segment { path: loaded.path.clone(), file: Arc::new(file) }, loaded));
    }
    let Some((segment, last)) = chain.pop() else { unreachable!("a plan has at least one segment") };
    if let Tail::Torn { at, .. } = last.tail {
        let cut = last.bytes.len() - at;
        recovered.torn = Some((last.path.clone(), at as u64, cut as u64));
        segment.file.set_len(at as u64).await.map_err(JournalError::io(&last.path, "cut"))?;
    }
    let Some(frame) = last.frames.last() else { unreachable!("a segment of the chain has a frame") };
    append(&segment.file, &last.path, frame.start() as u64, &last.bytes[frame.start()..frame.body.end]).await?;
    if let (Some((segment, before)), 1) = (chain.last(), last.frames.len()) {
        seal(segment, before, &last).await?;
    }
    shared.segments.extend(chain.into_iter().map(|(segment, loaded)| (loaded.number, segment)));
    remove(plan.unborn.into_iter().chain(plan.left_over), &mut recovered).await?;
    fs::sync_dir(dir).await.map_err(JournalError::io(dir, "sync the directory"))?;
    let start_len = last.frames[0].body.end as u64;
    let (number, len, batch) = (last.number, good_end(&last), frame.batch + 1);
    let active = Active { number, file: segment.file, path: last.path.clone(), len, start_len };
    Ok((journal(dir, config, shared, active, batch), recovered))
}

/// Finishes a rotation that a crash may have cut off before the seal was durable.
async fn seal(segment: &Segment, before: &Loaded, last: &Loaded) -> Result<(), JournalError> {
    let sealed = before.frames.last().filter(|_| before.sealed);
    // Over an unfinished seal if there is one: it is as long, and a full disk must not be in the way.
    let at = sealed.map_or(good_end(before), |frame| frame.start() as u64);
    let mut frame = Vec::new();
    Batch::seal(last.number).frame(last.frames[0].batch, &mut frame)?;
    append(&segment.file, &before.path, at, &frame).await
}

async fn remove(paths: impl Iterator<Item = String>, recovered: &mut Recovered) -> Result<(), JournalError> {
    for path in paths {
        fs::remove_file(&path).await.map_err(JournalError::io(&path, "remove"))?;
        recovered.removed.push(path);
    }
    Ok(())
}
