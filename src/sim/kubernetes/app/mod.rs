//! What containers of applications run: a small shell and the usual programs, over the files that the container sees.
//!
//! | module | what |
//! |---|---|
//! | `token`, `parse`, `expand` | a script's text as commands and words |
//! | `shell` | running them |
//! | `commands` | `ls`, `du`, `cp`, `cat`, `md5sum` and their like |
//! | `tree`, `output` | files and output, as programs see them |
//! | `node_tree`, `fuse_tree`, `disk_tree` | the files of a container: its own, its volumes, what is mounted there |
//!
//! Output and errors are coreutils' (a container whose image is busybox prints the same). Rule: files go through in
//! chunks, and every wait is one that the device, the network or `sleep` asked for; computing takes no time.

mod commands;
mod disk_tree;
mod errors;
mod expand;
mod fuse_tree;
mod node_tree;
mod output;
mod parse;
mod shell;
mod token;
mod tree;

#[cfg(test)]
mod memory;
#[cfg(test)]
mod tests;

pub use node_tree::NodeTree;
pub use output::{Captured, Io, Out};
pub use shell::Shell;
