//! What a simulation is written down as: JSON, a table, pictures.

use super::{Class, History, KindOutcome, Outcome, Scenario};
use crate::report::plot::{Chart, PlotError, Series};
use serde::Serialize;
use std::{fs, io, path::Path};

/// The report of a simulation. Its JSON is a stable interface: fields may be added.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SimReport {
    /// The scenario's name.
    pub scenario: String,
    /// Its seed.
    pub seed: u64,
    /// Windows that were simulated.
    pub windows: u64,
    /// Windows at the start that do not count.
    pub settle: u64,
    /// The defences that were taken away.
    pub without: Vec<super::Defence>,
    /// blake3 of the text, in hex: the same scenario and text give the same numbers.
    pub text: String,
    /// Seconds of both runs.
    pub seconds: f64,
    /// The most memory that the process had, in bytes; null where the system does not say.
    pub peak_bytes: Option<u64>,
    /// The last held-out loss over that of the same run without attackers; null if that was not run.
    pub loss_ratio_vs_clean: Option<f64>,
    /// Pay against work.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Where the mechanism falls short, one sentence each.
    pub shortfalls: Vec<String>,
}

/// Why a report cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimReportError {
    /// A file.
    #[error("the report cannot be written")]
    Write(#[from] io::Error),
    /// A picture.
    #[error("a picture of the report cannot be drawn")]
    Plot(#[from] PlotError),
}

/// The headings of [`SimReport::rows`].
pub const HEADING: [&str; 9] =
    ["KIND", "CLASS", "UIDS", "PAY", "WORK", "BENEFIT", "OF PAY", "OF WORK", "DETECTED"];

impl SimReport {
    /// The kinds as rows of a table. Pay, work and benefit are for one UID, over the median honest peer's.
    pub fn rows(&self) -> Vec<Vec<String>> {
        let row = |kind: &KindOutcome| {
            let share = |part: f64| format!("{:.1} %", 100.0 * part);
            let detected = match (kind.class, kind.windows_to_detection) {
                (Class::Worthless, Some(windows)) => windows.to_string(),
                (Class::Worthless, None) => "never".to_owned(),
                _ => "-".to_owned(),
            };
            vec![
                kind.kind.clone(),
                format!("{:?}", kind.class).to_lowercase(),
                kind.uids.to_string(),
                format!("{:.3}", kind.pay_per_uid_vs_honest_median),
                format!("{:.3}", kind.work_per_uid_vs_honest_median),
                format!("{:.3}", kind.benefit_per_uid_vs_honest_median),
                share(kind.share_of_pay),
                share(kind.share_of_work),
                detected,
            ]
        };
        self.outcome.kinds.iter().map(row).collect()
    }

    /// Writes `report.json`, `loss.csv`, `kinds.csv` and the pictures `loss` and `pay`, each as SVG and PNG.
    ///
    /// # Errors
    /// What the disk says, and pictures that cannot be drawn.
    pub fn write(
        &self,
        folder: &Path,
        with: &History,
        clean: Option<&History>,
    ) -> Result<(), SimReportError> {
        fs::create_dir_all(folder)?;
        let json = serde_json::to_string_pretty(self).map_err(io::Error::from)?;
        fs::write(folder.join("report.json"), json + "\n")?;
        let mut csv = "window,loss,loss_clean\n".to_owned();
        for (window, loss) in with.losses.iter().enumerate() {
            let clean =
                clean.and_then(|clean| clean.losses.get(window)).map_or(String::new(), f64::to_string);
            csv.push_str(&format!("{window},{loss},{clean}\n"));
        }
        fs::write(folder.join("loss.csv"), csv)?;
        let mut csv =
            "kind,class,uids,pay,work,benefit,share_of_pay,share_of_work,windows_to_detection\n".to_owned();
        for (kind, row) in self.outcome.kinds.iter().zip(self.rows()) {
            let detected = kind.windows_to_detection.map_or(String::new(), |windows| windows.to_string());
            csv.push_str(&format!(
                "\"{}\",{},{},{},{},{},{},{},{detected}\n",
                kind.kind,
                row[1],
                kind.uids,
                kind.pay_per_uid_vs_honest_median,
                kind.work_per_uid_vs_honest_median,
                kind.benefit_per_uid_vs_honest_median,
                kind.share_of_pay,
                kind.share_of_work
            ));
        }
        fs::write(folder.join("kinds.csv"), csv)?;
        for (name, chart) in [("loss", self.loss_chart(with, clean)), ("pay", self.pay_chart(with))] {
            fs::write(folder.join(format!("{name}.svg")), chart.svg()?)?;
            chart.write_png(&folder.join(format!("{name}.png")))?;
        }
        Ok(())
    }

    fn loss_chart(&self, with: &History, clean: Option<&History>) -> Chart {
        let series = |name: &str, history: &History, dashed| Series {
            name: name.to_owned(),
            points: history.losses.iter().enumerate().map(|(at, loss)| (at as f64, *loss)).collect(),
            dashed,
        };
        let mut lines = vec![series("with attackers", with, false)];
        lines.extend(clean.map(|clean| series("without", clean, true)));
        Chart {
            title: format!("Held-out loss: {}", self.scenario),
            subtitle: self
                .loss_ratio_vs_clean
                .map_or(String::new(), |r| format!("it ends at {r:.4} of the run without attackers")),
            x_label: "window".to_owned(),
            y_label: "nats a symbol".to_owned(),
            from_zero: false,
            series: lines,
            marks: Vec::new(),
        }
    }

    fn pay_chart(&self, with: &History) -> Chart {
        let classes = [
            ("honest", Class::Honest, false),
            ("part of the work", Class::Partial, false),
            ("diluted", Class::Diluted, false),
            ("worthless", Class::Worthless, true),
        ];
        let series = classes.map(|(name, class, dashed)| Series {
            name: name.to_owned(),
            points: with
                .pay_by_class(class)
                .into_iter()
                .enumerate()
                .map(|(at, pay)| (at as f64, pay))
                .collect(),
            dashed,
        });
        Chart {
            title: format!("Pay of one peer: {}", self.scenario),
            subtitle: "means of ten windows, over the median honest peer's".to_owned(),
            x_label: "window".to_owned(),
            y_label: "pay over the honest median".to_owned(),
            from_zero: true,
            series: series.to_vec(),
            marks: Vec::new(),
        }
    }
}

impl SimReport {
    /// A report of a run, and of the same without attackers where that was run.
    pub fn new(
        scenario: &Scenario,
        text: String,
        with: &History,
        clean: Option<&History>,
        seconds: f64,
    ) -> Self {
        let outcome = Outcome::new(with, scenario.settle);
        let clean_loss = clean.and_then(|clean| clean.losses.last());
        let ratio = clean_loss.map(|clean| outcome.loss / clean);
        Self {
            scenario: scenario.name.clone(),
            seed: scenario.seed,
            windows: scenario.windows,
            settle: scenario.settle,
            without: scenario.without.clone(),
            text,
            seconds,
            peak_bytes: peak_bytes(),
            loss_ratio_vs_clean: ratio,
            shortfalls: outcome.shortfalls(ratio),
            outcome,
        }
    }
}

/// The most memory that this process had, as Linux tells it.
fn peak_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}
