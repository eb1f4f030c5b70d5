//! `ls`, as into a pipe: one name per line.

use super::{Args, Program};
use crate::rt::time::wall;
use crate::sim::kubernetes::app::tree::{Stat, join};
use crate::stack::fuse::Errno;

/// Older than this, a time is shown with its year, as GNU ls does: half a mean Gregorian year, in seconds.
const RECENT_SECS: u64 = 31_556_952 / 2;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// `ls [-1ald] [path…]`.
pub async fn ls(own: &mut Program<'_>, args: &[String]) {
    let Some(args) = own.args(args, "1aldAh").await else { return };
    let operands = if args.operands.is_empty() { vec![".".to_owned()] } else { args.operands.clone() };
    let (mut files, mut dirs) = (Vec::new(), Vec::new());
    for operand in &operands {
        match own.shell.tree.stat(&own.shell.path(operand)).await {
            Ok(stat) if stat.dir && !args.has('d') => dirs.push(operand.clone()),
            Ok(stat) => files.push((operand.clone(), stat)),
            Err(errno) => cannot_access(own, operand, errno).await,
        }
    }
    files.sort_by(|(a, _), (b, _)| a.cmp(b));
    dirs.sort();
    let mut shown = !files.is_empty();
    if shown {
        own.print(&lines(&files, &args, false)).await;
    }
    for dir in dirs {
        let Some(entries) = entries(own, &dir, &args).await else { continue };
        let title =
            if operands.len() > 1 { format!("{}{dir}:\n", if shown { "\n" } else { "" }) } else { String::new() };
        own.print(&format!("{title}{}", lines(&entries, &args, true))).await;
        shown = true;
    }
}

/// GNU ls ends with 2 when an operand could not be looked at.
async fn cannot_access(own: &mut Program<'_>, operand: &str, errno: Errno) {
    own.refused(&format!("cannot access '{operand}'"), errno).await;
    own.code = 2;
}

async fn entries(own: &mut Program<'_>, dir: &str, args: &Args) -> Option<Vec<(String, Stat)>> {
    let path = own.shell.path(dir);
    let listed = match own.shell.tree.list(&path).await {
        Ok(listed) => listed,
        Err(errno) => {
            own.refused(&format!("cannot open directory '{dir}'"), errno).await;
            own.code = 2;
            return None;
        }
    };
    let mut names = Vec::new();
    if args.has('a') {
        names.extend([(".".to_owned(), true), ("..".to_owned(), true)]);
    }
    names.extend(listed.into_iter().filter(|(name, _)| args.has('a') || args.has('A') || !name.starts_with('.')));
    let mut entries = Vec::new();
    for (name, dir) in names {
        let kind = Stat { dir, ..Stat::default() };
        if !args.has('l') {
            entries.push((name, kind));
            continue;
        }
        match own.shell.tree.stat(&own.shell.path(&join(&path, &name))).await {
            Ok(stat) => entries.push((name, stat)),
            Err(errno) => {
                own.refused(&format!("cannot access '{}'", join(&path, &name)), errno).await;
            }
        }
    }
    Some(entries)
}

fn lines(entries: &[(String, Stat)], args: &Args, total: bool) -> String {
    if !args.has('l') {
        return entries.iter().map(|(name, _)| format!("{name}\n")).collect();
    }
    let now = wall().as_secs();
    let size = |stat: &Stat| if args.has('h') { super::du::human(stat.size) } else { stat.size.to_string() };
    let width = entries.iter().map(|(_, stat)| size(stat).len()).max().unwrap_or(0);
    let blocks: u64 = entries.iter().map(|(_, stat)| stat.blocks()).sum();
    let mut text = if total { format!("total {}\n", blocks.div_ceil(2)) } else { String::new() };
    for (name, stat) in entries {
        let mode = if stat.dir { "drwxr-xr-x 2" } else { "-rw-r--r-- 1" };
        text.push_str(&format!("{mode} root root {:>width$} {} {name}\n", size(stat), date(stat.mtime_ms / 1000, now)));
    }
    text
}

/// `Jan  2 03:04`, or with the year what is not recent.
fn date(at: u64, now: u64) -> String {
    let (year, month, day) = civil(at / 86_400);
    let recent = at <= now && now - at < RECENT_SECS;
    let rest = if recent { format!("{:02}:{:02}", at / 3600 % 24, at / 60 % 60) } else { format!("{year:>5}") };
    format!("{} {day:>2} {rest}", MONTHS[(month as usize + 11) % 12])
}

/// Days since the epoch as year, month and day (Howard Hinnant's `civil_from_days`).
pub fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_shown_as_gnu_ls_does() {
        let now = 1_700_000_000;
        for (at, want) in [
            (now, "Nov 14 22:13"),
            (now - RECENT_SECS, "May 16  2023"),
            (0, "Jan  1  1970"),
            (951_782_400, "Feb 29  2000"),
        ] {
            assert_eq!(date(at, now), want, "{at}");
        }
    }
}
