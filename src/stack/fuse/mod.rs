//! The fuse client: POSIX operations on the cache as plain calls.
//!
//! | file | what |
//! |---|---|
//! | `fs` | [`Fuse`]: lookup, getattr, readdir, open, create, read, write, flush, fsync, release, rename, unlink, mkdir, rmdir, statfs |
//! | `errno` | errors as POSIX names them |
//! | `nodes` | node ids for names |
//! | `handles` | open files |
//! | `attrs` | attributes for a moment |
//! | `workers` | which worker to ask |
//! | `data` | what readers and writers share |
//! | `reader` | reads: workers, read-through, under-store |
//! | `writer` | writes: blocks to workers, then the length |

pub mod attrs;
pub mod data;
pub mod errno;
pub mod fs;
pub mod handles;
pub mod nodes;
pub mod reader;
pub mod workers;
pub mod writer;

pub use data::{DataCounters, DataTimes};
pub use errno::Errno;
pub use fs::{Attr, DirEntry, Entry, Fuse, FuseOptions, Opened, StatFs};
pub use handles::HandleId;
pub use nodes::NodeId;
pub use reader::{Piece, Source};
