//! What is printed on stdout.

use std::io::{self, Write as _};

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

/// The form of what is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Text,
    /// For programs: one JSON document, nothing else
    Json,
}

impl Format {
    /// Prints one or the other.
    pub(crate) fn print(self, json: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
        let mut printed = match self {
            Self::Json => serde_json::to_string_pretty(json)?,
            Self::Text => text(),
        };
        if !printed.ends_with('\n') {
            printed.push('\n');
        }
        match io::stdout().write_all(printed.as_bytes()) {
            // The reader has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => Ok(written?),
        }
    }
}

/// Columns that are as wide as their widest cell.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = head.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: [&str; N]| {
        let cells: Vec<String> = cells
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    let rows = rows.iter().map(|row| line(row.each_ref().map(String::as_str)));
    std::iter::once(line(head)).chain(rows).collect()
}

/// An object as lines of name and value.
pub(crate) fn members(object: &osb_api::Object) -> String {
    let width = object.keys().map(|name| name.chars().count()).max().unwrap_or_default();
    let line = |(name, value): (&String, &Value)| match value {
        Value::String(text) => format!("  {name:width$}  {text}\n"),
        other => format!("  {name:width$}  {other}\n"),
    };
    object.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [["a".to_owned(), "bb".to_owned()], ["cccc".to_owned(), String::new()]];
        assert_eq!(table(["X", "Y"], &rows), "X     Y\na     bb\ncccc\n");
    }

    #[test]
    fn members_are_shown_plain() {
        let Value::Object(object) = serde_json::json!({"uri": "a://b", "port": 5}) else {
            panic!("an object")
        };
        assert_eq!(members(&object), "  port  5\n  uri   a://b\n");
    }
}
