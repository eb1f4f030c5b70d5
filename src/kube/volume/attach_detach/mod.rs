//! What happens to attached volumes: upstream's attach/detach controller.
//!
//! Rule: a volume that is for one node is attached to a second one only after the attachment to the first is gone; it is
//! detached when no pod there needs it and the node does not use it any more. Only time (`unmount_wait_max`) on an unhealthy
//! node, or a person's out-of-service taint, overrides the node's word: a forced detach, which can corrupt.
//!
//! Desired and actual state are read from the API's objects each time ([`View`]); what the controller remembers beyond them
//! ([`AttachDetach`]) is lost with it, as upstream's is: since when a detach is wanted, and back-offs.
//!
//! | question | module |
//! |---|---|
//! | what pods want, what is there | `view` |
//! | what to do next | `plan` |

mod view;

mod plan;

mod run;

use std::time::Duration;

pub use plan::{Action, AttachDetach};
pub use run::run;
pub use view::{Needed, View, attachment_name, multi_attach, pod_is_done, unique_name};

/// The controller's numbers. Defaults: kube-controller-manager's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachDetachConfig {
    /// How long a node that is not healthy may say that it uses a volume (`maxWaitForUnmountDuration`).
    pub unmount_wait_max: Duration,
    /// Never force because of time (`--disable-force-detach-on-timeout`).
    pub force_detach_disabled: bool,
    /// Before 1.26 the wait alone was enough, on healthy nodes too (k8s #106710).
    pub force_detach_healthy: bool,
    /// The first wait after a failed attach or detach.
    pub backoff_initial: Duration,
    /// The longest such wait.
    pub backoff_max: Duration,
    /// An attach or detach that the driver does not answer has failed after this.
    pub operation_timeout: Duration,
}

impl Default for AttachDetachConfig {
    fn default() -> Self {
        Self {
            unmount_wait_max: Duration::from_secs(360),
            force_detach_disabled: false,
            force_detach_healthy: false,
            backoff_initial: Duration::from_millis(500),
            backoff_max: Duration::from_secs(122),
            operation_timeout: Duration::from_secs(120),
        }
    }
}
