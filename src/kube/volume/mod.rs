//! Volumes: who gets which, who makes them, where they are attached.

pub mod matching;
