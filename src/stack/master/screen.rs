//! The screens of the operators' commands, from the masters' answers, to the letter.
//!
//! Text and layout are those of Alluxio 2.x (`LeaderCommand`, `QuorumInfoCommand`, `SummaryCommand`, `FormatUtils`), with
//! GooseFS's wording as a flavour. Addresses are printed as given: `host:port`, as Java 8 prints unresolved ones.
//! Every line ends with a line feed. Differs: dates are in UTC.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::base::time::civil;
use crate::stack::wire::master::{ClusterReport, QuorumInfo, WorkerSummary};
use crate::stack::wire::{Medium, TierUsage};

/// Whose wording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// Alluxio.
    Alluxio,
    /// Tencent's GooseFS.
    GooseFs,
}

/// `fs masterInfo`. None stands for a question that no master answered.
pub fn master_info(flavour: Flavour, leader: Option<&str>, masters: Option<&[String]>) -> String {
    let leader = match (leader, flavour) {
        (Some(address), Flavour::Alluxio) => format!("Current leader master: {address}"),
        (Some(address), Flavour::GooseFs) => format!("current leader master: {address}"),
        (None, _) => "Failed to find leader master".into(),
    };
    let masters = match masters {
        Some(masters) => format!("All masters: [{}]", masters.join(", ")),
        None => "Failed to find all master addresses".into(),
    };
    format!("{leader}\n{masters}\n")
}

/// `fsadmin journal quorum info -domain MASTER`.
pub fn quorum_info(info: &QuorumInfo) -> String {
    let leader = info.leader.as_deref().unwrap_or("UNKNOWN");
    let mut text =
        format!("Journal domain\t: MASTER\nQuorum size\t: {}\nQuorum leader\t: {leader}\n\n", info.members.len());
    let mut row = |state: &str, priority: &str, address: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{state:<11} | {priority:<8} | {address}");
    };
    row("STATE", "PRIORITY", "SERVER ADDRESS");
    for (address, available) in &info.members {
        // Nobody can ask for another priority than Ratis' default yet.
        row(if *available { "AVAILABLE" } else { "UNAVAILABLE" }, "0", address);
    }
    text
}

/// `fsadmin report`.
pub fn report(flavour: Flavour, report: &ClusterReport) -> String {
    let mut lines = vec![match flavour {
        Flavour::Alluxio => "Alluxio cluster summary: ".to_string(),
        Flavour::GooseFs => "GooseFS cluster summary: ".to_string(),
    }];
    lines.extend([
        format!("    Master Address: {}", report.master),
        format!("    Web Port: {}", report.web_port),
        format!("    Rpc Port: {}", report.rpc_port),
        format!("    Started: {}", date(report.started_ms)),
        format!("    Uptime: {}", clock_time(report.uptime_ms)),
        format!("    Version: {}", report.version),
        format!("    Safe Mode: {}", report.safe_mode),
        "    Zookeeper Enabled: false".into(),
        "    Raft-based Journal: true".into(),
        "    Raft Journal Addresses: ".into(),
    ]);
    lines.extend(report.journal.iter().map(|address| format!("        {address}")));
    let row = |address: &str, state: &str, version: &str| format!("    {address:<32} {state:<8} {version:<32}");
    lines.push(row("Master Address", "State", "Version"));
    for (address, primary) in &report.masters {
        lines.push(row(address, if *primary { "PRIMARY" } else { "STANDBY" }, &report.version));
    }
    lines.push(format!("    Live Workers: {}", report.live.len()));
    lines.push(format!("    Lost Workers: {}", report.lost.len()));
    let (capacity, used) = (by_tier(&report.live, |t| t.capacity), by_tier(&report.live, |t| t.used));
    let (capacity_sum, used_sum) = (sum(&capacity), sum(&used));
    for (name, tiers, total) in [("Total", capacity, capacity_sum), ("Used", used, used_sum)] {
        lines.push(format!("    {name} Capacity: {}", size(total)));
        lines.extend(
            tiers.iter().map(|(tier, bytes)| format!("        Tier: {}  Size: {}", tier_name(*tier), size(*bytes))),
        );
    }
    lines.push(format!("    Free Capacity: {}", size(capacity_sum.saturating_sub(used_sum))));
    lines.join("\n") + "\n"
}

fn by_tier(workers: &[WorkerSummary], bytes: impl Fn(&TierUsage) -> u64) -> BTreeMap<Medium, u64> {
    let mut tiers: BTreeMap<Medium, u64> = BTreeMap::new();
    for tier in workers.iter().flat_map(|worker| &worker.tiers) {
        let total = tiers.entry(tier.medium).or_default();
        *total = total.saturating_add(bytes(tier));
    }
    tiers
}

fn sum(tiers: &BTreeMap<Medium, u64>) -> u64 {
    tiers.values().fold(0, |sum, bytes| sum.saturating_add(*bytes))
}

fn tier_name(medium: Medium) -> &'static str {
    match medium {
        Medium::Mem => "MEM",
        Medium::Ssd => "SSD",
        Medium::Hdd => "HDD",
    }
}

/// `FormatUtils.getSizeFromBytes`: the next unit only above five of it.
fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    if value <= 5.0 * 1024.0 {
        return format!("{bytes}B");
    }
    for unit in ["KB", "MB", "GB", "TB"] {
        value /= 1024.0;
        if value <= 5.0 * 1024.0 {
            return format!("{value:.2}{unit}");
        }
    }
    format!("{:.2}PB", value / 1024.0)
}

