//! Tables and ages as kubectl prints them.
//!
//! Follows cli-runtime's `printers` and apimachinery's `duration`. A table never cuts a cell.

use std::fmt::Write;

use k8s_openapi::jiff::Timestamp;

/// Spaces between two columns: tabwriter's padding.
const PADDING: usize = 3;
/// The narrowest column, with its padding.
const WIDTH_MIN: usize = 6;

/// A table: a header and rows of cells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// Titles, in upper case.
    pub columns: Vec<String>,
    /// One cell a column.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// As text, each line ended. Without rows there is no text.
    pub fn render(&self, header: bool) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let head = header.then_some(&self.columns);
        let lines: Vec<&Vec<String>> = head.into_iter().chain(&self.rows).collect();
        let count = lines.iter().map(|line| line.len()).max().unwrap_or(0);
        let cell = |line: &Vec<String>, i: usize| line.get(i).map_or(0, |cell| cell.chars().count());
        let widths: Vec<usize> =
            (0..count).map(|i| lines.iter().map(|line| cell(line, i)).max().unwrap_or(0)).collect();
        let mut out = String::new();
        for line in lines {
            let last = line.len().saturating_sub(1);
            for (i, text) in line.iter().enumerate() {
                let width = if i == last { 0 } else { (widths[i] + PADDING).max(WIDTH_MIN) };
                // Writing to a String does not fail.
                let _ = write!(out, "{text:<width$}");
            }
            out.truncate(out.trim_end_matches(' ').len());
            out.push('\n');
        }
        out
    }
}

/// How long ago: `duration.HumanDuration`.
pub fn age(then: Option<&str>, now: Timestamp) -> String {
    match then.and_then(|then| then.parse::<Timestamp>().ok()) {
        Some(then) => human(now.as_second().saturating_sub(then.as_second())),
        None => "<unknown>".into(),
    }
}

/// A span of seconds in at most two units.
pub fn human(seconds: i64) -> String {
    let two = |big: i64, big_unit: &str, small: i64, small_unit: &str| {
        if small == 0 { format!("{big}{big_unit}") } else { format!("{big}{big_unit}{small}{small_unit}") }
    };
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match seconds {
        ..-1 => "<invalid>".into(),
        -1..0 => "0s".into(),
        0..120 => format!("{seconds}s"),
        _ if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        _ if minutes < 180 => format!("{minutes}m"),
        _ if hours < 8 => two(hours, "h", minutes % 60, "m"),
        _ if hours < 48 => format!("{hours}h"),
        _ if hours < 192 => two(hours / 24, "d", hours % 24, "h"),
        _ if hours < 24 * 365 * 2 => format!("{}d", hours / 24),
        _ if hours < 24 * 365 * 8 => two(hours / 24 / 365, "y", hours / 24 % 365, "d"),
        _ => format!("{}y", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_at_most_two_units() {
        let rows = [
            (-5, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (599, "9m59s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (27_000, "7h30m"),
            (28_800, "8h"),
            (172_799, "47h"),
            (172_800, "2d"),
            (180_000, "2d2h"),
            (691_200, "8d"),
            (63_072_000, "2y"),
            (70_000_000, "2y80d"),
            (300_000_000, "9y"),
        ];
        for (seconds, want) in rows {
            assert_eq!(human(seconds), want, "{seconds}");
        }
    }

    #[test]
    fn columns_are_aligned_and_lines_have_no_tail() {
        let rows =
            vec![vec!["a".into(), "Running".into(), String::new()], vec!["longer".into(), "é".into(), "x".into()]];
        let table = Table { columns: ["NAME", "STATUS", "X"].map(String::from).to_vec(), rows };
        assert_eq!(table.render(true), "NAME     STATUS    X\na        Running\nlonger   é         x\n");
        assert_eq!(table.render(false), "a        Running\nlonger   é         x\n");
        assert_eq!(Table::default().render(true), "");
    }
}
