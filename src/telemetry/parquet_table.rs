//! Columns of a Parquet file, for the tables that this program exports.

use std::sync::Arc;

use parquet::{
    basic::Compression,
    data_type::DataType,
    errors::ParquetError,
    file::{
        properties::WriterProperties,
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::parser::parse_message_type,
};

/// Rows that are held together.
const GROUP: usize = 1 << 16;

/// The columns of some rows.
pub(crate) type Group<'a, 'b> = SerializedRowGroupWriter<'a, &'b mut Vec<u8>>;

/// A file of `rows` with the columns of `schema` (Parquet's message type); `group` writes the columns of at most
/// 65,536 rows, in the schema's order.
pub(crate) fn file<R>(
    schema: &str,
    rows: &[R],
    group: impl Fn(&mut Group<'_, '_>, &[R]) -> Result<(), ParquetError>,
) -> Result<Vec<u8>, ParquetError> {
    let mut file = Vec::new();
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let schema = Arc::new(parse_message_type(schema)?);
    let mut writer = SerializedFileWriter::new(&mut file, schema, Arc::new(properties))?;
    for rows in rows.chunks(GROUP) {
        let mut columns = writer.next_row_group()?;
        group(&mut columns, rows)?;
        columns.close()?;
    }
    writer.close()?;
    Ok(file)
}

/// The next column, one without nulls.
pub(crate) fn required<T: DataType>(
    group: &mut Group<'_, '_>,
    values: impl Iterator<Item = T::T>,
) -> Result<(), ParquetError> {
    column::<T>(group, &values.collect::<Vec<_>>(), None, None)
}

/// The next column, `None` being null: a null is level 0, a value level 1.
pub(crate) fn optional<T: DataType>(
    group: &mut Group<'_, '_>,
    values: impl Iterator<Item = Option<T::T>>,
) -> Result<(), ParquetError> {
    let values: Vec<Option<T::T>> = values.collect();
    let levels: Vec<i16> = values.iter().map(|value| value.is_some().into()).collect();
    column::<T>(group, &values.into_iter().flatten().collect::<Vec<_>>(), Some(&levels), None)
}

/// The next column, with its definition and repetition levels.
pub(crate) fn column<T: DataType>(
    group: &mut Group<'_, '_>,
    values: &[T::T],
    levels: Option<&[i16]>,
    repeated: Option<&[i16]>,
) -> Result<(), ParquetError> {
    let none = || ParquetError::General("there are more columns than the schema has".to_owned());
    let mut column = group.next_column()?.ok_or_else(none)?;
    column.typed::<T>().write_batch(values, levels, repeated)?;
    column.close()
}
