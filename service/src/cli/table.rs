//! Rows in columns, for people.

use std::io::Write;

use super::{CliError, say};

/// A heading and rows below it.
#[derive(Debug)]
pub(super) struct Table<const N: usize> {
    rows: Vec<[String; N]>,
}

// === impl Table ===

impl<const N: usize> Table<N> {
    pub(super) fn new(heading: [&str; N]) -> Self {
        Self {
            rows: vec![heading.map(str::to_owned)],
        }
    }

    pub(super) fn push(&mut self, row: [String; N]) {
        self.rows.push(row.map(|cell| clean(&cell)));
    }

    /// Writes it, each column as wide as its widest cell.
    pub(super) fn write(&self, out: &mut dyn Write) -> Result<(), CliError> {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or(0)
        };
        let widths: [usize; N] = std::array::from_fn(width);
        for row in &self.rows {
            let cells = row.iter().zip(widths);
            let line: Vec<String> = cells
                .map(|(cell, width)| format!("{cell:width$}"))
                .collect();
            say(out, line.join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// What others have named cannot move the cursor of whoever looks at it.
pub(super) fn clean(cell: &str) -> String {
    match cell {
        "" => "-".to_owned(),
        cell => cell.replace(char::is_control, "\u{fffd}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(["A", "LONG"]);
        table.push(["wide".into(), String::new()]);
        table.push(["x".into(), "\u{1b}[2J".into()]);
        let mut out = Vec::new();
        table.write(&mut out).unwrap();
        let want = "A     LONG\nwide  -\nx     \u{fffd}[2J\n";
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }
}
