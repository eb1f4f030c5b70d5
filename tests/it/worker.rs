//! Workers inside a world.
