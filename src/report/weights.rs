//! What validators did with their weights, as JSON lines, as a table, and as pictures.

mod table;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, BufRead},
    path::{Path, PathBuf},
};

use super::plot::{Chart, PlotError, Series};
use crate::{
    chain::WeightEvent,
    telemetry::files::{replace, write_atomic},
    wallet::AccountId,
    window::{Block, Uid},
};

pub use table::to_parquet;

/// The most UIDs in one chart: as many as there are colours that can be told apart.
const MOST_LINES: usize = 7;

/// Why a history cannot be written or read back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsReportError {
    /// The file cannot be read or written.
    #[error("cannot use {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A line is not one that this program wrote.
    #[error("line {line} is no weight event")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The table cannot be made.
    #[error("cannot make the Parquet table")]
    Table(#[from] parquet::errors::ParquetError),
    /// The picture cannot be drawn.
    #[error("cannot draw {path}")]
    Plot {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: PlotError,
    },
}

impl WeightsReportError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::File { .. } => "see that the folder exists and the disk has room",
            Self::Line { .. } => "the file was changed or is another program's; start with a new one",
            Self::Table(_) | Self::Plot { .. } => "this is a defect of the program; report it",
        }
    }
}

/// One line of JSON for each event.
///
/// # Errors
/// [`WeightsReportError::Line`], which does not happen for what the chain can hold.
pub fn to_jsonl(events: &[WeightEvent]) -> Result<String, WeightsReportError> {
    let mut text = String::new();
    for (line, event) in (1..).zip(events) {
        text += &serde_json::to_string(event).map_err(|source| WeightsReportError::Line { line, source })?;
        text.push('\n');
    }
    Ok(text)
}

/// The events in what [`to_jsonl`] wrote.
///
/// # Errors
/// [`WeightsReportError::Line`] names the first line that is none; [`WeightsReportError::File`] if the reader
/// fails, with an empty path.
pub fn from_jsonl(reader: impl BufRead) -> Result<Vec<WeightEvent>, WeightsReportError> {
    let mut events = Vec::new();
    for (line, text) in (1..).zip(reader.lines()) {
        let text = text.map_err(|source| WeightsReportError::File { path: PathBuf::new(), source })?;
        let event = serde_json::from_str(&text);
        events.push(event.map_err(|source| WeightsReportError::Line { line, source })?);
    }
    Ok(events)
}

/// A validator's weights over time, one line for each of the UIDs with the largest. A weight stands until the
/// next setting or reveal, and at most until the block `to`. Where the validator's UID is another hotkey's than before, the lines have a gap and
/// the place a mark: when the UID changed hands is not known from these events, but that it did by then.
pub fn chart(events: &[WeightEvent], mechanism: u8, validator: Uid, to: Block) -> Chart {
    let own =
        events.iter().filter(|event| (event.mechanism, event.validator_uid) == (mechanism, Some(validator)));
    let mut settings: Vec<(Block, BTreeMap<Uid, f64>)> = Vec::new();
    let mut changes: Vec<(Block, Block)> = Vec::new();
    let mut holder: Option<(&AccountId, Block)> = None;
    for event in own {
        if let Some((hotkey, seen)) = holder.filter(|(hotkey, _)| **hotkey != event.hotkey) {
            tracing::debug!(validator, %hotkey, now = %event.hotkey, "the UID changed hands");
            changes.push((seen, event.block));
        }
        holder = Some((&event.hotkey, event.block));
        settings.extend(event.what.weights().map(|weights| (event.block, shares(weights))));
    }
    let mut sums: BTreeMap<Uid, f64> = BTreeMap::new();
    let ends = settings.iter().skip(1).map(|(block, _)| *block).chain([to]);
    for ((from, shares), end) in settings.iter().zip(ends) {
        for (uid, share) in shares {
            // At least one block, so that the last setting counts too.
            *sums.entry(*uid).or_default() += share * end.saturating_sub(*from).max(1) as f64;
        }
    }
    let mut largest: Vec<(Uid, f64)> = sums.into_iter().collect();
    let all = largest.len();
    largest.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    largest.truncate(MOST_LINES);
    let series = largest.into_iter().map(|(uid, _)| {
        let mut points: Vec<(f64, f64)> = Vec::new();
        let mut changes = changes.iter().peekable();
        for (block, shares) in &settings {
            let share = shares.get(&uid).copied().unwrap_or(0.0);
            let before = points.last().map(|(_, before)| *before);
            match (before, changes.next_if(|(_, change)| change <= block)) {
                (Some(before), Some((seen, _))) => {
                    // The last that is known of who was there before.
                    points.extend([(*seen as f64, before), (*seen as f64, f64::NAN)]);
                }
                (Some(before), None) => points.push((*block as f64, before)),
                (None, _) => {}
            }
            points.push((*block as f64, share));
        }
        if let Some((_, last)) = points.last().copied() {
            points.push((to as f64, last));
        }
        Series { name: format!("UID {uid}"), points, dashed: false }
    });
    let series: Vec<Series> = series.collect();
    let subtitle = match (settings.len(), all) {
        (0, _) => "no weights were set in these blocks".to_owned(),
        (1, all) if all <= MOST_LINES => "1 setting".to_owned(),
        (n, all) if all <= MOST_LINES => format!("{n} settings"),
        (n, all) => format!("{n} settings; the {MOST_LINES} largest of {all} UIDs"),
    };
    let of_mechanism = if mechanism == 0 { String::new() } else { format!(", mechanism {mechanism}") };
    Chart {
        title: format!("Weights of validator {validator}{of_mechanism}"),
        subtitle,
        x_label: "block".to_owned(),
        y_label: "share of its weights".to_owned(),
        from_zero: true,
        series,
        marks: changes.iter().map(|(_, block)| (*block as f64, "another hotkey".to_owned())).collect(),
    }
}

