//! Our own engine: event-driven, single-threaded, the order of ready tasks picked by the seed.

pub mod net;
