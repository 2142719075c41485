//! Plain tables for the terminal: two spaces between columns, no frames, so that `awk` and people read them alike.

use std::fmt;

/// Rows of text under a heading.
#[derive(Clone, Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
    right: Vec<usize>,
}

impl Table {
    /// A table with this heading and no rows.
    pub fn new(heading: impl IntoIterator<Item = impl Into<String>>) -> Table {
        Table { rows: vec![heading.into_iter().map(Into::into).collect()], right: Vec::new() }
    }

    /// Puts numbers where they belong: these columns are aligned to the right.
    #[must_use]
    pub fn right(mut self, columns: impl IntoIterator<Item = usize>) -> Table {
        self.right.extend(columns);
        self
    }

    /// The rows, the heading first.
    pub fn rows(&self) -> &[Vec<String>] {
        &self.rows
    }

    /// Whether a column is aligned to the right.
    pub fn is_right(&self, column: usize) -> bool {
        self.right.contains(&column)
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (i, row) in self.rows.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            let cells = row.iter().enumerate().map(|(column, cell)| match self.is_right(column) {
                true => format!("{cell:>width$}", width = widths[column]),
                false => format!("{cell:<width$}", width = widths[column]),
            });
            write!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(["name", "bytes"]).right([1]);
        table.row(["a".to_owned(), "12345".to_owned()]);
        table.row(["größer".to_owned(), "7".to_owned()]);
        assert_eq!(table.to_string(), "name    bytes\na       12345\ngrößer      7");
    }
}