/// Weights as shares of their sum.
fn shares(weights: &[(Uid, u16)]) -> BTreeMap<Uid, f64> {
    let sum: f64 = weights.iter().map(|(_, weight)| f64::from(*weight)).sum();
    let share = |weight: u16| if sum > 0.0 { f64::from(weight) / sum } else { 0.0 };
    weights.iter().map(|(uid, weight)| (*uid, share(*weight))).collect()
}

/// Draws every validator that set weights, as `weights-UID.svg` and `weights-UID.png` in the folder; names what
/// it wrote.
///
/// # Errors
/// [`WeightsReportError::File`] and [`WeightsReportError::Plot`].
pub fn write_charts(
    events: &[WeightEvent],
    to: Block,
    folder: &Path,
) -> Result<Vec<PathBuf>, WeightsReportError> {
    let file = |path: &Path, source| WeightsReportError::File { path: path.to_owned(), source };
    std::fs::create_dir_all(folder).map_err(|source| file(folder, source))?;
    let set = events.iter().filter(|event| event.what.weights().is_some());
    let validators: BTreeSet<(u8, Uid)> =
        set.filter_map(|event| Some((event.mechanism, event.validator_uid?))).collect();
    let mut written = Vec::new();
    for (mechanism, uid) in validators {
        let chart = chart(events, mechanism, uid, to);
        let name = if mechanism == 0 { format!("{uid}") } else { format!("{uid}-mechanism-{mechanism}") };
        let svg = folder.join(format!("weights-{name}.svg"));
        let text = chart.svg().map_err(|source| WeightsReportError::Plot { path: svg.clone(), source })?;
        write_atomic(&svg, text.as_bytes()).map_err(|source| file(&svg, source))?;
        let png = folder.join(format!("weights-{name}.png"));
        replace(&png, |beside| chart.write_png(beside))
            .map_err(|source| WeightsReportError::Plot { path: png.clone(), source })?;
        written.extend([svg, png]);
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        chain::{CommitRef, CommitScheme, WeightAction},
        wallet::AccountId,
    };

    pub(super) fn events() -> Vec<WeightEvent> {
        let event = |block, what| WeightEvent {
            block,
            hash: [1; 32],
            time_ms: block * 12_000,
            netuid: 2,
            mechanism: 0,
            validator_uid: Some(4),
            hotkey: AccountId::new([2; 32]),
            what,
        };
        let commit =
            CommitRef { scheme: CommitScheme::Timelocked, block: 20, hash: [3; 32], reveal_round: Some(7) };
        vec![
            event(10, WeightAction::Set { weights: vec![(0, 65535), (1, 65535)] }),
            event(20, WeightAction::Commit { commit: commit.clone() }),
            event(30, WeightAction::Reveal { commit: Some(commit.clone()), weights: vec![(1, 65535)] }),
            event(40, WeightAction::Set { weights: vec![] }),
            event(50, WeightAction::NeverRevealed { commit }),
        ]
    }

    #[test]
    fn lines_read_back_and_a_bad_one_is_named() {
        let text = to_jsonl(&events()).unwrap();
        assert_eq!(text.lines().count(), 5);
        assert_eq!(from_jsonl(text.as_bytes()).unwrap(), events());
        let broken = text.clone() + "{\"block\":1";
        assert!(matches!(from_jsonl(broken.as_bytes()), Err(WeightsReportError::Line { line: 6, .. })));
    }

    #[test]
    fn a_uid_that_changed_hands_has_a_gap_and_a_mark() {
        let mut all = events();
        for event in &mut all[3..] {
            event.hotkey = AccountId::new([9; 32]);
        }
        let chart = chart(&all, 0, 4, 60);
        let (points, mark) = (&chart.series[0].points, &chart.marks);
        assert_eq!(mark, &[(40.0, "another hotkey".to_owned())]);
        assert_eq!(points[..4], [(10.0, 0.5), (30.0, 0.5), (30.0, 1.0), (30.0, 1.0)]);
        assert!(points[4].1.is_nan());
        assert_eq!(points[5..], [(40.0, 0.0), (60.0, 0.0)]);
        assert!(chart.svg().unwrap().contains("another hotkey"));
    }

    #[test]
    fn a_weight_stands_until_the_next() {
        let chart = chart(&events(), 0, 4, 60);
        let names: Vec<_> = chart.series.iter().map(|series| series.name.as_str()).collect();
        assert_eq!(names, ["UID 1", "UID 0"]);
        let one = [(10.0, 0.5), (30.0, 0.5), (30.0, 1.0), (40.0, 1.0), (40.0, 0.0), (60.0, 0.0)];
        assert_eq!(chart.series[0].points, one);
        let folder = tempfile::tempdir().unwrap();
        let written = write_charts(&events(), 60, folder.path()).unwrap();
        assert_eq!(written.len(), 2);
        assert!(std::fs::read_to_string(&written[0]).unwrap().contains("Weights of validator 4"));
        assert!(std::fs::read(&written[1]).unwrap().starts_with(b"\x89PNG"));
        assert!(write_charts(&[], 60, folder.path()).unwrap().is_empty());
    }
}
