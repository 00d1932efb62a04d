//! A table of texts with lines around its columns.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};

/// A column's name, and at which side of it its cells stand.
#[derive(Debug, Clone, Copy)]
pub enum Column {
    /// Texts.
    Left(&'static str),
    /// Numbers.
    Right(&'static str),
}

impl Column {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Column::Left(name) | Column::Right(name) => name,
        }
    }

    fn alignment(self) -> CellAlignment {
        match self {
            Column::Left(_) => CellAlignment::Left,
            Column::Right(_) => CellAlignment::Right,
        }
    }
}

/// The table as text, which ends with a line end.
pub fn table<const N: usize>(columns: [Column; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.map(Column::name));
    for row in rows {
        let cells = row.into_iter().zip(columns);
        table.add_row(cells.map(|(text, column)| Cell::new(text).set_alignment(column.alignment())));
    }
    format!("{table}\n")
}
