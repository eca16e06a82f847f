//! Parquet files, written: flat columns, nulls, no compression.
//!
//! Enough of the format for a table that any reader takes: data pages of version 1, values in `PLAIN`, levels
//! of nulls in `RLE`, the footer in Thrift's compact protocol. <https://parquet.apache.org/docs/file-format/>
//! and `parquet.thrift` of the format's repository say what each number means. A library for this would bring
//! features into half of the other dependencies; this is a page of code, and `tests/scores_parquet.rs` reads
//! what it writes with Apache Arrow.

mod thrift;

use thrift::{BINARY, INT, STRUCT, Thrift, binary, varint, zigzag};

/// A column: its name, whether it may hold nulls, its values.
#[derive(Debug, Clone, PartialEq)]
pub struct Column<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether it may hold nulls. In one that may not, a null is written as 0, false or the empty text.
    pub nullable: bool,
    /// A value or a null for each row.
    pub values: Values,
}

/// The values of a column, all of one kind; `None` is null.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// `INT64`.
    Integers(Vec<Option<i64>>),
    /// `DOUBLE`.
    Numbers(Vec<Option<f64>>),
    /// `BOOLEAN`.
    Flags(Vec<Option<bool>>),
    /// `BYTE_ARRAY`, UTF-8.
    Texts(Vec<Option<String>>),
}

const MAGIC: &[u8; 4] = b"PAR1";
/// Rows of a page and of a row group: a page's size is a 32-bit number.
const GROUP: usize = 1 << 16;

/// A Parquet file of `rows` rows; each column has as many values.
pub fn write(columns: &[Column<'_>], rows: usize) -> Vec<u8> {
    let mut file = MAGIC.to_vec();
    let mut groups = Vec::new();
    for start in (0..rows).step_by(GROUP) {
        let end = rows.min(start + GROUP);
        let mut chunks = Vec::new();
        let before = file.len();
        for column in columns {
            let offset = file.len();
            let page = page(column, start, end);
            file.extend(page_header(page.len(), end - start));
            file.extend(page);
            chunks.push(chunk(column, offset, file.len() - offset, end - start));
        }
        let mut group = Thrift::default();
        group.list(1, STRUCT, &chunks);
        group.integer(2, (file.len() - before) as i64);
        group.integer(3, (end - start) as i64);
        groups.push(group.end());
    }
    let mut schema = vec![root(columns.len())];
    schema.extend(columns.iter().map(element));
    let mut footer = Thrift::default();
    footer.int(1, 1);
    footer.list(2, STRUCT, &schema);
    footer.integer(3, rows as i64);
    footer.list(4, STRUCT, &groups);
    footer.text(6, concat!("templar ", env!("CARGO_PKG_VERSION")));
    let footer = footer.end();
    let length = footer.len() as u32;
    file.extend(footer);
    file.extend(length.to_le_bytes());
    file.extend(MAGIC);
    file
}

impl Values {
    /// `Type` of the format.
    fn kind(&self) -> i32 {
        match self {
            Self::Flags(_) => 0,
            Self::Integers(_) => 2,
            Self::Numbers(_) => 5,
            Self::Texts(_) => 6,
        }
    }

    /// Whether each row of a range has a value.
    fn present(&self, start: usize, end: usize) -> Vec<bool> {
        fn some<T>(values: &[Option<T>]) -> Vec<bool> {
            values.iter().map(Option::is_some).collect()
        }
        match self {
            Self::Flags(values) => some(&values[start..end]),
            Self::Integers(values) => some(&values[start..end]),
            Self::Numbers(values) => some(&values[start..end]),
            Self::Texts(values) => some(&values[start..end]),
        }
    }

    /// The values of a range in `PLAIN`; nulls are left out, or stand as a default where there may be none.
    fn plain(&self, start: usize, end: usize, nullable: bool) -> Vec<u8> {
        fn kept<T: Clone + Default>(values: &[Option<T>], nullable: bool) -> impl Iterator<Item = T> {
            values.iter().filter_map(move |value| {
                if nullable { value.clone() } else { Some(value.clone().unwrap_or_default()) }
            })
        }
        match self {
            Self::Integers(values) => {
                kept(&values[start..end], nullable).flat_map(i64::to_le_bytes).collect()
            }
            Self::Numbers(values) => kept(&values[start..end], nullable).flat_map(f64::to_le_bytes).collect(),
            Self::Flags(values) => {
                let flags: Vec<bool> = kept(&values[start..end], nullable).collect();
                let byte = |bits: &[bool]| bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
                flags.chunks(8).map(byte).collect()
            }
            Self::Texts(values) => kept(&values[start..end], nullable)
                .flat_map(|text| [&(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat())
                .collect(),
        }
    }
}

/// A page's content: which rows are null, then the values.
fn page(column: &Column<'_>, start: usize, end: usize) -> Vec<u8> {
    let mut page = Vec::new();
    if column.nullable {
        let mut levels = Vec::new();
        for run in column.values.present(start, end).chunk_by(|a, b| a == b) {
            varint(&mut levels, (run.len() as u64) << 1);
            levels.push(u8::from(run[0]));
        }
        page.extend((levels.len() as u32).to_le_bytes());
        page.extend(levels);
    }
    page.extend(column.values.plain(start, end, column.nullable));
    page
}

const PLAIN: i32 = 0;
const RLE: i32 = 3;

fn page_header(bytes: usize, rows: usize) -> Vec<u8> {
    let mut data = Thrift::default();
    data.int(1, rows as i32);
    data.int(2, PLAIN);
    data.int(3, RLE);
    data.int(4, RLE);
    let mut header = Thrift::default();
    // A data page.
    header.int(1, 0);
    header.int(2, bytes as i32);
    header.int(3, bytes as i32);
    header.structure(5, data.end());
    header.end()
}

fn chunk(column: &Column<'_>, offset: usize, bytes: usize, rows: usize) -> Vec<u8> {
    let mut meta = Thrift::default();
    meta.int(1, column.values.kind());
    meta.list(2, INT, &[PLAIN, RLE].map(|encoding| zigzag(encoding.into())));
    meta.list(3, BINARY, &[binary(column.name)]);
    // Not compressed.
    meta.int(4, 0);
    meta.integer(5, rows as i64);
    meta.integer(6, bytes as i64);
    meta.integer(7, bytes as i64);
    meta.integer(9, offset as i64);
    let mut chunk = Thrift::default();
    chunk.integer(2, offset as i64);
    chunk.structure(3, meta.end());
    chunk.end()
}

fn root(columns: usize) -> Vec<u8> {
    let mut root = Thrift::default();
    root.text(4, "scores");
    root.int(5, columns as i32);
    root.end()
}

fn element(column: &Column<'_>) -> Vec<u8> {
    let mut element = Thrift::default();
    element.int(1, column.values.kind());
    element.int(3, i32::from(column.nullable));
    element.text(4, column.name);
    if matches!(column.values, Values::Texts(_)) {
        // UTF8.
        element.int(6, 0);
    }
    element.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_are_levels_and_leave_no_value() {
        let values = Values::Flags(vec![Some(true), None, None, Some(true)]);
        let column = Column { name: "flag", nullable: true, values };
        // Runs: one value, two nulls, one value; then the bits 11.
        assert_eq!(page(&column, 0, 4), [6, 0, 0, 0, 2, 1, 4, 0, 2, 1, 0b11]);
        assert_eq!(page(&Column { nullable: false, ..column }, 0, 4), [0b1001]);
    }
}
