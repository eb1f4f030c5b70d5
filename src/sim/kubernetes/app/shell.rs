//! Runs scripts: variables, lists, conditions, loops, redirections, `set -x` and `time`.
//!
//! Programs are functions of [`commands`](super::commands) and run inside of the shell's own process; a program of a list
//! begins when the one before it has ended. Differs: `user` and `sys` of `time` are zero, as computing takes no time here.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::commands;
use super::errors::text_of;
use super::expand;
use super::output::{Io, Out};
use super::parse::{Command, Join, List, Redirect, RedirectTo, Simple, parse};
use super::token::Word;
use super::tree::{FileTree, clean};
use crate::rt::chan;
use crate::rt::time::{Duration, Instant};

/// Depth of nested shells and loops.
const DEPTH_MAX: usize = 32;

/// An exit code, once it is there.
pub type Code<'a> = Pin<Box<dyn Future<Output = i32> + Send + 'a>>;

/// A shell.
#[derive(Clone)]
pub struct Shell {
    /// Its files.
    pub tree: Arc<dyn FileTree>,
    /// Its working directory.
    pub cwd: String,
    /// Its variables, the environment among them.
    pub variables: BTreeMap<String, String>,
    arguments: Vec<String>,
    trace: bool,
    errexit: bool,
    status: i32,
    exited: bool,
    depth: usize,
}

impl Shell {
    /// A shell in the root directory.
    pub fn new(tree: Arc<dyn FileTree>, variables: BTreeMap<String, String>) -> Self {
        Self {
            tree,
            cwd: "/".into(),
            variables,
            arguments: Vec::new(),
            trace: false,
            errexit: false,
            status: 0,
            exited: false,
            depth: 0,
        }
    }

    /// Absolute.
    pub fn path(&self, path: &str) -> String {
        clean(&self.cwd, path)
    }

    /// Runs a script. Gives its exit code.
    pub async fn script(&mut self, script: &str, io: &Io) -> i32 {
        match parse(script) {
            Ok(list) => self.list(&list, io, true).await,
            Err(error) => {
                io.complain(&format!("sh: {error}")).await;
                2
            }
        }
    }