/// `CommonUtils.convertMsToClockTime`.
fn clock_time(ms: u64) -> String {
    let (seconds, minutes, hours) = (ms / 1000, ms / 60_000, ms / 3_600_000);
    let (days, hours, minutes, seconds) = (hours / 24, hours % 24, minutes % 60, seconds % 60);
    format!("{days} day(s), {hours} hour(s), {minutes} minute(s), and {seconds} second(s)")
}

/// `MM-dd-yyyy HH:mm:ss:SSS`, the default of `alluxio.user.date.format.pattern`.
fn date(ms: u64) -> String {
    let (days, rest) = (ms / 86_400_000, ms % 86_400_000);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60);
    format!("{month:02}-{day:02}-{year:04} {hour:02}:{minute:02}:{second:02}:{:03}", rest % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::wire::{WorkerAddress, WorkerId};

    fn masters() -> Vec<String> {
        (0..3).map(|n| format!("hbase-master-{n}:26000")).collect()
    }

    #[test]
    fn master_info_reads_as_the_documents_show() {
        let all = "All masters: [hbase-master-0:26000, hbase-master-1:26000, hbase-master-2:26000]\n";
        let masters = masters();
        for (flavour, leader, known, want) in [
            (
                Flavour::Alluxio,
                Some("hbase-master-0:26000"),
                true,
                format!("Current leader master: hbase-master-0:26000\n{all}"),
            ),
            (
                Flavour::GooseFs,
                Some("hbase-master-0:26000"),
                true,
                format!("current leader master: hbase-master-0:26000\n{all}"),
            ),
            (Flavour::GooseFs, None, true, format!("Failed to find leader master\n{all}")),
            (
                Flavour::Alluxio,
                None,
                false,
                "Failed to find leader master\nFailed to find all master addresses\n".into(),
            ),
        ] {
            assert_eq!(master_info(flavour, leader, known.then_some(masters.as_slice())), want);
        }
    }

    #[test]
    fn quorum_info_is_alluxios_table() {
        let member = |n, available| (format!("m{n}:19200"), available);
        let members = vec![member(0, true), member(1, false), member(2, true)];
        let mut info = QuorumInfo { leader: Some("m2:19200".into()), members };
        let rows = "\nSTATE       | PRIORITY | SERVER ADDRESS\nAVAILABLE   | 0        | m0:19200\n\
                    UNAVAILABLE | 0        | m1:19200\nAVAILABLE   | 0        | m2:19200\n";
        let head = "Journal domain\t: MASTER\nQuorum size\t: 3\nQuorum leader\t: ";
        assert_eq!(quorum_info(&info), format!("{head}m2:19200\n{rows}"));
        info.leader = None;
        assert_eq!(quorum_info(&info), format!("{head}UNKNOWN\n{rows}"));
    }

    #[test]
    fn the_report_sums_the_live_workers() {
        let worker = |n, medium, capacity, used| WorkerSummary {
            id: WorkerId(n),
            address: WorkerAddress(format!("w{n}:29999")),
            tiers: vec![TierUsage { medium, capacity, used }],
        };
        let facts = ClusterReport {
            master: "m0:26000".into(),
            web_port: 26001,
            rpc_port: 26000,
            version: "0.1.0".into(),
            started_ms: 1_698_778_158_932,
            uptime_ms: 90_061_999,
            safe_mode: false,
            journal: vec!["m0:19200".into()],
            masters: vec![("m0:26000".into(), true), ("m1:26000".into(), false)],
            live: vec![worker(1, Medium::Hdd, 2 << 30, 0), worker(2, Medium::Mem, 8 << 30, 6 << 30)],
            lost: vec![worker(3, Medium::Ssd, 1 << 40, 0)],
        };
        let want = "GooseFS cluster summary: \n    Master Address: m0:26000\n    Web Port: 26001\n    Rpc Port: 26000\n    \
            Started: 10-31-2023 18:49:18:932\n    Uptime: 1 day(s), 1 hour(s), 1 minute(s), and 1 second(s)\n    \
            Version: 0.1.0\n    Safe Mode: false\n    Zookeeper Enabled: false\n    Raft-based Journal: true\n    \
            Raft Journal Addresses: \n        m0:19200\n    \
            Master Address                   State    Version                         \n    \
            m0:26000                         PRIMARY  0.1.0                           \n    \
            m1:26000                         STANDBY  0.1.0                           \n    \
            Live Workers: 2\n    Lost Workers: 1\n    Total Capacity: 10.00GB\n        Tier: MEM  Size: 8.00GB\n        \
            Tier: HDD  Size: 2048.00MB\n    Used Capacity: 6.00GB\n        Tier: MEM  Size: 6.00GB\n        \
            Tier: HDD  Size: 0B\n    Free Capacity: 4096.00MB\n";
        assert_eq!(report(Flavour::GooseFs, &facts), want);
    }

    #[test]
    fn sizes_and_dates_at_their_edges() {
        for (bytes, want) in
            [(0, "0B"), (5120, "5120B"), (5121, "5.00KB"), (3000 << 30, "3000.00GB"), (u64::MAX, "16384.00PB")]
        {
            assert_eq!(size(bytes), want);
        }
        for (ms, want) in [
            (0, "01-01-1970 00:00:00:000"),
            (951_782_400_000, "02-29-2000 00:00:00:000"),
            (951_868_800_000, "03-01-2000 00:00:00:000"),
            (4_107_542_399_999, "02-28-2100 23:59:59:999"),
            (4_107_542_400_000, "03-01-2100 00:00:00:000"),
        ] {
            assert_eq!(date(ms), want);
        }
        assert!(!date(u64::MAX).is_empty());
    }
}
