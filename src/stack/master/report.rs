//! The facts behind the operators' screens, as the leader knows them.

use super::service::Service;
use super::term::Term;
use crate::stack::wire::master::{ClusterReport, QuorumInfo};

impl Service {
    /// `journal quorum info`. A member is available if it answered within the longest election timeout.
    pub(super) fn quorum_info(&self) -> QuorumInfo {
        let metrics = self.metrics.borrow();
        let heard = metrics.heartbeat.clone().unwrap_or_default();
        let available = |id: &u64| {
            let age = heard.get(id).copied().flatten().map(|at| openraft::Instant::elapsed(&*at));
            *id == self.config.id || age.is_some_and(|age| age <= self.config.raft.election_max)
        };
        let members = self.config.members.iter().map(|(id, peer)| (peer.journal.to_string(), available(id)));
        let mut members: Vec<(String, bool)> = members.collect();
        members.sort_unstable();
        let leader = self.config.members.get(&self.config.id).map(|peer| peer.journal.to_string());
        QuorumInfo { leader, members }
    }

    /// `fsadmin report summary`.
    pub(super) fn report(&self, term: &Term) -> ClusterReport {
        let (wall, monotonic) = self.started;
        let ms = |d: std::time::Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        let master = self.rpc_address();
        let (live, lost) = term.workers.summaries();
        ClusterReport {
            web_port: self.config.web_port,
            rpc_port: self.config.rpc_bind.port(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_ms: ms(wall),
            uptime_ms: ms(monotonic.elapsed()),
            safe_mode: term.safe_mode(),
            journal: self.config.members.values().map(|peer| peer.journal.to_string()).collect(),
            masters: self.rpc_addresses().into_iter().map(|address| (address.clone(), address == master)).collect(),
            live,
            lost,
            master,
        }
    }
}