    /// `tested`: whether failures are looked at, so that `set -e` lets them pass.
    fn list<'a>(&'a mut self, list: &'a List, io: &'a Io, top: bool) -> Code<'a> {
        Box::pin(async move {
            for (at, (join, command)) in list.iter().enumerate() {
                let runs = match join {
                    Join::Then => true,
                    Join::And => self.status == 0,
                    Join::Or => self.status != 0,
                };
                if !runs {
                    continue;
                }
                self.status = self.command(command, io).await;
                let looked_at = list.get(at + 1).is_some_and(|(join, _)| *join != Join::Then);
                let negated = matches!(command, Command::Not(_));
                if self.errexit && self.status != 0 && top && !looked_at && !negated {
                    self.exited = true;
                }
                if self.exited {
                    break;
                }
            }
            self.status
        })
    }

    fn command<'a>(&'a mut self, command: &'a Command, io: &'a Io) -> Code<'a> {
        Box::pin(async move {
            match command {
                Command::Simple(simple) => self.simple(simple, io).await,
                Command::Group(list) => self.list(list, io, true).await,
                Command::Not(command) => i32::from(self.command(command, io).await == 0),
                Command::If(condition, yes, no) => {
                    let branch = if self.list(condition, io, false).await == 0 { yes } else { no };
                    self.status = 0;
                    if self.exited { self.status } else { self.list(branch, io, true).await }
                }
                Command::While(until, condition, body) => {
                    let mut status = 0;
                    while !self.exited {
                        let holds = self.list(condition, io, false).await == 0;
                        if self.exited || holds == *until {
                            break;
                        }
                        status = self.list(body, io, true).await;
                        // A loop that never waits must not hold the world.
                        crate::rt::time::yield_now().await;
                    }
                    if self.exited { self.status } else { status }
                }
                Command::For(name, words, body) => {
                    let mut status = 0;
                    for word in self.words(words).await {
                        self.variables.insert(name.clone(), word);
                        status = self.list(body, io, true).await;
                        if self.exited {
                            break;
                        }
                    }
                    status
                }
            }
        })
    }

    fn value(&self, name: &str) -> Vec<String> {
        let number: Option<usize> = name.parse().ok();
        match (name, number) {
            ("?", _) => vec![self.status.to_string()],
            ("#", _) => vec![self.arguments.len().saturating_sub(1).to_string()],
            ("$", _) => vec!["1".into()],
            ("@" | "*", _) => self.arguments.iter().skip(1).cloned().collect(),
            (_, Some(n)) => self.arguments.get(n).cloned().into_iter().collect(),
            _ => self.variables.get(name).cloned().into_iter().collect(),
        }
    }

    async fn words(&self, words: &[Word]) -> Vec<String> {
        expand::words(expand::split(words, &|name| self.value(name)), &*self.tree, &self.cwd).await
    }

    async fn simple(&mut self, simple: &Simple, io: &Io) -> i32 {
        let words = self.words(&simple.words).await;
        let before = self.variables.clone();
        for (name, word) in &simple.assigns {
            let value = expand::text(word, &|name| self.value(name));
            self.variables.insert(name.clone(), value);
        }
        if self.trace && !words.is_empty() {
            let shown: Vec<String> = words.iter().map(|word| shown(word)).collect();
            io.complain(&format!("+ {}", shown.join(" "))).await;
        }
        let (io, opened) = match self.redirected(&simple.redirects, io).await {
            Ok(redirected) => redirected,
            Err(error) => {
                io.complain(&error).await;
                return 1;
            }
        };
        let mut code = if words.is_empty() { 0 } else { self.run(&words, &io).await };
        for out in opened {
            let Out::File(target) = out else { continue };
            let file = target.lock().await.take();
            if let Some(file) = file
                && let Err(errno) = file.close().await
            {
                io.complain(&format!("sh: write error: {}", text_of(errno))).await;
                code = 1;
            }
        }
        if !words.is_empty() && !simple.assigns.is_empty() {
            self.variables = before;
        }
        code
    }

    async fn redirected(&self, redirects: &[Redirect], io: &Io) -> Result<(Io, Vec<Out>), String> {
        let (mut io, mut opened) = (io.clone(), Vec::new());
        for redirect in redirects {
            let out = match &redirect.to {
                RedirectTo::Stream(1) => io.out.clone(),
                RedirectTo::Stream(_) => io.err.clone(),
                RedirectTo::File(word, append) => {
                    let name = expand::text(word, &|name| self.value(name));
                    match self.path(&name).as_str() {
                        "/dev/null" => Out::Null,
                        "/dev/stdout" => io.out.clone(),
                        "/dev/stderr" => io.err.clone(),
                        path => {
                            let file = self.tree.create(path, *append).await;
                            let file = file.map_err(|e| format!("sh: can't create {name}: {}", text_of(e)))?;
                            let out = Out::File(Arc::new(chan::Mutex::new(Some(file))));
                            opened.push(out.clone());
                            out
                        }
                    }
                }
            };
            match redirect.stream {
                1 => io.out = out,
                2 => io.err = out,
                _ => (io.out, io.err) = (out.clone(), out),
            }
        }
        Ok((io, opened))
    }

    /// Runs a program, or what the shell does itself. Gives the exit code.
    pub fn run<'a>(&'a mut self, words: &'a [String], io: &'a Io) -> Code<'a> {
        Box::pin(async move {
            let Some((name, args)) = words.split_first() else { return 0 };
            let name = name.strip_prefix("/bin/").or(name.strip_prefix("/usr/bin/")).unwrap_or(name);
            match name {
                "exit" => {
                    self.exited = true;
                    args.first().map_or(self.status, |code| code.parse::<u8>().map_or(2, i32::from))
                }
                "set" => self.set(args, io).await,
                "cd" => self.cd(args, io).await,
                "export" => {
                    for (name, value) in args.iter().filter_map(|arg| arg.split_once('=')) {
                        self.variables.insert(name.into(), value.into());
                    }
                    0
                }
                "unset" => {
                    args.iter().for_each(|name| drop(self.variables.remove(name)));
                    0
                }
                "time" => self.time(args, io).await,
                "exec" => {
                    let code = self.run(args, io).await;
                    self.exited |= !args.is_empty();
                    code
                }
                "sh" | "bash" | "ash" | "dash" => self.shell(name, args, io).await,
                _ => match commands::run(self, name, args, io).await {
                    Some(code) => code,
                    None => {
                        io.complain(&format!("sh: {name}: not found")).await;
                        127
                    }
                },
            }
        })
    }

    async fn set(&mut self, args: &[String], io: &Io) -> i32 {
        for arg in args {
            let on = arg.starts_with('-');
            for letter in arg.chars().skip(1) {
                match letter {
                    'x' => self.trace = on,
                    'e' => self.errexit = on,
                    'u' => {}
                    other => {
                        io.complain(&format!("sh: set: -{other}: invalid option")).await;
                        return 2;
                    }
                }
            }
        }
        0
    }

    async fn cd(&mut self, args: &[String], io: &Io) -> i32 {
        let name = args.first().map_or("/", String::as_str);
        let path = self.path(name);
        let why = match self.tree.stat(&path).await {
            Ok(found) if found.dir => {
                self.cwd = path;
                return 0;
            }
            Ok(_) => text_of(crate::stack::fuse::Errno::ENOTDIR),
            Err(errno) => text_of(errno),
        };
        io.complain(&format!("sh: cd: can't cd to {name}: {why}")).await;
        2
    }

    async fn time(&mut self, args: &[String], io: &Io) -> i32 {
        let began = Instant::now();
        let code = self.run(args, io).await;
        let none = Duration::ZERO;
        for (name, took) in [("real", began.elapsed()), ("user", none), ("sys", none)] {
            io.complain(&format!("{name}\t{}", minutes(took))).await;
        }
        code
    }

    /// `sh -c script`, `sh file`; without either it reads from a terminal that is not there, and ends.
    async fn shell(&mut self, name: &str, args: &[String], io: &Io) -> i32 {
        let mut inner = Self { exited: false, status: 0, trace: false, errexit: false, ..self.clone() };
        inner.depth += 1;
        if inner.depth > DEPTH_MAX {
            io.complain(&format!("{name}: too many shells in shells")).await;
            return 2;
        }
        let (mut script, mut at) = (false, 0);
        while let Some(flags) = args.get(at).and_then(|arg| arg.strip_prefix(['-', '+'])) {
            for letter in flags.chars() {
                match letter {
                    'c' => script = true,
                    'x' => inner.trace = true,
                    'e' => inner.errexit = true,
                    _ => {}
                }
            }
            at += 1;
        }
        let Some(first) = args.get(at) else {
            if !script {
                return 0;
            }
            io.complain(&format!("{name}: -c requires an argument")).await;
            return 2;
        };
        if script {
            inner.arguments = args.get(at + 1..).map(<[String]>::to_vec).unwrap_or_default();
            return inner.script(first, io).await;
        }
        inner.arguments = args[at..].to_vec();
        match commands::whole(&*self.tree, &self.path(first)).await {
            Ok(text) => inner.script(&String::from_utf8_lossy(&text), io).await,
            Err(errno) => {
                io.complain(&format!("{name}: can't open '{first}': {}", text_of(errno))).await;
                127
            }
        }
    }
}

/// As busybox's `time` prints it: `0m 41.21s`.
fn minutes(took: Duration) -> String {
    let hundredths = took.as_millis() / 10;
    format!("{}m {}.{:02}s", hundredths / 6000, hundredths / 100 % 60, hundredths % 100)
}

/// A word as `set -x` shows it.
fn shown(word: &str) -> String {
    let safe = |c: char| c.is_alphanumeric() || "_-./=:,+%@".contains(c);
    if !word.is_empty() && word.chars().all(safe) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_printed_as_busybox_does() {
        for (ms, want) in [(41_219, "0m 41.21s"), (400, "0m 0.40s"), (3_725_040, "62m 5.04s"), (0, "0m 0.00s")] {
            assert_eq!(minutes(Duration::from_millis(ms)), want);
        }
        assert_eq!((shown("a b"), shown("/data/x"), shown("")), ("'a b'".into(), "/data/x".into(), "''".into()));
    }
}
