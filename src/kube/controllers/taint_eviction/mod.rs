//! The taint eviction controller: NoExecute taints drive pods away.

pub mod evictor;
