//! Programs.
//!
//! Each takes its arguments without its name and gives its exit code; what goes wrong with one operand is said, and the
//! next one is tried, as coreutils do. An option that a program does not know is an error, never ignored.

mod copy;
mod dd;
mod du;
mod ls;
mod remove;
mod stat;
mod text;

use bytes::Bytes;

use super::errors::text_of;
use super::output::Io;
use super::shell::Shell;
use super::tree::{Done, FileTree, Reading};
use crate::stack::fuse::Errno;

/// Bytes that a program asks for at once. Differs: coreutils ask for 128 KiB, and the kernel reads ahead for them.
pub const CHUNK: u64 = 1 << 20;

/// Bytes of a file that is read as a whole, at most.
const WHOLE_BYTES_MAX: usize = 1 << 20;

/// A program at work.
pub struct Program<'a> {
    /// The shell that started it.
    pub shell: &'a Shell,
    /// Its name.
    pub name: &'a str,
    /// Its output.
    pub io: &'a Io,
    code: i32,
}

/// Options, letter by letter, and operands.
pub struct Args {
    letters: String,
    /// Operands.
    pub operands: Vec<String>,
}

impl Args {
    /// Whether an option was given.
    pub fn has(&self, letter: char) -> bool {
        self.letters.contains(letter)
    }
}

impl Program<'_> {
    /// Something failed; the program goes on.
    pub async fn fail(&mut self, text: &str) {
        self.code = 1;
        self.io.complain(&format!("{}: {text}", self.name)).await;
    }

    /// As [`Self::fail`], with the kernel's reason.
    pub async fn refused(&mut self, what: &str, errno: Errno) {
        self.fail(&format!("{what}: {}", text_of(errno))).await;
    }

    /// Prints. Gives whether the output takes more.
    pub async fn print(&mut self, text: &str) -> bool {
        self.write(text.as_bytes()).await
    }

    /// As [`Self::print`].
    pub async fn write(&mut self, bytes: &[u8]) -> bool {
        let written = self.io.out.write(bytes).await;
        if let Err(errno) = written {
            self.refused("write error", errno).await;
        }
        written.is_ok()
    }

    /// Sorts options from operands; `known` are the letters that may be given. Nothing if it has failed.
    async fn args(&mut self, args: &[String], known: &str) -> Option<Args> {
        let mut sorted = Args { letters: String::new(), operands: Vec::new() };
        let mut only_operands = false;
        for arg in args {
            match arg.strip_prefix('-') {
                Some("-") if !only_operands => only_operands = true,
                Some(letters) if !letters.is_empty() && !only_operands => {
                    if let Some(bad) = letters.chars().find(|letter| !known.contains(*letter)) {
                        self.fail(&format!("invalid option -- '{bad}'")).await;
                        self.code = 2;
                        return None;
                    }
                    sorted.letters.push_str(letters);
                }
                _ => sorted.operands.push(arg.clone()),
            }
        }
        Some(sorted)
    }

    /// As [`Self::args`], with at least so many operands.
    async fn operands(&mut self, args: &[String], known: &str, least: usize) -> Option<Args> {
        let args = self.args(args, known).await?;
        if args.operands.len() < least {
            self.fail("missing operand").await;
            return None;
        }
        Some(args)
    }
}

/// Runs a program. `None`: there is no such program.
pub async fn run(shell: &Shell, name: &str, args: &[String], io: &Io) -> Option<i32> {
    let mut program = Program { shell, name, io, code: 0 };
    let own = &mut program;
    match name {
        "true" | ":" => {}
        "false" => return Some(1),
        "echo" => text::echo(own, args).await,
        "pwd" => drop(own.print(&format!("{}\n", shell.cwd)).await),
        "sleep" => text::sleep(own, args).await,
        "cat" => text::cat(own, args).await,
        "md5sum" => text::md5sum(own, args).await,
        "tail" => text::tail(own, args).await,
        "ls" => ls::ls(own, args).await,
        "du" => du::du(own, args).await,
        "stat" => stat::stat(own, args).await,
        "test" | "[" => return Some(stat::test(own, args).await),
        "cp" => copy::cp(own, args).await,
        "mv" => copy::mv(own, args).await,
        "mkdir" => remove::mkdir(own, args).await,
        "rm" => remove::rm(own, args).await,
        "rmdir" => remove::rmdir(own, args).await,
        "touch" => remove::touch(own, args).await,
        "dd" => dd::dd(own, args).await,
        _ => return None,
    }
    Some(program.code)
}

/// A device that gives nothing, or zeros without end.
struct Device {
    zeros: bool,
}

impl Reading for Device {
    fn read_at(&self, _: u64, size: u64) -> Done<'_, Bytes> {
        let size = if self.zeros { size as usize } else { 0 };
        Box::pin(async move { Ok(Bytes::from(vec![0; size])) })
    }

    fn close(self: Box<Self>) -> Done<'static, ()> {
        Box::pin(async { Ok(()) })
    }
}

/// Opens a file or a device for reading. A directory cannot be read.
async fn open(tree: &dyn FileTree, path: &str) -> Result<Box<dyn Reading>, Errno> {
    match path {
        "/dev/null" | "/dev/zero" => Ok(Box::new(Device { zeros: path == "/dev/zero" })),
        path if tree.stat(path).await?.dir => Err(Errno::EISDIR),
        path => tree.open(path).await,
    }
}

/// The content of a small file.
///
/// # Errors
/// The kernel's; `EIO` if it is not small.
pub async fn whole(tree: &dyn FileTree, path: &str) -> Result<Vec<u8>, Errno> {
    let (file, mut content) = (open(tree, path).await?, Vec::new());
    let read = loop {
        match file.read_at(content.len() as u64, CHUNK).await {
            Ok(bytes) if bytes.is_empty() => break Ok(content),
            Ok(_) if content.len() > WHOLE_BYTES_MAX => break Err(Errno::EIO),
            Ok(bytes) => content.extend_from_slice(&bytes),
            Err(errno) => break Err(errno),
        }
    };
    file.close().await?;
    read
}
