//! The command line's doors to the machine: files, processes, threads, environment, terminals.
//!
//! Nothing here is reached from within a run's world.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "the command line is outside of the world")]

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::scenario::MAX_READ;
use crate::report::Paint;

/// Writes to standard output. A reader that went away is no error of ours.
pub fn out(text: &str) {
    let mut to = io::stdout().lock();
    let _ = to.write_all(text.as_bytes()).and_then(|()| to.flush());
}

/// Writes to standard error.
pub fn err(text: &str) {
    let mut to = io::stderr().lock();
    let _ = to.write_all(text.as_bytes()).and_then(|()| to.flush());
}

fn no_colour() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// Colours for standard output.
pub fn out_paint() -> Paint {
    Paint::new(io::stdout().is_terminal() && !no_colour())
}

/// Colours for standard error.
pub fn err_paint() -> Paint {
    Paint::new(err_is_terminal() && !no_colour())
}

/// Whether a person watches standard error.
pub fn err_is_terminal() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Whether a person types standard input.
pub fn in_is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// The next line of standard input, without its end; none after the last.
///
/// # Errors
/// As std's.
pub fn line() -> io::Result<Option<String>> {
    let mut text = String::new();
    let read = io::stdin().lock().read_line(&mut text)?;
    text.truncate(text.trim_end_matches(['\n', '\r']).len());
    Ok((read > 0).then_some(text))
}

/// How this program was called, for commands that it suggests.
pub fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "stormglass".into())
}

/// At most [`MAX_READ`] bytes of a file, so that a device or a huge file does no harm.
///
/// # Errors
/// In words, without the path.
pub fn read(path: &str) -> Result<Vec<u8>, String> {
    let explain = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => "no such file".to_string(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        _ => error.to_string(),
    };
    if Path::new(path).is_dir() {
        return Err("it is a directory".into());
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(explain)?.take(MAX_READ).read_to_end(&mut bytes).map_err(explain)?;
    Ok(bytes)
}

/// Whether something is there.
pub fn exists(path: &str) -> bool {
    Path::new(path).exists()
}

/// A new file to write to.
///
/// # Errors
/// As std's.
pub fn create(path: &Path) -> io::Result<Box<dyn Write>> {
    Ok(Box::new(BufWriter::with_capacity(1 << 20, File::create(path)?)))
}

/// A file to read line by line.
///
/// # Errors
/// As std's.
pub fn lines(path: &Path) -> io::Result<impl BufRead> {
    Ok(BufReader::with_capacity(1 << 20, File::open(path)?))
}

/// Removes a file; one that is not there is fine.
pub fn remove(path: &Path) {
    let _ = fs::remove_file(path);
}

/// A path for a file of this process that goes away soon.
pub fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("stormglass-{}-{name}", std::process::id()))
}

/// The path from the root, so that it holds in another directory.
pub fn absolute(path: &str) -> String {
    std::path::absolute(path).map_or_else(|_| path.into(), |path| path.to_string_lossy().into_owned())
}

/// All files below `dir` whose name ends with `.yaml` or `.yml`, sorted.
///
/// # Errors
/// As std's, for `dir` itself; what cannot be read below it is left out.
pub fn yaml_files(dir: &str) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::from(dir)];
    let mut first = true;
    while let Some(dir) = open.pop() {
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if first => return Err(error),
            Err(_) => continue,
        };
        first = false;
        for entry in entries.flatten() {
            let (path, Ok(kind)) = (entry.path(), entry.file_type()) else { continue };
            if kind.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
                found.push(path.to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// How many runs at a time.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// How a child process ended.
pub struct Ended {
    /// Its standard output.
    pub out: Vec<u8>,
    /// Its standard error.
    pub err: String,
    /// Its status; none if it ran too long and was killed.
    pub status: Option<ExitStatus>,
}

/// Where and how a child runs, besides its arguments.
#[derive(Debug, Default, Clone)]
pub struct Surroundings {
    /// Its working directory; this process's if not given.
    pub dir: Option<PathBuf>,
    /// Variables added to its environment.
    pub env: Vec<(String, String)>,
}

/// Runs this program again with other arguments, for at most `limit`.
///
/// # Errors
/// When it cannot be started.
pub fn child(args: &[String], around: &Surroundings, limit: Duration) -> io::Result<Ended> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.envs(around.env.iter().map(|(key, value)| (key, value)));
    if let Some(dir) = &around.dir {
        command.current_dir(dir);
    }
    let mut child = command.spawn()?;
    let out = collect(child.stdout.take());
    let err = collect(child.stderr.take());
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if begun.elapsed() > limit {
            let _ = child.kill();
            let _ = child.wait();
            break None;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let joined = |reader: JoinHandle<Vec<u8>>| reader.join().unwrap_or_default();
    Ok(Ended { out: joined(out), err: String::from_utf8_lossy(&joined(err)).into_owned(), status })
}

/// Reads a pipe to its end beside this thread, so that a full pipe blocks nobody.
fn collect(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}

/// Prints a value as one line of JSON.
pub fn json(value: &impl serde::Serialize) {
    match serde_json::to_string(value) {
        Ok(text) => out(&format!("{text}\n")),
        Err(error) => err(&format!("error: this cannot be written as JSON: {error}\n")),
    }
}

/// Does `work` for every item on `jobs` threads and hands each result to `done` as it comes.
pub fn each<T: Send, R: Send>(items: Vec<T>, jobs: usize, work: impl Fn(T) -> R + Sync, mut done: impl FnMut(R)) {
    let queue = std::sync::Mutex::new(items.into_iter());
    let (send, results) = channel();
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            let (send, queue, work) = (send.clone(), &queue, &work);
            scope.spawn(move || {
                loop {
                    let next = crate::base::lock(queue).next();
                    let Some(item) = next else { break };
                    if send.send(work(item)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(send);
        results.iter().for_each(&mut done);
    });
}

/// Calls a function again and again beside this thread until dropped; then once more.
pub struct Every {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Every {
    /// Begins; `call` is told whether this is the last call.
    pub fn new(pause: Duration, mut call: impl FnMut(bool) + Send + 'static) -> Self {
        let (stop, stopped): (Sender<()>, Receiver<()>) = channel();
        let thread = std::thread::spawn(move || {
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                call(false);
            }
            call(true);
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Every {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
