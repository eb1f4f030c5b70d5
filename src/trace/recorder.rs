//! Takes every event: hashes it, keeps the last ones, and writes them out if asked.

use std::collections::VecDeque;
use std::io::{self, Write};

use super::hash::{Digest, Rolling};
use super::{Event, Kind};
use crate::base::{HostId, SimTime};

/// Events kept in memory for the report of a failing run; turns of tasks are not among them.
pub const RING: usize = 512;

/// Hears of every event that holds a text of somebody's. It must not ask the world anything.
pub type Listener = Box<dyn FnMut(&Event)>;

/// The trace of one run.
pub struct Recorder {
    hash: Rolling,
    count: u64,
    ring: VecDeque<Event>,
    out: Option<Box<dyn Write>>,
    listener: Option<Listener>,
    written: u64,
    failed: Option<io::Error>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new(None)
    }
}

impl Recorder {
    /// A new trace, also written to `out` line by line.
    pub fn new(out: Option<Box<dyn Write>>) -> Self {
        let ring = VecDeque::with_capacity(RING);
        Self { hash: Rolling::default(), count: 0, ring, out, listener: None, written: 0, failed: None }
    }

    /// Tells `listener` of all texts from now on.
    pub fn listen(&mut self, listener: Listener) {
        self.listener = Some(listener);
    }

    /// Adds one event.
    #[inline]
    pub fn record(&mut self, at: SimTime, host: Option<HostId>, kind: Kind) {
        let event = Event { at, host, kind };
        event.feed(&mut self.hash);
        self.count += 1;
        if self.out.is_some() {
            self.write(&event);
        }
        if let (Some(listener), Kind::Boot(..) | Kind::Log { .. } | Kind::Harness { .. }) =
            (&mut self.listener, &event.kind)
        {
            listener(&event);
        }
        // Turns of tasks are most of a trace and tell a reader least.
        if !matches!(event.kind, Kind::Poll(_) | Kind::Spawn(..) | Kind::End(_)) {
            if self.ring.len() == RING {
                self.ring.pop_front();
            }
            self.ring.push_back(event);
        }
    }

    #[cold]
    fn write(&mut self, event: &Event) {
        let line = format!("{event}\n");
        self.written += line.len() as u64;
        if let Some(Err(error)) = self.out.as_mut().map(|out| out.write_all(line.as_bytes())) {
            // Writing stops, the run goes on; the caller asks at the end.
            self.out = None;
            self.failed = Some(error);
        }
    }

    /// The hash of all events so far.
    pub fn digest(&self) -> Digest {
        self.hash.digest()
    }

    /// How many events there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Bytes written to the file.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// The last events but for turns of tasks, oldest first.
    pub fn recent(&self) -> impl Iterator<Item = &Event> {
        self.ring.iter()
    }

    /// Ends the file.
    ///
    /// # Errors
    /// The first write that failed, or the flush.
    pub fn finish(&mut self) -> io::Result<()> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        self.out.take().map_or(Ok(()), |mut out| out.flush())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;
    use crate::base::{ProcessId, TaskId};

    #[test]
    fn the_ring_is_bounded_and_the_hash_sees_all() {
        let mut r = Recorder::default();
        let mut before = r.digest();
        for n in 0..RING as u64 * 2 {
            r.record(SimTime(n), None, Kind::Exit(ProcessId(n as u32), "killed"));
            assert_ne!(r.digest(), before);
            before = r.digest();
        }
        assert_eq!(r.recent().count(), RING);
        assert_eq!(r.recent().next().map(|e| e.at), Some(SimTime(RING as u64)));
        assert_eq!(r.count(), RING as u64 * 2);
    }

    #[test]
    fn a_failing_file_is_told_at_the_end() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut r = Recorder::new(Some(Box::new(Full)));
        r.record(SimTime(1), None, Kind::Poll(TaskId(1)));
        r.record(SimTime(2), None, Kind::Poll(TaskId(1)));
        assert_eq!(r.finish().map_err(|e| e.kind()), Err(io::ErrorKind::StorageFull));
    }

    #[test]
    fn a_listener_hears_texts_and_nothing_else() {
        let heard: Rc<RefCell<Vec<String>>> = Rc::default();
        let mut r = Recorder::default();
        let own = heard.clone();
        r.listen(Box::new(move |event| own.borrow_mut().push(event.to_string())));
        r.record(SimTime(1), None, Kind::Poll(TaskId(1)));
        r.record(SimTime(2), None, Kind::Log { level: "INFO", target: "raft".into(), message: "leads".into() });
        r.record(SimTime(3), None, Kind::Harness { what: "step", text: "wait 1s".into() });
        assert_eq!(heard.borrow().len(), 2);
        assert!(heard.borrow()[0].contains("leads"), "{heard:?}");
    }
}
