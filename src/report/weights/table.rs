//! The history as a Parquet table: one row for each event.

use parquet::{
    data_type::{ByteArray, ByteArrayType, Int32Type, Int64Type},
    errors::ParquetError,
};

use crate::chain::WeightEvent;
use crate::telemetry::parquet_table::{Group, column, file, optional, required};

/// The columns. Names are a stable interface; the writer below follows their order.
const SCHEMA: &str = "message weight_events {
    required binary kind (STRING);
    required int64 block;
    required binary hash (STRING);
    required int64 time (TIMESTAMP(MILLIS,true));
    required int32 netuid;
    required int32 mechanism;
    optional int32 validator_uid;
    required binary hotkey (STRING);
    optional binary commit_scheme (STRING);
    optional int64 commit_block;
    optional binary commit_hash (STRING);
    optional int64 reveal_round;
    optional group uids (LIST) { repeated group list { required int32 element; } }
    optional group weights (LIST) { repeated group list { required int32 element; } }
}";

/// The events as a Parquet file. `uids` and `weights` are lists of equal length, null where no weights became
/// known; hashes are hex.
///
/// # Errors
/// What the writer says, which does not happen for what the chain can hold.
pub fn to_parquet(events: &[WeightEvent]) -> Result<Vec<u8>, ParquetError> {
    file(SCHEMA, events, rows)
}

fn rows(group: &mut Group<'_, '_>, events: &[WeightEvent]) -> Result<(), ParquetError> {
    let text = |text: &str| ByteArray::from(text);
    // No number of the chain comes near the 2^63 from which these would be negative.
    let long = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let hash = |bytes: &[u8]| text(&format!("0x{}", hex::encode(bytes)));
    required::<ByteArrayType>(group, events.iter().map(|e| text(e.what.kind())))?;
    required::<Int64Type>(group, events.iter().map(|e| long(e.block)))?;
    required::<ByteArrayType>(group, events.iter().map(|e| hash(&e.hash)))?;
    required::<Int64Type>(group, events.iter().map(|e| long(e.time_ms)))?;
    required::<Int32Type>(group, events.iter().map(|e| e.netuid.into()))?;
    required::<Int32Type>(group, events.iter().map(|e| e.mechanism.into()))?;
    optional::<Int32Type>(group, events.iter().map(|e| e.validator_uid.map(i32::from)))?;
    required::<ByteArrayType>(group, events.iter().map(|e| text(&e.hotkey.to_string())))?;
    let commits = || events.iter().map(|e| e.what.commit());
    optional::<ByteArrayType>(group, commits().map(|c| c.map(|c| text(c.scheme.name()))))?;
    optional::<Int64Type>(group, commits().map(|c| c.map(|c| long(c.block))))?;
    optional::<ByteArrayType>(group, commits().map(|c| c.map(|c| hash(&c.hash))))?;
    optional::<Int64Type>(group, commits().map(|c| c.and_then(|c| c.reveal_round).map(long)))?;
    lists(group, events, |(uid, _)| uid.into())?;
    lists(group, events, |(_, weight)| weight.into())
}

/// A null is level 0, an empty list level 1, an element level 2; repetition 1 goes on with a list.
fn lists(
    group: &mut Group<'_, '_>,
    events: &[WeightEvent],
    of: impl Fn((u16, u16)) -> i32,
) -> Result<(), ParquetError> {
    let (mut values, mut levels, mut repeated) = (Vec::new(), Vec::new(), Vec::new());
    for event in events {
        match event.what.weights() {
            None | Some([]) => {
                levels.push(event.what.weights().is_some().into());
                repeated.push(0);
            }
            Some(weights) => {
                values.extend(weights.iter().map(|weight| of(*weight)));
                levels.extend(weights.iter().map(|_| 2));
                repeated.extend(weights.iter().enumerate().map(|(at, _)| i16::from(at > 0)));
            }
        }
    }
    column::<Int32Type>(group, &values, Some(&levels), Some(&repeated))
}

#[cfg(test)]
mod tests {
    use super::super::tests::events;
    use super::*;
    use parquet::file::{reader::FileReader as _, serialized_reader::SerializedFileReader};

    #[test]
    fn the_table_reads_back() {
        let bytes = to_parquet(&events()).unwrap();
        let reader = SerializedFileReader::new(bytes::Bytes::from(bytes)).unwrap();
        let rows: Vec<String> =
            reader.get_row_iter(None).unwrap().map(|row| row.unwrap().to_string()).collect();
        assert_eq!(rows.len(), 5);
        let has = |row: usize, words: &[&str]| {
            for word in words {
                assert!(rows[row].contains(word), "{word} in {}", rows[row]);
            }
        };
        has(
            0,
            &["kind: \"set\"", "block: 10", "commit_block: null", "uids: [0, 1]", "weights: [65535, 65535]"],
        );
        has(1, &["kind: \"commit\"", "uids: null", "weights: null", "commit_scheme: \"timelocked\""]);
        has(2, &["commit_block: 20", "reveal_round: 7", "uids: [1]"]);
        has(3, &["uids: []", "weights: []"]);
    }

    #[test]
    fn nothing_is_an_empty_table() {
        let bytes = to_parquet(&[]).unwrap();
        assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
    }
}
