//! The result of a command, on stdout; everything else goes to stderr.

use std::io::{self, Write as _};

use crate::cli::{Exit, Failure};
use indicatif::{ProgressBar, ProgressStyle};

/// Writes the result to stdout. A reader that has seen enough (`head`) is no failure.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Unexpected, format!("cannot write the result: {e}")))
        }
        _ => Ok(()),
    }
}

/// Writes the result to stdout as one JSON document.
pub fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|e| Failure::new(Exit::Unexpected, format!("cannot write the result as JSON: {e}")))?;
    print(&(text + "\n"))
}

/// How much of so many bytes has come or gone, on stderr.
pub fn byte_bar(bytes: u64) -> ProgressBar {
    let bar = ProgressBar::new(bytes);
    if let Ok(style) =
        ProgressStyle::with_template("{bar:32} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left")
    {
        bar.set_style(style);
    }
    bar
}

/// Rows under a heading, each column as wide as its widest cell; columns named in `left` start at the left, the
/// others, numbers, end at the right.
pub fn table(heading: &[&str], left: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(heading.get(column).map(|name| name.chars().count())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heading.len()).map(width).collect();
    let mut text = String::new();
    let heading_row: Vec<String> = heading.iter().map(|name| (*name).to_owned()).collect();
    for row in std::iter::once(&heading_row).chain(rows) {
        let cells = row.iter().zip(heading).zip(&widths).map(|((cell, name), &width)| {
            if left.contains(name) { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Rao as TAO (or as alpha) with four decimals, rounded down.
pub fn tao(rao: u64) -> String {
    format!("{}.{:04}", rao / 1_000_000_000, rao % 1_000_000_000 / 100_000)
}

/// A share of 65535 with four decimals.
pub fn share(of_u16: u16) -> String {
    format!("{:.4}", f64::from(of_u16) / f64::from(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [vec!["7".into(), "ab".into()], vec!["123".into(), "c".into()]];
        assert_eq!(table(&["UID", "KEY"], &["KEY"], &rows), "UID  KEY\n  7  ab\n123  c\n");
    }

    #[test]
    fn amounts_are_rounded_down() {
        assert_eq!(tao(1_999_999_999), "1.9999");
        assert_eq!(tao(100_000), "0.0001");
        assert_eq!(share(u16::MAX), "1.0000");
    }
}
