//! The kubelet: what makes a node run the pods that are bound to it.
//!
//! Decisions are state machines with a time argument; the async parts around them only wait and carry out. What runs on
//! the node belongs to its machine ([`run::Machine`]), so that a kubelet can die and be started again beside its pods.
//!
//! | file | what it is |
//! |---|---|
//! | [`config`] | every number |
//! | [`pod`] | a pod's state machine |
//! | [`probe`] | one probe |
//! | [`admission`] | whether the node takes a pod; pure |
//! | [`environment`] | a container's environment; pure |
//! | [`volumes`] | mounting and unmounting |
//! | [`node`] | the Node, its lease and status |
//! | [`server`] | its port |
//! | [`run`] | the program |

pub mod config;

mod backoff;

pub mod probe;

pub mod pod;

pub mod admission;

pub mod environment;

pub mod volumes;

pub mod events;

pub mod pod_status;

pub mod node;

pub mod launch;

pub mod worker;

pub mod server;

pub mod run;
