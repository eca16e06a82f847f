//! The score log as a table: one row for each record, flat columns.

use super::score_log::LoggedWindow;
use crate::{
    gauntlet::{
        Hotkey, ScoreRecord,
        loss_score::Losses,
        penalty::Penalty,
        record::{Judged, OverlapRecord},
        stage1::Stage1,
    },
    telemetry::parquet_table::{Group, file, optional, required},
};
use parquet::{
    data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type},
    errors::ParquetError,
};

/// One record and whose it is.
struct Row<'a> {
    validator: &'a Hotkey,
    run: &'a str,
    record: &'a ScoreRecord,
}

/// How a column's values come out of a record.
enum Value {
    Count(fn(&Row) -> u64),
    MaybeCount(fn(&Row) -> Option<u64>),
    Number(fn(&Row) -> f64),
    MaybeNumber(fn(&Row) -> Option<f64>),
    Flag(fn(&Row) -> bool),
    Text(fn(&Row) -> String),
    MaybeText(fn(&Row) -> Option<String>),
}
use Value::{Count, Flag, MaybeCount, MaybeNumber, MaybeText, Number, Text};

/// Every column. Names are a stable interface; a new field of the record is one more line.
const COLUMNS: &[(&str, Value)] = &[
    ("run", Text(|r| r.run.to_owned())),
    ("validator", Text(|r| r.validator.to_string())),
    ("window", Count(|r| r.record.window)),
    ("outer_step", Number(|r| r.record.outer_step)),
    ("uid", Count(|r| r.record.uid.into())),
    ("hotkey", Text(|r| r.record.hotkey.to_string())),
    ("verdict", Text(|r| r.record.stage1.name().to_owned())),
    ("seconds", MaybeCount(|r| seconds(&r.record.stage1))),
    ("steps_behind", MaybeNumber(|r| r.record.stage1.steps_behind())),
    ("reason", MaybeText(|r| reason(&r.record.stage1))),
    ("aggregated", Flag(|r| r.record.aggregated)),
    ("overlapping_uids", Text(|r| overlapping(&r.record.overlap))),
    ("similarity", MaybeNumber(|r| r.record.overlap.iter().map(|o| o.similarity).reduce(f64::max))),
    ("copy", Flag(|r| r.record.overlap.iter().any(|o| o.copy))),
    ("own_loss_before", MaybeNumber(|r| own(r).map(|l| l.before))),
    ("own_loss_after", MaybeNumber(|r| own(r).map(|l| l.after))),
    ("own_loss_comparator", MaybeNumber(|r| own(r).and_then(|l| l.comparator))),
    ("own_loss_score", MaybeNumber(|r| own(r).map(|l| l.score))),
    ("own_sequences", MaybeCount(|r| own(r).map(|l| l.sequences as u64))),
    ("random_loss_before", MaybeNumber(|r| random(r).map(|l| l.before))),
    ("random_loss_after", MaybeNumber(|r| random(r).map(|l| l.after))),
    ("random_loss_comparator", MaybeNumber(|r| random(r).and_then(|l| l.comparator))),
    ("random_loss_score", MaybeNumber(|r| random(r).map(|l| l.score))),
    ("random_sequences", MaybeCount(|r| random(r).map(|l| l.sequences as u64))),
    ("benefit_t", MaybeNumber(|r| judged(r).map(|j| j.benefit_t))),
    ("t", MaybeNumber(|r| judged(r).map(|j| j.t))),
    ("sign", MaybeNumber(|r| judged(r).map(|j| j.sign))),
    ("observation", MaybeNumber(|r| judged(r).map(|j| j.observation))),
    ("proof_average", Number(|r| r.record.proof.average)),
    ("proof_observations", Count(|r| r.record.proof.observations)),
    ("proof_windows", Number(|r| r.record.proof.windows)),
    ("proof_reference", Number(|r| r.record.proof.reference)),
    ("strength", Number(|r| r.record.proof.strength)),
    ("strength_deviation", Number(|r| r.record.proof.deviation)),
    ("proof_factor", Number(|r| r.record.proof.factor)),
    ("mu_before", Number(|r| r.record.rating_before.mu)),
    ("sigma_before", Number(|r| r.record.rating_before.sigma)),
    ("ordinal_before", Number(|r| r.record.rating_before.ordinal)),
    ("mu", Number(|r| r.record.rating.mu)),
    ("sigma", Number(|r| r.record.rating.sigma)),
    ("ordinal", Number(|r| r.record.rating.ordinal)),
    ("rating_factor", Number(|r| r.record.rating_factor)),
    ("sync_score", MaybeNumber(|r| r.record.sync_score)),
    ("penalties", Text(|r| rules(&r.record.penalties))),
    ("penalty_factor", Number(|r| r.record.penalties.iter().map(|p| p.score_factor).product())),
    ("proof_penalty_factor", Number(|r| r.record.penalties.iter().map(|p| p.proof_factor).product())),
    ("score_before", Number(|r| r.record.score_before)),
    ("score", Number(|r| r.record.score)),
    ("share", Number(|r| r.record.share)),
    ("weight", Count(|r| r.record.weight.into())),
];

