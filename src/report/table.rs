//! Columns of text, aligned.
//!
//! Rule: every cell is shown whole; the terminal may wrap, a table never cuts.

use std::fmt::Write;

use crate::sim::outcome::Table;

/// The table with its header, two spaces between columns, each line indented by `indent` spaces and ended with a line
/// feed. A row that is too short is filled up.
pub fn render(table: &Table, indent: usize) -> String {
    let count = table.columns.len();
    let cell = |row: &[String], i: usize| row.get(i).cloned().unwrap_or_default();
    let width = |i: usize| {
        let rows = table.rows.iter().map(|row| cell(row, i).chars().count());
        rows.chain([cell(&table.columns, i).chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut out = String::new();
    for row in std::iter::once(&table.columns).chain(&table.rows) {
        let cells: Vec<String> = (0..count).map(|i| format!("{:<w$}", cell(row, i), w = widths[i])).collect();
        let _ = writeln!(out, "{}{}", " ".repeat(indent), cells.join("  ").trim_end());
    }
    out
}

/// A table from rows of texts.
pub fn table(title: &str, columns: &[&str], rows: Vec<Vec<String>>) -> Table {
    Table { title: title.into(), columns: columns.iter().map(ToString::to_string).collect(), rows }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![vec!["a".to_string(), "é".into()], vec!["long".into()]];
        assert_eq!(render(&table("t", &["X", "NAME"], rows), 1), " X     NAME\n a     é\n long\n");
    }
}
