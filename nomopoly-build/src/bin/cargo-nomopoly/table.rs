//! Plain text tables.

use std::fmt;

/// Columns left-aligned for words and right-aligned for numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// A table with a line of heads.
pub struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(columns: &[(&'static str, Align)]) -> Self {
        Self { columns: columns.to_vec(), rows: vec![] }
    }

    /// The lines, each two blanks further right.
    pub fn indented(&self) -> String {
        self.to_string().lines().map(|line| format!("  {line}\n")).collect()
    }

    /// Adds a row; cells that are not given stay empty.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cell =
            |row: &'_ Vec<String>, column: usize| row.get(column).cloned().unwrap_or_default();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|column| {
                let cells = self.rows.iter().map(|row| cell(row, column).chars().count());
                cells.max().unwrap_or(0).max(self.columns[column].0.chars().count())
            })
            .collect();
        let line = |cells: Vec<String>| {
            let mut line = String::new();
            for ((text, (_, align)), width) in cells.iter().zip(&self.columns).zip(&widths) {
                match align {
                    Align::Left => line.push_str(&format!("{text:<width$}  ")),
                    Align::Right => line.push_str(&format!("{text:>width$}  ")),
                }
            }
            line.trim_end().to_owned()
        };
        writeln!(f, "{}", line(self.columns.iter().map(|(head, _)| (*head).to_owned()).collect()))?;
        writeln!(f, "{}", line(widths.iter().map(|width| "─".repeat(*width)).collect()))?;
        for row in &self.rows {
            writeln!(f, "{}", line((0..self.columns.len()).map(|c| cell(row, c)).collect()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_lines_end_without_blanks() {
        let mut table = Table::new(&[("name", Align::Left), ("n", Align::Right)]);
        table.row(["σ".to_owned(), "10".to_owned()]);
        table.row(["longer".to_owned()]);
        assert_eq!(table.to_string(), "name     n\n──────  ──\nσ       10\nlonger\n");
    }
}
