//! What a run comes to: `report.json`, a table for people, `loss.csv` and the plots; and [`why`] a score
//! is what it is.

pub mod plot;
mod table;
pub mod weights;
pub mod why;

use crate::{
    gauntlet::{Hotkey, ScoreRecord},
    telemetry::files::{replace, write_atomic},
    window::{Block, Uid, Window},
};
use plot::{Chart, PlotError, Series};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The report of a run. Its JSON is a stable interface: fields may be added, none changes its meaning.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Windows that the run went through.
    pub windows: u64,
    /// Held-out loss after each round.
    pub loss: Vec<LossPoint>,
    /// Every neuron, in the order of UIDs.
    pub peers: Vec<PeerReport>,
    /// The blake3 hash of the model that each neuron ended with, in hex.
    pub model_hash: BTreeMap<Hotkey, String>,
    /// Every setting of weights that is on chain, in the order of blocks.
    pub weights_on_chain: Vec<WeightsOnChain>,
}

/// The held-out loss after one round.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LossPoint {
    /// The round's window.
    pub window: Window,
    /// Mean loss on held-out data, in nats per token.
    pub loss: f64,
}

/// One neuron at the end of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeerReport {
    /// Its UID.
    pub uid: Uid,
    /// Its hotkey.
    pub hotkey: Hotkey,
    /// `miner` or `validator`.
    pub role: String,
    /// What it was started as: `honest`, the kind of a saboteur, or `validator`.
    pub kind: String,
    /// Mean of its rating; null for a neuron that is not rated.
    pub mu: Option<f64>,
    /// Deviation of its rating; null for a neuron that is not rated.
    pub sigma: Option<f64>,
    /// Its peer score; 0 for a neuron that is not judged.
    pub score: f64,
    /// The weight that the validator gives it, as on chain: the largest is 65535.
    pub weight: u16,
    /// The chain's incentive, from 0 to 1.
    pub incentive: f64,
}

/// One setting of weights as it stands on chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightsOnChain {
    /// The block that it was included in.
    pub block: Block,
    /// Whose weights.
    pub validator_uid: Uid,
    /// Slot and weight, as pairs.
    pub weights: Vec<(Uid, u16)>,
}

/// Why a report cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A file cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A plot cannot be drawn.
    #[error("cannot draw {path}")]
    Plot {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: PlotError,
    },
    /// The report cannot be written as JSON.
    #[error("cannot write the report as JSON")]
    Json(#[from] serde_json::Error),
}

impl ReportError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Write { .. } => "see that the folder exists and the disk has room",
            Self::Plot { .. } | Self::Json(_) => "this is a defect of the program; report it",
        }
    }
}

impl Report {
    /// The report as indented JSON with a line feed at its end.
    ///
    /// # Errors
    ///
    /// None that a report can bring about: numbers that JSON cannot hold are written as null.
    pub fn to_json(&self) -> Result<String, ReportError> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// The neurons as an aligned table: UID, role, kind, rating, score, weight, incentive.
    pub fn table(&self) -> String {
        table::table(&self.peers)
    }

    /// The losses as CSV: a header, then `window,loss`.
    pub fn loss_csv(&self) -> String {
        let lines = self.loss.iter().map(|point| format!("{},{}\n", point.window, point.loss));
        std::iter::once("window,loss\n".to_owned()).chain(lines).collect()
    }

    /// The loss curve.
    pub fn loss_chart(&self) -> Chart {
        let points = self.loss.iter().map(|point| (point.window as f64, point.loss)).collect();
        let subtitle = match (self.loss.first(), self.loss.last()) {
            (Some(first), Some(last)) if first.loss > 0.0 => {
                let percent = (last.loss / first.loss - 1.0) * 100.0;
                format!(
                    "{:.3} to {:.3} in {} windows ({percent:+.1} %)",
                    first.loss,
                    last.loss,
                    self.loss.len()
                )
            }
            _ => "no round was completed".to_owned(),
        };
        Chart {
            marks: Vec::new(),
            title: "Loss on held-out text".into(),
            subtitle,
            x_label: "window".into(),
            y_label: "loss (nats per token)".into(),
            from_zero: false,
            series: vec![Series { name: "model".into(), points, dashed: false }],
        }
    }

    /// Peer scores and shares of pay over windows, one line for each miner; saboteurs are dashed.
    pub fn pay_charts(&self, records: &[ScoreRecord]) -> [Chart; 2] {
        let series = |value: fn(&ScoreRecord) -> f64| -> Vec<Series> {
            self.peers
                .iter()
                .filter(|peer| peer.role == "miner")
                .map(|peer| Series {
                    name: format!("UID {} {}", peer.uid, peer.kind),
                    points: records
                        .iter()
                        .filter(|record| record.hotkey == peer.hotkey)
                        .map(|record| (record.window as f64, value(record)))
                        .collect(),
                    dashed: peer.kind != "honest",
                })
                .collect()
        };
        let chart = |title: &str, subtitle: &str, y_label: &str, series| Chart {
            marks: Vec::new(),
            title: title.into(),
            subtitle: subtitle.into(),
            x_label: "window".into(),
            y_label: y_label.into(),
            from_zero: true,
            series,
        };
        [
            chart(
                "Peer score",
                "proof of computation x rating x sync; dashed: saboteurs",
                "score (no unit)",
                series(|record| record.score),
            ),
            chart(
                "Share of miners' pay",
                "scores raised to the manifest's power, normalised; dashed: saboteurs",
                "share of weight (%)",
                series(|record| record.share * 100.0),
            ),
        ]
    }

    /// Writes `report.json`, `loss.csv` and the plots `loss`, `score` and `weight` as SVG and PNG into
    /// `folder`, each file atomically. `records` are the score log's.
    ///
    /// # Errors
    ///
    /// When a file cannot be written; those before it are there then.
    pub fn write(&self, folder: &Path, records: &[ScoreRecord]) -> Result<(), ReportError> {
        let file = |name: &str, text: &str| {
            let path = folder.join(name);
            write_atomic(&path, text.as_bytes()).map_err(|source| ReportError::Write { path, source })
        };
        file("report.json", &self.to_json()?)?;
        file("loss.csv", &self.loss_csv())?;
        let [score, weight] = self.pay_charts(records);
        for (name, chart) in [("loss", self.loss_chart()), ("score", score), ("weight", weight)] {
            let path = folder.join(format!("{name}.svg"));
            let svg = chart.svg().map_err(|source| ReportError::Plot { path, source })?;
            file(&format!("{name}.svg"), &svg)?;
            let path = folder.join(format!("{name}.png"));
            replace(&path, |beside| chart.write_png(beside))
                .map_err(|source| ReportError::Plot { path, source })?;
        }
        Ok(())
    }
}
