//! Plain text in columns that never grow beyond the width of a line.

use super::words::{printable, shortened, text_columns};

/// Columns of a line at most.
pub const WIDTH: usize = 110;
/// What a column keeps when a line is too long.
const NARROWEST: usize = 8;
const INDENT: &str = "  ";
const GAP: usize = 2;

/// How a column is aligned, and what gives way in a line that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Words that stay whole.
    Left,
    /// Numbers, which stay whole.
    Right,
    /// Names, which are shortened in the middle.
    Name,
}

/// A table with a line of heads.
pub struct Grid {
    heads: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Grid {
    pub fn new<const N: usize>(heads: [(String, Align); N]) -> Self {
        Self { heads: heads.into(), rows: vec![] }
    }

    /// Adds a row with one cell for each head.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.iter().map(|cell| printable(cell)).collect());
    }

    /// The lines, indented.
    pub fn text(&self) -> String {
        let heads: Vec<String> = self.heads.iter().map(|(head, _)| head.clone()).collect();
        let widths = self.widths(&heads);
        let rule: Vec<String> = widths.iter().map(|&width| "─".repeat(width)).collect();
        [&heads, &rule].into_iter().chain(&self.rows).map(|row| self.line(row, &widths)).collect()
    }

    fn widths(&self, heads: &[String]) -> Vec<usize> {
        let mut widths: Vec<usize> = heads
            .iter()
            .enumerate()
            .map(|(column, head)| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                cells.chain([head]).map(|cell| text_columns(cell)).max().unwrap_or(0)
            })
            .collect();
        let between = INDENT.len() + GAP * widths.len().saturating_sub(1);
        while widths.iter().sum::<usize>() + between > WIDTH {
            // Names give way first; figures that no line can hold are cut where all see it.
            let widest = |names_only: bool| {
                (0..widths.len())
                    .filter(|&column| widths[column] > NARROWEST)
                    .filter(|&column| !names_only || self.heads[column].1 == Align::Name)
                    .max_by_key(|&column| widths[column])
            };
            let Some(column) = widest(true).or_else(|| widest(false)) else { break };
            widths[column] -= 1;
        }
        widths
    }

    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let mut line = String::from(INDENT);
        for ((cell, (_, align)), &width) in cells.iter().zip(&self.heads).zip(widths) {
            let cell = shortened(cell, width);
            let padding = " ".repeat(width.saturating_sub(text_columns(&cell)));
            let (before, after) =
                if *align == Align::Right { (&*padding, "") } else { ("", &*padding) };
            line.push_str(&format!("{before}{cell}{after}{:GAP$}", ""));
        }
        format!("{}\n", line.trim_end())
    }
}

/// `text` in lines that start with `indent`; from the second on they are indented further.
pub fn wrapped(text: &str, indent: &str) -> String {
    let further = format!("{indent}  ");
    let mut lines = String::new();
    let mut line = indent.to_string();
    let mut is_empty = true;
    for word in printable(text).split_whitespace() {
        let mut rest = word;
        if !is_empty {
            if text_columns(&line) + 1 + text_columns(rest) <= WIDTH {
                line.push(' ');
            } else {
                lines.push_str(&line);
                lines.push('\n');
                line.clone_from(&further);
            }
        }
        // A word longer than a line is cut into lines.
        while text_columns(&line) + text_columns(rest) > WIDTH {
            let (start, end) = rest.split_at(fitting(rest, WIDTH - text_columns(&line)));
            lines.push_str(&format!("{line}{start}\n"));
            line.clone_from(&further);
            rest = end;
        }
        line.push_str(rest);
        is_empty = false;
    }
    lines.push_str(&line);
    lines.push('\n');
    lines
}

/// Bytes of the start of `text` that takes at most `width` columns.
fn fitting(text: &str, width: usize) -> usize {
    let ends = text.char_indices().map(|(at, c)| at + c.len_utf8());
    ends.take_while(|&end| text_columns(&text[..end]) <= width).last().unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_give_way_before_numbers() {
        let mut grid = Grid::new([("name".into(), Align::Name), ("n".into(), Align::Right)]);
        grid.row(["n".repeat(300), "1,234,567".into()]);
        grid.row(["短い".into(), "1".into()]);
        let text = grid.text();
        assert!(text.contains("  1,234,567\n"), "{text}");
        assert!(text.lines().all(|line| text_columns(line) == WIDTH), "{text}");
    }

    #[test]
    fn long_words_are_cut_and_none_is_lost() {
        let text = format!("a {} b", "層".repeat(200));
        let lines = wrapped(&text, "  ");
        assert!(lines.lines().all(|line| text_columns(line) <= WIDTH), "{lines}");
        assert_eq!(lines.matches('層').count(), 200);
        assert!(lines.ends_with(" b\n"));
    }
}
