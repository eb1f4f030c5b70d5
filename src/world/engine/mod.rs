//! What gives a world its time, tasks and network. Disks, volumes and under-stores are shared by all engines.

pub mod glass;
