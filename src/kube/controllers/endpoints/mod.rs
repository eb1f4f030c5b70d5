//! The endpoints controllers and the cluster's DNS: which addresses stand behind a Service, and which names lead there.

pub mod plan;

pub mod records;
