//! The StatefulSet controller: stable members, made and replaced in order.

pub mod identity;

pub mod plan;
