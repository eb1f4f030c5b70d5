//! Simulated disks: what is written is visible at once, and durable only after a sync.
//!
//! The model is the one of ALICE (Pillai et al., OSDI '14) on ext4's vocabulary. Until synced, each 512-byte sector, each
//! file length and each change of a directory reaches the platter or not, independently; a rename is one change (the old
//! name or the new, never neither); a file's sync says nothing about its name. A power loss leaves one of those states,
//! a killed process leaves all of them (the page cache survives).
//!
//! | file | what |
//! |---|---|
//! | `file.rs` | bytes of one file, the undo log of unsynced changes, what a crash leaves |
//! | `fs.rs` | one file system: directories, names, unsynced changes of names, space |
//! | `crash.rs` | who decides what a crash leaves: chance, or all states one by one |
//! | `device.rs` | how long things take: one queue per device |
//! | `fault.rs` | injected faults and the proof that they acted |
//! | `disks.rs` | all disks of a world: mounts, power loss, volumes; the harness's door |
//! | `files.rs` | the same as `rt`'s backend: handles and the file calls |
//!
//! Not modelled: hard links, symbolic links, permissions, sparse files (a hole takes space), writeback before a sync that
//! would make data durable earlier than promised (each such state is among the legal crash states anyway).

mod crash;
mod device;
mod disks;
mod fault;
mod file;
mod files;
mod fs;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

pub use crash::{ByStream, CrashStates, Newest, Oldest, Survival};
pub use device::Timing;
pub use disks::{DiskConfig, DiskError, DiskId, DiskImage, Disks};
pub use fault::{DiskFault, FaultId, Odds, Pages};
pub use fs::FileSystem;

/// Bytes that a disk writes all or not at all.
pub const SECTOR: usize = 512;
