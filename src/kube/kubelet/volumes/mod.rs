//! A pod's volumes on its node: resolved, waited for, mounted; unmounted when the pod has ended.
//!
//! Upstream's volume manager. Order for a volume that must be attached: `volumesInUse` names it in the node's status, the
//! node's `volumesAttached` names it, NodeStage once a node, NodePublish once a pod; and back: NodeUnpublish, NodeUnstage
//! after the last pod, then `volumesInUse` lets go of it.
//! Rule: what is mounted is read from the node's mount table, not from memory, so that a restarted kubelet takes down what
//! the one before put up.
//!
//! | file | what it is |
//! |---|---|
//! | [`resolve`] | what a pod's volume is, from the API's objects; pure |
//! | [`book`] | which volumes are wanted, staged, in use; pure |
//! | [`manager`] | does it |

pub mod resolve;

pub mod book;

pub mod manager;
