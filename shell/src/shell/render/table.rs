//! Results for people: a table with lines around its columns, which fits the terminal if there is one.

use super::view::{Grid, View};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell as TableCell, CellAlignment, ContentArrangement, Table};
use std::io::{self, Write};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// What a column takes besides its text: a line and two blanks. One more line ends the row.
const COLUMN_FRAME: usize = 3;
/// A column is not made narrower than this; a terminal too narrow for that wraps its lines.
const MIN_WIDTH: usize = 6;

/// Writes one result; long cells are cut with `…` where there is a width.
pub fn write(view: &View, width: Option<usize>, now_ms: u64, out: &mut dyn Write) -> io::Result<()> {
    match view {
        View::Message(text) => writeln!(out, "{text}"),
        // Errors go where errors go.
        View::Error(_) => Ok(()),
        View::Grid(grid) => {
            writeln!(out, "{}", table(grid, width, now_ms))?;
            match (grid.counted, grid.rows.len()) {
                (true, 1) => writeln!(out, "(1 row)"),
                (true, rows) => writeln!(out, "({rows} rows)"),
                (false, _) => Ok(()),
            }
        }
    }
}

fn table(grid: &Grid, width: Option<usize>, now_ms: u64) -> Table {
    // One more than could ever be shown tells that there is more.
    let most = width.map(|width| width + 1);
    let mut rows: Vec<Vec<String>> =
        grid.rows.iter().map(|row| row.iter().map(|cell| cell.to_text(most, now_ms)).collect()).collect();
    if let Some(width) = width {
        let widths = fit(&natural_widths(grid, &rows), width);
        for row in &mut rows {
            for (text, width) in row.iter_mut().zip(&widths) {
                cut(text, *width);
            }
        }
    }
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(&grid.columns);
    for (texts, cells) in rows.into_iter().zip(&grid.rows) {
        table.add_row(texts.into_iter().zip(cells).map(|(text, cell)| {
            let alignment = if cell.is_number() { CellAlignment::Right } else { CellAlignment::Left };
            TableCell::new(text).set_alignment(alignment)
        }));
    }
    table
}

/// How wide each column would be.
fn natural_widths(grid: &Grid, rows: &[Vec<String>]) -> Vec<usize> {
    let mut widths: Vec<usize> = grid.columns.iter().map(|column| column.width()).collect();
    for row in rows {
        for (width, text) in widths.iter_mut().zip(row) {
            *width = (*width).max(text.width());
        }
    }
    widths
}

/// Columns that together fit: narrow ones keep their width, wide ones share what is left.
fn fit(natural: &[usize], total: usize) -> Vec<usize> {
    let mut room = total.saturating_sub(COLUMN_FRAME * natural.len() + 1);
    let mut columns: Vec<usize> = (0..natural.len()).collect();
    columns.sort_by_key(|column| natural.get(*column));
    let mut widths = natural.to_vec();
    for (done, column) in columns.iter().enumerate() {
        let share = (room / (columns.len() - done)).max(MIN_WIDTH);
        if let Some(width) = widths.get_mut(*column) {
            *width = (*width).min(share);
            room = room.saturating_sub(*width);
        }
    }
    widths
}

/// Cuts a text to so many columns of the terminal, with `…` at its end.
fn cut(text: &mut String, width: usize) {
    if text.as_str().width() <= width {
        return;
    }
    let mut used = 1;
    let end = text.char_indices().find(|(_, character)| {
        used += character.width().unwrap_or(0);
        used > width
    });
    if let Some((at, _)) = end {
        text.truncate(at);
    }
    text.push('…');
}

#[cfg(test)]
mod tests {
    use super::{cut, fit, write};
    use crate::shell::render::cell::Cell;
    use crate::shell::render::view::{Grid, View};
    use unicode_width::UnicodeWidthStr;

    fn shown(value: &[u8], width: Option<usize>) -> String {
        let columns = ["key", "value", "revision", "expires in"].map(str::to_string).to_vec();
        let row = vec![
            Cell::Bytes(b"user:1".to_vec()),
            Cell::Bytes(value.to_vec()),
            Cell::Integer(65_536),
            Cell::Expires(Some(60_000)),
        ];
        let mut out = Vec::new();
        write(&View::Grid(Grid { columns, rows: vec![row], counted: true }), width, 0, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_table_has_its_rows_and_their_number() {
        let expected = "\
┌────────┬───────┬──────────┬────────────┐
│ key    ┆ value ┆ revision ┆ expires in │
╞════════╪═══════╪══════════╪════════════╡
│ user:1 ┆ Ann   ┆    65536 ┆ 1m 0s      │
└────────┴───────┴──────────┴────────────┘
(1 row)
";
        assert_eq!(shown(b"Ann", None), expected);
        assert_eq!(shown(b"Ann", Some(80)), expected);
    }

    #[test]
    fn long_values_are_cut_to_a_terminal_and_nowhere_else() {
        let value = vec![b'x'; 10_000];
        for line in shown(&value, Some(60)).lines() {
            assert!(line.width() <= 60, "{line}");
        }
        assert!(shown(&value, Some(60)).contains('…'));
        assert!(shown(&value, None).contains(&"x".repeat(10_000)));
    }

    #[test]
    fn no_rows_are_a_table_too() {
        let mut out = Vec::new();
        let grid = Grid { columns: vec!["key".to_string()], rows: vec![], counted: true };
        write(&View::Grid(grid), Some(80), 0, &mut out).unwrap();
        assert!(String::from_utf8(out).unwrap().ends_with("(0 rows)\n"));
    }

    #[test]
    fn wide_columns_share_what_narrow_ones_leave() {
        assert_eq!(fit(&[5, 100, 5], 60), [5, 40, 5]);
        assert_eq!(fit(&[100, 100], 47), [20, 20]);
        assert_eq!(fit(&[100, 100], 3), [6, 6]);
        assert_eq!(fit(&[], 3), [0; 0]);
    }

    #[test]
    fn wide_characters_count_twice() {
        for (text, width, expected) in
            [("日本語", 6, "日本語"), ("日本語", 5, "日本…"), ("日本語", 4, "日…"), ("abc", 1, "…")]
        {
            let mut text = text.to_string();
            cut(&mut text, width);
            assert_eq!(text, expected);
        }
    }
}