fn judged<'a>(row: &Row<'a>) -> Option<&'a Judged> {
    row.record.judged.as_ref()
}

fn own<'a>(row: &Row<'a>) -> Option<&'a Losses> {
    judged(row).map(|judged| &judged.own)
}

fn random<'a>(row: &Row<'a>) -> Option<&'a Losses> {
    judged(row).map(|judged| &judged.random)
}

fn seconds(stage1: &Stage1) -> Option<u64> {
    match stage1 {
        Stage1::Absent | Stage1::Unanswered | Stage1::Malformed { .. } => None,
        Stage1::Early { seconds }
        | Stage1::Late { seconds }
        | Stage1::OutOfSync { seconds, .. }
        | Stage1::Accepted { seconds, .. } => Some(*seconds),
    }
}

fn reason(stage1: &Stage1) -> Option<String> {
    match stage1 {
        Stage1::Malformed { reason } => Some(reason.clone()),
        _ => None,
    }
}

/// The UIDs whose objects overlap too much, with spaces between.
fn overlapping(overlap: &[OverlapRecord]) -> String {
    overlap.iter().map(|o| o.uid.to_string()).collect::<Vec<_>>().join(" ")
}

/// The names of the rules that took something away, as the log has them, with spaces between.
fn rules(penalties: &[Penalty]) -> String {
    penalties.iter().map(|penalty| penalty.rule.name()).collect::<Vec<_>>().join(" ")
}

/// The names of the columns, in their order.
pub fn names() -> impl Iterator<Item = &'static str> {
    COLUMNS.iter().map(|(name, _)| *name)
}

/// The records of some windows as a Parquet file.
///
/// # Errors
/// What the writer says, which does not happen for what a log can hold.
pub fn to_parquet(windows: &[LoggedWindow]) -> Result<Vec<u8>, ParquetError> {
    let rows: Vec<Row> = windows
        .iter()
        .flat_map(|window| {
            let (validator, run) = (&window.closing.validator, window.closing.run.as_str());
            window.records.iter().map(move |record| Row { validator, run, record })
        })
        .collect();
    file(&schema(), &rows, |group, rows| COLUMNS.iter().try_for_each(|(_, value)| write(group, rows, value)))
}

/// Parquet's message type of [`COLUMNS`].
fn schema() -> String {
    let field = |(name, value): &(&str, Value)| {
        let kind = match value {
            Count(_) => "required int64 NAME",
            MaybeCount(_) => "optional int64 NAME",
            Number(_) => "required double NAME",
            MaybeNumber(_) => "optional double NAME",
            Flag(_) => "required boolean NAME",
            Text(_) => "required binary NAME (STRING)",
            MaybeText(_) => "optional binary NAME (STRING)",
        };
        kind.replace("NAME", name) + ";"
    };
    format!("message scores {{ {} }}", COLUMNS.iter().map(field).collect::<String>())
}

fn write(group: &mut Group<'_, '_>, rows: &[Row<'_>], value: &Value) -> Result<(), ParquetError> {
    // Counts of a log are windows and sequences: none comes near the 2^63 from which these would be negative.
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let text = |text: String| ByteArray::from(text.into_bytes());
    match value {
        Count(of) => required::<Int64Type>(group, rows.iter().map(|r| count(of(r)))),
        MaybeCount(of) => optional::<Int64Type>(group, rows.iter().map(|r| of(r).map(count))),
        Number(of) => required::<DoubleType>(group, rows.iter().map(of)),
        MaybeNumber(of) => optional::<DoubleType>(group, rows.iter().map(of)),
        Flag(of) => required::<BoolType>(group, rows.iter().map(of)),
        Text(of) => required::<ByteArrayType>(group, rows.iter().map(|r| text(of(r)))),
        MaybeText(of) => optional::<ByteArrayType>(group, rows.iter().map(|r| of(r).map(text))),
    }
}

/// Windows as they were signed, one after the other: a log that can be read and checked again.
pub fn to_jsonl(windows: &[LoggedWindow]) -> String {
    windows.iter().map(|window| window.text.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_has_a_name_of_its_own() {
        let all: Vec<_> = names().collect();
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn an_empty_log_is_an_empty_table() {
        let bytes = to_parquet(&[]).unwrap();
        assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
    }
}
